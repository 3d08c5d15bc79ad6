"""Notes that have outlived their job are deleted by the sweep, and no others."""

from bucketscribe import layout, patience, records
from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import ObjectRef, PageNote
from tests.house import House, story

QUIET = patience.QUIET.total_seconds()
GONE = ObjectRef(bucket="in", name="gone.pdf", generation=7)


def leave(house: House, source: ObjectRef, page: int = 1) -> str:
    name = layout.note(source, page)
    house.outbox.put(name, records.encode_note(PageNote(page=page)))
    return name


@story
async def test_a_note_without_a_job_goes_when_no_delivery_can_be_at_work_any_more(house: House) -> None:
    names = [leave(house, GONE, page) for page in (1, 2, 3)]
    house.clock.advance(QUIET - 1)
    await house.sweep()
    assert house.in_flight() == names
    house.clock.advance(1)
    await house.sweep()
    house.assert_nothing_in_flight()


@story
async def test_notes_on_documents_in_flight_stay_however_old_they_are(house: House) -> None:
    await house.take_in(house.drop(pages=2))
    (first, _) = house.tasks()
    name = leave(house, first.source)
    house.clock.advance(QUIET)
    await house.sweep()
    assert name in house.in_flight()


@story
async def test_the_note_of_a_job_that_was_not_listed_yet_stays(house: House) -> None:
    """A job may come to stand between the two listings: a redo's."""
    name = leave(house, GONE)
    house.clock.advance(QUIET)

    async def a_job_comes() -> None:
        house.outbox.put(layout.job(GONE), b"{}")

    house.line.meanwhile("names", layout.NOTES_PREFIX, a_job_comes)
    await house.sweep()
    assert name in house.in_flight()
    house.outbox.drop(layout.job(GONE))


@story
async def test_a_note_that_is_written_anew_meanwhile_stays(house: House) -> None:
    name = leave(house, GONE)
    house.clock.advance(QUIET)

    async def rewritten() -> None:
        leave(house, GONE)

    house.line.meanwhile("delete", name, rewritten)
    await house.sweep()
    assert house.in_flight() == [name]


@story
async def test_one_that_cannot_be_deleted_keeps_no_other_and_goes_next_time(house: House) -> None:
    first, last = leave(house, GONE, 1), leave(house, GONE, 2)

    async def refused() -> None:
        raise StorageUnavailable("not now")

    house.clock.advance(QUIET)
    house.line.meanwhile("delete", first, refused)
    await house.sweep()
    assert house.in_flight() == [first]
    assert last not in house.outbox.listing
    await house.sweep()
    house.assert_nothing_in_flight()


@story
async def test_what_lies_among_the_notes_and_is_none_of_ours_stays(house: House) -> None:
    house.outbox.put("notes/readme.txt", b"a person's")
    house.clock.advance(QUIET)
    await house.sweep()
    assert house.outbox.listing == ["notes/readme.txt"]


@story
async def test_notes_that_cannot_be_listed_break_no_sweep_off(house: House) -> None:
    name = leave(house, GONE)
    house.clock.advance(QUIET)

    async def refused() -> None:
        raise StorageUnavailable("not now")

    house.line.meanwhile("names", layout.NOTES_PREFIX, refused)
    assert await house.sweep() == {}
    assert house.in_flight() == [name]
    await house.sweep()
    house.assert_nothing_in_flight()
