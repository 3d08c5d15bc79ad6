"""A page that ends late, better than it was given up: its document is published again, whatever happens."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bucketscribe import finish, layout, ledger, patience, records
from bucketscribe.errors import ModelTimeout, StorageUnavailable
from bucketscribe.finish import End
from bucketscribe.forget import forget
from bucketscribe.give_up import GaveUp
from bucketscribe.model import PageFault, PageNote, PageRecord, PageStatus, PageTask, Retention
from bucketscribe.reopen import reopen
from tests.fakes.line import InstanceDied, instance_gone, line_down, seeded
from tests.house import House, asynchronous, build_house, story, words

SPENT = PageNote(page=3, calls=2, timeouts=2, fault=PageFault(code="model_timeout", message="too slow"))


async def up_to_the_last(house: House, name: str = "a.pdf") -> PageTask:
    await house.take_in(house.drop(name, 3))
    house.post.clear()
    first, second, last = house.tasks()
    await house.read(first)
    await house.read(second)
    return last


def give_up_while_read(house: House, last: PageTask, *, elsewhere: bool) -> None:
    """Have the last page given up, and its document finished, while the model reads it."""
    original = house.scribe.extract_text
    house.outbox.put(layout.note(last.source, 3), records.encode_note(SPENT))

    async def given_up_meanwhile(*args: object, **kwargs: object) -> object:
        house.scribe.extract_text = original  # type: ignore[method-assign]
        if elsewhere:
            house.restart()
        assert await house.bury(last) is GaveUp.FAILED
        return await original(*args, **kwargs)  # type: ignore[arg-type]

    house.scribe.extract_text = given_up_meanwhile  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("elsewhere", [False, True])
@story
async def test_a_page_read_after_its_document_was_closed_is_published(house: House, elsewhere: bool) -> None:
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=elsewhere)
    assert await house.read(last) is End.FINISHED
    assert house.statuses() == ["ok", "ok", "ok"]
    assert words(house.text()) == ["a.pdf 1", "a.pdf 2", "a.pdf 3"]
    assert house.record()["pages"][2]["flags"] == ["late"]
    assert [event.attributes["status"] for event in house.finished.messages] == ["partial", "complete"]
    house.assert_nothing_in_flight()
    house.assert_published_as_it_stands()


@story
async def test_an_instance_that_dies_when_it_has_replaced_the_page_leaves_the_rest_to_the_sweep(
    house: House,
) -> None:
    """Its delivery does not come again: another copy of the task was acknowledged."""
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=False)

    async def replaced() -> None:
        house.line.meanwhile("read", "jobs/", gone)

    async def gone() -> None:
        raise instance_gone()

    house.line.meanwhile("write", "jobs/", replaced)
    with pytest.raises(InstanceDied):
        await house.read(last)
    house.restart()
    assert house.statuses() == ["ok", "ok", "failed"]
    house.clock.advance(patience.QUIET.total_seconds())
    await house.sweep()
    assert house.statuses() == ["ok", "ok", "ok"]
    house.assert_nothing_in_flight()
    house.assert_published_as_it_stands()


@story
async def test_the_record_keeps_what_it_knew_of_the_document(house: House) -> None:
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=False)
    before: dict[str, object] = {}

    async def keep() -> None:
        before.update(house.record())

    house.line.meanwhile("delete", "jobs/", keep)
    await house.read(last)
    for field in ("source", "engine"):
        assert house.record()[field] == before[field]
    timings, old = house.record()["timings"], before["timings"]
    assert isinstance(old, dict)
    assert timings | {"finished": None} == old | {"finished": None}


@story
async def test_its_duplicates_change_nothing_any_more(house: House) -> None:
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=False)
    await house.read(last)
    before = [house.outbox.get(name) for name in house.outbox.listing]
    house.outbox.requests.clear()
    assert await house.read(last, attempt=2) is End.CLOSED
    assert await house.bury(last) is GaveUp.DONE
    assert [house.outbox.get(name) for name in house.outbox.listing] == before
    assert len(house.finished.messages) == 2
    assert house.outbox.requests.total() <= 20


async def _die_when_it_is_replaced(house: House, last: PageTask) -> None:
    def die(verb: str, name: str) -> None:
        if verb == "write" and name.startswith("jobs/") and house.page(last.source, 3)[0]["status"] == "ok":
            house.line.at = None
            raise InstanceDied("gone")

    house.line.at = die
    with pytest.raises(InstanceDied):
        await house.read(last)
    house.restart()


@story
async def test_one_that_dies_when_the_page_is_replaced_is_mended_by_the_next_delivery(house: House) -> None:
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=True)

    await _die_when_it_is_replaced(house, last)
    assert house.statuses() == ["ok", "ok", "failed"]
    assert await house.read(last, attempt=2) is End.FINISHED
    assert house.statuses() == ["ok", "ok", "ok"]
    house.assert_published_as_it_stands()


@story
async def test_one_that_keeps_dying_is_mended_when_it_is_buried(house: House) -> None:
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=True)

    await _die_when_it_is_replaced(house, last)
    assert await house.bury(last) is GaveUp.DONE
    assert house.statuses() == ["ok", "ok", "ok"]
    house.assert_nothing_in_flight()


@story
async def test_nothing_is_published_again_over_a_newer_version(house: House) -> None:
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=False)
    original = house.scribe.extract_text

    async def replaced_meanwhile(*args: object, **kwargs: object) -> object:
        answer = await original(*args, **kwargs)  # type: ignore[arg-type]
        house.drop("a.pdf", 1, title="new")
        await house.settle()
        return answer

    house.scribe.extract_text = replaced_meanwhile  # type: ignore[method-assign, assignment]
    assert await house.read(last) in (End.CLOSED, End.SUPERSEDED)
    assert words(house.text()) == ["new 1"]
    house.assert_nothing_in_flight()


@asynchronous
async def test_where_texts_follow_their_sources_a_late_page_brings_nothing_back(tmp_path: Path) -> None:
    house = build_house(tmp_path, retention=Retention.FOLLOW)
    last = await up_to_the_last(house)
    give_up_while_read(house, last, elsewhere=False)

    async def deleted() -> None:
        house.inbox.drop("a.pdf")
        await forget(last.source, house.transcriber.finisher)

    original = house.scribe.extract_text

    async def deleted_meanwhile(*args: object, **kwargs: object) -> object:
        answer = await original(*args, **kwargs)  # type: ignore[arg-type]
        await deleted()
        return answer

    house.scribe.extract_text = deleted_meanwhile  # type: ignore[method-assign, assignment]
    assert await house.read(last) is End.CLOSED
    assert [name for name in house.outbox.listing if name.startswith(("documents/", "jobs/"))] == []
    house.clock.advance(patience.QUIET.total_seconds())
    await house.sweep()
    assert house.outbox.listing == []


@story
async def test_one_finisher_who_dies_between_text_and_record_leaves_them_apart_only_for_a_while(
    house: House,
) -> None:
    """Page 3 is given up, and A has read the books; B replaces it and dies with only the text published;
    A publishes its record and would close the job.
    """
    last = await up_to_the_last(house)
    failed = PageRecord(page=3, status=PageStatus.FAILED, error=SPENT.fault)
    await ledger.write(house.outbox, last.source, failed, "> failed\n")
    late = PageRecord(page=3, status=PageStatus.OK)
    a = house.transcriber.finisher
    house.restart()

    async def b_comes_and_dies() -> None:
        await ledger.write(house.outbox, last.source, late, "a.pdf 3\n")
        await reopen(last.source, 3, house.outbox)

        def die(verb: str, name: str) -> None:
            if (verb, name) == ("write", "documents/a.pdf.json"):
                house.line.at = None
                raise StorageUnavailable("gone")

        house.line.at = die
        with pytest.raises(StorageUnavailable):
            await house.read(last)

    house.line.meanwhile("write", "documents/a.pdf.json", b_comes_and_dies)
    await finish.check(last.source, 3, 3, a)
    await house.read(last, attempt=2)
    assert house.statuses() == ["ok", "ok", "ok"]
    house.assert_nothing_in_flight()
    house.assert_published_as_it_stands()


@pytest.mark.parametrize("error", [line_down, instance_gone])
@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_break_at_any_request_of_a_late_page_is_mended(
    tmp_path: Path, mode: str, error: Callable[[], Exception]
) -> None:
    """The page is buried while it is read; either may break off anywhere, and both are delivered again."""
    for broken in range(1, 400):
        house = build_house(tmp_path)
        house.line.error = error
        asyncio.run(_late_and_broken(house, broken, mode))
        house.check_books()
        if house.line.requests < broken:
            break
    assert 30 < broken < 399


async def _late_and_broken(house: House, broken: int, mode: str) -> None:
    last = await up_to_the_last(house)
    house.line.breaks[house.line.requests + broken] = mode
    house.outbox.put(layout.note(last.source, 3), records.encode_note(SPENT))
    house.line.delays, house.line.chance = 2, seeded(broken)
    if broken % 3 == 0:
        house.scribe.will_say(3, ModelTimeout("late"))
    house.repeat(last)
    house.bury_later(last)
    await house.settle(width=2)
