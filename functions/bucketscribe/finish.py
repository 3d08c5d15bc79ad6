"""The end of every deed: is anything missing? If not: assemble, publish, announce, close the job.

Whether anything is missing is `completion`'s question; writing the two objects is `publication`'s part.

The finish is a protocol: text, then record (the commit), then event, then the job goes. A job that is
still there means that the tail is to be done again. Two who find nothing missing together do the same work
twice with the same result; where a page has changed in between, the later reading stands: a job is closed by
the generation that was read before the pages were, and whoever replaces a page replaces the job after it.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from bucketscribe import completion, crew, jobs, layout, ledger, publication, records
from bucketscribe.completion import MissingPages, Redone
from bucketscribe.errors import (
    BucketscribeError,
    DocumentError,
    JunkMessage,
    Superseded,
    WriteConflict,
)
from bucketscribe.jobs import OpenJob
from bucketscribe.logs import Severity, log
from bucketscribe.model import (
    DocumentRecord,
    DocumentStatus,
    Job,
    ObjectRef,
    PageFault,
    PageRecord,
    PageStatus,
    PageTask,
    Retention,
    StoredPage,
)
from bucketscribe.ports import Bucket, Clock, Topic
from bucketscribe.publication import Standing
from bucketscribe.reopen import reopen

# A mark of erasure younger than this need not be renewed.
_FRESH = timedelta(minutes=1)

# Each tenth of a second or so: 10,000 pages, or notes after an outage, go in a minute.
_DELETES_AT_ONCE = 16


class End(StrEnum):
    """What came of the question whether a document is done."""

    WAITING = "waiting"
    FINISHED = "finished"
    SUPERSEDED = "superseded"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finisher:
    """What finishing needs: where results go, where sources are, whom to tell, the time, and a memory.

    With Retention.FOLLOW a page costs one request more: nothing that is written may outlive its source.
    """

    input_bucket: Bucket
    output_bucket: Bucket
    finished: Topic
    clock: Clock
    retention: Retention = Retention.KEEP
    missing: MissingPages = field(default_factory=MissingPages)
    tails: dict[ObjectRef, "asyncio.Task[End]"] = field(default_factory=dict)

    def refuse_strangers(self, source: ObjectRef) -> None:
        """Raise JunkMessage for what is about another bucket than the input bucket."""
        if source.bucket != self.input_bucket.name:
            raise JunkMessage(f"it is about bucket {source.bucket}, not {self.input_bucket.name}")


async def check_page(task: PageTask, standing: PageRecord | None, finisher: Finisher) -> End:
    """Finish the document if nothing is missing, now that a task's page has ended as `standing` says, if that
    is known; publish it again for a page that ended late.
    """
    is_late = standing is not None and standing.is_late
    if is_late:
        await reopen(task.source, task.page, finisher.output_bucket)
    return await check(task.source, task.pages, task.page, finisher, is_late=is_late, edition=task.edition)


async def check(
    source: ObjectRef,
    pages: int,
    ended: int,
    finisher: Finisher,
    *,
    is_late: bool = False,
    edition: int = 0,
) -> End:
    """Finish the document if nothing is missing, now that page `ended` is in the ledger. A late page may have
    been missed by whoever is at it now, and is published after him.

    One request while the remembered page is missing; one listing more whenever it is not.
    """
    bucket, missing = finisher.output_bucket, finisher.missing
    if edition or missing.redone(source):
        is_waiting = await completion.is_missing_any_redone(source, ended, edition, bucket, missing)
    else:
        is_waiting = await completion.is_missing_any(source, pages, ended, bucket, missing)
    if is_waiting and not is_late:
        return End.WAITING
    return await finish(source, finisher, is_late=is_late)


async def finish(source: ObjectRef, finisher: Finisher, *, is_late: bool = False) -> End:
    """Do the tail of the protocol for a job that is still there. Safe to do twice, or by two at once.

    Within an instance one does it and the others take his outcome for theirs: of pages that end side by side
    many find nothing missing, and each would read the whole document. Only "waiting" is not taken: it was
    found before the page of him who asks had ended. Nor is any by him whose page replaced another.
    """
    # One that has ended but is not forgotten yet is passed over: to await it would give nobody else a turn.
    while (tail := finisher.tails.get(source)) and not tail.done():
        end = await asyncio.shield(tail)
        if end is not End.WAITING and not is_late:
            return end
    tail = asyncio.create_task(_finish(source, finisher))
    finisher.tails[source] = tail
    tail.add_done_callback(lambda done: _forget_tail(source, done, finisher))
    return await asyncio.shield(tail)


def _forget_tail(source: ObjectRef, tail: "asyncio.Task[End]", finisher: Finisher) -> None:
    if finisher.tails.get(source) is tail:
        del finisher.tails[source]
    if not tail.cancelled():
        tail.exception()  # looked at, so that a failure whose waiters are all gone is not logged as unseen


async def _finish(source: ObjectRef, finisher: Finisher) -> End:
    """Publish until the job that was read before the pages were is also the one that is closed."""
    published: list[StoredPage] | None = None
    while True:
        opened = await jobs.read(source, finisher.output_bucket)
        if opened is None:
            _forget_missing(source, finisher)
            return End.CLOSED if published is None else End.FINISHED
        job = opened.job
        standing = await publication.look(source, finisher.output_bucket)
        found = await ledger.entries(finisher.output_bucket, source)
        missing = [1] if job.pages is None else ledger.outstanding(job, found)
        if missing:
            _remember(job, missing, finisher)
            return End.WAITING
        if found != published:
            try:
                end = await _publish(_record(job, found[: job.pages], finisher), standing, finisher)
            except WriteConflict:
                continue
            if end is not End.FINISHED:
                return end
            published = found
        await clear_up(source, finisher)
        await jobs.close(opened, finisher.output_bucket)


async def fail(opened: OpenJob, error: DocumentError, finisher: Finisher) -> End:
    """End a document that could not be opened: one sentence as its text, its code in the record. Its job goes
    unless somebody else has brought it further.
    """
    job = opened.job
    record = DocumentRecord(
        job=job,
        status=DocumentStatus.FAILED,
        pages=(),
        finished_at=finisher.clock.now(),
        fault=PageFault(code=error.code, message=str(error)),
    )
    while True:
        standing = await publication.look(job.source, finisher.output_bucket)
        with contextlib.suppress(WriteConflict):
            end = await _publish(record, standing, finisher)
            if end is End.FINISHED:
                await clear_up(job.source, finisher)
                await jobs.close(opened, finisher.output_bucket)
            return end


async def close(source: ObjectRef, finisher: Finisher) -> None:
    """Delete the notes and the job: nothing of this version is in flight any more."""
    await clear_up(source, finisher)
    await finisher.output_bucket.delete(layout.job(source))


async def clear_up(source: ObjectRef, finisher: Finisher) -> None:
    """Delete the document's own notes; one that a late delivery leaves after this, the sweep deletes."""
    prefix, mark = layout.notes_prefix(source), layout.erasure(source)
    names = await finisher.output_bucket.names(prefix)
    own = [name for name in names if "/" not in name.removeprefix(prefix) and name != mark]
    await crew.do_all(own, finisher.output_bucket.delete, _DELETES_AT_ONCE)
    _forget_missing(source, finisher)


