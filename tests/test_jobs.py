"""Jobs are read with their generation and replaced by it; strangers' objects among them are passed over."""

from dataclasses import replace

import pytest

from bucketscribe import jobs, layout, records
from bucketscribe.errors import UnreadableJob, WriteConflict
from bucketscribe.model import JobState, ObjectRef
from tests.fakes.bucket import FakeBucket
from tests.house import asynchronous
from tests.test_patience import JOB


@asynchronous
async def test_a_job_comes_back_as_written_whether_listed_or_asked_for() -> None:
    bucket = FakeBucket()
    written = await jobs.write(JOB, 0, bucket)
    assert await jobs.read(JOB.source, bucket) == written
    (listed,) = await jobs.listing("in", bucket)
    assert listed.source == JOB.source
    assert await jobs.read_listed(listed, bucket) == written


@asynchronous
async def test_only_who_has_read_a_job_last_replaces_it() -> None:
    bucket = FakeBucket()
    first = await jobs.write(JOB, 0, bucket)
    planned = replace(JOB, state=JobState.PLANNED)
    await jobs.write(planned, first.generation, bucket)
    with pytest.raises(WriteConflict):
        await jobs.write(JOB, first.generation, bucket)
    await bucket.delete(layout.job(JOB.source))
    with pytest.raises(WriteConflict):
        await jobs.write(planned, first.generation, bucket)


@asynchronous
async def test_a_listed_job_that_changed_since_is_none() -> None:
    bucket = FakeBucket()
    first = await jobs.write(JOB, 0, bucket)
    (listed,) = await jobs.listing("in", bucket)
    await jobs.write(JOB, first.generation, bucket)
    assert await jobs.read_listed(listed, bucket) is None
    assert await jobs.read(ObjectRef(bucket="in", name="b.pdf", generation=7), bucket) is None


@asynchronous
async def test_what_is_no_job_of_that_source_says_so() -> None:
    bucket = FakeBucket()
    other = ObjectRef(bucket="in", name="b.pdf", generation=7)
    bucket.put(layout.job(other), records.encode_job(JOB))
    with pytest.raises(UnreadableJob, match=r"b\.pdf"):
        await jobs.read(other, bucket)
    bucket.put(layout.job(other), b"{}")
    with pytest.raises(UnreadableJob):
        await jobs.read(other, bucket)


@asynchronous
async def test_strangers_among_the_jobs_are_passed_over() -> None:
    bucket = FakeBucket()
    await jobs.write(JOB, 0, bucket)
    for name in ("jobs/", "jobs/a.pdf/latest.json", "jobs/a.pdf/07.json", "jobs/7.json"):
        bucket.put(name, b"")
    assert [each.source for each in await jobs.listing("in", bucket)] == [JOB.source]
