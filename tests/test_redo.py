"""Pages read once more: in a higher edition, at any time; the old document stands until the new one does."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bucketscribe import layout, records
from bucketscribe.errors import DocumentCorrupt, ModelRejected, RedoRefused, StorageUnavailable
from bucketscribe.finish import End
from bucketscribe.jobs import OpenJob
from bucketscribe.model import PageFault, PageNote, PageTask
from bucketscribe.redo import Wish, redo
from bucketscribe.resume import Swept
from bucketscribe.settings import PROFILES
from tests.fakes.line import InstanceDied, instance_gone, line_down, seeded
from tests.fakes.scribe import answer
from tests.house import House, build_house, story, words

RECORD = layout.document_record("a.pdf")
ALL = Wish()
POOR = Wish(poor=True)
NEWER = PROFILES["lightonocr-3-1b"]


def some(*pages: int) -> Wish:
    return Wish(pages=frozenset(pages))


async def wish(house: House, wish: Wish, name: str = "a.pdf") -> OpenJob:
    return await redo(name, wish, house.inbox, house.outbox, house.clock)


async def a_document(house: House, pages: int = 3) -> None:
    house.drop("a.pdf", pages)
    await house.settle()


def editions(house: House) -> list[int]:
    return [page["edition"] for page in house.record()["pages"]]


def say_otherwise(house: House, *pages: int) -> None:
    for page in pages:
        house.scribe.will_say(page, answer(f"page {page} anew"))


@story
async def test_every_page_is_read_again_and_the_document_published_again(house: House) -> None:
    await a_document(house)
    say_otherwise(house, 1, 2, 3)
    await wish(house, ALL)
    assert await house.sweep() == {Swept.RESUMED: 1}
    await house.settle()
    assert words(house.text()) == ["page 1 anew", "page 2 anew", "page 3 anew"]
    assert editions(house) == [1, 1, 1]
    assert len(house.finished.messages) == 2


@story
async def test_the_old_document_stands_until_the_new_one_does(house: House) -> None:
    await a_document(house)
    say_otherwise(house, 1, 2, 3)
    await wish(house, ALL)
    await house.sweep()
    before = house.text()
    first, second, third = house.tasks()
    for each in (third, first):
        assert await house.read(each) is End.WAITING
        assert house.text() == before
    assert await house.read(second) is End.FINISHED
    assert house.text() != before


@story
async def test_only_chosen_pages_are_read_again(house: House) -> None:
    await a_document(house, 4)
    say_otherwise(house, 1, 2, 3, 4)
    await wish(house, some(2, 3))
    await house.sweep()
    await house.settle()
    assert words(house.text()) == ["a.pdf 1", "page 2 anew", "page 3 anew", "a.pdf 4"]
    assert editions(house) == [0, 1, 1, 0]
    assert len(house.scribe.asked) == 6


@story
async def test_only_what_failed_is_read_again(house: House) -> None:
    house.scribe.will_say(2, ModelRejected("the server says no"))
    await a_document(house)
    assert house.record()["status"] == "partial"
    await wish(house, POOR)
    await house.sweep()
    await house.settle()
    assert house.record()["status"] == "complete"
    assert editions(house) == [0, 1, 0]
    with pytest.raises(RedoRefused, match=r"no page of .* failed"):
        await wish(house, POOR)


@story
async def test_a_redo_that_fails_takes_nothing_away(house: House) -> None:
    await a_document(house)
    before = words(house.text())
    house.scribe.will_say(2, ModelRejected("the server says no"))
    await wish(house, ALL)
    await house.sweep()
    await house.settle()
    assert words(house.text()) == before
    assert [page["flags"] for page in house.record()["pages"]] == [[], ["redo_failed"], []]
    assert house.statuses() == ["ok", "ok", "ok"]
    await wish(house, POOR)
    await house.sweep()
    await house.settle()
    assert editions(house) == [1, 2, 1]
    assert house.record()["pages"][1]["flags"] == []


@story
async def test_another_profile_reads_and_signs(house: House) -> None:
    await a_document(house)
    await wish(house, Wish(profile=NEWER))
    await house.sweep()
    assert {task.profile for task in house.tasks()} == {"lightonocr-3-1b"}
    await house.sweep()
    house.clock.advance(86_400)
    await house.sweep()
    await house.settle()
    assert house.record()["engine"]["profile"] == "lightonocr-3-1b"


@story
async def test_a_redo_of_a_redo_takes_the_next_edition(house: House) -> None:
    await a_document(house)
    for edition in (1, 2, 3):
        await wish(house, some(2))
        await house.sweep()
        await house.settle()
        assert editions(house) == [0, edition, 0]


@story
async def test_a_redo_beside_a_redo_takes_its_missing_pages_along(house: House) -> None:
    await a_document(house, 4)
    await wish(house, some(1, 2))
    await house.sweep()
    stale = house.tasks()
    await house.read(stale[0])
    await wish(house, some(4))
    await house.sweep()
    fresh = house.tasks()
    assert [(task.page, task.edition) for task in fresh] == [(2, 2), (4, 2)]
    for each in (stale[1], fresh[1], fresh[0]):
        await house.read(each)
    assert editions(house) == [1, 2, 0, 2]
    house.assert_nothing_in_flight()
    house.assert_published_as_it_stands()


@story
async def test_a_redo_while_the_document_is_in_flight(house: House) -> None:
    await house.take_in(house.drop("a.pdf", 3))
    house.post.clear()
    first, second, third = house.tasks()
    await house.read(first)
    await wish(house, some(1))
    await house.sweep()
    for each in (second, third):
        assert await house.read(each) is End.WAITING
    await house.settle()
    assert editions(house) == [1, 0, 0]
    assert len(house.finished.messages) == 1


@story
async def test_a_document_that_could_not_be_opened_is_opened_again(house: House) -> None:
    house.renderer.cannot_open = DocumentCorrupt("this renderer is damaged")
    await a_document(house)
    assert house.record()["status"] == "failed"
    house.renderer.cannot_open = None
    await wish(house, ALL)
    assert await house.sweep() == {Swept.RESUMED: 1}
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]


@story
async def test_what_cannot_be_redone_is_refused_and_nothing_changes(house: House) -> None:
    await a_document(house)
    before = list(house.outbox.listing)
    with pytest.raises(RedoRefused, match=r"absent\.pdf is gone"):
        await wish(house, ALL, "absent.pdf")
    with pytest.raises(RedoRefused, match=r"has pages 1 to 3, and not \[4, 9\]"):
        await wish(house, some(2, 4, 9))
    house.drop("b.pdf", 1)
    with pytest.raises(RedoRefused, match="neither a document nor a job"):
        await wish(house, ALL, "b.pdf")
    house.drop("a.pdf", 2, title="new")
    with pytest.raises(RedoRefused, match="has superseded"):
        await wish(house, ALL)
    assert house.outbox.listing == before
    await house.settle()


@story
async def test_a_document_that_is_not_opened_yet_is_refused(house: House) -> None:
    house.line.meanwhile("download", "a.pdf", _died_at_once)
    with pytest.raises(InstanceDied):
        await house.take_in(house.drop("a.pdf", 3))
    with pytest.raises(RedoRefused, match="not opened yet"):
        await wish(house, ALL)
    await house.settle()


async def _died_at_once() -> None:
    raise InstanceDied("gone")


@story
async def test_a_source_deleted_meanwhile_leaves_the_document_as_it_stood(house: House) -> None:
    await a_document(house)
    before = words(house.text())
    await wish(house, ALL)
    await house.sweep()
    house.inbox.drop("a.pdf")
    house.restart()
    await house.settle()
    assert words(house.text()) == before
    assert house.record()["status"] == "complete"
    house.assert_nothing_in_flight()


@story
async def test_a_newer_version_ends_a_redo(house: House) -> None:
    await a_document(house)
    await wish(house, ALL)
    house.drop("a.pdf", 1, title="new")
    await house.sweep()
    await house.settle()
    assert words(house.text()) == ["new 1"]


@story
async def test_a_redo_has_its_own_model_calls(house: House) -> None:
    """A note of the first edition says that all calls are used up."""
    await a_document(house)
    job = await wish(house, some(2))
    fault = PageFault(code="model_loop", message="on and on")
    note = PageNote(page=2, calls=2, fault=fault)
    house.outbox.put(layout.note(job.source, 2), records.encode_note(note))
    await house.sweep()
    (task,) = house.tasks()
    assert await house.read(task, attempt=2) is End.FINISHED
    assert house.statuses() == ["ok", "ok", "ok"]


@story
async def test_an_old_documents_redo_is_waited_for_as_a_new_ones(house: House) -> None:
    """Its pages are not given up because the document is older than an outage is waited out."""
    await a_document(house)
    house.clock.advance(30 * 86_400)
    await wish(house, some(2))
    await house.sweep()
    (task,) = house.tasks()
    assert await house.bury(task) == "parked"
    await house.settle()
    assert editions(house) == [0, 1, 0]


@pytest.mark.parametrize("pages", [50, 2_000])
@pytest.mark.parametrize("order", ["in order", "in reverse", "at random"])
def test_a_redone_page_costs_the_same_in_a_document_of_any_length(
    tmp_path: Path, pages: int, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bucketscribe.transcribe.log", lambda *_, **__: None)
    house = build_house(tmp_path)

    async def redone() -> Counter[str]:
        await a_document(house, pages)
        await wish(house, ALL)
        await house.sweep()
        tasks: list[PageTask] = house.tasks()
        if order != "in order":
            tasks = tasks[::-1] if order == "in reverse" else seeded(1).sample(tasks, pages)
        before = house.outbox.requests + house.inbox.requests
        for each in tasks:
            await house.read(each)
        return house.outbox.requests + house.inbox.requests - before

    spent = asyncio.run(redone())
    assert spent.total() / pages <= 7.6
    assert set(editions(house)) == {1}
    house.assert_nothing_in_flight()


@pytest.mark.parametrize("error", [line_down, instance_gone])
@pytest.mark.parametrize("mode", ["before", "after"])
def test_a_break_at_any_request_of_a_redo_is_mended(
    tmp_path: Path, mode: str, error: Callable[[], Exception]
) -> None:
    for broken in itertools.count(1):
        house = build_house(tmp_path)
        house.line.error = error
        asyncio.run(_redone_and_broken(house, broken, mode))
        house.check_books()
        assert editions(house) == [0, 1, 1], f"broken {mode} request {broken}"
        if house.line.requests < broken:
            break
    assert broken > 20


async def _redone_and_broken(house: House, broken: int, mode: str) -> None:
    await a_document(house)
    await wish(house, some(2, 3))
    house.line.breaks[house.line.requests + broken] = mode
    for _ in range(4):
        try:
            await house.sweep()
        except (StorageUnavailable, InstanceDied):
            house.restart()
        try:
            await house.settle(width=2)
        except AssertionError:  # something is in flight yet: the next sweep's
            house.clock.advance(86_400)
    await house.settle()


@pytest.mark.parametrize("seed", range(60))
def test_redos_at_any_moment_end_with_the_document_as_its_pages_stand(tmp_path: Path, seed: int) -> None:
    """Wishes fall into a document's way from event to end, beside sweeps, copies and broken requests."""
    house = build_house(tmp_path)
    asyncio.run(_redone_at_any_moment(house, seed))
    house.check_books()
    house.assert_nothing_in_flight()
    house.assert_published_as_it_stands()
    assert house.statuses() == ["ok"] * 4
    told = [place for place, asked in enumerate(house.line.log) if asked == ("publish", "finished")]
    committed = [place for place, asked in enumerate(house.line.log) if asked == ("write", RECORD)]
    assert max(committed) < max(told), "the last commit was told to nobody"


