"""A push subscription: a window of outstanding messages that grows and shrinks, retries, dead letters.

What Google says of it (https://cloud.google.com/pubsub/docs/push#push_backoff, 2026-11): the window begins
with a small single digit, grows with acknowledgements, shrinks with refusals, ends at 3,000; refusals slow
the whole subscription by 100 ms to 60 s. How much a refusal does is a guess, so there are two models: a
window that narrows, and a harsh one that stands wide open always.
"""

import asyncio
import base64
import heapq
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from bucketscribe.model import Message
from infra.operate import capacity
from infra.operate.deployment import Deployment
from tests.bench.flow.timing import Timing

OK = 204
_DEADLINE_EXCEEDED = 0

# On a refusal the window loses 30 %, at most once a second.
_NARROWS = 0.7
_NARROWS_EVERY_SECONDS = 1.0

# Answers of the last minute decide how long the subscription pauses after a refusal: 0.1 s x 600^(f^0.85) for
# the share f of refusals, which fits both of Google's examples (20 %: 0.5 s, 100 %: 60 s).
_REMEMBERED_SECONDS = 60.0
_UNHEEDED_SHARE = 0.01


@dataclass(eq=False, slots=True)
class Letter:
    """A message on its way; `attempts` are deliveries begun."""

    message: Message
    attempts: int = 0


Endpoint = Callable[[Letter], Awaitable[int]]


@dataclass(kw_only=True)
class Subscription:
    """Pushes to `endpoint` until it is acknowledged, or dead; implements `ports.Topic` as its own topic."""

    timing: Timing
    chance: random.Random
    deployment: Deployment
    endpoint: Endpoint
    bury: Endpoint
    is_harsh: bool = False
    copies: int = 1
    pushes: int = 0
    refusals: int = 0
    dead: int = 0
    most_attempts: int = 0
    most_outstanding: int = 0
    outstanding: int = 0
    troubles: list[BaseException | None] = field(default_factory=list)
    _ready: list[tuple[float, int, Letter]] = field(default_factory=list)
    _answers: deque[tuple[float, bool]] = field(default_factory=deque)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _open_at: float = 0.0
    _narrowed_at: float = -_NARROWS_EVERY_SECONDS
    _wake: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._numbers = count()
        self._window = float(capacity.PUSH_WINDOW_MOST if self.is_harsh else capacity.PUSH_WINDOW_START)
        self._refused_lately = 0

    async def publish(self, messages: Sequence[Message]) -> None:
        await self.timing.sleep(capacity.PUBLISH_SECONDS)
        for message in (*messages,) * self.copies:
            self._put(Letter(message), self.timing.monotonic())
        self._pump()

    def _put(self, letter: Letter, at: float) -> None:
        heapq.heappush(self._ready, (at, next(self._numbers), letter))

    def _pump(self) -> None:
        """Push what is due as far as the window goes, and come back when the next is due."""
        now = self.timing.monotonic()
        while self._has_room() and max(self._open_at, self._ready[0][0]) <= now:
            self._push(heapq.heappop(self._ready)[2])
        if self._wake:
            self._wake.cancel()
        if self._has_room():
            self._wake = self.timing.after(max(self._open_at, self._ready[0][0]) - now, self._pump)

    def _has_room(self) -> bool:
        return bool(self._ready) and self.outstanding < int(self._window)

    def _push(self, letter: Letter) -> None:
        self.outstanding += 1
        self.pushes += 1
        letter.attempts += 1
        self.most_attempts = max(self.most_attempts, letter.attempts)
        self.most_outstanding = max(self.most_outstanding, self.outstanding)
        self._begin(self._see_through(letter))

    def _begin(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.troubles.append(task.exception())

    async def _see_through(self, letter: Letter) -> None:
        answer, over = asyncio.ensure_future(self.endpoint(letter)), asyncio.Event()
        deadline = self.timing.after(self.deployment.settings.ack_deadline_seconds, over.set)
        answer.add_done_callback(lambda _: over.set())
        await over.wait()
        deadline.cancel()
        await self._answered(letter, answer.result() if answer.done() else _DEADLINE_EXCEEDED)

    async def _answered(self, letter: Letter, status: int) -> None:
        self.outstanding -= 1
        self._remember(status == OK)
        if status == OK:
            self._window = min(float(capacity.PUSH_WINDOW_MOST), self._window + 1)
        else:
            self._refused(letter)
        self._pump()
        if status != OK and letter.attempts >= self.deployment.delivery_attempts:
            self.dead += 1
            await self.bury(Letter(letter.message, 1))

    def _refused(self, letter: Letter) -> None:
        """Narrow the window, pause, and put the message back for later, unless it is dead."""
        now, given = self.timing.monotonic(), self.deployment
        self.refusals += 1
        if not self.is_harsh and now - self._narrowed_at >= _NARROWS_EVERY_SECONDS:
            self._window = max(float(capacity.PUSH_WINDOW_START), self._window * _NARROWS)
            self._narrowed_at = now
        share = self._refused_lately / len(self._answers)
        if share >= _UNHEEDED_SHARE:
            self._open_at = max(self._open_at, now + 0.1 * 600 ** (share**0.85))
        if letter.attempts < given.delivery_attempts:
            doublings = min(letter.attempts - 1, 16)
            backoff = min(given.maximum_backoff_seconds, given.minimum_backoff_seconds * 2**doublings)
            self._put(letter, now + backoff * self.chance.uniform(0.9, 1.1))

    def _remember(self, is_ok: bool) -> None:
        now = self.timing.monotonic()
        self._answers.append((now, is_ok))
        self._refused_lately += not is_ok
        while self._answers[0][0] < now - _REMEMBERED_SECONDS:
            self._refused_lately -= not self._answers.popleft()[1]


def envelope(letter: Letter) -> bytes:
    """Write what is pushed."""
    message = {
        "data": base64.b64encode(letter.message.data).decode(),
        "attributes": dict(letter.message.attributes),
        "messageId": "1",
        "publishTime": "2026-11-01T12:00:00Z",
    }
    return json.dumps({"message": message, "deliveryAttempt": letter.attempts}).encode()
