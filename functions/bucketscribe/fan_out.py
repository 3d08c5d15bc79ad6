"""An uploaded object becomes a job and its page tasks.

The job is written before anything is fetched, so that a document is accounted for from its first second.
Doing all this twice is safe: a second event goes on where the first one stopped, and a task too many only
finds its page done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase

from bucketscribe import finish, jobs, layout, records, rejects
from bucketscribe.document_cache import DocumentCache
from bucketscribe.errors import (
    DocumentError,
    EmptyObject,
    NameTooLong,
    SourceGone,
    Superseded,
    TooLarge,
    WriteConflict,
)
from bucketscribe.finish import Finisher
from bucketscribe.jobs import OpenJob
from bucketscribe.logs import Severity, log
from bucketscribe.messages import task_message
from bucketscribe.model import DocumentFacts, Job, JobState, Lane, ObjectRef, PageTask, Upload
from bucketscribe.ports import Reader, Renderer, Topic
from bucketscribe.settings import Settings
from bucketscribe.warm_up import WarmUp

MIB = 1024 * 1024

# What one request to Pub/Sub takes. The next batch is made when this one is stored: so a document of any
# length takes the memory of a batch, and never the loop for longer.
BATCH_TASKS = 1000


class FannedOut(StrEnum):
    """What became of an upload."""

    PUBLISHED = "published"
    IGNORED = "ignored"
    ALREADY = "already"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOut:
    """What fanning out needs."""

    settings: Settings
    finisher: Finisher
    cache: DocumentCache
    renderer: Renderer
    reader: Reader
    express: Topic
    bulk: Topic


async def fan_out(upload: Upload, house: FanOut) -> FannedOut:
    """Write the job, count the pages, publish a task for each; or end the document, or ignore the object.

    Raises JunkMessage for another bucket's event, CloudError when another try may help.
    """
    source = upload.source
    house.finisher.refuse_strangers(source)
    if reason := ignored_because(upload, house.settings):
        log(Severity.INFO, "object ignored", source=str(source), reason=reason)
        return FannedOut.IGNORED
    if len(source.name.encode()) > layout.LONGEST_SOURCE_NAME_BYTES:
        return await _reject_name(upload, house)
    opened = await _open(upload, house)
    if opened is None:
        # An earlier try may have died between publishing and seeing that its source was deleted meanwhile.
        await finish.erase_if_forgotten(source, house.finisher)
        log(Severity.INFO, "event seen before", source=str(source))
        return FannedOut.ALREADY
    async with WarmUp(house.reader) as warm_up:
        return await take_up(opened, house, warm_up)


async def take_up(opened: OpenJob, house: FanOut, warm_up: WarmUp) -> FannedOut:
    """Go on with a job whose tasks are not all published, from wherever it stands. Raises CloudError."""
    try:
        return await _plan_and_publish(opened, house, warm_up)
    except DocumentError as error:
        return await fail(opened, error, house)
    except Superseded as superseded:
        return await _close(opened, superseded, house)


async def publish_again(opened: OpenJob, pages: Sequence[int], house: FanOut) -> FannedOut:
    """Publish the tasks of some pages of a planned job, unless a newer version is live. Raises CloudError."""
    try:
        await _refuse_if_not_live(opened.source, house)
    except Superseded as superseded:
        return await _close(opened, superseded, house)
    await _publish(opened, pages, house)
    return FannedOut.PUBLISHED


async def fail(opened: OpenJob, error: DocumentError, house: FanOut) -> FannedOut:
    """End the document, unless somebody else has brought it further: then it could be opened."""
    try:
        opened = await jobs.write(opened.job, opened.generation, house.finisher.output_bucket)
    except WriteConflict:
        return FannedOut.ALREADY
    end = await finish.fail(opened, error, house.finisher)
    return FannedOut.SUPERSEDED if end is finish.End.SUPERSEDED else FannedOut.FAILED


def lane_of(job: Job, settings: Settings) -> Lane:
    """Tell which queue a planned document's pages wait in."""
    return Lane.EXPRESS if (job.pages or 0) <= settings.express_pages else Lane.BULK


def task_of(job: Job, page: int, settings: Settings, sent_at: datetime) -> PageTask:
    """Make a planned document's task for one page."""
    return PageTask(
        source=job.source,
        page=page,
        pages=job.pages or 0,
        lane=lane_of(job, settings),
        profile=job.profile.name,
        edition=job.edition_of(page),
        trace=job.upload.trace,
        sent_at=sent_at,
        again=len(job.resumed_at) > (1 if job.redo else 0),  # a redo is taken up by its first resume
    )


def ignored_because(upload: Upload, settings: Settings) -> str | None:
    """Say why an object is no document; None when it is one."""
    name = upload.source.name
    if name.endswith("/") and upload.size == 0:
        return "folder placeholder"
    if any(fnmatchcase(name, pattern) for pattern in settings.ignore):
        return "matches an ignore pattern"
    if not any(fnmatchcase(name, pattern) for pattern in settings.include):
        return "matches no include pattern"
    return None


