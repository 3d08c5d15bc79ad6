"""A document published again: its job stands once more, so that the end's protocol is done from its start.

A page may be read after it was given up, its document finished and its job closed. Who has replaced the page
makes the job stand at a new generation, after the page: a finisher with an older reading can then not close
it, since a job is closed by the generation that was read before the pages were. It stands already before the
page is replaced: who dies then leaves a job to the sweep, which publishes whatever there is.
"""

from collections.abc import Awaitable, Callable

from bucketscribe import jobs, layout, published, records
from bucketscribe.errors import WriteConflict
from bucketscribe.logs import Severity, log
from bucketscribe.model import Job, ObjectRef
from bucketscribe.ports import Bucket
from bucketscribe.published import Published


async def make_way(source: ObjectRef, page: int, bucket: Bucket) -> None:
    """Have the job of `source` stand, at a generation that nobody has read yet, before a page is replaced.

    Raises UnreadableJob, CloudError.
    """
    await _stand(source, page, bucket, _former_job)


async def reopen(source: ObjectRef, page: int, bucket: Bucket) -> None:
    """Have the job of `source` stand anew, unless the page stands in the published record as it is now.

    What was superseded or erased stays so. Raises UnreadableJob, CloudError.
    """
    await _stand(source, page, bucket, _closed_job)


async def _stand(
    source: ObjectRef,
    page: int,
    bucket: Bucket,
    closed: Callable[[ObjectRef, int, Bucket], Awaitable[Job | None]],
) -> None:
    """Write the job anew: as it stands, or where none does as `closed` makes it, if it does."""
    while True:
        opened = await jobs.read(source, bucket)
        job = opened.job if opened else await closed(source, page, bucket)
        if job is None:
            return
        try:
            await jobs.write(job, opened.generation if opened else 0, bucket)
        except WriteConflict:
            continue
        if opened is None:
            log(Severity.INFO, "document opened again for a late page", source=str(source), page=page)
        return


async def _closed_job(source: ObjectRef, page: int, bucket: Bucket) -> Job | None:
    """Make the job of a finished document from its record; None when that is of another version or has this
    very page.
    """
    former = await _published(source, bucket)
    if former is None:
        return None
    info = await bucket.look(layout.page(source, page))
    if info is None or former.page_generations.get(page) == info.generation:
        return None
    return former.job


async def _former_job(source: ObjectRef, _page: int, bucket: Bucket) -> Job | None:
    """Make the job of a finished document from its record; None when that is of another version."""
    former = await _published(source, bucket)
    return former.job if former else None


async def _published(source: ObjectRef, bucket: Bucket) -> Published | None:
    """Read what the record of a finished document knows; None when that is of another version."""
    stored = await bucket.read(layout.document_record(source.name))
    if stored is None or records.published_generation(stored.info) != source.generation:
        return None
    return published.decode(stored.data)