async def _redone_at_any_moment(house: House, seed: int) -> None:
    chance = seeded(seed)
    house.line.delays, house.line.chance = 4, seeded(seed)
    house.line.breaking_chance = chance.choice([0.0, 0.05])
    upload = house.drop("a.pdf", 4)
    house.repeat(upload)
    wishes = [chance.choice([ALL, POOR, some(1), some(2, 4), some(3)]) for _ in range(3)]
    for each in wishes:
        verb = chance.choice(["look", "write", "infos", "body", "delete", "publish", "read"])
        house.line.meanwhile(verb, "", _wished(house, each))
        await _rounds(house, chance.randint(1, 3))
    house.line.breaking_chance, house.line.at = 0.0, None
    await _rounds(house, 5)
    await house.settle()


def _wished(house: House, each: Wish) -> Callable[[], Awaitable[object]]:
    async def surprise() -> None:
        with contextlib.suppress(RedoRefused):
            await wish(house, each)

    return surprise


async def _rounds(house: House, number: int) -> None:
    """Deliver what there is, then sweep, some times; what is still in flight is the next round's."""
    for _ in range(number):
        with contextlib.suppress(AssertionError):
            await house.settle(width=3)
        with contextlib.suppress(StorageUnavailable, InstanceDied):
            await house.sweep()
        house.clock.advance(30 * 3600)
