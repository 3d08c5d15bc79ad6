"""A bucket in memory: generations, preconditions, counted requests, trouble on demand."""

import base64
from bisect import bisect_left, insort
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, takewhile
from pathlib import Path

import google_crc32c

from bucketscribe.errors import BucketscribeError, WriteConflict
from bucketscribe.model import ObjectInfo, StoredObject

# Cloud Storage answers a listing in pages of this many names.
PAGE_NAMES = 1000

# A longer object that comes in parts is written in chunks of this size.
CHUNK_BYTES = 8 * 1024 * 1024


class FakeBucket:
    """`ports.Bucket` in memory.

    `requests` counts what the real thing would be asked, by verb (look, read, body, write, delete, names,
    infos, download), the requests that fail included; a listing counts once for every 1,000 names, reading
    what is there counts twice, and an upload is a write, or several where it is long.

    `before_write`, when set, runs with the object's name just before each write is judged: it may change
    the bucket through `put` and `drop` and so stage a race. `now` is the server's clock.
    """

    def __init__(self, name: str = "bucket") -> None:
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._name = name
        self._objects: dict[str, StoredObject] = {}
        self._order: list[str] = []
        self._generations = count(1_700_000_000_000_000)
        self._failures: defaultdict[str, deque[BucketscribeError]] = defaultdict(deque)
        self.requests: Counter[str] = Counter()
        self.before_write: Callable[[str], object] | None = None

    @property
    def name(self) -> str:
        return self._name

    def fail_next(self, verb: str, error: BucketscribeError, *, times: int = 1) -> None:
        """Raise `error` at the next `times` calls of a verb."""
        self._failures[verb].extend([error] * times)

    def put(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Place an object as somebody else would: unconditionally, and uncounted."""
        generation = next(self._generations)
        checksum = base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode("ascii")
        info = ObjectInfo(
            name=name,
            generation=generation,
            size=len(data),
            updated_at=self.now(),
            content_type=content_type,
            crc32c=checksum,
            metadata=dict(metadata or {}),
        )
        if name not in self._objects:
            insort(self._order, name)
        self._objects[name] = StoredObject(info=info, data=bytes(data))
        return generation

    def drop(self, name: str) -> None:
        """Take an object away as somebody else would."""
        if self._objects.pop(name, None):
            del self._order[bisect_left(self._order, name)]

    def get(self, name: str) -> StoredObject | None:
        """Return an object, uncounted, to assert on."""
        return self._objects.get(name)

    @property
    def listing(self) -> list[str]:
        """All names in order, uncounted, to assert on."""
        return list(self._order)

    async def look(self, name: str) -> ObjectInfo | None:
        self._count("look")
        stored = self._objects.get(name)
        return None if stored is None else _copy(stored.info)

    async def read(self, name: str) -> StoredObject | None:
        stored = self._objects.get(name)
        self._count("read", requests=1 if stored is None else 2)
        return None if stored is None else replace(stored, info=_copy(stored.info))

    async def body(self, name: str, generation: int) -> bytes | None:
        self._count("body")
        stored = self._objects.get(name)
        return stored.data if stored and stored.info.generation == generation else None

    async def write(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        return self._write(name, data, content_type, if_generation, metadata)

    async def upload(
        self,
        name: str,
        parts: AsyncIterable[bytes],
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        data = b"".join([part async for part in parts])
        chunks = -(-len(data) // CHUNK_BYTES)
        self.requests["write"] += chunks if chunks > 1 else 0
        return self._write(name, data, content_type, if_generation, metadata)

    def _write(
        self,
        name: str,
        data: bytes,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None,
    ) -> int:
        for text in (part for pair in (metadata or {}).items() for part in pair):
            if not text.isascii():
                raise ValueError(f"metadata of {name} must be ASCII, not {text!r}")
        if self.before_write is not None:
            self.before_write(name)
        self._count("write")
        live = self._generation(name)
        if live != if_generation:
            raise WriteConflict(f"writing {name}: its live generation is {live}, not {if_generation}")
        return self.put(name, data, content_type=content_type, metadata=metadata)

    async def delete(self, name: str, *, if_generation: int | None = None) -> None:
        self._count("delete")
        if if_generation in (None, self._generation(name)):
            self.drop(name)

    async def names(self, prefix: str, *, start: str = "", end: str = "") -> list[str]:
        found = self._between(prefix, start, end)
        self._count("names", requests=_pages(len(found)))
        return found

    async def infos(self, prefix: str) -> list[ObjectInfo]:
        found = [_copy(self._objects[name].info) for name in self._between(prefix, "", "")]
        self._count("infos", requests=_pages(len(found)))
        return found

    async def download(self, name: str, generation: int, path: Path) -> bool:
        self._count("download")
        if self._generation(name) != generation:
            return False
        path.write_bytes(self._objects[name].data)  # noqa: ASYNC240 - a small file, and only in tests
        return True

    def _between(self, prefix: str, start: str, end: str) -> list[str]:
        """List names in order without looking at all the others: long documents are listed often."""
        first = bisect_left(self._order, max(prefix, start))
        last = bisect_left(self._order, end) if end else len(self._order)
        return list(takewhile(lambda name: name.startswith(prefix), self._order[first:last]))

    def _generation(self, name: str) -> int:
        stored = self._objects.get(name)
        return 0 if stored is None else stored.info.generation

    def _count(self, verb: str, *, requests: int = 1) -> None:
        self.requests[verb] += requests
        if self._failures[verb]:
            raise self._failures[verb].popleft()


def _copy(info: ObjectInfo) -> ObjectInfo:
    return replace(info, metadata=dict(info.metadata))


def _pages(names: int) -> int:
    return max(1, -(-names // PAGE_NAMES))
