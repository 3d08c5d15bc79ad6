"""Notes: one object a difficult page in flight, of what its deliveries have used up and when it was parked.

Like a job, a note is replaced by the generation that was read, so that two deliveries of a page at once keep
what both of them know. A note is of one edition: of an earlier one's only the place counts.
"""

from dataclasses import dataclass

from bucketscribe import layout, records
from bucketscribe.model import ObjectRef, PageNote
from bucketscribe.ports import Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenNote:
    """A page's note with the generation of its object, by which it is replaced; blank where there is none.

    One that is outdated is of an edition before the one that stands there, and is not to be written.
    """

    note: PageNote
    generation: int = 0
    is_outdated: bool = False


def blank(page: int, edition: int) -> OpenNote:
    """Give the note on a page of which nothing is known."""
    return OpenNote(note=PageNote(page=page, edition=edition))


async def read(source: ObjectRef, page: int, edition: int, bucket: Bucket) -> OpenNote:
    """Read the note on a page in an edition; what cannot be decoded counts as blank. Raises CloudError."""
    stored = await bucket.read(layout.note(source, page))
    if stored is None:
        return blank(page, edition)
    found = records.decode_note(stored.data) or PageNote(page=page, edition=edition)
    return OpenNote(
        note=found if found.edition == edition else PageNote(page=page, edition=edition),
        generation=stored.info.generation,
        is_outdated=found.edition > edition,
    )


async def write(source: ObjectRef, note: PageNote, if_generation: int, bucket: Bucket) -> OpenNote:
    """Write a note where that generation stands (0: where there is none). Raises WriteConflict."""
    generation = await bucket.write(
        layout.note(source, note.page),
        records.encode_note(note),
        content_type=records.JSON,
        if_generation=if_generation,
    )
    return OpenNote(note=note, generation=generation)
