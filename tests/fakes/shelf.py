"""A fake bucket as the operator's commands read it."""

from collections.abc import AsyncIterator

from bucketscribe.model import ObjectInfo, StoredObject
from tests.fakes.bucket import FakeBucket


class FakeShelf:
    """`infra.operate.shelf.Shelf` over a FakeBucket, uncounted; `reads` holds the names that were read."""

    def __init__(self, bucket: FakeBucket) -> None:
        self._bucket = bucket
        self.reads: list[str] = []

    async def look(self, name: str) -> ObjectInfo | None:
        stored = self._bucket.get(name)
        return stored.info if stored else None

    async def read(self, name: str) -> StoredObject | None:
        self.reads.append(name)
        return self._bucket.get(name)

    async def listing(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for name in self._bucket.listing:
            stored = self._bucket.get(name)
            if stored and name.startswith(prefix):
                yield stored.info
