"""A dead-lettered task becomes a failed page, or is parked."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bucketscribe import layout, ledger, records
from bucketscribe.errors import (
    AuthDenied,
    JunkMessage,
    LightOnOCRError,
    ModelBusy,
    ModelTimeout,
    PublishFailed,
    StorageUnavailable,
)
from bucketscribe.finish import End
from bucketscribe.give_up import GaveUp, give_up
from bucketscribe.model import (
    Delivery,
    Lane,
    ObjectRef,
    PageFault,
    PageNote,
    PageRecord,
    PageStatus,
    PageTask,
)
from bucketscribe.resume import Swept
from tests.house import House, build_house, story, words

DAY = timedelta(days=1).total_seconds()


async def tasks_of(house: House, pages: int = 2) -> list[PageTask]:
    await house.take_in(house.drop("a.pdf", pages))
    house.post.clear()
    return house.tasks()


def leave_note(house: House, task: PageTask, fault: PageFault | None) -> None:
    note = PageNote(page=task.page, calls=2, timeouts=1, fault=fault)
    house.outbox.put(layout.note(task.source, task.page), records.encode_note(note))


@story
async def test_a_page_with_a_fault_of_its_own_ends_failed_with_it(house: House) -> None:
    first, last = await tasks_of(house)
    leave_note(house, last, PageFault(code="model_loop", message="on and on"))
    await house.read(first)
    assert await house.bury(last) is GaveUp.FAILED
    assert house.statuses() == ["ok", "failed"]
    assert house.record()["errors"] == [
        {"page": 2, "code": "model_loop", "message": "on and on", "attempts": 2}
    ]
    assert words(house.text()) == ["a.pdf 1", "> [page 2 could not be read: model_loop]"]
    house.assert_nothing_in_flight()


@pytest.mark.parametrize("with_note", [False, True])
@story
async def test_a_page_without_a_fault_of_its_own_is_parked(house: House, with_note: bool) -> None:
    first, _ = await tasks_of(house)
    if with_note:
        leave_note(house, first, None)
    assert await house.bury(first) is GaveUp.PARKED
    assert house.tasks() == [replace(first, again=True)]
    assert await ledger.look(house.outbox, first.source, 1) is None


@story
async def test_one_bad_answer_before_an_outage_is_parked_and_only_fails_the_page_in_the_end(
    house: House,
) -> None:
    first, last = await tasks_of(house)
    await house.read(last)
    fault = PageFault(code="model_timeout", message="once")
    note = PageNote(page=1, calls=1, timeouts=1, fault=fault)
    house.outbox.put(layout.note(first.source, 1), records.encode_note(note))
    assert await house.bury(first) is GaveUp.PARKED
    house.clock.advance(7 * DAY)
    assert await house.bury(first) is GaveUp.FAILED
    assert house.record()["errors"][0]["code"] == "model_timeout"


@story
async def test_another_buckets_page_is_junk(house: House) -> None:
    stranger = PageTask(
        source=ObjectRef(bucket="elsewhere", name="a.pdf", generation=1),
        page=1,
        pages=1,
        lane=Lane.EXPRESS,
        profile="lightonocr-2-1b",
    )
    with pytest.raises(JunkMessage):
        await house.bury(stranger)
    with pytest.raises(JunkMessage):
        await house.read(stranger)
    assert house.outbox.listing == []


@pytest.mark.parametrize(("pages", "lane"), [(2, Lane.EXPRESS), (21, Lane.BULK)])
@story
async def test_a_parked_task_goes_back_to_its_own_lane(house: House, pages: int, lane: Lane) -> None:
    first = (await tasks_of(house, pages))[0]
    await house.bury(first)
    topic = house.express if lane is Lane.EXPRESS else house.bulk
    assert len(topic.messages) == 1
    assert house.tasks() == [replace(first, again=True)]


@story
async def test_patience_ends_when_the_job_is_seven_days_old(house: House) -> None:
    first, last = await tasks_of(house)
    await house.read(last)
    house.clock.advance(7 * DAY - 1)
    assert await house.bury(first) is GaveUp.PARKED
    house.clock.advance(1)
    assert await house.bury(first) is GaveUp.FAILED
    assert house.record()["errors"][0]["code"] == "attempts_exhausted"
    assert house.statuses() == ["failed", "ok"]


@story
async def test_a_page_that_ended_meanwhile_is_left_as_it_is(house: House) -> None:
    first, last = await tasks_of(house)
    await house.read(first)
    leave_note(house, first, PageFault(code="model_timeout", message="late"))
    assert await house.bury(first) is GaveUp.DONE
    assert house.page(first.source, 1)[0]["status"] == "ok"
    await house.read(last)


@story
async def test_a_dead_letter_finishes_a_document_whose_last_writer_died(house: House) -> None:
    first, last = await tasks_of(house)
    await house.read(first)
    await ledger.write(house.outbox, last.source, PageRecord(page=2, status=PageStatus.BLANK), "")
    assert await house.bury(last) is GaveUp.DONE
    assert house.statuses() == ["ok", "blank"]


@story
async def test_a_closed_document_wants_nothing_more(house: House) -> None:
    first, last = await tasks_of(house)
    await house.read(first)
    await house.read(last)
    assert await house.bury(first) is GaveUp.CLOSED
    assert house.tasks() == []


@story
async def test_a_success_that_comes_during_the_burial_stands(house: House) -> None:
    first, last = await tasks_of(house)
    await house.read(first)
    leave_note(house, last, PageFault(code="model_timeout", message="late"))

    async def read_after_all() -> None:
        assert await house.read(last) is End.FINISHED

    house.line.meanwhile("write", "pages/", read_after_all)
    assert await house.bury(last) is GaveUp.FAILED
    assert house.statuses() == ["ok", "ok"]
    assert house.page(last.source, 2)[0]["status"] == "ok"


@story
async def test_a_task_that_cannot_be_parked_stays_a_dead_letter(house: House) -> None:
    first, _ = await tasks_of(house)
    house.express.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.bury(first)


@pytest.mark.parametrize("trouble", [AuthDenied("403"), ModelBusy("429")])
def test_an_outage_over_a_long_weekend_fails_no_page(tmp_path: Path, trouble: LightOnOCRError) -> None:
    """Three days and more of nothing but refusals: hundreds of deliveries, several burials, no failure."""
    house = build_house(tmp_path, tries=10, backoff_seconds=600.0)
    house.drop("a.pdf", 3)
    house.scribe.always = trouble
    original = house._send_back

    def until_tuesday(letter: object) -> None:
        original(letter)  # type: ignore[arg-type]
        if house.clock.monotonic() > 4 * DAY:
            house.scribe.always = None

    house._send_back = until_tuesday  # type: ignore[method-assign]
    asyncio.run(house.settle())
    assert house.statuses() == ["ok", "ok", "ok"]
    assert len(house.refusals) > 300
    house.check_books()


def test_an_outage_without_end_fails_the_pages_after_a_week(tmp_path: Path) -> None:
    house = build_house(tmp_path, tries=10, backoff_seconds=3600.0)
    house.drop("a.pdf", 2)
    house.scribe.always = AuthDenied("403")
    asyncio.run(house.settle())
    assert house.record()["status"] == "failed"
    assert {error["code"] for error in house.record()["errors"]} == {"attempts_exhausted"}
    assert house.clock.monotonic() > 7 * DAY
    house.check_books()


@pytest.mark.parametrize("note", [b"", b"{", b"\xff", b"[" * 9000, b'{"page": 1, "calls": -9}'])
@story
async def test_a_note_that_nobody_can_read_keeps_no_page_from_its_end(house: House, note: bytes) -> None:
    first, last = await tasks_of(house)
    for task in (first, last):
        house.outbox.put(layout.note(task.source, task.page), note)
    assert await house.read(first, attempt=2) is End.WAITING
    assert await house.bury(last) is GaveUp.PARKED
    house.clock.advance(8 * DAY)
    assert await house.bury(last) is GaveUp.FAILED
    assert house.statuses() == ["ok", "failed"]


# Copies.


@story
async def test_a_dead_letter_that_comes_twice_is_parked_once(house: House) -> None:
    first, _ = await tasks_of(house)
    house.clock.advance(DAY)
    assert [await house.bury(first), await house.bury(first)] == [GaveUp.PARKED, GaveUp.COPY]
    (again,) = house.tasks()
    assert again == replace(first, sent_at=house.clock.now(), again=True)


@pytest.mark.parametrize("earlier_first", [True, False])
@story
async def test_copies_become_one_again_when_they_die_next(house: House, earlier_first: bool) -> None:
    """The answer to a parking was lost, or its note could not be written: then two are on their way."""
    first, _ = await tasks_of(house)
    house.clock.advance(DAY)

    async def refused() -> None:
        raise StorageUnavailable("the note was not written")

    house.line.meanwhile("write", layout.note(first.source, 1), refused)
    with pytest.raises(StorageUnavailable):
        await house.bury(first)
    house.clock.advance(60)
    assert await house.bury(first) is GaveUp.PARKED
    earlier, later = house.tasks()
    house.clock.advance(DAY)
    order = (earlier, later) if earlier_first else (later, earlier)
    ends = {each.sent_at: await house.bury(each) for each in order}
    assert ends == {earlier.sent_at: GaveUp.COPY, later.sent_at: GaveUp.PARKED}
    assert len(house.tasks()) == 1


@story
async def test_a_task_that_the_sweep_sent_after_a_parking_is_no_copy(house: House) -> None:
    """The parked one may have been lost: that is why the sweep sent another."""
    first, _ = await tasks_of(house)
    house.clock.advance(60)
    assert await house.bury(first) is GaveUp.PARKED
    house.tasks()
    house.clock.advance(DAY)
    assert await house.sweep() == {Swept.RESUMED: 1}
    swept = next(each for each in house.tasks() if each.page == 1)
    house.clock.advance(60)
    assert await house.bury(swept) is GaveUp.PARKED
    assert [each.page for each in house.tasks()] == [1]


@pytest.mark.parametrize("said", [True, False])
@story
async def test_a_task_of_a_version_that_did_not_say_when_it_was_sent_goes_by_its_dead_letters_time(
    house: House, said: bool
) -> None:
    """It may be the only one that is left: a version without the field has parked it last."""
    first, _ = await tasks_of(house)
    house.clock.advance(DAY)
    assert await house.bury(first) is GaveUp.PARKED
    house.tasks()
    buried_at = house.clock.now() + timedelta(hours=16) if said else None
    delivery = Delivery(task=replace(first, sent_at=None), message_id="1", attempt=1, published_at=buried_at)
    assert await give_up(delivery, house.give_up) is GaveUp.PARKED
    assert [task.page for task in house.tasks()] == [1]


@story
async def test_two_who_park_a_page_at_once_leave_a_note_of_the_later_task(house: House) -> None:
    first, _ = await tasks_of(house)
    house.clock.advance(DAY)
    at_first = house.clock.now()

    async def another() -> None:
        house.clock.advance(60)
        assert await house.bury(first) is GaveUp.PARKED

    house.line.meanwhile("write", layout.note(first.source, 1), another)
    assert await house.bury(first) is GaveUp.PARKED
    stored = house.outbox.get(layout.note(first.source, 1))
    assert stored
    note = records.decode_note(stored.data)
    assert note
    assert note.parked_at == house.clock.now() > at_first
    assert len(house.tasks()) == 2


@story
async def test_what_a_page_has_used_up_and_when_it_was_parked_stand_in_one_note(house: House) -> None:
    first, _ = await tasks_of(house)
    note = PageNote(page=1, calls=1, timeouts=1, fault=PageFault(code="model_timeout", message="once"))
    house.outbox.put(layout.note(first.source, 1), records.encode_note(note))
    assert await house.bury(first) is GaveUp.PARKED
    house.scribe.will_say(1, ModelTimeout("twice"))
    assert await house.read(house.tasks()[0], attempt=2) is End.WAITING
    assert await ledger.look(house.outbox, first.source, 1)
