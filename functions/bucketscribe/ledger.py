"""The books: one object a page, its body the Markdown, its metadata the record. Written once, create-only;
replaced by generation match, and only by something better: a higher edition, or a better-ranked ending in
the same edition. Reading the prefix back is reading the ledger.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bucketscribe import layout, records
from bucketscribe.errors import UnreadablePage, WriteConflict
from bucketscribe.model import (
    LATE,
    REDO_FAILED,
    Job,
    ObjectInfo,
    ObjectRef,
    PageRecord,
    PageStatus,
    PageTask,
    StoredPage,
)
from bucketscribe.ports import Bucket

# Bodies read at once for one document: a small share of the connections, so that nobody starves.
READERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A page object as a listing shows it."""

    record: PageRecord
    info: ObjectInfo


async def look(bucket: Bucket, source: ObjectRef, page: int) -> PageRecord | None:
    """Tell how a page ended; None while it has not. One request."""
    info = await bucket.look(layout.page(source, page))
    return records.page_record(info.metadata) if info else None


async def ended(bucket: Bucket, task: PageTask) -> PageRecord | None:
    """Tell how a task's page has ended, in its edition or a later one; None while it has not. One request."""
    found = await look(bucket, task.source, task.page)
    return found if found and found.edition >= task.edition else None


async def write(bucket: Bucket, source: ObjectRef, record: PageRecord, body: str) -> PageRecord:
    """End a page; return the record that then stands, which is another one's if that is as good or better.
    One that replaces a worse ending of the same edition is marked as late; a redo that failed leaves what
    stood, in its own edition.

    One request, two or three more for each writer who came between.
    """
    name = layout.page(source, record.page)
    new, data, generation = record, body.encode(), 0
    while True:
        try:
            await bucket.write(
                name,
                data,
                content_type=records.MARKDOWN,
                metadata=records.page_metadata(new),
                if_generation=generation,
            )
        except WriteConflict:
            info = await bucket.look(name)
            standing = records.page_record(info.metadata) if info else None
            if standing and not is_better(record, standing):
                return standing
            new, data = _marked(record, standing), body.encode()
            generation = info.generation if info else 0
            if standing and _is_kept(standing, record):
                stood = await bucket.body(name, generation)  # None: replaced again, the write will tell
                new, data = _kept(standing, record), stood or b""
        else:
            return new


def _marked(record: PageRecord, standing: PageRecord | None) -> PageRecord:
    is_late = standing is not None and standing.edition == record.edition
    return replace(record, flags=(*record.flags, LATE)) if is_late else record


def _is_kept(standing: PageRecord, failed: PageRecord) -> bool:
    """Tell whether a redo that failed would take away what could be read before."""
    return failed.status is PageStatus.FAILED and standing.status is not PageStatus.FAILED


def _kept(standing: PageRecord, failed: PageRecord) -> PageRecord:
    flags = [flag for flag in standing.flags if flag not in (LATE, REDO_FAILED)]
    return replace(standing, edition=failed.edition, flags=(*flags, REDO_FAILED))


async def entries(bucket: Bucket, source: ObjectRef) -> list[Entry]:
    """List a document's ended pages, in order. One request for every 1,000 pages."""
    found = []
    for info in await bucket.infos(layout.pages_prefix(source)):
        number = layout.page_of(source, info.name)
        record = records.page_record(info.metadata)
        if number and record and record.page == number:
            found.append(Entry(record=record, info=info))
    return found


async def read(entries: Sequence[Entry], bucket: Bucket) -> tuple[StoredPage, ...]:
    """Read the pages' bodies, each of the generation that was listed, a request a page.

    The first failure ends the others. Raises WriteConflict when one was replaced meanwhile: then the ledger
    is to be listed again; UnreadablePage when a stranger has written one.
    """
    share = asyncio.Semaphore(READERS)

    async def page(entry: Entry) -> StoredPage:
        async with share:
            data = await bucket.body(entry.info.name, entry.info.generation)
        if data is None:
            raise WriteConflict(f"page {entry.record.page} was replaced while it was read")
        return StoredPage(
            record=entry.record,
            object_name=entry.info.name,
            object_generation=entry.info.generation,
            markdown=_text(entry, data),
        )

    try:
        async with asyncio.TaskGroup() as group:
            pages = [group.create_task(page(entry)) for entry in entries]
    except ExceptionGroup as group_of_errors:
        raise group_of_errors.exceptions[0] from None
    return tuple(each.result() for each in pages)


def _text(entry: Entry, body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise UnreadablePage(f"{entry.info.name} is not UTF-8: delete it, and its page is missing") from error


def is_better(new: PageRecord, standing: PageRecord) -> bool:
    """Tell whether a result may replace the one that stands."""
    if new.edition != standing.edition:
        return new.edition > standing.edition
    return new.rank < standing.rank


def outstanding(job: Job, found: Sequence[Entry]) -> list[int]:
    """List the pages of a planned job that have not ended yet, in the edition that is asked for, in order."""
    ended = {entry.record.page: entry.record.edition for entry in found}
    pages = range(1, (job.pages or 0) + 1)
    return [page for page in pages if page not in ended or ended[page] < job.edition_of(page)]
