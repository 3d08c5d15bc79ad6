"""A GPU is woken beside other work, once, so that it is awake when the first page comes."""

import asyncio
from types import TracebackType
from typing import Self

from bucketscribe.ports import Reader

# What the call may take to fetch its id token and to arrive; a GPU that is awake has answered by then.
SECONDS = 2.0


class WarmUp:
    """One call, made when it is first asked for, and at the end waited for: that it has arrived is enough,
    the waking goes on without it.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._calling: asyncio.Task[bool] | None = None

    def call(self) -> None:
        """Set the call on its way, unless it is."""
        self._calling = self._calling or asyncio.create_task(self._reader.health())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._calling:
            await asyncio.wait({self._calling}, timeout=SECONDS)
            self._calling.cancel()
