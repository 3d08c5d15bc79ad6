"""The bench's time: the loop's, or `scale` times as fast. All seconds are those of the world shown."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from tests.fakes.clock import EPOCH


class Timing:
    """`ports.Clock` on the running loop; virtual if the loop is."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._scale = scale

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return (self._loop.time() - self._began) * self._scale

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._scale)

    def after(self, seconds: float, call: Callable[..., object], *args: object) -> asyncio.TimerHandle:
        return self._loop.call_later(max(0.0, seconds) / self._scale, call, *args)