async def _open(upload: Upload, house: FanOut) -> OpenJob | None:
    """Write the job, or take up the one that stands; None when the document has come further than that."""
    source = upload.source
    published = await house.finisher.output_bucket.look(layout.document_record(source.name))
    if records.published_generation(published) >= source.generation:
        # Published is not yet finished: while the job stands, the rest of the tail is to be done again.
        return await _standing(source, house)
    job = Job(
        upload=upload,
        state=JobState.RECEIVED,
        profile=house.settings.model_profile,
        received_at=house.finisher.clock.now(),
    )
    try:
        return await jobs.write(job, 0, house.finisher.output_bucket)
    except WriteConflict:
        return await _standing(source, house)


async def _standing(source: ObjectRef, house: FanOut) -> OpenJob | None:
    opened = await jobs.read(source, house.finisher.output_bucket)
    return opened if opened and opened.job.state in (JobState.RECEIVED, JobState.PLANNED) else None


async def _plan_and_publish(opened: OpenJob, house: FanOut, warm_up: WarmUp) -> FannedOut:
    await _refuse_by_size(opened.job.upload, house)
    warm_up.call()
    planned = await _planned(opened, house)
    if planned is None:
        return FannedOut.ALREADY
    await _publish(planned, range(1, (planned.job.pages or 0) + 1), house)
    lane = lane_of(planned.job, house.settings)
    source, pages = str(planned.source), planned.job.pages
    log(Severity.INFO, "document planned", source=source, pages=pages, lane=lane.value)
    return FannedOut.PUBLISHED


async def _planned(opened: OpenJob, house: FanOut) -> OpenJob | None:
    """Count the pages, unless an earlier try did: its tasks may be out, and then each page ends by itself."""
    if opened.job.state is JobState.PLANNED:
        return opened
    return await _plan(opened, await _inspect(opened.job.source, house), house)


async def _close(opened: OpenJob, superseded: Superseded, house: FanOut) -> FannedOut:
    await finish.close(opened.source, house.finisher)
    log(Severity.INFO, "document superseded", source=str(opened.source), reason=str(superseded))
    return FannedOut.SUPERSEDED


async def _refuse_by_size(upload: Upload, house: FanOut) -> None:
    """Look at the event's size before a byte is fetched."""
    limit = house.settings.document_mib
    if upload.size > limit * MIB:
        raise TooLarge(
            f"the document has {upload.size / MIB:.0f} MiB and the limit is {limit} MiB; "
            "split it, or raise BUCKETSCRIBE_DOCUMENT_MIB"
        )
    if upload.size == 0:
        await _refuse_if_not_live(upload.source, house)
        raise EmptyObject("the object is empty; upload the document again")


async def _inspect(source: ObjectRef, house: FanOut) -> DocumentFacts:
    async with house.cache.document(source) as path:
        if path is None:
            await _refuse_if_not_live(source, house)
            raise SourceGone("the document was deleted before it was read; upload it again")
        return await house.renderer.inspect(path)


async def _refuse_if_not_live(source: ObjectRef, house: FanOut) -> None:
    live = await house.finisher.input_bucket.look(source.name)
    if live and live.generation != source.generation:
        raise Superseded(f"a newer version than {source} is in the input bucket")


async def _plan(opened: OpenJob, facts: DocumentFacts, house: FanOut) -> OpenJob | None:
    """Write kind and page count into the job; None when somebody else has brought it further."""
    job = replace(
        opened.job,
        state=JobState.PLANNED,
        kind=facts.kind,
        pages=facts.pages,
        planned_at=house.finisher.clock.now(),
    )
    try:
        return await jobs.write(job, opened.generation, house.finisher.output_bucket)
    except WriteConflict:
        return None


async def _publish(opened: OpenJob, numbers: Sequence[int], house: FanOut) -> None:
    """Publish the tasks of these pages, a batch at a time; then the job may say that all are out."""
    express = lane_of(opened.job, house.settings) is Lane.EXPRESS
    topic = house.express if express else house.bulk
    for start in range(0, len(numbers), BATCH_TASKS):
        now, batch = house.finisher.clock.now(), numbers[start : start + BATCH_TASKS]
        tasks = (task_of(opened.job, page, house.settings, now) for page in batch)
        await topic.publish([task_message(task) for task in tasks])
    if opened.job.state is not JobState.PUBLISHED:
        await _mark_published(opened, house)


async def _mark_published(planned: OpenJob, house: FanOut) -> None:
    try:
        # Resumes so far were of a document whose tasks did not get out; of a published one there was none.
        published = replace(planned.job, state=JobState.PUBLISHED, resumed_at=planned.job.resumed_at[-1:])
        await jobs.write(published, planned.generation, house.finisher.output_bucket)
    except WriteConflict:
        log(Severity.INFO, "document came further before its fan-out ended", source=str(planned.source))


async def _reject_name(upload: Upload, house: FanOut) -> FannedOut:
    """Answer under rejected/: no object of ours could carry this name."""
    source = upload.source
    error = NameTooLong(
        f"the object's name has {len(source.name.encode())} bytes and the limit is "
        f"{layout.LONGEST_SOURCE_NAME_BYTES}; rename it"
    )
    bucket, clock = house.finisher.output_bucket, house.finisher.clock
    sha256 = await rejects.keep(bucket, clock, str(source).encode(), error)
    log(Severity.ERROR, "object rejected", source=str(source), code=error.code, sha256=sha256)
    return FannedOut.FAILED