def _forget_missing(source: ObjectRef, finisher: Finisher) -> None:
    """Remember of a closed document that nothing is missing."""
    finisher.missing.remember(source, completion.NONE_MISSING)
    finisher.missing.forget_redone(source)


async def erase_if_forgotten(source: ObjectRef, finisher: Finisher, *, once: bool = False) -> bool:
    """Erase all of a source that is gone, where its text is to go with it; tell whether it was so.

    With `once` a source that was erased a moment ago is let be: of a long document's late tasks each would
    delete everything anew. What they have not seen, the sweep deletes.
    """
    if not await has_lost_its_source(source, finisher):
        return False
    is_new = await _mark_erased(source, finisher)
    if is_new or not once:
        await erase_marked(source, finisher)
    return True


async def erase(source: ObjectRef, finisher: Finisher) -> None:
    """Delete whatever was made of this version: text, record, pages, notes, job. Doing it twice is safe.

    What an earlier version has left goes too: it stood only until this one's should take its place. What is
    written by those who saw the source just before, the sweep deletes: a mark among the notes tells it.
    """
    await _mark_erased(source, finisher)
    await erase_marked(source, finisher)


async def _mark_erased(source: ObjectRef, finisher: Finisher) -> bool:
    """Write the mark, or renew it, and tell whether it was so; one that is fresh stays as it is: an object
    must not be written more than once a second.
    """
    bucket, name = finisher.output_bucket, layout.erasure(source)
    info = await bucket.look(name)
    if info and finisher.clock.now() - info.updated_at <= _FRESH:
        return False
    generation = info.generation if info else 0
    try:
        await bucket.write(name, b"{}", content_type=records.JSON, if_generation=generation)
    except WriteConflict:
        return False
    return True


