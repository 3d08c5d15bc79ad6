"""The books: one object a page, its body the Markdown, its metadata the record. Written once, create-only;
replaced by generation match, and only by something better: a higher edition, or a better-ranked ending in
the same edition. Reading the prefix back is reading the ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from bucketscribe import layout, records
from bucketscribe.errors import WriteConflict
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

# Decoding a page's record takes 10 us: so many are done in place, more on a thread.
FEW_PAGES = 500


async def look(bucket: Bucket, source: ObjectRef, page: int) -> PageRecord | None:
    """Tell how a page ended; None while it has not. One request."""
    info = await bucket.look(layout.page(source, page))
    return records.page_record(info.metadata) if info else None


async def ended(bucket: Bucket, task: PageTask) -> PageRecord | None:
    """Tell how a task's page has ended, in its edition or a later one; None while it has not. One request."""
    found = await look(bucket, task.source, task.page)
    return found if found and found.edition >= task.edition else None


async def write(
    bucket: Bucket,
    source: ObjectRef,
    record: PageRecord,
    body: str,
    *,
    before_late: Callable[[], Awaitable[object]] | None = None,
) -> PageRecord:
    """End a page; return the record that then stands, which is another one's if that is as good or better.
    One that replaces a worse ending of the same edition is marked as late, and `before_late` is done first;
    a redo that failed leaves what stood, in its own edition.

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
            if new.is_late and before_late:
                await before_late()
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


async def entries(bucket: Bucket, source: ObjectRef) -> list[StoredPage]:
    """List a document's ended pages, in order. One request for every 1,000 pages."""
    infos = await bucket.infos(layout.pages_prefix(source))
    if len(infos) <= FEW_PAGES:
        return _entries(source, infos)
    return await asyncio.to_thread(_entries, source, infos)


def _entries(source: ObjectRef, infos: Sequence[ObjectInfo]) -> list[StoredPage]:
    found = []
    for info in infos:
        number = layout.page_of(source, info.name)
        record = records.page_record(info.metadata)
        if number and record and record.page == number:
            page = StoredPage(
                record=record,
                object_name=info.name,
                object_generation=info.generation,
                written_at=info.updated_at,
            )
            found.append(page)
    return found


def is_better(new: PageRecord, standing: PageRecord) -> bool:
    """Tell whether a result may replace the one that stands."""
    if new.edition != standing.edition:
        return new.edition > standing.edition
    return new.rank < standing.rank


def outstanding(job: Job, found: Sequence[StoredPage]) -> list[int]:
    """List the pages of a planned job that have not ended yet, in the edition that is asked for, in order."""
    ended = {each.record.page: each.record.edition for each in found}
    pages = range(1, (job.pages or 0) + 1)
    return [page for page in pages if page not in ended or ended[page] < job.edition_of(page)]
