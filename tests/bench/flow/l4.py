"""One L4 with vLLM: the pages of its batch advance together, at a speed that their number decides."""

import asyncio
import heapq
from collections import deque
from itertools import count

from infra.operate import capacity
from tests.bench.flow.timing import Timing


class Refused(Exception):
    """A service answers with this HTTP status instead of doing what it was asked."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class L4:
    """`seats` pages at once; as many more wait inside as make `queued` with them, the next gets a 503.

    `work` counts the average pages produced, those for nothing included.
    """

    def __init__(self, timing: Timing, *, seats: int, queued: int) -> None:
        self._timing = timing
        self._seats = seats
        self._queued = queued
        self._progress = 0.0
        self._since = timing.monotonic()
        self._numbers = count()
        self._ends: list[tuple[float, int, asyncio.Future[None]]] = []
        # In the order in which they came, as no set has it: two runs break off the same pages in turn.
        self._batch: dict[asyncio.Future[None], None] = {}
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.work = 0.0

    @property
    def speed(self) -> float:
        """Average pages a second, now."""
        return capacity.pages_per_second(len(self._batch))

    async def read(self, work: float) -> None:
        """Read a page that is `work` average ones. Raises Refused; a caller who goes frees his place."""
        if len(self._batch) + len(self._waiting) >= self._queued:
            raise Refused(503)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        self._move()
        try:
            await done
        finally:
            self._leave(done)

    def die(self) -> None:
        """Break off everything: the instance is gone."""
        for done in (*self._batch, *(done for _, done in self._waiting)):
            if not done.done():
                done.set_exception(Refused(503))

    def _leave(self, done: "asyncio.Future[None]") -> None:
        """Take away who was broken off, or hung up; who was read has left already."""
        self._advance()
        self._batch.pop(done, None)
        self._move()

    def _move(self) -> None:
        """Bring time up to now, seat those who wait, and set the timer for the next end."""
        self._advance()
        while self._waiting and len(self._batch) < self._seats:
            work, done = self._waiting.popleft()
            if not done.done():
                self._batch[done] = None
                heapq.heappush(self._ends, (self._progress + work, next(self._numbers), done))
        while self._ends and self._ends[0][2] not in self._batch:
            heapq.heappop(self._ends)
        if self._timer:
            self._timer.cancel()
        if self._ends:
            left = (self._ends[0][0] - self._progress) * len(self._batch) / self.speed
            self._timer = self._timing.after(left, self._end)

    def _end(self) -> None:
        """Hand over the page that is read first."""
        self._advance()
        if self._ends and self._ends[0][2] in self._batch:
            _, _, done = heapq.heappop(self._ends)
            del self._batch[done]
            if not done.done():
                done.set_result(None)
        self._move()

    def _advance(self) -> None:
        now = self._timing.monotonic()
        if self._batch:
            produced = (now - self._since) * self.speed
            self.work += produced
            self._progress += produced / len(self._batch)
        self._since = now