async def erase_marked(source: ObjectRef, finisher: Finisher) -> None:
    """Do what `erase` does, but for the mark."""
    bucket = finisher.output_bucket
    for name in (layout.document_record(source.name), layout.document_text(source.name)):
        info = await bucket.look(name)
        if info and 0 < records.published_generation(info) <= source.generation:
            await bucket.delete(name, if_generation=info.generation)
    names = await bucket.names(layout.versions_prefix(source.name))
    pages = [name for name in names if 0 < (layout.version_of(source.name, name) or 0) <= source.generation]
    await crew.do_all(pages, bucket.delete, _DELETES_AT_ONCE)
    await close(source, finisher)
    log(Severity.INFO, "text deleted with its source", source=str(source))


async def has_lost_its_source(source: ObjectRef, finisher: Finisher) -> bool:
    """Tell whether nothing of it may stand. Asked before a page is read and after a document is published: a
    source deleted in between is its deleted event's business, and then the sweep's.
    """
    if finisher.retention is Retention.KEEP:
        return False
    return await finisher.input_bucket.look(source.name) is None


async def _publish(record: DocumentRecord, standing: Standing, finisher: Finisher) -> End:
    source = record.job.source
    try:
        await publication.publish(
            record,
            standing=standing,
            input_bucket=finisher.input_bucket,
            output_bucket=finisher.output_bucket,
        )
    except Superseded as superseded:
        await close(source, finisher)
        log(Severity.INFO, "document superseded", source=str(source), reason=str(superseded))
        return End.SUPERSEDED
    if await erase_if_forgotten(source, finisher):
        return End.CLOSED
    await finisher.finished.publish([publication.event(record)])
    _log_finished(record)
    return End.FINISHED


def _log_finished(record: DocumentRecord) -> None:
    log(
        Severity.INFO if record.status is DocumentStatus.COMPLETE else Severity.WARNING,
        "document finished",
        source=str(record.job.source),
        status=record.status.value,
        code=record.fault.code if record.fault else None,
        trace=record.job.upload.trace or None,
        **records.counts(record),
    )


def _remember(job: Job, missing: Sequence[int], finisher: Finisher) -> None:
    if job.redo:
        awaited = {page: job.edition_of(page) for page in missing}
        redone = Redone(edition=job.redo.edition, missing=awaited)
        finisher.missing.remember_redone(job.source, redone)
    else:
        finisher.missing.remember(job.source, max(missing))


def _record(job: Job, pages: Sequence[StoredPage], finisher: Finisher) -> DocumentRecord:
    """Put the document's account together, and check that it adds up."""
    record = DocumentRecord(
        job=job, status=_status(pages), pages=tuple(pages), finished_at=finisher.clock.now()
    )
    counts = records.counts(record)
    if sum(counts[status] for status in PageStatus) != job.pages:
        raise BucketscribeError(
            f"the pages of {job.source} do not add up to {job.pages}: it is not published"
        )
    return record


def _status(pages: Sequence[StoredPage]) -> DocumentStatus:
    failed = sum(page.record.status is PageStatus.FAILED for page in pages)
    if failed == len(pages):
        return DocumentStatus.FAILED
    return DocumentStatus.PARTIAL if failed else DocumentStatus.COMPLETE
