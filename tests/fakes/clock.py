"""Virtual time: a sleep takes none, and the clock says it did."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

EPOCH = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

# Rounds of the loop that other tasks get before time moves, so that they come to their own sleeps.
_ROUNDS = 10


class FakeClock:
    """`ports.Clock` for tests. Who has to wake first wakes first, and time jumps to that moment; two who
    sleep 10 s side by side wake at 10 s. `sleeps` holds every duration asked for, in order.

    Tasks that wait for threads or sockets are not waited for: time may jump past them.
    """

    def __init__(self, now: datetime = EPOCH) -> None:
        self._start = now
        self._elapsed_seconds = 0.0
        self._sleepers: list[tuple[float, int]] = []
        self._tickets = count()
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_seconds)

    def monotonic(self) -> float:
        return self._elapsed_seconds

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        me = (self._elapsed_seconds + max(seconds, 0.0), next(self._tickets))
        heapq.heappush(self._sleepers, me)
        try:
            for _ in range(_ROUNDS):
                await asyncio.sleep(0)
            while self._sleepers[0] != me:  # noqa: ASYNC110 - rounds of the loop are the point
                await asyncio.sleep(0)
            self._elapsed_seconds = max(self._elapsed_seconds, me[0])
        finally:
            self._sleepers.remove(me)
            heapq.heapify(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed_seconds += seconds
