"""How long a job may stand still before it is resumed, and how much of what was resumed may be out at once.

A job that stands still is waiting far more often than it is lost, and only time tells: so pauses are long and
grow, and are counted from whatever last came further, the job or one of its pages.

Copies of tasks that are out multiply, so a published job is resumed three times and no more. A job whose
tasks did not get out costs a try, and is resumed until it is overdue: whatever kept them back, be it for
days, will be mended, and then the document is read.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from bucketscribe.model import Job, JobState, Lane, PageStatus, StoredPage

# Whoever was at work on a job then is not any more: a function lives for 540 s, a delivery for 600, and the
# longest pause before the next one is another 400.
QUIET = timedelta(minutes=20)

# Pauses before the first, the second and the third resume; the last one again before a published job counts
# as stuck, and before every further resume of an unpublished one.
# Tasks that are not all out will not come by waiting, but Eventarc, too, tries again for 24 hours.
UNPUBLISHED_PAUSES = (QUIET, timedelta(hours=1), timedelta(hours=4))
# Tasks that are out lie safe in Pub/Sub; 10,000 pages take an hour and a half on three L4s.
PUBLISHED_PAUSES = (timedelta(hours=2), timedelta(hours=8), timedelta(hours=24))
RESUMES = 3

# Pages of resumed documents that may be out at once in a lane, within their pauses: half an hour's work for
# three L4s. A share for each lane, so that a resumed book holds no invoices.
# After a loss of everything that keeps them busy from sweep to sweep; a queue that is only long, or jammed
# by an outage, never grows by more than this in eight hours.
COPIES = 3000


def turn(job: Job) -> tuple[int, bool, datetime]:
    """Give what jobs are sorted by: resumed least, then unpublished, then oldest. Whichever breaks a sweep
    off is thereby behind all others in the next one.
    """
    return len(job.resumed_at), job.state is JobState.PUBLISHED, stood_since(job)


def stood_since(job: Job) -> datetime:
    """Tell when somebody last took the whole job a step further."""
    return max(job.begun_at, job.planned_at or job.begun_at, *job.resumed_at)


def moved_at(job: Job, found: Sequence[StoredPage], *, overdue: bool) -> datetime:
    """Tell when the job or one of its pages last came further; a page that was given up is no progress.

    In an overdue job every failed page may have been: those given up carry their own last fault, if any.
    """
    ended = [page.written_at for page in found if not (overdue and _is_failed(page))]
    return max([stood_since(job), *ended])


def _is_failed(page: StoredPage) -> bool:
    return page.record.status is PageStatus.FAILED


def may_resume(job: Job, *, overdue: bool) -> bool:
    """Tell whether a job has a resume left."""
    return len(job.resumed_at) < RESUMES or (job.state is not JobState.PUBLISHED and not overdue)


def pause(job: Job) -> timedelta:
    """Tell how long a job may stand still before it is resumed, or is stuck."""
    pauses = PUBLISHED_PAUSES if job.state is JobState.PUBLISHED else UNPUBLISHED_PAUSES
    return pauses[min(len(job.resumed_at), RESUMES - 1)]


class Copies:
    """How many pages of resumed documents are out in each lane."""

    def __init__(self) -> None:
        self._out: Counter[Lane] = Counter()

    def count(self, job: Job, lane: Lane, now: datetime) -> None:
        """Count a resume's tasks while they may be on their way. How many have ended since is not asked."""
        if job.resumed_at and now - stood_since(job) < pause(job):
            self._out[lane] += job.pages or 0

    def has_room(self, job: Job, lane: Lane, *, overdue: bool) -> bool:
        """Take a document's pages to those that are out; one alone may be as long as it is. Neither what was
        never published nor what is overdue is held.
        """
        pages = job.pages or 0
        is_held = job.state is JobState.PUBLISHED and not overdue
        if is_held and self._out[lane] and self._out[lane] + pages > COPIES:
            return False
        self._out[lane] += pages
        return True
