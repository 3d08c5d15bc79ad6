"""How long a job may stand still: long, and longer every time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bucketscribe import patience
from bucketscribe.model import (
    Job,
    JobState,
    ObjectRef,
    PageFault,
    PageRecord,
    PageStatus,
    StoredPage,
    Upload,
)
from bucketscribe.settings import PROFILES, Settings

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

JOB = Job(
    upload=Upload(
        source=ObjectRef(bucket="in", name="a.pdf", generation=7),
        size=1,
        content_type="application/pdf",
        crc32c="",
        uploaded_at=NOON,
    ),
    state=JobState.RECEIVED,
    profile=PROFILES["lightonocr-2-1b"],
    received_at=NOON,
)


def entry(page: int, written: datetime, fault: str | None = None) -> StoredPage:
    return StoredPage(
        record=PageRecord(
            page=page,
            status=PageStatus.FAILED if fault else PageStatus.OK,
            error=PageFault(code=fault, message="") if fault else None,
        ),
        object_name="",
        object_generation=1,
        written_at=written,
    )


@pytest.mark.parametrize("pauses", [patience.UNPUBLISHED_PAUSES, patience.PUBLISHED_PAUSES])
def test_pauses_grow_and_begin_when_nobody_can_be_at_work_any_more(pauses: tuple[timedelta, ...]) -> None:
    assert len(pauses) == patience.RESUMES
    assert patience.QUIET <= pauses[0] < pauses[1] < pauses[2]
    assert patience.QUIET.total_seconds() >= 2 * Settings.__dataclass_fields__["ack_deadline_seconds"].default


def test_three_resumes_are_over_long_before_parked_pages_are_given_up() -> None:
    days = Settings.__dataclass_fields__["parked_days"].default
    waited = sum([*patience.PUBLISHED_PAUSES, patience.PUBLISHED_PAUSES[-1]], timedelta())
    assert waited < timedelta(days=days) / 2


def test_a_job_stands_since_its_last_step_of_any_kind() -> None:
    assert patience.stood_since(JOB) == NOON
    planned = replace(JOB, planned_at=NOON + HOUR)
    assert patience.stood_since(planned) == NOON + HOUR
    resumed = replace(planned, resumed_at=(NOON + 2 * HOUR, NOON + 3 * HOUR))
    assert patience.stood_since(resumed) == NOON + 3 * HOUR


def test_pages_count_as_movement_but_not_those_that_may_have_been_given_up() -> None:
    found = [entry(1, NOON + HOUR), entry(2, NOON + 2 * HOUR, "model_loop")]
    assert patience.moved_at(JOB, found, overdue=False) == NOON + 2 * HOUR
    assert patience.moved_at(JOB, found, overdue=True) == NOON + HOUR
    assert patience.moved_at(JOB, found[1:], overdue=True) == NOON


def test_copies_of_published_tasks_are_counted_out_and_other_tries_last_until_the_job_is_overdue() -> None:
    often = replace(JOB, resumed_at=(NOON,) * 3)
    out = replace(often, state=JobState.PUBLISHED)
    assert [patience.may_resume(often, overdue=overdue) for overdue in (False, True)] == [True, False]
    assert [patience.may_resume(out, overdue=overdue) for overdue in (False, True)] == [False, False]
    assert patience.may_resume(replace(out, resumed_at=(NOON,)), overdue=True)


def test_what_was_resumed_least_comes_first_then_the_unpublished_then_the_oldest() -> None:
    lost = replace(JOB, received_at=NOON + 3 * HOUR)
    old = replace(JOB, state=JobState.PUBLISHED)
    young = replace(JOB, state=JobState.PUBLISHED, received_at=NOON + HOUR)
    again = replace(JOB, resumed_at=(NOON,))
    assert sorted([again, young, old, lost], key=patience.turn) == [lost, old, young, again]
