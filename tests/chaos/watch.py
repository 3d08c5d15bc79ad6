"""How far a run is, seen from outside: whether all has ended, still moves, or stands still for good."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from infra.local.outbox import Premises
from tests.chaos import city, judge
from tests.chaos.journal import SqliteJournal
from tests.chaos.story import Story

_LOOK_EVERY_SECONDS = 1.0
_TELL_EVERY_SECONDS = 10.0


class Stalled(Exception):
    """Nothing moves any more, and not all has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far the run is. `in_flight` counts jobs and notes, `owed` messages."""

    dropped: int
    ended: int
    pages: int
    in_flight: int
    owed: int

    def is_done(self, documents: int) -> bool:
        return self.ended == documents and not self.in_flight and not self.owed

    def __str__(self) -> str:
        return (
            f"{self.ended} of {self.dropped} documents ended · {self.pages} pages · "
            f"{self.in_flight} jobs and notes · {self.owed} messages under way"
        )


class Watch:
    """Looks at the outbox and at the broker's journal every second; `say` is told now and then."""

    def __init__(
        self, premises: Premises, story: Story, *, stalled_seconds: float, say: Callable[[str], None]
    ) -> None:
        self._premises = premises
        self._story = story
        self._stalled_seconds = stalled_seconds
        self._say = say

    async def until_all_has_ended(self, quiet_seconds: float = 0.0) -> None:
        """Return when all has ended and stayed so for a while. Raises Stalled."""
        loop = asyncio.get_running_loop()
        seen, moved, told, quiet = None, loop.time(), loop.time(), None
        with SqliteJournal(city.journal(self._premises)) as journal:
            while quiet is None or loop.time() - quiet < quiet_seconds:
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
                state = self._state(journal)
                if state != seen:
                    seen, moved = state, loop.time()
                if loop.time() - moved > self._stalled_seconds:
                    raise Stalled(f"nothing has moved for {self._stalled_seconds:.0f} s: {state}")
                quiet = (quiet or loop.time()) if state.is_done(len(self._story.drawn)) else None
                if loop.time() - told > _TELL_EVERY_SECONDS:
                    told = loop.time()
                    self._say(f"{state} · {self._story.kills.total()} kills")

    def _state(self, journal: SqliteJournal) -> State:
        outbox = self._premises.outbox
        return State(
            dropped=len(self._story.dropped),
            ended=sum(judge.record(outbox, each.source) is not None for each in self._story.dropped),
            pages=sum(1 for _ in (outbox / "pages").rglob("*.md")),
            in_flight=len(judge.in_flight(outbox)),
            owed=journal.owed().total(),
        )
