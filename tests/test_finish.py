"""The end of every deed: is anything missing? If not: assemble, publish, announce, close the job."""

import asyncio
from pathlib import Path

import pytest

from bucketscribe import completion, finish, layout, ledger, patience, records
from bucketscribe.completion import MissingPages
from bucketscribe.errors import ModelTimeout, PublishFailed, StorageUnavailable
from bucketscribe.finish import End
from bucketscribe.give_up import GaveUp
from bucketscribe.model import ObjectRef, PageFault, PageNote, PageRecord, PageStatus, PageTask
from tests.fakes.line import seeded
from tests.house import House, asynchronous, build_house, story, task, words


async def up_to_the_last(house: House, pages: int = 3) -> PageTask:
    """Read all pages but the last; return its task."""
    await house.take_in(house.drop("a.pdf", pages))
    house.post.clear()
    *others, last = house.tasks()
    for each in others:
        assert await house.read(each) is End.WAITING
    return last


# Completion.


@story
async def test_the_last_page_to_end_finishes_the_document_whichever_it_is(house: House) -> None:
    for number, order in enumerate([(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)]):
        await house.take_in(house.drop(f"{number}.pdf", 3))
        tasks = {each.page: each for each in house.tasks()}
        ends = [await house.read(tasks[page]) for page in order]
        assert ends == [End.WAITING, End.WAITING, End.FINISHED], order


@story
async def test_a_page_costs_one_look_while_the_remembered_page_is_missing(house: House) -> None:
    await house.take_in(house.drop("a.pdf", 3))
    first = house.tasks()[0]
    await ledger.write(house.outbox, first.source, PageRecord(page=1, status=PageStatus.BLANK), "")
    before = house.line.requests
    assert await finish.check(first.source, 3, 1, house.transcriber.finisher) is End.WAITING
    assert house.line.log[before:] == [("look", layout.page(first.source, 3))]


@story
async def test_an_instance_that_forgot_everything_still_finishes(house: House) -> None:
    last = await up_to_the_last(house)
    house.restart()
    assert await house.read(last) is End.FINISHED


@story
async def test_a_page_written_by_one_who_died_is_finished_by_the_next_delivery(house: House) -> None:
    last = await up_to_the_last(house)
    record = PageRecord(page=3, status=PageStatus.OK)
    await ledger.write(house.outbox, last.source, record, "a.pdf 3\n")
    assert await house.read(last, attempt=2) is End.FINISHED
    assert words(house.text()) == ["a.pdf 1", "a.pdf 2", "a.pdf 3"]
    assert house.scribe.asked == ["a.pdf 1", "a.pdf 2"]


@story
async def test_a_strangers_object_in_a_pages_place_does_not_finish_a_document(house: House) -> None:
    last = await up_to_the_last(house)
    house.outbox.put(layout.page(last.source, 3), b"not a page")
    assert await finish.check(last.source, 3, 2, house.transcriber.finisher) is End.WAITING
    assert await house.read(last) is End.FINISHED


@asynchronous
async def test_completion_is_seen_in_the_longest_document_that_names_allow(tmp_path: Path) -> None:
    """Page 99,999 is the last one whose name sorts where it should; page 100,000 has no name."""
    house = build_house(tmp_path)
    source = ObjectRef(bucket="in", name="a.pdf", generation=7)
    finisher = house.transcriber.finisher
    await ledger.write(house.outbox, source, PageRecord(page=99_999, status=PageStatus.BLANK), "")
    assert await finish.check(source, 99_999, 99_999, finisher) is End.WAITING
    assert finisher.missing.get(source, 99_999) == 99_998


@asynchronous
async def test_shards_are_searched_from_the_top_until_one_has_a_gap(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    source = ObjectRef(bucket="in", name="a.pdf", generation=7)
    finisher = house.transcriber.finisher
    for page in set(range(1, 2501)) - {3, 700}:
        await ledger.write(house.outbox, source, PageRecord(page=page, status=PageStatus.BLANK), "")
    await finish.check(source, 2500, 2500, finisher)
    assert finisher.missing.get(source, 2500) == 700
    assert house.outbox.requests["names"] == 2
    await ledger.write(house.outbox, source, PageRecord(page=700, status=PageStatus.BLANK), "")
    await finish.check(source, 2500, 700, finisher)
    assert finisher.missing.get(source, 2500) == 3


def test_what_an_instance_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "REMEMBERED_JOBS", 3)
    missing = MissingPages()
    sources = [ObjectRef(bucket="in", name=f"{n}.pdf", generation=7) for n in range(4)]
    for source in sources:
        missing.remember(source, 2)
    assert [missing.get(source, 9) for source in sources] == [9, 2, 2, 2]


