"""The real time; a simulator brings its own."""

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """Implements ports.Clock over the machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
