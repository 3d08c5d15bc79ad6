"""Whose turn is it at the GPU: a bounded number of places, express before bulk, one flight a page.

A page waits here, inside its request, because a refusal to Pub/Sub counts as a delivery attempt and slows
the whole subscription, while waiting costs nothing. Whoever was refused by the GPU service comes back to
the head of the queue. A second delivery of a page in flight waits for the first, then finds its work done.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from enum import IntEnum

from bucketscribe.errors import OutOfTime
from bucketscribe.model import Lane


class Rank(IntEnum):
    """Order at the door; within a rank it is first come, first served. SLOW is for documents whose pages
    have cost so much time that they had better take only what nobody else wants.
    """

    AGAIN = 0
    EXPRESS = 1
    BULK = 2
    SLOW = 3

    @classmethod
    def of(cls, lane: Lane) -> "Rank":
        return cls.EXPRESS if lane is Lane.EXPRESS else cls.BULK


class Places:
    """A bounded number of places, given by rank; `where` says in errors what they are at."""

    def __init__(self, *, places: int, where: str) -> None:
        self._free = places
        self._where = where
        # Dicts as ordered sets: who gives up leaves the queue at once, wherever in it.
        self._queues: dict[Rank, dict[asyncio.Future[None], None]] = {rank: {} for rank in sorted(Rank)}

    @asynccontextmanager
    async def place(self, rank: Rank, *, timeout_seconds: float) -> AsyncIterator[None]:
        """Hold one place. Raises OutOfTime when the turn does not come within the time."""
        await self._enter(rank, timeout_seconds)
        try:
            yield
        finally:
            self._pass_on()

    async def _enter(self, rank: Rank, timeout_seconds: float) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues[rank][turn] = None
        try:
            await _within(turn, timeout_seconds, f"no place {self._where} came free in time")
        except BaseException:
            # The turn may have come in the very moment of giving up: then it goes to the next in line.
            if turn.done() and not turn.cancelled():
                self._pass_on()
            raise
        finally:
            self._queues[rank].pop(turn, None)

    def _pass_on(self) -> None:
        waiting = (turn for queue in self._queues.values() for turn in queue if not turn.done())
        turn = next(waiting, None)
        if turn:
            turn.set_result(None)
        else:
            self._free += 1


class Turns(Places):
    """One limiter for one instance. `places` model calls at once; `waiting` pages inside at the most."""

    def __init__(self, *, places: int, waiting: int) -> None:
        super().__init__(places=places, where="at the GPU")
        self._waiting = waiting
        self._inside = 0
        self._flights: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def flight(self, page: Hashable, *, timeout_seconds: float) -> AsyncIterator[None]:
        """Hold a page alone. Raises OutOfTime when the house is full or the page's first flight lasts."""
        if self._inside >= self._waiting:
            raise OutOfTime(f"{self._inside} pages are inside this instance already: the next one must wait")
        lock, holders = self._flights.get(page, (asyncio.Lock(), 0))
        self._flights[page] = (lock, holders + 1)
        self._inside += 1
        try:
            await _within(lock.acquire(), timeout_seconds, "the page is in flight elsewhere in this instance")
            try:
                yield
            finally:
                lock.release()
        finally:
            self._inside -= 1
            self._leave_flight(page)

    def _leave_flight(self, page: Hashable) -> None:
        lock, holders = self._flights[page]
        if holders == 1:
            del self._flights[page]
        else:
            self._flights[page] = (lock, holders - 1)


async def _within(waited: "asyncio.Future[None] | object", timeout_seconds: float, otherwise: str) -> None:
    try:
        async with asyncio.timeout(max(0.0, timeout_seconds)):
            await waited  # type: ignore[misc]
    except TimeoutError as error:
        raise OutOfTime(f"{otherwise} ({timeout_seconds:.0f} s)") from error
