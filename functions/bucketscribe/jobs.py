"""Jobs: one object a document in flight, read with its generation and replaced by it.

Whoever changes a job changes the one he has read, or learns that somebody else was first: so two deeds at
once never both take a job the same step further, and a job that is gone never comes back.
"""

from dataclasses import dataclass

from bucketscribe import layout, records
from bucketscribe.errors import UnreadableJob
from bucketscribe.model import Job, ObjectInfo, ObjectRef
from bucketscribe.ports import Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A job with the generation of its object, by which it is replaced."""

    job: Job
    generation: int

    @property
    def source(self) -> ObjectRef:
        return self.job.source


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedJob:
    """A job as a listing shows it: whose it is, and its object."""

    source: ObjectRef
    info: ObjectInfo


async def write(job: Job, if_generation: int, bucket: Bucket) -> OpenJob:
    """Write a job where that generation stands (0: where there is none). Raises WriteConflict."""
    generation = await bucket.write(
        layout.job(job.source),
        records.encode_job(job),
        content_type=records.JSON,
        if_generation=if_generation,
    )
    return OpenJob(job=job, generation=generation)


async def read(source: ObjectRef, bucket: Bucket) -> OpenJob | None:
    """Read the job of a source, in two requests; None when it is not in flight. Raises UnreadableJob."""
    stored = await bucket.read(layout.job(source))
    return _opened(source, stored.data, stored.info.generation) if stored else None


async def close(opened: OpenJob, bucket: Bucket) -> None:
    """Delete a job as it was read; one that has changed since stays."""
    await bucket.delete(layout.job(opened.source), if_generation=opened.generation)


async def listing(input_bucket: str, bucket: Bucket) -> list[ListedJob]:
    """List all jobs, a request for every 1,000; what lies among them and is no job of ours is passed over."""
    found = []
    for info in await bucket.infos(layout.JOBS_PREFIX):
        source = layout.job_of(input_bucket, info.name)
        if source:
            found.append(ListedJob(source=source, info=info))
    return found


async def read_listed(listed: ListedJob, bucket: Bucket) -> OpenJob | None:
    """Read a job as it was listed, in one request; None when it has changed since. Raises UnreadableJob."""
    data = await bucket.body(listed.info.name, listed.info.generation)
    return None if data is None else _opened(listed.source, data, listed.info.generation)


def _opened(source: ObjectRef, data: bytes, generation: int) -> OpenJob:
    job = records.decode_job(data)
    if job.source != source:
        raise UnreadableJob(f"the job of {source} says that it is of {job.source}: delete it")
    return OpenJob(job=job, generation=generation)
