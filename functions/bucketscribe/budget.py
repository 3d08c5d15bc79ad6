"""The time of one delivery.

A model call that is cut off half-way wastes its GPU time, so none starts within the reserve.
"""

from bucketscribe.ports import Clock


class Budget:
    """`seconds` from now on; the last model call begins `reserve_seconds` before they end."""

    def __init__(self, clock: Clock, *, seconds: float, reserve_seconds: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + seconds
        self._reserve_seconds = reserve_seconds

    def left(self) -> float:
        """Tell the seconds until all must be over; negative when they are."""
        return self._ends - self._clock.monotonic()

    def waitable(self) -> float:
        """Tell the seconds that may pass before a model call must have begun; negative when too late."""
        return self.left() - self._reserve_seconds
