"""A dead-lettered task becomes a failed page, or is parked.

What killed it decides. The page's own fault, which by its note has used up the page's model calls: the page
ends failed with it. An infrastructure's fault, which leaves no such note: the task is published again, and
again, for as long as the job is young. An outage, a wrong audience or a missing quota must not turn pages
into failures, not even over a long weekend.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from bucketscribe import finish, layout, ledger, markdown, records
from bucketscribe.asking import is_spent
from bucketscribe.finish import Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.messages import task_message
from bucketscribe.model import Delivery, Job, Lane, PageFault, PageNote, PageRecord, PageStatus, PageTask
from bucketscribe.ports import Topic
from bucketscribe.settings import Settings


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
    stored = await bucket.read(layout.job(task.source))
    if stored is None:
        return GaveUp.CLOSED
    if await ledger.has_ended(bucket, task):
        await finish.check(task.source, task.pages, task.page, house.finisher)
        return GaveUp.DONE
    note = await _note(task, house)
    own = note.fault if is_spent(note, house.settings) else None
    fault = own or _overdue(records.decode_job(stored.data), note, house)
    if fault is None:
        await _park(delivery, house)
        return GaveUp.PARKED
    await _fail(task, fault, note.calls, house)
    return GaveUp.FAILED


async def _note(task: PageTask, house: GiveUp) -> PageNote:
    stored = await house.finisher.output_bucket.read(layout.note(task.source, task.page))
    return records.decode_note(stored.data) if stored else PageNote(page=task.page)


def _overdue(job: Job, note: PageNote, house: GiveUp) -> PageFault | None:
    """Name the end of patience, when the job is older than a parked task may become."""
    age = house.finisher.clock.now() - job.received_at
    if age < timedelta(days=house.settings.parked_days):
        return None
    return note.fault or PageFault(
        code="attempts_exhausted",
        message=f"every try in {age.days} days was refused or broke off; the logs of on_page_task say why",
    )


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


async def _fail(task: PageTask, fault: PageFault, calls: int, house: GiveUp) -> None:
    record = PageRecord(
        page=task.page, status=PageStatus.FAILED, edition=task.edition, attempts=calls, error=fault
    )
    body = markdown.failed_body(task.page, fault.code)
    await ledger.write(house.finisher.output_bucket, task.source, record, body)
    log(Severity.ERROR, "page given up", source=str(task.source), page=task.page, code=fault.code)
    await finish.check(task.source, task.pages, task.page, house.finisher)
