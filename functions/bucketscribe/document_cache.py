"""A document is fetched once per instance, to a bounded folder, and every page is drawn from that file.

One fetch serves all who wait for it; what nobody uses is evicted, oldest first, when room is needed; a
document that finds no room waits until others have gone. On Cloud Run the folder is memory.
"""

import asyncio
import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bucketscribe.model import ObjectRef
from bucketscribe.ports import Bucket

# A copy older than this is looked after once more: pages of a version that was replaced or deleted meanwhile
# need not be read any more, and would cost their GPU time.
RECHECK_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class _Copy:
    """A local copy: the `fetch` that makes it, the bytes set aside for it, how many pages use it now, when it
    was last known to be the live version.
    """

    path: Path
    checked: float
    size: int = 0
    users: int = 0
    live: bool = True
    fetch: "asyncio.Task[bool]" = field(init=False)


class DocumentCache:
    """Local copies of one bucket's documents, `limit_bytes` in all, in a folder of its own.

    Nothing here awaits between looking at the books and changing them, so they need no lock.
    """

    def __init__(
        self,
        bucket: Bucket,
        folder: Path,
        *,
        limit_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._bucket = bucket
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._copies: OrderedDict[ObjectRef, _Copy] = OrderedDict()
        self._changed = asyncio.Event()
        self._numbers = iter(range(1, 1 << 62))

    @asynccontextmanager
    async def document(self, source: ObjectRef) -> AsyncIterator[Path | None]:
        """Lend the path of a document's local copy; None when that generation is not the live one any more.

        Costs two requests, a look for the size and the download, for all pages together, and a look more
        every RECHECK_SECONDS. A waiter that is cancelled does not stop the fetch for the others. Raises
        StorageUnavailable.
        """
        copy = self._copies.get(source) or self._begin(source)
        self._copies.move_to_end(source)
        copy.users += 1
        try:
            found = await asyncio.shield(copy.fetch)
            yield copy.path if found and await self._is_live(source, copy) else None
        finally:
            copy.users -= 1
            self._announce()

    def _begin(self, source: ObjectRef) -> _Copy:
        path = self._folder / f"{next(self._numbers)}.document"
        copy = _Copy(path=path, checked=self._monotonic())
        copy.fetch = asyncio.create_task(self._fetch(source, copy))
        copy.fetch.add_done_callback(_see_failure)
        self._copies[source] = copy
        return copy

    async def _is_live(self, source: ObjectRef, copy: _Copy) -> bool:
        now = self._monotonic()
        if now - copy.checked > RECHECK_SECONDS:
            copy.checked = now  # before the look, so that of many pages one asks
            info = await self._bucket.look(source.name)
            copy.live = info is not None and info.generation == source.generation
        return copy.live

    async def _fetch(self, source: ObjectRef, copy: _Copy) -> bool:
        """Fetch a document; what came to nothing is forgotten, so that the next page tries anew."""
        found = False
        try:
            found = await self._download(source, copy)
        finally:
            if not found:
                self._forget(source)
            self._announce()
        return found

    async def _download(self, source: ObjectRef, copy: _Copy) -> bool:
        """Download into reserved room; False when the source is gone, or everybody who waited for it."""
        info = await self._bucket.look(source.name)
        if info is None or info.generation != source.generation:
            return False
        while copy.users and not self._make_room(info.size):
            await self._changed.wait()
        if not copy.users:
            return False
        copy.size = info.size
        self._folder.mkdir(parents=True, exist_ok=True)
        return await self._bucket.download(source.name, source.generation, copy.path)

    def _make_room(self, size: int) -> bool:
        """Evict what nobody uses until `size` bytes fit; an only document is let in whatever its size."""
        unused = [source for source, copy in self._copies.items() if not copy.users and copy.fetch.done()]
        taken = sum(copy.size for copy in self._copies.values())
        kept = taken - sum(self._copies[source].size for source in unused)
        if kept and kept + size > self._limit_bytes:
            return False
        for source in unused:
            if taken + size <= self._limit_bytes:
                break
            taken -= self._copies[source].size
            self._forget(source)
        return True

    def _forget(self, source: ObjectRef) -> None:
        """Delete a copy, its content first: a render process may still have it open, though nobody draws from
        it any more, and on Cloud Run it is memory for as long.
        """
        path = self._copies.pop(source).path
        with contextlib.suppress(FileNotFoundError):
            os.truncate(path, 0)
            path.unlink()

    def _announce(self) -> None:
        """Wake all who wait for room."""
        self._changed.set()
        self._changed = asyncio.Event()


def _see_failure(fetch: "asyncio.Task[bool]") -> None:
    """Look at the outcome, so that a failure whose waiters were all cancelled is not logged as unseen."""
    if not fetch.cancelled():
        fetch.exception()