# The tail.


@story
async def test_the_job_goes_last(house: House) -> None:
    house.drop()
    await house.settle()
    tail = [(verb, name) for verb, name in house.line.log if verb in ("write", "publish", "delete")][-4:]
    assert [verb for verb, _ in tail] == ["write", "write", "publish", "delete"]
    assert tail[-1][1].startswith("jobs/")


@story
async def test_an_event_that_cannot_be_sent_leaves_the_job_and_the_tail_is_done_again(house: House) -> None:
    last = await up_to_the_last(house)
    house.finished.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.read(last)
    assert house.in_flight() == [layout.job(last.source)]
    assert await house.read(last, attempt=2) is End.FINISHED
    assert len(house.finished.messages) == 1
    house.assert_nothing_in_flight()


@story
async def test_the_event_says_what_was_published(house: House) -> None:
    upload = house.drop("x/a.pdf", 2)
    await house.settle()
    (event,) = house.finished.messages
    assert event.attributes == {
        "status": "complete",
        "bucket": "in",
        "name": "x/a.pdf",
        "generation": str(upload.source.generation),
        "pages": "2",
        "failed": "0",
    }


@story
async def test_a_page_replaced_while_bodies_are_read_is_read_again(house: House) -> None:
    last = await up_to_the_last(house)

    async def replaced() -> None:
        house.outbox.put(layout.page(last.source, 1), b"other\n", metadata=_metadata(1))

    house.line.meanwhile("body", layout.page(last.source, 1), replaced)
    assert await house.read(last) is End.FINISHED
    assert words(house.text()) == ["other", "a.pdf 2", "a.pdf 3"]


@story
async def test_pages_that_vanish_before_the_end_leave_the_document_waiting_for_them(house: House) -> None:
    last = await up_to_the_last(house)
    house.outbox.drop(layout.page(last.source, 1))
    assert await house.read(last) is End.WAITING
    assert await house.read(task(last.source, 1, 3)) is End.FINISHED


@story
async def test_a_job_of_unknown_length_is_not_finished(house: House) -> None:
    upload = house.drop("a.pdf", 3)
    house.line.breaks[house.line.requests + 3] = "before"
    with pytest.raises(StorageUnavailable):
        await house.take_in(upload)
    assert await finish.finish(upload.source, house.transcriber.finisher) is End.WAITING
    await house.settle()


@story
async def test_only_the_documents_own_notes_are_taken_away(house: House) -> None:
    upload = house.drop("a.pdf", 1)
    own = layout.note(upload.source, 1)
    deeper = ObjectRef(bucket="in", name=f"a.pdf/{upload.source.generation}", generation=5)
    house.outbox.put(own, records.encode_note(PageNote(page=1)))
    house.outbox.put(layout.note(deeper, 1), b"another document's")
    await house.take_in(upload)
    await house.read(house.tasks()[0])
    assert house.in_flight() == [layout.note(deeper, 1)]
    assert len([name for name in house.outbox.listing if name.startswith("documents/")]) == 2


@story
async def test_a_note_kept_after_the_document_was_finished_goes_with_a_sweep(house: House) -> None:
    """A page is given up and its document finished while the model still has it; then the call times out."""
    last = await up_to_the_last(house)
    house.scribe.will_say(3, ModelTimeout("late"))
    original = house.scribe.extract_text

    async def given_up_meanwhile(*args: object, **kwargs: object) -> object:
        house.outbox.put(layout.note(last.source, 3), records.encode_note(_note(3)))
        assert await house.bury(last) is GaveUp.FAILED
        return await original(*args, **kwargs)  # type: ignore[arg-type]

    house.scribe.extract_text = given_up_meanwhile  # type: ignore[method-assign, assignment]
    with pytest.raises(ModelTimeout):
        await house.read(last)
    assert await house.read(last, attempt=2) is End.CLOSED
    assert house.statuses() == ["ok", "ok", "failed"]
    house.clock.advance(patience.QUIET.total_seconds())
    await house.sweep()
    house.assert_nothing_in_flight()


