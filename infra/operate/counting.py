"""How many documents and pages there are: files, or objects of a bucket, opened as fan_out opens them.

Of a bucket only so many objects are opened, spread evenly over its names; how many pages the others have is
guessed from the mean of those.
"""

import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from bucketscribe import storage
from bucketscribe.errors import DocumentError, StorageUnavailable
from bucketscribe.fan_out import ignored_because
from bucketscribe.model import ObjectInfo, ObjectRef, Upload
from bucketscribe.render import Limits
from bucketscribe.render_pool import RenderPool
from bucketscribe.settings import Settings
from bucketscribe.storage import CloudBucket
from infra.local.errors import CannotRun
from infra.local.inbox import collect
from infra.operate.shelf import SCHEME, BucketShelf, make_client

_MIB = 1024 * 1024

# Where `bucketscribe local` leaves its results: no documents of anybody's.
_OUTBOX = Path("outbox")


@dataclass(slots=True, kw_only=True)
class Counted:
    """`documents` there are; `pages` holds the page counts of those that were opened, and `unread` why others
    could not be: they end as failed documents and cost nothing to speak of.
    """

    documents: int = 0
    pages: list[int] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def opened(self) -> int:
        return len(self.pages) + len(self.unread)

    @property
    def is_guess(self) -> bool:
        return self.opened < self.documents

    def expected_pages(self) -> int:
        return round(self._mean() * self.documents)

    def error_pages(self) -> int:
        """Tell twice the guess's standard error: in 19 of 20 cases it is not farther off."""
        each = [*self.pages, *[0] * len(self.unread)]
        if not self.is_guess or len(each) < 2:  # noqa: PLR2004 - one says nothing of the others
            return 0
        left = self.documents - len(each)
        return round(2 * stdev(each) * sqrt(left * self.documents / len(each)))

    def _mean(self) -> float:
        return fmean([*self.pages, *[0] * len(self.unread)]) if self.opened else 0.0


class Opener:
    """Counts a document's pages in a process with limits, as on_upload does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pool = RenderPool(
            workers=1,
            seconds=settings.render_seconds,
            memory_mib=settings.render_mib,
            limits=Limits(max_pages=settings.document_pages, max_pixels=settings.image_pixels),
        )

    async def count(self, name: str, path: Path, counted: Counted) -> None:
        try:
            counted.pages.append((await self._pool.inspect(path)).pages)
        except DocumentError as error:
            counted.unread[name] = error.code

    def close(self) -> None:
        self._pool.close()


async def count_files(patterns: Sequence[str], opener: Opener) -> Counted:
    """Open every file. Raises CannotRun when one is missing."""
    counted = Counted()
    for item in collect(patterns, _OUTBOX):
        counted.documents += 1
        await opener.count(item.name, item.path, counted)
    return counted


async def count_bucket(place: str, most: int, opener: Opener) -> Counted:
    """Open `most` of a bucket's documents, fetched one at a time. Raises CannotRun when it cannot be read."""
    name, _, prefix = place.removeprefix(SCHEME).partition("/")
    if not name:
        raise CannotRun(f"{place} names no bucket: gs://BUCKET, or gs://BUCKET/PREFIX")
    client = make_client()
    bucket = storage.open_bucket(name, client=client)
    try:
        found = [info async for info in _documents(bucket, prefix, opener.settings)]
        counted = Counted(documents=len(found))
        await _open(bucket, _spread(found, most), opener, counted)
    except StorageUnavailable as error:
        raise CannotRun(str(error)) from error
    finally:
        client.close()
    return counted


async def _documents(bucket: CloudBucket, prefix: str, settings: Settings) -> AsyncIterator[ObjectInfo]:
    """Stream the objects that on_upload would take in."""
    async for info in BucketShelf(bucket).listing(prefix):
        upload = Upload(
            source=ObjectRef(bucket=bucket.name, name=info.name, generation=info.generation),
            size=info.size,
            content_type=info.content_type,
            crc32c=info.crc32c,
            uploaded_at=info.updated_at,
        )
        if ignored_because(upload, settings) is None:
            yield info


def _spread(found: Sequence[ObjectInfo], most: int) -> list[ObjectInfo]:
    """Take `most` of them, evenly over all."""
    if len(found) <= most:
        return list(found)
    return [found[number * len(found) // most] for number in range(most)]


async def _open(bucket: CloudBucket, chosen: Sequence[ObjectInfo], opener: Opener, counted: Counted) -> None:
    with tempfile.TemporaryDirectory(prefix="bucketscribe-") as folder:
        path = Path(folder, "document")
        for info in chosen:
            if info.size > opener.settings.document_mib * _MIB:
                counted.unread[info.name] = "too_large"
            elif await bucket.download(info.name, info.generation, path):
                await opener.count(info.name, path, counted)
            else:
                counted.unread[info.name] = "source_gone"
