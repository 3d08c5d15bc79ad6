"""A document's pages read once more: all of them, chosen ones, or those that failed.

A redo is a wish written into the job, which stands again if it was closed; the sweep takes it up. Its pages
get a higher edition than any before and replace what stands when they end; the document stands as it is until
none of them is missing. A redo asked for while another one is under way takes that one's missing pages along.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bucketscribe import jobs, layout, ledger, published, records
from bucketscribe.errors import RedoRefused, WriteConflict
from bucketscribe.jobs import OpenJob
from bucketscribe.model import Job, JobState, ObjectRef, PageStatus, Profile, Redo, StoredPage
from bucketscribe.ports import Bucket, Clock
from bucketscribe.settings import PROFILES

_POOR = (PageStatus.FAILED, PageStatus.LOW_QUALITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which pages: those in `pages`, or the poor ones, or all; and with which model, if not as before."""

    pages: frozenset[int] | None = None
    poor: bool = False
    profile: Profile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A document as it stands: its job, open or made from its record, and its highest edition."""

    job: Job
    generation: int
    edition: int
    pages: Sequence[StoredPage]


async def redo(name: str, wish: Wish, input_bucket: Bucket, output_bucket: Bucket, clock: Clock) -> OpenJob:
    """Write the wish into the job of the live version. Raises RedoRefused when there is nothing to redo."""
    while True:
        source = await _live(name, input_bucket)
        found = await _find(source, output_bucket)
        job = replace(
            found.job,
            state=JobState.REDO,
            profile=wish.profile or PROFILES.get(found.job.profile.name, found.job.profile),
            redo=Redo(edition=found.edition + 1, pages=_pages(found, wish), asked_at=clock.now()),
            resumed_at=(),
        )
        try:
            return await jobs.write(job, found.generation, output_bucket)
        except WriteConflict:
            continue


async def _live(name: str, bucket: Bucket) -> ObjectRef:
    live = await bucket.look(name)
    if live is None:
        raise RedoRefused(f"gs://{bucket.name}/{name} is gone: what was made of it stays; upload it again")
    return ObjectRef(bucket=bucket.name, name=name, generation=live.generation)


async def _find(source: ObjectRef, bucket: Bucket) -> _Found:
    opened = await jobs.read(source, bucket)
    if opened and opened.job.pages is None:
        raise RedoRefused(f"{source} is in flight and not opened yet: all its pages are still to be read")
    job, edition = (opened.job, 0) if opened else await _published(source, bucket)
    pages = await ledger.entries(bucket, source)
    editions = [edition, job.redo.edition if job.redo else 0, *(page.record.edition for page in pages)]
    return _Found(job=job, generation=opened.generation if opened else 0, edition=max(editions), pages=pages)


async def _published(source: ObjectRef, bucket: Bucket) -> tuple[Job, int]:
    """Make the job of a finished document again; tell the highest edition in its record."""
    stored = await bucket.read(layout.document_record(source.name))
    if stored is None:
        raise RedoRefused(f"{source} has neither a document nor a job: it was never taken in, or just now")
    generation = records.published_generation(stored.info)
    if generation != source.generation:
        raise RedoRefused(
            f"the document is of generation {generation}, which {source} has superseded: "
            "that one's own reading comes first"
        )
    former = published.decode(stored.data)
    return former.job, former.edition


def _pages(found: _Found, wish: Wish) -> frozenset[int] | None:
    """Choose pages, with those that an earlier redo still waits for; None for all. Raises RedoRefused."""
    count = found.job.pages
    if count is None or not (wish.poor or wish.pages):
        return None
    strange = sorted(page for page in wish.pages or () if not 1 <= page <= count)
    if strange:
        raise RedoRefused(f"{found.job.source} has pages 1 to {count}, and not {strange}")
    chosen = wish.pages or frozenset(page.record.page for page in found.pages if _is_poor(page))
    awaited = frozenset(
        page for page in ledger.outstanding(found.job, found.pages) if found.job.edition_of(page)
    )
    if not chosen | awaited:
        raise RedoRefused(f"no page of {found.job.source} failed or is of low quality")
    return chosen | awaited


def _is_poor(page: StoredPage) -> bool:
    return page.record.status in _POOR or page.record.has_failed_redo
