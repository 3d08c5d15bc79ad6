"""The post: Pub/Sub's subscriptions and Eventarc's triggers. At least once, late, twice, out of order; again
after a refusal or without an answer, while the first try may still run; to the dead letters in the end.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bucketscribe.model import ObjectRef
from tests.simulator.plan import DAY

if TYPE_CHECKING:
    from tests.simulator.instances import Instance
    from tests.simulator.world import World

# The kind of a letter that nobody can understand.
JUNK = "junk"

# How long Eventarc and Pub/Sub keep what nobody takes.
_KEPT_SECONDS = {"on_upload": DAY, "on_page_task": 7 * DAY, "on_dead_letter": 7 * DAY}
_STATUS_OK = 204


@dataclass(kw_only=True, eq=False)
class Letter:
    """One delivery of an event or a message; `forgets` when a request about its page's note has failed."""

    number: int
    door: str
    content: Any
    source: ObjectRef
    page: int = 0
    kind: str = ""
    sent_at: float = 0.0
    attempt: int = 1
    started: float = 0.0
    ended: float | None = None
    forgets: bool = False
    acknowledged: bool = False
    instance: "Instance | None" = field(default=None, repr=False)

    @property
    def task(self) -> dict[str, Any]:
        """The page task that it carries."""
        task: dict[str, Any] = json.loads(self.content)
        return task

    def __str__(self) -> str:
        what = f"page {self.page}" if self.page else self.kind
        return f"{self.door} {what} of {self.source.name}#{self.source.generation % 1000} ({self.number})"


class Post:
    """Sees every letter through to its acknowledgement. `out` are those not yet acknowledged."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._numbers = 0
        self.out: dict[int, Letter] = {}
        self.tries: list[Letter] = []

    def send(self, door: str, content: Any, source: ObjectRef, *, page: int = 0, kind: str = "") -> None:
        self._numbers += 1
        letter = Letter(
            number=self._numbers,
            door=door,
            content=content,
            source=source,
            page=page,
            kind=kind,
            sent_at=self._world.monotonic(),
        )
        self.out[letter.number] = letter
        self._world.begin(self._see_through(letter))

    def is_at_work(self, but: Letter) -> bool:
        """Tell whether another letter about this source, or a sweep, is on its way or being worked on."""
        out = (letter for letter in self.out.values() if letter.number != but.number)
        trying = (letter for letter in self.tries if letter.ended is None)
        return any(each.source == but.source or each.door == "sweep" for each in (*out, *trying))

    async def _see_through(self, letter: Letter) -> None:
        world, habits = self._world, self._world.plan.habits
        await asyncio.sleep(world.chance.choice((0.01, 0.3, 5.0)) * world.chance.random())
        if letter.door == "on_page_task" and world.happens(habits.lost):
            world.watch.note("post", f"LOSES {letter}")
            del self.out[letter.number]
            return
        attempt = 0
        while world.monotonic() - letter.sent_at < _KEPT_SECONDS[letter.door]:
            attempt += 1
            if world.happens(habits.twice):
                world.begin(self._deliver(letter, attempt, world.chance.uniform(0, 20)))
            if await self._deliver(letter, attempt) and not world.happens(habits.ack_lost):
                break
            if letter.door == "on_page_task" and attempt >= habits.attempts:
                self._bury(letter)
                break
            longest = min(habits.longest_backoff_seconds, habits.backoff_seconds * 2**attempt)
            await asyncio.sleep(world.chance.uniform(habits.backoff_seconds, longest))
        else:
            world.watch.note("post", f"drops {letter}: nobody took it")
        del self.out[letter.number]

    def _bury(self, letter: Letter) -> None:
        self._world.watch.note("post", f"buries {letter}")
        copies = 2 if self._world.happens(self._world.plan.habits.twice) else 1
        for _ in range(copies):
            self.send("on_dead_letter", letter.content, letter.source, page=letter.page, kind=letter.kind)

    async def _deliver(self, letter: Letter, attempt: int, after: float = 0.0) -> bool:
        """Deliver once; tell whether it was acknowledged as far as the post has heard."""
        world, habits = self._world, self._world.plan.habits
        await asyncio.sleep(after)
        if world.happens(habits.refused):
            world.watch.note("post", f"finds no instance for {letter}")
            return False
        trying = Letter(
            **{
                name: getattr(letter, name)
                for name in ("number", "door", "content", "source", "page", "kind")
            },
            sent_at=letter.sent_at,
            attempt=attempt,
            started=world.monotonic(),
        )
        self.tries.append(trying)
        task = world.services[letter.door].knock(trying)
        world.watch.note("post", f"try {attempt}: {letter} to {trying.instance.label}")
        world.begin(self._watch_end(task, trying))
        patience = world.plan.settings.ack_deadline_seconds
        if world.happens(habits.early):
            world.watch.note("post", f"will not wait long for {letter}")
            patience = world.chance.uniform(0.1, world.chance.choice((5.0, patience)))
        await asyncio.wait({task}, timeout=patience)
        return _status(task) == _STATUS_OK

    async def _watch_end(self, task: "asyncio.Task[int]", trying: Letter) -> None:
        await asyncio.wait({task})
        trying.ended = self._world.monotonic()
        status = _status(task)
        self._world.watch.note(trying.instance.label, f"answers {status} to {trying}")
        if status == _STATUS_OK:
            trying.acknowledged = True
            self._world.watch.acknowledged(trying)


def _status(task: "asyncio.Task[int]") -> int | None:
    """Tell the answer; None while there is none, or when the connection was lost."""
    if not task.done() or task.cancelled():
        return None
    return task.result()
