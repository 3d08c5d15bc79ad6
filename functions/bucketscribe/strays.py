"""Notes that have outlived their job: a slow copy of a task writes one when its document is closed.

No delivery can see to that by itself: who closes a document cannot wait for copies that are still at work,
and whoever writes such a note may die before looking again. So the sweep looks, when all of them have ended.
Likewise for pages that are written while their source is erased: the erasure left its mark among the notes.
"""

from collections.abc import Collection, Sequence

from bucketscribe import crew, finish, layout, patience
from bucketscribe.errors import CloudError
from bucketscribe.finish import Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.model import ObjectRef, Retention

_AT_ONCE = 8


async def clear(in_flight: Collection[ObjectRef], finisher: Finisher, deadline: float) -> int:
    """Delete the notes of which no delivery can be at work any more and whose document is not in flight, and
    do once more what left a mark; tell how many notes went.

    A request for every 1,000 notes there are and three for each that goes. What cannot be listed or deleted,
    or not before `deadline` (of the finisher's monotonic clock), is left to the next sweep, and logged.
    """
    bucket, cleared = finisher.output_bucket, list[str]()

    async def delete(suspect: tuple[str, ObjectRef]) -> None:
        name, source = suspect
        if finisher.clock.monotonic() > deadline:
            return
        try:
            if await _clear(name, source, finisher):
                cleared.append(name)
        except CloudError as error:
            log(Severity.WARNING, "note not deleted", source=str(source), code=error.code, reason=str(error))

    try:
        names = await bucket.names(layout.NOTES_PREFIX)
    except CloudError as error:
        log(Severity.WARNING, "notes not listed", code=error.code, reason=str(error))
        return 0
    await crew.do_all(_suspects(names, in_flight, finisher.input_bucket.name), delete, _AT_ONCE)
    return len(cleared)


def _suspects(
    names: Sequence[str], in_flight: Collection[ObjectRef], input_bucket: str
) -> list[tuple[str, ObjectRef]]:
    """Choose the notes without a job, and the marks; each with the source that it is about."""
    found = ((name, layout.note_of(input_bucket, name)) for name in names)
    return [
        (name, source)
        for name, source in found
        if source and (source not in in_flight or name == layout.erasure(source))
    ]


async def _clear(name: str, source: ObjectRef, finisher: Finisher) -> bool:
    """Delete a note that is old enough, if nobody needs it; tell whether it was so."""
    bucket = finisher.output_bucket
    info = await bucket.look(name)
    if info is None or finisher.clock.now() - info.updated_at < patience.QUIET:
        return False
    if name == layout.erasure(source):
        await _erase_again(source, finisher)
    elif await bucket.look(layout.job(source)):
        return False
    await bucket.delete(name, if_generation=info.generation)
    return True


async def _erase_again(source: ObjectRef, finisher: Finisher) -> None:
    """Delete what was written at the very time when a source was erased; a newer version's stays."""
    if finisher.retention is Retention.KEEP:
        return
    live = await finisher.input_bucket.look(source.name)
    if live is None or live.generation != source.generation:
        await finish.erase_marked(source, finisher)