# Two at once.


@story
async def test_two_finishers_at_once_end_in_one_document(house: House) -> None:
    for delays in range(12):
        house.line.delays = delays
        house.drop(f"{delays}.pdf", 2)
        await house.take_in(house.post.pop().content)  # type: ignore[arg-type]
        tasks = house.tasks()
        ends = await asyncio.gather(*(house.read(each) for each in tasks * 2))
        assert End.FINISHED in ends
        assert set(ends) <= {End.WAITING, End.FINISHED, End.CLOSED}
        house.assert_nothing_in_flight()


@story
async def test_a_finisher_with_an_older_reading_never_overwrites_a_newer_one(house: House) -> None:
    """Page 3 was given up, its finisher has read the books; then in another instance the page's late success
    comes and finishes too, and is done first.
    """
    last = await up_to_the_last(house)
    finisher = house.transcriber.finisher
    house.restart()
    await ledger.write(house.outbox, last.source, _failed(3), "> failed\n")

    async def late_success() -> None:
        record = PageRecord(page=3, status=PageStatus.OK)
        await ledger.write(house.outbox, last.source, record, "a.pdf 3\n")
        assert await finish.check(last.source, 3, 3, finisher) is End.FINISHED

    house.line.meanwhile("write", "documents/a.pdf.md", late_success)
    await finish.check(last.source, 3, 3, house.transcriber.finisher)
    assert house.statuses() == ["ok", "ok", "ok"]
    assert house.record()["status"] == "complete"
    house.assert_nothing_in_flight()


@pytest.mark.parametrize("seed", range(40))
@story
async def test_a_late_success_beside_a_burial_never_leaves_text_and_record_apart(
    house: House, seed: int
) -> None:
    last = await up_to_the_last(house)
    house.outbox.put(layout.note(last.source, 3), records.encode_note(_note(3)))
    house.line.delays, house.line.chance = 8, seeded(seed)
    await asyncio.gather(house.bury(last), house.read(last))
    house.assert_nothing_in_flight()
    house.assert_published_as_it_stands()
    assert house.statuses()[2] in ("ok", "failed")


def _failed(page: int) -> PageRecord:
    fault = PageFault(code="model_timeout", message="too slow")
    return PageRecord(page=page, status=PageStatus.FAILED, error=fault)


def _note(page: int) -> PageNote:
    fault = PageFault(code="model_timeout", message="too slow")
    return PageNote(page=page, calls=2, timeouts=2, fault=fault)


def _metadata(page: int) -> dict[str, str]:
    return records.page_metadata(PageRecord(page=page, status=PageStatus.OK))


@story
async def test_a_finish_that_has_just_ended_is_not_waited_for_without_end(house: House) -> None:
    """Its callbacks have not run yet when the next one asks: awaiting it would never give them a turn."""
    last = await up_to_the_last(house)
    finisher = house.transcriber.finisher

    async def waiting() -> End:
        return End.WAITING

    ended = asyncio.create_task(waiting())
    await ended
    finisher.tails[last.source] = ended
    assert await finish.finish(last.source, finisher) is End.WAITING
    assert await finish.finish(last.source, finisher, is_late=True) is End.WAITING


@story
async def test_who_waits_for_a_finish_that_fails_is_refused_with_it(house: House) -> None:
    """Each doing it all again would take a publishing timeout each, one after the other."""
    last = await up_to_the_last(house)
    house.outbox.put(layout.page(last.source, 3), b"words\n", metadata=_metadata(3))
    tasks = [task(last.source, page, 3) for page in (1, 2, 3)]
    house.line.delays = 3
    house.finished.fail_next(PublishFailed("away"))
    results = await asyncio.gather(*(house.read(each) for each in tasks), return_exceptions=True)
    assert any(isinstance(each, PublishFailed) for each in results)
    assert house.outbox.requests["body"] <= 2 * 3
    assert [await house.read(each) for each in tasks][-1] is End.CLOSED
