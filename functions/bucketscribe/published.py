"""What a document's record still knows of the job that it ended: enough to do its end once more.

`records` writes the record; here just those of its fields are read that a job is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from bucketscribe.errors import UnreadableJob
from bucketscribe.model import Job, JobState, ObjectRef, Profile, Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a document record still knows of its job, and of which page objects it was made."""

    job: Job
    page_generations: Mapping[int, int]
    edition: int


def decode(data: bytes) -> Published:
    """Decode what encode_document made. Raises UnreadableJob on anything else: nobody else writes there."""
    try:
        found = msgspec.json.decode(data, type=_PublishedRecord, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableJob(f"the record cannot be decoded ({type(error).__name__})") from error
    return Published(
        job=_job(found),
        page_generations={page.page: page.object_generation for page in found.pages},
        edition=max((page.edition for page in found.pages), default=0),
    )


class _PublishedSource(msgspec.Struct):
    uri: str
    generation: int
    size: int
    content_type: str
    crc32c: str


class _Sampling(msgspec.Struct):
    temperature: float
    top_p: float
    max_tokens: int


class _PublishedEngine(msgspec.Struct):
    model: str
    revision: str | None
    profile: str
    sampling: _Sampling
    longest_edge_px: int


class _PublishedPage(msgspec.Struct):
    page: int
    object_generation: int
    edition: int


class _PublishedTimings(msgspec.Struct):
    uploaded: datetime
    received: datetime
    planned: datetime | None


class _PublishedRecord(msgspec.Struct):
    source: _PublishedSource
    engine: _PublishedEngine
    pages: tuple[_PublishedPage, ...]
    timings: _PublishedTimings


def _job(found: _PublishedRecord) -> Job:
    """Make the job again, as far as its document can end with it: its kind and its trace are gone."""
    bucket, _, name = found.source.uri.removeprefix("gs://").partition("/")
    upload = Upload(
        source=ObjectRef(bucket=bucket, name=name, generation=found.source.generation),
        size=found.source.size,
        content_type=found.source.content_type,
        crc32c=found.source.crc32c,
        uploaded_at=found.timings.uploaded,
    )
    engine = found.engine
    profile = Profile(
        name=engine.profile,
        model=engine.model,
        revision=engine.revision or "",
        temperature=engine.sampling.temperature,
        top_p=engine.sampling.top_p,
        max_tokens=engine.sampling.max_tokens,
        longest_edge_px=engine.longest_edge_px,
    )
    return Job(
        upload=upload,
        state=JobState.PUBLISHED if found.pages else JobState.RECEIVED,
        profile=profile,
        received_at=found.timings.received,
        pages=len(found.pages) or None,
        planned_at=found.timings.planned,
    )
