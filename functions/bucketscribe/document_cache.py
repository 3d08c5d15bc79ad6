"""A document is fetched once per instance, to a bounded folder, and every page is drawn from that file.

One download serves all who wait for it; what nobody uses is evicted, oldest first, when room is needed; a
document that finds no room waits until others have gone. On Cloud Run the folder is memory.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bucketscribe.model import ObjectRef
from bucketscribe.ports import Bucket


@dataclass(slots=True, kw_only=True)
class _Copy:
    """A local copy: the `download` that makes it, the bytes it may take, how many pages use it now."""

    path: Path
    size: int
    users: int = 0
    download: "asyncio.Task[bool] | None" = field(default=None)


class DocumentCache:
    """Local copies of one bucket's documents, `limit_bytes` in all, in a folder of its own."""

    def __init__(self, bucket: Bucket, folder: Path, *, limit_bytes: int) -> None:
        self._bucket = bucket
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._copies: OrderedDict[ObjectRef, _Copy] = OrderedDict()
        self._changed = asyncio.Condition()
        self._numbers = iter(range(1, 1 << 62))

    @asynccontextmanager
    async def document(self, source: ObjectRef) -> AsyncIterator[Path | None]:
        """Lend the path of a document's local copy; None when that generation is not the live one any more.

        Costs two requests, a look for the size and the download, for all pages together. Raises
        StorageUnavailable.
        """
        if source not in self._copies:
            info = await self._bucket.look(source.name)
            if info is None or info.generation != source.generation:
                yield None
                return
            size = info.size
        else:
            size = self._copies[source].size
        copy = await self._reserve(source, size)
        try:
            yield copy.path if await self._fetched(source, copy) else None
        finally:
            async with self._changed:
                copy.users -= 1
                self._changed.notify_all()

    async def _reserve(self, source: ObjectRef, size: int) -> _Copy:
        async with self._changed:
            while True:
                if copy := self._copies.get(source):
                    self._copies.move_to_end(source)
                elif self._make_room(size):
                    copy = _Copy(path=self._folder / f"{next(self._numbers)}.document", size=size)
                    self._copies[source] = copy
                else:
                    await self._changed.wait()
                    continue
                copy.users += 1
                return copy

    def _make_room(self, size: int) -> bool:
        """Evict what nobody uses until `size` bytes fit; an only document is let in whatever its size."""
        unused = [source for source, copy in self._copies.items() if copy.users == 0]
        while self._copies and sum(each.size for each in self._copies.values()) + size > self._limit_bytes:
            if not unused:
                return False
            evicted = self._copies.pop(unused.pop(0))
            evicted.path.unlink(missing_ok=True)
        return True

    async def _fetched(self, source: ObjectRef, copy: _Copy) -> bool:
        """Wait for the one download; a failed one is forgotten, so that the next page tries anew."""
        if copy.download is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            copy.download = asyncio.create_task(
                self._bucket.download(source.name, source.generation, copy.path)
            )
        download = copy.download
        try:
            found = await asyncio.shield(download)
        except BaseException:
            if download.done():
                self._forget(copy, download)
            raise
        if not found:
            self._forget(copy, download)
        return found

    def _forget(self, copy: _Copy, download: "asyncio.Task[bool]") -> None:
        if copy.download is download:
            copy.download = None
            copy.path.unlink(missing_ok=True)
