"""The end of every deed: is anything missing? If not: assemble, publish, announce, close the job.

Completion is found without counting. An instance remembers one page that it knows to be missing in each
job. Who has ended a page looks at that one: still missing, then somebody else will finish, since whoever
writes it looks too, later than we did. There: list one shard of names, remember another missing page, or
finish. So a page costs a constant number of requests however long its document is.

The finish is a protocol: text, then record (the commit), then event, then the job goes. A job that is
still there means that the tail is to be done again. Two who find nothing missing together do the same work
twice with the same result. Writing the two
objects is `publication`'s part.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bucketscribe import layout, ledger, markdown, publication, records
from bucketscribe.errors import BucketscribeError, DocumentError, StorageUnavailable, Superseded
from bucketscribe.ledger import Entry
from bucketscribe.logs import Severity, log
from bucketscribe.model import (
    DocumentRecord,
    DocumentStatus,
    Job,
    ObjectRef,
    PageFault,
    PageStatus,
    StoredPage,
)
from bucketscribe.ports import Bucket, Clock, Topic

# Names listed in one request, by Cloud Storage's paging: the width of a shard.
SHARD_PAGES = 1000

# Page bodies read at once when a document is assembled: a small share of the connections.
_READERS = 16

# Jobs whose missing page an instance remembers; forgetting one costs a listing, nothing else.
_REMEMBERED_JOBS = 10_000


class End(StrEnum):
    """What came of the question whether a document is done."""

    WAITING = "waiting"
    FINISHED = "finished"
    SUPERSEDED = "superseded"
    CLOSED = "closed"


class MissingPages:
    """Which page of a job this instance last saw missing; at first the last page, which is likely to be."""

    def __init__(self) -> None:
        self._pages: OrderedDict[ObjectRef, int] = OrderedDict()

    def get(self, source: ObjectRef, pages: int) -> int:
        return self._pages.get(source, pages)

    def remember(self, source: ObjectRef, page: int) -> None:
        self._pages[source] = page
        self._pages.move_to_end(source)
        if len(self._pages) > _REMEMBERED_JOBS:
            self._pages.popitem(last=False)

    def forget(self, source: ObjectRef) -> None:
        self._pages.pop(source, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """What finishing needs: where results go, where sources are, whom to tell, the time, and a memory."""

    input_bucket: Bucket
    output_bucket: Bucket
    finished: Topic
    clock: Clock
    missing: MissingPages = field(default_factory=MissingPages)


async def check(source: ObjectRef, pages: int, ended: int, finisher: Finisher) -> End:
    """Finish the document if nothing is missing, now that page `ended` is in the ledger.

    One request while the remembered page is missing; one listing more whenever it is not.
    """
    watched = finisher.missing.get(source, pages)
    if watched != ended and not await ledger.look(finisher.output_bucket, source, watched):
        return End.WAITING
    missing = await _highest_missing(source, watched, finisher.output_bucket)
    if missing is not None:
        finisher.missing.remember(source, missing)
        return End.WAITING
    return await finish(source, finisher)


async def finish(source: ObjectRef, finisher: Finisher) -> End:
    """Do the tail of the protocol for a job that is still there. Safe to do twice, or by two at once."""
    stored = await finisher.output_bucket.read(layout.job(source))
    if stored is None:
        finisher.missing.forget(source)
        return End.CLOSED
    job = records.decode_job(stored.data)
    found = await ledger.entries(finisher.output_bucket, source)
    present = {entry.record.page for entry in found}
    absent = [page for page in range(1, (job.pages or 0) + 1) if page not in present]
    if absent or job.pages is None:
        finisher.missing.remember(source, max(absent, default=1))
        return End.WAITING
    pages = await _bodies(found[: job.pages], finisher.output_bucket)
    record = DocumentRecord(job=job, status=_status(pages), pages=pages, finished_at=finisher.clock.now())
    if sum(records.counts(record)[status] for status in PageStatus) != job.pages:
        raise BucketscribeError(f"the pages of {source} do not add up to {job.pages}: it is not published")
    assembled = await asyncio.to_thread(markdown.assemble, [(page.record, page.markdown) for page in pages])
    return await _publish(record, assembled.text, assembled.spans, finisher)


async def fail(job: Job, error: DocumentError, finisher: Finisher) -> End:
    """End a document that could not be opened: one sentence as its text, its code in the record."""
    record = DocumentRecord(
        job=job,
        status=DocumentStatus.FAILED,
        pages=(),
        finished_at=finisher.clock.now(),
        fault=PageFault(code=error.code, message=str(error)),
    )
    text = markdown.clean(f"This document could not be read ({error.code}): {error}")
    return await _publish(record, text, (), finisher)


async def close(source: ObjectRef, finisher: Finisher) -> None:
    """Delete the job and the notes: nothing of this version is in flight any more."""
    bucket = finisher.output_bucket
    for name in await bucket.names(layout.notes_prefix(source)):
        await bucket.delete(name)
    await bucket.delete(layout.job(source))
    finisher.missing.forget(source)


async def _publish(
    record: DocumentRecord, text: str, spans: Sequence[tuple[int, int]], finisher: Finisher
) -> End:
    source = record.job.source
    try:
        await publication.publish(
            record,
            text,
            spans,
            input_bucket=finisher.input_bucket,
            output_bucket=finisher.output_bucket,
        )
    except Superseded as superseded:
        await close(source, finisher)
        log(Severity.INFO, "document superseded", source=str(source), reason=str(superseded))
        return End.SUPERSEDED
    await finisher.finished.publish([publication.event(record)])
    await close(source, finisher)
    log(
        Severity.INFO if record.status is DocumentStatus.COMPLETE else Severity.WARNING,
        "document finished",
        source=str(source),
        status=record.status.value,
        code=record.fault.code if record.fault else None,
        **records.counts(record),
    )
    return End.FINISHED


async def _highest_missing(source: ObjectRef, top: int, bucket: Bucket) -> int | None:
    """Find the highest page not in the ledger, from `top` down, a shard of names at a time."""
    while top > 0:
        bottom = max(1, top - SHARD_PAGES + 1)
        names = await bucket.names(
            layout.pages_prefix(source), start=layout.page(source, bottom), end=layout.page(source, top + 1)
        )
        present = {layout.page_of(source, name) for name in names}
        for page in range(top, bottom - 1, -1):
            if page not in present:
                return page
        top = bottom - 1
    return None


async def _bodies(entries: Sequence[Entry], bucket: Bucket) -> tuple[StoredPage, ...]:
    """Read the pages' bodies, each of the generation that was listed."""
    share = asyncio.Semaphore(_READERS)

    async def body(entry: Entry) -> StoredPage:
        async with share:
            data = await bucket.body(entry.info.name, entry.info.generation)
        if data is None:
            raise StorageUnavailable(f"page {entry.record.page} was replaced while it was read: try again")
        return StoredPage(
            record=entry.record,
            object_name=entry.info.name,
            object_generation=entry.info.generation,
            markdown=data.decode(),
        )

    return tuple(await asyncio.gather(*(body(entry) for entry in entries)))


def _status(pages: Sequence[StoredPage]) -> DocumentStatus:
    failed = sum(page.record.status is PageStatus.FAILED for page in pages)
    if failed == len(pages):
        return DocumentStatus.FAILED
    return DocumentStatus.PARTIAL if failed else DocumentStatus.COMPLETE
