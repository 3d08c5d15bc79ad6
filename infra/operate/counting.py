"""How many documents and pages there are: files, or objects of a bucket, opened as fan_out opens them.

Of a bucket only so many objects are opened, spread evenly over its names; how many pages the others have is
guessed from the mean of those.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from bucketscribe import storage
from bucketscribe.errors import DocumentError, SourceGone, StorageUnavailable, TooLarge
from bucketscribe.fan_out import MIB, ignored_because
from bucketscribe.model import ObjectInfo, ObjectRef, Upload
from bucketscribe.render import Limits
from bucketscribe.render_pool import RenderPool
from bucketscribe.settings import Settings
from bucketscribe.storage import CloudBucket
from infra.local.errors import CannotRun
from infra.local.inbox import collect
from infra.operate.shelf import SCHEME, BucketShelf, file_info, make_client

# Where `bucketscribe local` leaves its results: no documents of anybody's.
_OUTBOX = Path("outbox")

# Files are in no bucket yet.
_NO_BUCKET = "files"


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
    """Tells what on_upload would take in; counts a document's pages in a process with limits, as it does."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pool = RenderPool(
            workers=1,
            seconds=settings.render_seconds,
            memory_mib=settings.render_mib,
            limits=Limits(max_pages=settings.document_pages, max_pixels=settings.image_pixels),
        )

    def takes_in(self, bucket: str, info: ObjectInfo) -> bool:
        """Tell whether on_upload would take an object of a bucket for a document."""
        upload = Upload(
            source=ObjectRef(bucket=bucket, name=info.name, generation=info.generation),
            size=info.size,
            content_type=info.content_type,
            crc32c=info.crc32c,
            uploaded_at=info.updated_at,
        )
        return ignored_because(upload, self.settings) is None

    def refuses(self, info: ObjectInfo, counted: Counted) -> bool:
        """Note what is larger than on_upload opens."""
        if info.size <= self.settings.document_mib * MIB:
            return False
        counted.unread[info.name] = TooLarge.code
        return True

    async def count(self, name: str, path: Path, counted: Counted) -> None:
        try:
            counted.pages.append((await self._pool.inspect(path)).pages)
        except DocumentError as error:
            counted.unread[name] = error.code

    def close(self) -> None:
        self._pool.close()


async def count_files(patterns: Sequence[str], opener: Opener) -> Counted:
    """Open every file that would be taken in under its name. Raises CannotRun when one is missing."""
    counted = Counted()
    for item in collect(patterns, _OUTBOX, refusal="nothing was counted"):
        info = file_info(item.name, item.path)
        if not opener.takes_in(_NO_BUCKET, info):
            continue
        counted.documents += 1
        if not opener.refuses(info, counted):
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
        listing = BucketShelf(bucket).listing(prefix)
        found = [info async for info in listing if opener.takes_in(bucket.name, info)]
        counted = Counted(documents=len(found))
        await _open(bucket, _spread(found, most), opener, counted)
    except StorageUnavailable as error:
        raise CannotRun(str(error)) from error
    finally:
        client.close()
    return counted


def _spread(found: Sequence[ObjectInfo], most: int) -> list[ObjectInfo]:
    """Take `most` of them, evenly over all."""
    if len(found) <= most:
        return list(found)
    return [found[number * len(found) // most] for number in range(most)]


async def _open(bucket: CloudBucket, chosen: Sequence[ObjectInfo], opener: Opener, counted: Counted) -> None:
    with tempfile.TemporaryDirectory(prefix="bucketscribe-") as folder:
        path = Path(folder, "document")
        for info in chosen:
            if opener.refuses(info, counted):
                continue
            if await bucket.download(info.name, info.generation, path):
                await opener.count(info.name, path, counted)
            else:
                counted.unread[info.name] = SourceGone.code
