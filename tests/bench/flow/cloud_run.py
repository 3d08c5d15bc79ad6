"""A Cloud Run service: instances that start, fill up, and go; callers that are held, then refused."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from infra.operate.capacity import SCALING_TARGET, SCALING_WINDOW_SECONDS, Starting
from tests.bench.flow.l4 import Refused
from tests.bench.flow.timing import Timing

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an instance

# How often the autoscaler looks.
LOOK_SECONDS = 5.0

# The part of a circle by which numbers spread most evenly over it, however many there are.
_GOLDEN = (5**0.5 - 1) / 2

# How long an outage's 503 takes.
_AWAY_SECONDS = 0.2


@dataclass(eq=False, kw_only=True, slots=True)
class Box(Generic[I]):
    """One instance, with what Cloud Run knows of it. `begun` is when its last idleness ended."""

    instance: I
    started: float
    is_ready: bool = False
    active: int = 0
    idle_since: float = 0.0
    begun: float = 0.0


@dataclass(kw_only=True)
class CloudRun(Generic[I]):
    """One service. Who comes when all are full is held, then gets a 429.

    `alive_seconds` are from every instance's start to its end, `active_seconds` those in which it had a
    request; instances that still stand are not in them before `close`.
    """

    timing: Timing
    make: Callable[[int], I]
    instances: int
    concurrency: int
    starting: Starting
    boxes: list[Box[I]] = field(default_factory=list)
    alive_seconds: float = 0.0
    active_seconds: float = 0.0
    refused: int = 0
    starts: int = 0

    def __post_init__(self) -> None:
        self._held: deque[asyncio.Future[Box[I]]] = deque()
        self._samples: deque[int] = deque(maxlen=round(SCALING_WINDOW_SECONDS / LOOK_SECONDS))
        self._away_until = 0.0
        self._scaler = asyncio.get_running_loop().create_task(self._scale())

    async def serve(self, request: Callable[[I], Awaitable[T]]) -> T:
        """Have an instance do it. Raises Refused."""
        if self.is_away:
            await self.timing.sleep(_AWAY_SECONDS)
            raise Refused(503)
        box = await self._box()
        try:
            return await request(box.instance)
        finally:
            self._leave(box)

    @property
    def is_away(self) -> bool:
        return self.timing.monotonic() < self._away_until

    def ready(self) -> list[I]:
        return [box.instance for box in self.boxes if box.is_ready]

    def fail(self, seconds: float) -> list[I]:
        """Be away for so long; return the instances that are gone with it."""
        self._away_until = self.timing.monotonic() + seconds
        gone = list(self.boxes)
        for box in gone:
            self._remove(box)
        for caller in self._held:
            if not caller.done():
                caller.set_exception(Refused(503))
        return [box.instance for box in gone]

    async def close(self, *, idle_seconds: float = 0.0) -> None:
        """Stop the autoscaler and count what still stands, with so many seconds of idleness to come."""
        self._scaler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._scaler
        for box in list(self.boxes):
            self._remove(box)
            self.alive_seconds += idle_seconds

    async def _box(self) -> Box[I]:
        if not self.boxes:
            self._add()
        box = self._free()
        if box is None:
            box = await self._turn()
        else:
            self._enter(box)
        return box

    async def _turn(self) -> Box[I]:
        """Be held until an instance has room for us."""
        is_starting = any(not box.is_ready for box in self.boxes)
        if not is_starting:
            self._add()
        caller = asyncio.get_running_loop().create_future()
        self._held.append(caller)
        patience = max(self.starting.held_seconds, 3.5 * self.starting.mean_seconds * is_starting)
        timer = self.timing.after(patience, self._refuse, caller)
        try:
            return await caller
        except asyncio.CancelledError:
            if caller.done() and not caller.cancelled() and not caller.exception():
                self._leave(caller.result())
            raise
        finally:
            timer.cancel()

    def _refuse(self, caller: "asyncio.Future[Box[I]]") -> None:
        if not caller.done():
            self.refused += 1
            caller.set_exception(Refused(429))

    def _free(self) -> Box[I] | None:
        free = [box for box in self.boxes if box.is_ready and box.active < self.concurrency]
        return min(free, key=lambda box: box.active, default=None)

    def _enter(self, box: Box[I]) -> None:
        if not box.active:
            box.begun = self.timing.monotonic()
        box.active += 1

    def _leave(self, box: Box[I]) -> None:
        box.active -= 1
        if not box.active and box in self.boxes:
            box.idle_since = self.timing.monotonic()
            self.active_seconds += box.idle_since - box.begun
        self._let_in()

    def _let_in(self) -> None:
        while self._held and (box := self._free()):
            caller = self._held.popleft()
            if not caller.done():
                self._enter(box)
                caller.set_result(box)

    def _add(self) -> None:
        if len(self.boxes) < self.instances and not self.is_away:
            self.starts += 1
            box = Box(instance=self.make(self.starts), started=self.timing.monotonic())
            self.boxes.append(box)
            self.timing.after(self._start_seconds(), self._be_ready, box)

    def _start_seconds(self) -> float:
        """Take the mean first, then spread the starts evenly between least and most."""
        least, most = self.starting.least_seconds, self.starting.most_seconds
        return least + (0.5 + (self.starts - 1) * _GOLDEN) % 1 * (most - least)

    def _be_ready(self, box: Box[I]) -> None:
        if box in self.boxes:
            box.is_ready, box.idle_since = True, self.timing.monotonic()
            self._let_in()

    def _remove(self, box: Box[I]) -> None:
        self.boxes.remove(box)
        self.alive_seconds += self.timing.monotonic() - box.started
        if box.active:
            self.active_seconds += self.timing.monotonic() - box.begun
        box.is_ready = False

    async def _scale(self) -> None:
        """Have as many instances as the last minute's requests want, and send the idle ones away."""
        while True:
            await self.timing.sleep(LOOK_SECONDS)
            held = sum(not caller.done() for caller in self._held)
            self._samples.append(sum(box.active for box in self.boxes) + held)
            mean = sum(self._samples) / (self._samples.maxlen or 1)
            for _ in range(math.ceil(mean / (SCALING_TARGET * self.concurrency)) - len(self.boxes)):
                self._add()
            if held and not self.boxes:
                self._add()
            now = self.timing.monotonic()
            for box in list(self.boxes):
                if box.is_ready and not box.active and now - box.idle_since > self.starting.idle_seconds:
                    self._remove(box)
