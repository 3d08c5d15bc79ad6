"""A dead-lettered task becomes a failed page, or is parked.

What killed it decides. The page's own fault, which by its note has used up the page's model calls: the page
ends failed with it. An infrastructure's fault, which leaves no such note: the task is published again, and
again, for as long as the job is young. An outage, a wrong audience or a missing quota must not turn pages
into failures, not even over a long weekend.

Every dead letter may come twice, and one that was parked may come again because its acknowledgement was lost:
through days of outage the copies would multiply. So the note says with which task the page was last parked,
and a dead letter that was sent before that one is let go: a later copy is on its way.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bucketscribe import finish, jobs, ledger, markdown, notes
from bucketscribe.asking import is_spent
from bucketscribe.errors import WriteConflict
from bucketscribe.finish import Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.messages import task_message
from bucketscribe.model import (
    Delivery,
    Job,
    JobState,
    Lane,
    PageFault,
    PageNote,
    PageRecord,
    PageStatus,
    PageTask,
)
from bucketscribe.notes import OpenNote
from bucketscribe.ports import Topic
from bucketscribe.settings import Settings

# What went on until patience ended.
_REFUSED = "every try was refused or broke off; the logs of on_page_task say why"
_UNPUBLISHED = "not all tasks could be published; the logs of on_upload and sweep say why"


class GaveUp(StrEnum):
    """What became of a dead letter. `copy`: a later task of its page is on its way."""

    FAILED = "failed"
    PARKED = "parked"
    COPY = "copy"
    DONE = "done"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """What giving up needs: the books, and the lanes that a parked task goes back to."""

    settings: Settings
    finisher: Finisher
    express: Topic
    bulk: Topic


async def give_up(delivery: Delivery, house: GiveUp) -> GaveUp:
    """End the page or park its task.

    Raises JunkMessage for another bucket's page, CloudError when another try may help.
    """
    task = delivery.task
    house.finisher.refuse_strangers(task.source)
    bucket = house.finisher.output_bucket
    opened = await jobs.read(task.source, bucket)
    standing = await ledger.ended(bucket, task)
    if standing and (opened or standing.is_late):
        await finish.check_page(task, standing, house.finisher)
        return GaveUp.DONE
    if opened is None:
        # A last delivery may have left a deleted source's text after the job was closed.
        await finish.erase_if_forgotten(task.source, house.finisher)
        return GaveUp.CLOSED
    kept = await notes.read(task.source, task.page, task.edition, bucket)
    note = kept.note
    own = note.fault if is_spent(note, house.settings) else None
    fault = own or (_exhausted(opened.job, note, house, _REFUSED) if is_overdue(opened.job, house) else None)
    if fault is None:
        return await _park(delivery, kept, house)
    if await finish.erase_if_forgotten(task.source, house.finisher):
        return GaveUp.CLOSED
    await _end(task, fault, note, house)
    await finish.check(task.source, task.pages, task.page, house.finisher, edition=task.edition)
    return GaveUp.FAILED


def is_overdue(job: Job, house: GiveUp) -> bool:
    """Tell whether a job is older than an infrastructure's fault is waited out."""
    return _age(job, house) >= timedelta(days=house.settings.parked_days)


async def end_overdue(task: PageTask, job: Job, house: GiveUp) -> None:
    """End a page of an overdue job failed, unless it has ended. Whether that was the last is not asked here.

    Raises CloudError.
    """
    note = (await notes.read(task.source, task.page, task.edition, house.finisher.output_bucket)).note
    why = _REFUSED if job.state is JobState.PUBLISHED else _UNPUBLISHED
    await _end(task, _exhausted(job, note, house, why), note, house)


def _age(job: Job, house: GiveUp) -> timedelta:
    return house.finisher.clock.now() - job.begun_at


def _exhausted(job: Job, note: PageNote, house: GiveUp, why: str) -> PageFault:
    """Name the end of patience: the page's own last fault, if it has any."""
    message = f"for {_age(job, house).days} days {why}"
    return note.fault or PageFault(code="attempts_exhausted", message=message)


async def _park(delivery: Delivery, kept: OpenNote, house: GiveUp) -> GaveUp:
    """Publish the task again, unless that has been done since it was sent; then say so in the page's note.

    A task that does not say when it was sent is of an older version: then its dead letter's time has to do,
    which is later.
    """
    task = delivery.task
    if kept.is_outdated or _is_copy(task.sent_at or delivery.published_at, kept.note):
        return GaveUp.COPY
    again = replace(task, sent_at=house.finisher.clock.now(), again=True)
    topic = house.express if task.lane is Lane.EXPRESS else house.bulk
    await topic.publish([task_message(again)])
    await _remember_parked(again, kept, house)
    log(
        Severity.ERROR,
        "page parked after all its delivery attempts: the fault is not the page's own",
        source=str(task.source),
        page=task.page,
        code="attempts_exhausted",
        trace=task.trace or None,
    )
    return GaveUp.PARKED


def _is_copy(sent_at: datetime | None, note: PageNote) -> bool:
    """Tell whether the page was parked with a task sent later."""
    return note.parked_at is not None and sent_at is not None and sent_at < note.parked_at


async def _remember_parked(parked: PageTask, kept: OpenNote, house: GiveUp) -> None:
    """Write into the page's note with which task it was parked, if with none later. Raises CloudError."""
    bucket = house.finisher.output_bucket
    while not (kept.is_outdated or _is_copy(parked.sent_at, kept.note)):
        note = replace(kept.note, parked_at=parked.sent_at)
        try:
            await notes.write(parked.source, note, kept.generation, bucket)
        except WriteConflict:
            kept = await notes.read(parked.source, parked.page, parked.edition, bucket)
        else:
            return


async def _end(task: PageTask, fault: PageFault, note: PageNote, house: GiveUp) -> None:
    record = PageRecord(
        page=task.page, status=PageStatus.FAILED, edition=task.edition, attempts=note.calls, error=fault
    )
    body = markdown.failed_body(task.page, fault.code)
    await ledger.write(house.finisher.output_bucket, task.source, record, body)
    log(Severity.ERROR, "page given up", source=str(task.source), page=task.page, code=fault.code)
