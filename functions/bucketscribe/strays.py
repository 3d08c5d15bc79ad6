"""Notes that have outlived their job: a slow copy of a task writes one when its document is closed.

No delivery can see to that by itself: who closes a document cannot wait for copies that are still at work,
and whoever writes such a note may die before looking again. So the sweep looks, when all of them have ended.
Likewise for pages that are written while their source is erased: the erasure left its mark among the notes.
"""

from collections.abc import Collection

from bucketscribe import crew, finish, layout, notes, patience
from bucketscribe.errors import CloudError
from bucketscribe.finish import Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.model import ObjectRef
from bucketscribe.notes import ListedNote

_AT_ONCE = 8


async def clear(in_flight: Collection[ObjectRef], finisher: Finisher, deadline: float) -> int:
    """Delete the notes of which no delivery can be at work any more and whose document is not in flight;
    tell how many.

    A request for every 1,000 notes there are and two for each that goes; what cannot be deleted, or not
    before `deadline` (of the finisher's monotonic clock), is left to the next sweep. Raises CloudError when
    the notes cannot be listed.
    """
    bucket, quiet_since = finisher.output_bucket, finisher.clock.now() - patience.QUIET
    listed = await notes.listing(finisher.input_bucket.name, bucket)
    strays = [each for each in listed if each.source not in in_flight and each.info.updated_at <= quiet_since]
    cleared: list[str] = []

    async def delete(stray: ListedNote) -> None:
        if finisher.clock.monotonic() > deadline:
            return
        try:
            if await bucket.look(layout.job(stray.source)) is None:
                await _erase_again(stray, finisher)
                await bucket.delete(stray.info.name, if_generation=stray.info.generation)
                cleared.append(stray.info.name)
        except CloudError as error:
            log(Severity.WARNING, "note not deleted", source=str(stray.source), code=error.code)

    await crew.do_all(strays, delete, _AT_ONCE)
    return len(cleared)


async def _erase_again(stray: ListedNote, finisher: Finisher) -> None:
    """Delete what was written at the very time when a source was erased, if this note is the mark of that."""
    is_mark = stray.info.name == layout.erasure(stray.source)
    if is_mark and await finish.has_lost_its_source(stray.source, finisher):
        await finish.erase_marked(stray.source, finisher)
