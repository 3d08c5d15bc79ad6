"""A dead-lettered task becomes a failed page, or is parked.

What killed it decides. The page's own fault, which by its note has used up the page's model calls: the page
ends failed with it. An infrastructure's fault, which leaves no such note: the task is published again, and
again, for as long as the job is young. An outage, a wrong audience or a missing quota must not turn pages
into failures, not even over a long weekend.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bucketscribe import finish, jobs, layout, ledger, markdown, records
from bucketscribe.asking import is_spent
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
from bucketscribe.ports import Topic
from bucketscribe.settings import Settings

# What went on until patience ended.
_REFUSED = "every try was refused or broke off; the logs of on_page_task say why"
_UNPUBLISHED = "not all tasks could be published; the logs of on_upload and sweep say why"


class GaveUp(StrEnum):
    """What became of a dead letter."""

    FAILED = "failed"
    PARKED = "parked"
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
        # A last delivery may have left a note, or a deleted source's text, after the job was closed.
        if not await finish.erase_if_forgotten(task.source, house.finisher):
            await finish.clear_up(task.source, house.finisher)
        return GaveUp.CLOSED
    note = await _note(task, house)
    own = note.fault if is_spent(note, house.settings) else None
    fault = own or (_exhausted(opened.job, note, house, _REFUSED) if is_overdue(opened.job, house) else None)
    if fault is None:
        await _park(delivery, house)
        return GaveUp.PARKED
    await _end(task, fault, note, house)
    await finish.check(task.source, task.pages, task.page, house.finisher)
    return GaveUp.FAILED


def is_overdue(job: Job, house: GiveUp) -> bool:
    """Tell whether a job is older than an infrastructure's fault is waited out."""
    return _age(job, house) >= timedelta(days=house.settings.parked_days)


async def end_overdue(task: PageTask, job: Job, house: GiveUp) -> None:
    """End a page of an overdue job failed, unless it has ended. Whether that was the last is not asked here.

    Raises CloudError.
    """
    note = await _note(task, house)
    why = _REFUSED if job.state is JobState.PUBLISHED else _UNPUBLISHED
    await _end(task, _exhausted(job, note, house, why), note, house)


async def _note(task: PageTask, house: GiveUp) -> PageNote:
    stored = await house.finisher.output_bucket.read(layout.note(task.source, task.page))
    note = records.decode_note(stored.data) if stored else None
    return note if note and note.edition == task.edition else PageNote(page=task.page, edition=task.edition)


def _age(job: Job, house: GiveUp) -> timedelta:
    return house.finisher.clock.now() - job.begun_at


def _exhausted(job: Job, note: PageNote, house: GiveUp, why: str) -> PageFault:
    """Name the end of patience: the page's own last fault, if it has any."""
    message = f"for {_age(job, house).days} days {why}"
    return note.fault or PageFault(code="attempts_exhausted", message=message)


async def _park(delivery: Delivery, house: GiveUp) -> None:
    task = delivery.task
    topic = house.express if task.lane is Lane.EXPRESS else house.bulk
    await topic.publish([task_message(task)])
    log(
        Severity.ERROR,
        "page parked after all its delivery attempts: the fault is not the page's own",
        source=str(task.source),
        page=task.page,
        code="attempts_exhausted",
        trace=task.trace or None,
    )


async def _end(task: PageTask, fault: PageFault, note: PageNote, house: GiveUp) -> None:
    record = PageRecord(
        page=task.page, status=PageStatus.FAILED, edition=task.edition, attempts=note.calls, error=fault
    )
    body = markdown.failed_body(task.page, fault.code)
    await ledger.write(house.finisher.output_bucket, task.source, record, body)
    log(Severity.ERROR, "page given up", source=str(task.source), page=task.page, code=fault.code)
