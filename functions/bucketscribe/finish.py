"""The end of every deed: is anything missing? If not: assemble, publish, announce, close the job.

Whether anything is missing is `completion`'s question; writing the two objects is `publication`'s part.

The finish is a protocol: text, then record (the commit), then event, then the job goes. A job that is
still there means that the tail is to be done again. Two who find nothing missing together do the same work
twice with the same result; where a page has changed in between, the later reading stands.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bucketscribe import completion, jobs, layout, ledger, markdown, publication, records
from bucketscribe.completion import MissingPages
from bucketscribe.errors import (
    BucketscribeError,
    DocumentError,
    JunkMessage,
    Superseded,
    WriteConflict,
)
from bucketscribe.ledger import Entry
from bucketscribe.logs import Severity, log
from bucketscribe.model import (
    DocumentRecord,
    DocumentStatus,
    Job,
    ObjectRef,
    PageFault,
    PageStatus,
    Retention,
    StoredPage,
)
from bucketscribe.ports import Bucket, Clock, Topic
from bucketscribe.publication import Standing


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


async def check(source: ObjectRef, pages: int, ended: int, finisher: Finisher) -> End:
    """Finish the document if nothing is missing, now that page `ended` is in the ledger.

    One request while the remembered page is missing; one listing more whenever it is not.
    """
    if await erase_if_forgotten(source, finisher):
        return End.CLOSED
    if await completion.is_missing_any(source, pages, ended, finisher.output_bucket, finisher.missing):
        return End.WAITING
    return await finish(source, finisher)


async def finish(source: ObjectRef, finisher: Finisher) -> End:
    """Do the tail of the protocol for a job that is still there. Safe to do twice, or by two at once.

    Within an instance one does it and the others take his outcome for theirs: of pages that end side by side
    many find nothing missing, and each would read the whole document. Only "waiting" is not taken: it was
    found before the page of him who asks had ended.
    """
    while source in finisher.tails:
        end = await asyncio.shield(finisher.tails[source])
        if end is not End.WAITING:
            return end
    tail = asyncio.create_task(_finish(source, finisher))
    finisher.tails[source] = tail
    tail.add_done_callback(lambda done: _forget_tail(source, done, finisher))
    return await asyncio.shield(tail)


def _forget_tail(source: ObjectRef, tail: "asyncio.Task[End]", finisher: Finisher) -> None:
    del finisher.tails[source]
    if not tail.cancelled():
        tail.exception()  # looked at, so that a failure whose waiters are all gone is not logged as unseen


async def _finish(source: ObjectRef, finisher: Finisher) -> End:
    while True:
        opened = await jobs.read(source, finisher.output_bucket)
        if opened is None:
            await clear_up(source, finisher)
            return End.CLOSED
        job = opened.job
        standing = await publication.look(source, finisher.output_bucket)
        found = await ledger.entries(finisher.output_bucket, source)
        missing = _highest_absent(job, found)
        if missing is not None:
            finisher.missing.remember(source, missing)
            return End.WAITING
        with contextlib.suppress(WriteConflict):
            record = await _record(job, found[: job.pages], finisher)
            assembled = await asyncio.to_thread(
                markdown.assemble, [(page.record, page.markdown) for page in record.pages]
            )
            return await _publish(record, assembled.text, assembled.spans, standing, finisher)


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
    while True:
        standing = await publication.look(job.source, finisher.output_bucket)
        with contextlib.suppress(WriteConflict):
            return await _publish(record, text, (), standing, finisher)


async def close(source: ObjectRef, finisher: Finisher) -> None:
    """Delete the notes and the job: nothing of this version is in flight any more."""
    await clear_up(source, finisher)
    await finisher.output_bucket.delete(layout.job(source))


async def clear_up(source: ObjectRef, finisher: Finisher) -> None:
    """Delete the document's own notes, which a late delivery may have left even after the job was closed."""
    prefix = layout.notes_prefix(source)
    for name in await finisher.output_bucket.names(prefix):
        if "/" not in name.removeprefix(prefix):
            await finisher.output_bucket.delete(name)
    finisher.missing.remember(source, completion.NONE_MISSING)


async def erase_if_forgotten(source: ObjectRef, finisher: Finisher) -> bool:
    """Erase all of a source that is gone, where its text is to go with it; tell whether it was so."""
    if not await _has_lost_its_source(source, finisher):
        return False
    await erase(source, finisher)
    return True


async def erase(source: ObjectRef, finisher: Finisher) -> None:
    """Delete whatever was made of this version: text, record, pages, notes, job. Doing it twice is safe.

    What an earlier version has left goes too: it stood only until this one's should take its place.
    """
    bucket = finisher.output_bucket
    for name in (layout.document_record(source.name), layout.document_text(source.name)):
        info = await bucket.look(name)
        if info and 0 < records.published_generation(info) <= source.generation:
            await bucket.delete(name, if_generation=info.generation)
    for name in await bucket.names(layout.versions_prefix(source.name)):
        version = layout.version_of(source.name, name)
        if version and version <= source.generation:
            await bucket.delete(name)
    await close(source, finisher)
    log(Severity.INFO, "text deleted with its source", source=str(source))


async def _has_lost_its_source(source: ObjectRef, finisher: Finisher) -> bool:
    """Tell whether what was just written must go again. Asked after writing: a source deleted later than
    that is a deleted event's business, which then finds what was written.
    """
    if finisher.retention is Retention.KEEP:
        return False
    return await finisher.input_bucket.look(source.name) is None


async def _publish(
    record: DocumentRecord,
    text: str,
    spans: Sequence[tuple[int, int]],
    standing: Standing,
    finisher: Finisher,
) -> End:
    source = record.job.source
    try:
        await publication.publish(
            record,
            text,
            spans,
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
    await close(source, finisher)
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


def _highest_absent(job: Job, found: Sequence[Entry]) -> int | None:
    """Name a page that the ledger lacks; the first one for a job whose pages are not counted yet."""
    if job.pages is None:
        return 1
    present = {entry.record.page for entry in found}
    return max((page for page in range(1, job.pages + 1) if page not in present), default=None)


async def _record(job: Job, entries: Sequence[Entry], finisher: Finisher) -> DocumentRecord:
    """Put the document's account together, and check that it adds up."""
    pages = await ledger.read(entries, finisher.output_bucket)
    record = DocumentRecord(job=job, status=_status(pages), pages=pages, finished_at=finisher.clock.now())
    if sum(records.counts(record)[status] for status in PageStatus) != job.pages:
        raise BucketscribeError(
            f"the pages of {job.source} do not add up to {job.pages}: it is not published"
        )
    return record


def _status(pages: Sequence[StoredPage]) -> DocumentStatus:
    failed = sum(page.record.status is PageStatus.FAILED for page in pages)
    if failed == len(pages):
        return DocumentStatus.FAILED
    return DocumentStatus.PARTIAL if failed else DocumentStatus.COMPLETE
