"""How long a job may stand still before it is resumed, and how much of what was resumed may be out at once.

A job that stands still is waiting far more often than it is lost, and only time tells: so pauses are long and
grow, and are counted from whatever last came further, the job or one of its pages.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bucketscribe.errors import AttemptsExhausted
from bucketscribe.ledger import Entry
from bucketscribe.model import Job, JobState

# Whoever was at work on a job then is not any more: a function lives for 540 s, a delivery for 600, and the
# longest pause before the next one is another 600.
QUIET = timedelta(minutes=20)

# Pauses before the first, the second and the third resume; the last one again before a job counts as stuck.
# Tasks that are not all out will not come by waiting, but Eventarc, too, tries again for 24 hours.
UNPUBLISHED_PAUSES = (QUIET, timedelta(hours=1), timedelta(hours=4))
# Tasks that are out lie safe in Pub/Sub; 10,000 pages take an hour and a half on three L4s.
PUBLISHED_PAUSES = (timedelta(hours=2), timedelta(hours=8), timedelta(hours=24))
RESUMES = 3

# Pages of resumed documents that may be out at once, within their pauses: half an hour's work for three L4s.
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


def moved_at(job: Job, found: Sequence[Entry]) -> datetime:
    """Tell when the job or one of its pages last came further; a page that was given up is no progress."""
    ended = [
        entry.info.updated_at
        for entry in found
        if entry.record.error is None or entry.record.error.code != AttemptsExhausted.code
    ]
    return max([stood_since(job), *ended])


def pause(job: Job) -> timedelta:
    """Tell how long a job may stand still before it is resumed, or is stuck."""
    pauses = PUBLISHED_PAUSES if job.state is JobState.PUBLISHED else UNPUBLISHED_PAUSES
    return pauses[min(len(job.resumed_at), RESUMES - 1)]
