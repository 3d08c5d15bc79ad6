"""A job that stopped moves again: late, copied three times at most, and never in anybody's way."""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketscribe import layout, ledger, manuscript, patience, records, resume
from bucketscribe.errors import PublishFailed, StorageUnavailable
from bucketscribe.fan_out import FannedOut
from bucketscribe.finish import End
from bucketscribe.model import (
    Job,
    JobState,
    ObjectRef,
    PageFault,
    PageNote,
    PageRecord,
    PageStatus,
    PageTask,
    Retention,
    Upload,
)
from bucketscribe.resume import Swept
from tests.fakes.line import InstanceDied, seeded
from tests.house import House, build_house, story, words

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

QUIET = patience.QUIET.total_seconds()
FIRST_PAUSE = patience.PUBLISHED_PAUSES[0].total_seconds()


async def died() -> None:
    raise InstanceDied("the instance is gone")


async def lost_after_received(house: House, pages: int = 3, name: str = "a.pdf") -> Upload:
    """Have the event function die over a document, and its event never come again."""
    upload = house.drop(name, pages)
    house.post.clear()
    house.line.meanwhile("download", name, died)
    with pytest.raises(InstanceDied):
        await house.take_in(upload)
    house.restart()
    return upload


async def published(house: House, pages: int = 3, name: str = "a.pdf") -> list[PageTask]:
    """Have a document fanned out, and take its tasks out of the topics."""
    await house.take_in(house.drop(name, pages))
    house.post.clear()
    return house.tasks()


def job(house: House, source: ObjectRef) -> Job:
    stored = house.outbox.get(layout.job(source))
    assert stored, f"the job of {source} is gone"
    return records.decode_job(stored.data)


def numbers(tasks: list[PageTask]) -> list[int]:
    return [each.page for each in tasks]


# What moves is left alone.


@story
async def test_an_empty_bucket_is_swept_in_two_requests(house: House) -> None:
    """One for the jobs, one for notes that have outlived theirs."""
    assert await house.sweep() == {}
    assert house.line.requests == 2


@story
async def test_a_young_job_is_left_alone_whatever_its_state(house: House) -> None:
    await lost_after_received(house, name="received.pdf")
    await published(house, name="published.pdf")
    house.clock.advance(QUIET - 1)
    before = house.line.requests
    assert await house.sweep() == {Swept.MOVING: 2}
    assert house.line.requests - before == 4
    assert house.tasks() == []


@story
async def test_a_published_job_costs_a_read_and_a_look_while_it_waits(house: House) -> None:
    await published(house)
    house.clock.advance(FIRST_PAUSE - 1)
    before = house.line.requests
    assert await house.sweep() == {Swept.MOVING: 1}
    assert house.line.requests - before == 4
    assert house.tasks() == []


@story
async def test_a_page_that_appears_puts_the_resume_off(house: House) -> None:
    first, *_ = await published(house)
    house.clock.advance(FIRST_PAUSE - MINUTE)
    await house.read(first)
    house.clock.advance(FIRST_PAUSE - 1)
    assert await house.sweep() == {Swept.MOVING: 1}
    house.clock.advance(1)
    assert await house.sweep() == {Swept.RESUMED: 1}
    assert numbers(house.tasks()) == [2, 3]


@story
async def test_a_book_read_a_page_an_hour_is_never_resumed(house: House) -> None:
    tasks = await published(house, 40)
    for task in tasks:
        house.clock.advance(HOUR)
        assert await house.sweep() == {Swept.MOVING: 1}
        await house.read(task)
    assert house.tasks() == []
    assert house.record()["status"] == "complete"


# What stopped moves again.


@story
async def test_a_document_whose_event_was_lost_after_received_is_read(house: House) -> None:
    upload = await lost_after_received(house)
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.RESUMED: 1}
    assert job(house, upload.source).state is JobState.PUBLISHED
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]


@story
async def test_a_document_that_cannot_be_opened_ends_in_the_sweep(house: House) -> None:
    house.drop(data=b"")
    upload = house.event("a.pdf")
    house.post.clear()
    house.finished.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.ENDED: 1}
    assert house.record()["errors"][0]["code"] == "empty_object"
    assert len(house.finished.messages) == 1
    house.assert_nothing_in_flight()


@story
async def test_a_planned_document_whose_tasks_were_never_published_is_not_opened_again(house: House) -> None:
    upload = house.drop("a.pdf", 3)
    house.post.clear()
    house.express.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.RESUMED: 1}
    assert house.renderer.opened == ["a.pdf"]
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]


@story
async def test_of_tasks_that_were_partly_published_only_those_of_missing_pages_come_again(
    house: House,
) -> None:
    """The event function died while the client was publishing: page 2 got through, and was read."""
    upload = house.drop("a.pdf", 3)
    house.post.clear()

    async def then_die() -> None:
        house.line.meanwhile("write", "jobs/", died)

    house.line.meanwhile("publish", "express", then_die)
    with pytest.raises(InstanceDied):
        await house.take_in(upload)
    house.restart()
    assert job(house, upload.source).state is JobState.PLANNED
    await house.read(house.tasks()[1])
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.RESUMED: 1}
    assert job(house, upload.source).state is JobState.PUBLISHED
    again = house.tasks()
    assert numbers(again) == [1, 3]
    assert [await house.read(each) for each in again] == [End.WAITING, End.FINISHED]


@pytest.mark.parametrize(("pages", "lane"), [(3, "express"), (21, "bulk")])
@story
async def test_only_missing_pages_are_published_again_in_their_own_lane(
    house: House, pages: int, lane: str
) -> None:
    tasks = await published(house, pages)
    await house.read(tasks[1])
    house.clock.advance(FIRST_PAUSE)
    assert await house.sweep() == {Swept.RESUMED: 1}
    assert len(house.express.messages if lane == "express" else house.bulk.messages) == pages - 1
    again = house.tasks()
    now = house.clock.now()
    assert again == [replace(each, sent_at=now, again=True) for each in tasks if each.page != 2]
    assert job(house, tasks[0].source).resumed_at == (now,)


@story
async def test_a_page_whose_place_a_stranger_has_taken_is_missing(house: House) -> None:
    tasks = await published(house)
    house.outbox.put(layout.page(tasks[0].source, 3), b"not a page")
    for task in tasks[:2]:
        await house.read(task)
    house.clock.advance(FIRST_PAUSE)
    assert await house.sweep() == {Swept.RESUMED: 1}
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("read", "jobs/"),
        ("write", "documents/a.pdf.md"),
        ("write", "documents/a.pdf.json"),
        ("publish", "finished"),
        ("delete", "jobs/"),
    ],
)
@story
async def test_a_tail_that_broke_off_is_done_again(house: House, verb: str, name: str) -> None:
    first, last = await published(house, 2)
    await house.read(first)
    house.line.meanwhile(verb, name, died)
    with pytest.raises(InstanceDied):
        await house.read(last)
    house.restart()
    assert house.in_flight() == [layout.job(last.source)]
    house.clock.advance(QUIET - 1)
    assert await house.sweep() == {Swept.MOVING: 1}
    house.clock.advance(1)
    assert await house.sweep() == {Swept.ENDED: 1}
    house.assert_nothing_in_flight()
    house.assert_everything_answered()
    assert words(house.text()) == ["a.pdf 1", "a.pdf 2"]
    assert await house.sweep() == {}


@story
async def test_a_planned_job_whose_pages_all_ended_is_finished(house: House) -> None:
    upload = house.drop("a.pdf", 1)
    house.post.clear()
    house.express.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    await ledger.write(house.outbox, upload.source, PageRecord(page=1, status=PageStatus.BLANK), "")
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.ENDED: 1}
    assert house.statuses() == ["blank"]
    house.assert_nothing_in_flight()


# Sources that changed.


@story
async def test_a_superseded_document_closes_itself_and_its_successor_is_read(house: House) -> None:
    await lost_after_received(house, name="a.pdf")
    await published(house, name="b.pdf")
    house.drop("a.pdf", 1, title="new a")
    house.drop("b.pdf", 1, title="new b")
    house.clock.advance(FIRST_PAUSE)
    assert await house.sweep() == {Swept.ENDED: 2}
    assert house.in_flight() == []
    assert house.finished.messages == []
    assert house.tasks() == []
    await house.settle()
    assert [words(house.text(name)) for name in ("a.pdf", "b.pdf")] == [["new a 1"], ["new b 1"]]


@story
async def test_a_document_deleted_before_it_was_opened_fails_by_name(house: House) -> None:
    await lost_after_received(house)
    house.inbox.drop("a.pdf")
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.ENDED: 1}
    assert house.record()["errors"][0]["code"] == "source_gone"


@story
async def test_a_document_deleted_half_way_keeps_the_pages_that_were_read(house: House) -> None:
    first, *_ = await published(house)
    await house.read(first)
    house.inbox.drop("a.pdf")
    house.restart()
    house.clock.advance(FIRST_PAUSE)
    assert await house.sweep() == {Swept.RESUMED: 1}
    await house.settle()
    assert house.statuses() == ["ok", "failed", "failed"]
    assert house.record()["errors"][0]["code"] == "source_gone"


def test_with_follow_a_deleted_documents_tail_leaves_nothing(tmp_path: Path) -> None:
    house = build_house(tmp_path, retention=Retention.FOLLOW)

    async def run() -> None:
        (task,) = await published(house, 1)
        await ledger.write(house.outbox, task.source, PageRecord(page=1, status=PageStatus.BLANK), "")
        house.inbox.drop("a.pdf")
        house.clock.advance(FIRST_PAUSE)
        assert await house.sweep() == {Swept.ENDED: 1}
        assert house.outbox.listing == [layout.erasure(task.source)]

    asyncio.run(run())


# Faults that last.


async def sweep_through(house: House, upload: Upload, until: Callable[[], bool]) -> None:
    """Sweep every ten minutes, and for a day send the event again; read what comes out."""
    while not until():
        if house.clock.monotonic() < DAY:
            with contextlib.suppress(PublishFailed, StorageUnavailable):
                await house.take_in(upload)
        house.clock.advance(10 * MINUTE)
        await house.sweep()
        for task in house.tasks():
            await house.read(task)


@pytest.mark.parametrize(("verb", "name", "hours"), [("publish", "express", 60), ("download", "a.pdf", 30)])
@story
async def test_a_document_that_did_not_get_out_for_days_is_read_once_the_fault_is_mended(
    house: House, verb: str, name: str, hours: int
) -> None:
    """A right is missing over a weekend, and Eventarc has given up on the event after a day."""
    upload = house.drop("a.pdf", 3)
    house.post.clear()

    def refuse(asked: str, what: str) -> None:
        if (asked, what) == (verb, name) and house.clock.monotonic() < hours * HOUR:
            raise PublishFailed("403") if verb == "publish" else StorageUnavailable("403")

    house.line.at = refuse
    await sweep_through(house, upload, lambda: not house.in_flight() and house.clock.monotonic() > DAY)
    assert house.statuses() == ["ok", "ok", "ok"]
    assert house.clock.monotonic() <= (hours + 4.5) * HOUR
    house.assert_everything_answered()


@story
async def test_resumes_without_effect_are_errors_in_the_log_from_the_fourth_on(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await lost_after_received(house)
    house.inbox.fail_next("download", StorageUnavailable("403"), times=1000)
    await sweep_until_the_end(house, DAY)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    resumed = [line["severity"] for line in lines if line["message"] == "job resumed"]
    assert resumed[:4] == ["WARNING", "WARNING", "WARNING", "ERROR"]


@story
async def test_resumes_before_the_tasks_were_out_leave_those_that_follow_their_loss(house: House) -> None:
    upload = await lost_after_received(house)
    house.inbox.fail_next("download", StorageUnavailable("403"), times=5)
    await sweep_until_the_end(house, DAY)
    assert job(house, upload.source).state is JobState.PUBLISHED
    hours = await sweep_until_the_end(house, 3 * DAY)
    assert len(hours[Swept.RESUMED]) == patience.RESUMES - 1


# At most three times, and then an end.


async def sweep_until_the_end(house: House, limit_seconds: float) -> dict[Swept, list[float]]:
    """Sweep every ten minutes while every task is lost; give the hours in which each outcome came."""
    hours: dict[Swept, list[float]] = {}
    while house.in_flight() and house.clock.monotonic() < limit_seconds:
        house.clock.advance(10 * MINUTE)
        for outcome in await house.sweep():
            hours.setdefault(outcome, []).append(house.clock.monotonic() / HOUR)
        house.tasks()
    return hours


@story
async def test_pages_without_end_are_resumed_three_times_and_given_up_after_a_week(house: House) -> None:
    first, *_ = await published(house)
    await house.read(first)
    hours = await sweep_until_the_end(house, 30 * DAY)
    assert hours[Swept.RESUMED] == [2, 10, 34]
    assert hours[Swept.STUCK][0] == 58
    assert len(hours[Swept.STUCK]) == 6 * (7 * 24 - 58)
    assert hours[Swept.ENDED] == [7 * 24]
    assert house.statuses() == ["ok", "failed", "failed"]
    assert {error["code"] for error in house.record()["errors"]} == {"attempts_exhausted"}
    house.assert_everything_answered()


@story
async def test_a_stuck_job_is_an_error_in_the_log_at_every_sweep(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await published(house)
    await sweep_until_the_end(house, 60 * HOUR)
    capsys.readouterr()
    for _ in range(2):
        assert await house.sweep() == {Swept.STUCK: 1}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["severity"], line.get("missing")) for line in lines] == [("ERROR", 3), ("INFO", None)] * 2
    assert lines[0]["source"].startswith("gs://in/a.pdf#")
    assert lines[1] == {
        "severity": "INFO",
        "message": "jobs swept",
        "jobs": 1,
        "seconds": 0.0,
        "stuck": 1,
    }


@story
async def test_a_page_given_up_keeps_the_fault_that_its_note_names(house: House) -> None:
    first, *_ = await published(house, 2)
    note = PageNote(page=1, calls=1, timeouts=1, fault=PageFault(code="model_timeout", message="late"))
    house.outbox.put(layout.note(first.source, 1), records.encode_note(note))
    await sweep_until_the_end(house, 30 * DAY)
    assert [error["code"] for error in house.record()["errors"]] == ["model_timeout", "attempts_exhausted"]
    house.assert_nothing_in_flight()


@story
async def test_a_document_that_kills_every_instance_ends_after_a_week(house: House) -> None:
    await lost_after_received(house)
    deaths = 0
    while house.in_flight():
        house.clock.advance(10 * MINUTE)
        house.line.meanwhile("download", "a.pdf", died)
        try:
            await house.sweep()
        except InstanceDied:
            deaths += 1
            house.restart()
    house.line.at = None
    pause = patience.UNPUBLISHED_PAUSES[-1].total_seconds()
    assert 7 * DAY <= house.clock.monotonic() < 7 * DAY + pause
    assert deaths <= patience.RESUMES + 7 * DAY / pause
    assert house.record()["errors"][0]["code"] == "attempts_exhausted"
    house.assert_everything_answered()


@story
async def test_a_document_that_kills_the_instance_costs_its_neighbours_no_resume(house: House) -> None:
    uploads = []
    for number in range(4):
        uploads.append(await lost_after_received(house, 1, f"{number}.pdf"))
        house.clock.advance(1)
    house.clock.advance(QUIET)
    house.line.meanwhile("download", "0.pdf", died)
    with pytest.raises(InstanceDied):
        await house.sweep()
    house.restart()
    assert [len(job(house, upload.source).resumed_at) for upload in uploads] == [1, 0, 0, 0]
    house.clock.advance(10 * MINUTE)
    assert await house.sweep() == {Swept.RESUMED: 3, Swept.MOVING: 1}


@story
async def test_giving_up_that_broke_off_goes_on_in_the_next_sweep(house: House) -> None:
    tasks = await published(house, 40)
    await sweep_until_the_end(house, 7 * DAY - 10 * MINUTE)
    house.clock.advance(10 * MINUTE)
    house.line.meanwhile("write", layout.page(tasks[0].source, 30), died)
    with pytest.raises(InstanceDied):
        await house.sweep()
    house.restart()
    assert len(house.in_flight()) == 1
    house.clock.advance(10 * MINUTE)
    assert await house.sweep() == {Swept.ENDED: 1}
    assert house.statuses() == ["failed"] * 40


@story
async def test_giving_up_that_broke_off_waits_no_day_for_pages_that_it_failed_itself(house: House) -> None:
    tasks = await published(house, 40)
    fault = PageFault(code="model_timeout", message="late")
    for task in tasks:
        note = PageNote(page=task.page, calls=1, timeouts=1, fault=fault)
        house.outbox.put(layout.note(task.source, task.page), records.encode_note(note))
    await sweep_until_the_end(house, 7 * DAY - 10 * MINUTE)
    house.clock.advance(10 * MINUTE)
    house.line.meanwhile("write", layout.page(tasks[0].source, 30), died)
    with pytest.raises(InstanceDied):
        await house.sweep()
    house.restart()
    house.clock.advance(10 * MINUTE)
    assert await house.sweep() == {Swept.ENDED: 1}
    assert {error["code"] for error in house.record()["errors"]} == {"model_timeout"}


@story
async def test_pages_of_tasks_that_were_never_published_say_whose_logs_tell_why(house: House) -> None:
    house.drop("a.pdf", 2)
    house.express.fail_next(PublishFailed("403"), times=1000)
    with pytest.raises(PublishFailed):
        await house.take_in(house.event("a.pdf"))
    await sweep_until_the_end(house, 30 * DAY)
    (message,) = {error["message"] for error in house.record()["errors"]}
    assert "on_upload and sweep" in message
    assert "on_page_task" not in message


# In nobody's way.


@pytest.mark.parametrize("lost", [lost_after_received, published])
@pytest.mark.parametrize("seed", range(5))
@story
async def test_two_sweeps_at_once_publish_every_task_once(
    house: House, lost: Callable[[House], Awaitable[object]], seed: int
) -> None:
    await lost(house)
    house.clock.advance(FIRST_PAUSE)
    house.line.chance, house.line.delays = seeded(seed), 5
    await asyncio.gather(house.sweep(), house.sweep())
    assert sorted(numbers(house.tasks())) == [1, 2, 3]


@story
async def test_a_sweep_beside_a_slow_fan_out_makes_one_document_of_it(house: House) -> None:
    upload = house.drop("a.pdf", 3)
    house.post.clear()
    original = house.renderer.inspect

    async def slow(path: Path) -> object:
        house.renderer.inspect = original  # type: ignore[method-assign]
        house.clock.advance(QUIET)
        assert await house.sweep() == {Swept.RESUMED: 1}
        return await original(path)

    house.renderer.inspect = slow  # type: ignore[method-assign, assignment]
    assert await house.take_in(upload) is FannedOut.ALREADY
    assert len(house.express.messages) == 3
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]


@pytest.mark.parametrize("delays", range(6))
@story
async def test_a_sweep_beside_pages_that_come_late_after_all_ends_the_document_once(
    house: House, delays: int
) -> None:
    tasks = await published(house)
    house.clock.advance(FIRST_PAUSE)
    house.line.chance, house.line.delays = seeded(delays), delays
    await asyncio.gather(house.sweep(), *(house.read(each) for each in tasks))
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]
    assert house.scribe.asked.count("a.pdf 1") == 1


@story
async def test_a_job_that_goes_while_it_is_swept_does_not_come_back(house: House) -> None:
    tasks = await published(house, 2)
    await house.read(tasks[0])
    house.clock.advance(FIRST_PAUSE)

    async def end_it() -> None:
        assert await house.read(tasks[1]) is End.FINISHED

    house.line.meanwhile("write", "jobs/", end_it)
    assert await house.sweep() == {Swept.OVERTAKEN: 1}
    house.assert_nothing_in_flight()
    assert house.tasks() == []


def _queue(house: House) -> list[tuple[str, int]]:
    return [(task.source.name, task.page) for task in house.tasks()]


@story
async def test_a_long_queue_does_not_grow_by_more_than_a_share(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty documents of five pages wait for days behind an outage; nothing of them was lost."""
    monkeypatch.setattr(patience, "COPIES", 20)
    for number in range(20):
        await house.take_in(house.drop(f"{number}.pdf", 5))
    house.post.clear()
    grown = []
    for _ in range(6 * 24 * 2):
        house.clock.advance(10 * MINUTE)
        await house.sweep()
        grown.append(len(house.express.messages))
    assert grown[11 - 1] == 100
    assert grown[6 * 10 - 2] == 120
    assert grown[6 * 10 - 1] == 140
    assert grown[-1] <= 100 + 20 * 6
    assert max(Counter(_queue(house)).values()) <= 1 + patience.RESUMES


@story
async def test_after_a_loss_of_everything_the_copies_that_ended_make_room_for_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "COPIES", 10)
    for number in range(9):
        await published(house, 3, f"{number}.pdf")
    house.clock.advance(FIRST_PAUSE)
    for expected in (
        {Swept.RESUMED: 3, Swept.HELD: 6},
        {Swept.RESUMED: 3, Swept.HELD: 3},
        {Swept.RESUMED: 3},
    ):
        assert await house.sweep() == expected
        for task in house.tasks():
            await house.read(task)
        house.clock.advance(10 * MINUTE)
    house.assert_nothing_in_flight()


@story
async def test_a_resumed_book_holds_no_short_document(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "COPIES", 10)
    await published(house, 40, "book.pdf")
    await published(house, 40, "novel.pdf")
    house.clock.advance(10 * MINUTE)
    await published(house, 2, "invoice.pdf")
    house.clock.advance(FIRST_PAUSE - 10 * MINUTE)
    assert await house.sweep() == {Swept.RESUMED: 1, Swept.HELD: 1, Swept.MOVING: 1}
    house.clock.advance(10 * MINUTE)
    assert await house.sweep() == {Swept.RESUMED: 1, Swept.HELD: 1, Swept.MOVING: 1}
    assert {name for name, _ in _queue(house)} >= {"invoice.pdf"}


@story
async def test_an_overdue_document_waits_for_no_room(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "COPIES", 10)
    for number in range(4):
        await published(house, 30, f"{number}.pdf")
    house.clock.advance(7 * DAY)
    assert await house.sweep() == {Swept.RESUMED: 4}
    house.tasks()
    hours = await sweep_until_the_end(house, 30 * DAY)
    assert hours[Swept.ENDED] == [7 * 24 + 8 + 24 + 24]
    assert [house.record(f"{number}.pdf")["status"] for number in range(4)] == ["failed"] * 4


@story
async def test_a_gpu_is_woken_once_a_sweep_and_by_nothing_that_only_waits(house: House) -> None:
    for number in range(3):
        await lost_after_received(house, 1, f"{number}.pdf")
    woken = house.scribe.woken
    await house.sweep()
    assert house.scribe.woken == woken
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.RESUMED: 3}
    assert house.scribe.woken == woken + 1


@story
async def test_long_documents_are_finished_one_at_a_time(house: House) -> None:
    pages = resume.SHORT_PAGES + 1
    for number in range(4):
        tasks = await published(house, pages, f"{number}.pdf")
        for task in tasks:
            record = PageRecord(page=task.page, status=PageStatus.BLANK)
            await ledger.write(house.outbox, task.source, record, "")
    house.clock.advance(FIRST_PAUSE)
    house.line.delays = 3
    house.line.busiest.clear()
    assert await house.sweep() == {Swept.ENDED: 4}
    assert house.line.busiest["body"] <= manuscript.READERS


@story
async def test_of_more_jobs_than_a_sweep_can_read_some_move_each_time_and_all_in_the_end(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """500 jobs at three seconds a sweep and 50 ms a request, eight at once: as 50,000 at 300 s."""
    monkeypatch.setattr(resume, "SECONDS", 3.0)
    for number in range(500):
        await published(house, 1, f"{number}.pdf")
    house.clock.advance(FIRST_PAUSE)
    house.line.at = lambda *_: house.clock.advance(0.05 / resume.JOBS_AT_ONCE)
    for _ in range(30):
        capsys.readouterr()
        swept = await house.sweep()
        assert swept[Swept.RESUMED] > 10
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert summary["severity"] == ("WARNING" if swept.get(Swept.LEFT) else "INFO")
        for task in house.tasks():
            await ledger.write(house.outbox, task.source, PageRecord(page=1, status=PageStatus.BLANK), "")
            house.outbox.drop(layout.job(task.source))
        house.clock.advance(10 * MINUTE)
        if not house.in_flight():
            break
    assert house.in_flight() == []


@story
async def test_a_document_longer_than_the_share_is_resumed_when_nothing_else_is_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "COPIES", 10)
    await published(house, 30)
    house.clock.advance(FIRST_PAUSE)
    assert await house.sweep() == {Swept.RESUMED: 1}
    assert len(house.tasks()) == 30


# Trouble.


@story
async def test_junk_among_the_jobs_stops_nothing_and_is_not_touched(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    upload = await lost_after_received(house)
    stranger = records.encode_job(job(house, upload.source))
    junk = {
        "jobs/": b"",
        "jobs/readme.txt": b"hello",
        "jobs/a.pdf/latest.json": b"{}",
        "jobs/a.pdf/07.json": stranger,
        "jobs/broken.pdf/7.json": b"\xff{",
        "jobs/other.pdf/7.json": stranger,
    }
    for name, data in junk.items():
        house.outbox.put(name, data)
    house.clock.advance(QUIET)
    assert await house.sweep() == {Swept.RESUMED: 1, Swept.BROKEN: 2}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    errors = [line for line in lines if line["severity"] == "ERROR"]
    assert {line["source"] for line in errors} == {"gs://in/broken.pdf#7", "gs://in/other.pdf#7"}
    assert {line["code"] for line in errors} == {"unreadable_job"}
    for name, data in junk.items():
        stored = house.outbox.get(name)
        assert stored
        assert stored.data == data


@pytest.mark.parametrize("verb", ["body", "write", "look"])
@story
async def test_one_jobs_trouble_stops_no_other(house: House, verb: str) -> None:
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        await published(house, 1, name)
    house.clock.advance(FIRST_PAUSE)
    bucket = house.inbox if verb == "look" else house.outbox
    bucket.fail_next(verb, StorageUnavailable("once"))
    assert await house.sweep() == {Swept.RESUMED: 2, Swept.BROKEN: 1}


@story
async def test_a_strangers_note_keeps_no_page_and_no_other_job_from_its_end(house: House) -> None:
    first, *_ = await published(house, 3, "a.pdf")
    house.outbox.put(layout.note(first.source, 1), b"{junk")
    await sweep_until_the_end(house, 7 * DAY - 10 * MINUTE)
    house.clock.advance(10 * MINUTE)
    await published(house, 1, "b.pdf")
    house.clock.advance(FIRST_PAUSE)
    assert await house.sweep() == {Swept.ENDED: 1, Swept.RESUMED: 1}
    assert all(house.outbox.get(layout.page(first.source, page)) for page in (1, 2, 3))


@story
async def test_an_error_that_is_not_ours_is_raised_when_all_else_is_done(house: House) -> None:
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        await published(house, 1, name)
    house.clock.advance(FIRST_PAUSE)

    async def surprise() -> None:
        raise ZeroDivisionError

    house.line.meanwhile("infos", "pages/a.pdf", surprise)
    with pytest.raises(ZeroDivisionError):
        await house.sweep()
    assert sorted(name for name, _ in _queue(house)) == ["b.pdf", "c.pdf"]


@story
async def test_jobs_that_cannot_be_listed_are_an_error(house: House) -> None:
    house.outbox.fail_next("infos", StorageUnavailable("away"))
    with pytest.raises(StorageUnavailable):
        await house.sweep()


@story
async def test_what_there_is_no_time_for_is_left_to_the_next_sweep(house: House) -> None:
    for number in range(3):
        await lost_after_received(house, 1, f"{number}.pdf")
    house.clock.advance(QUIET)
    original = house.renderer.inspect

    async def slow(path: Path) -> object:
        house.clock.advance(resume.SECONDS + 1)
        return await original(path)

    house.renderer.inspect = slow  # type: ignore[method-assign, assignment]
    assert await house.sweep() == {Swept.RESUMED: 1, Swept.LEFT: 2}
    house.renderer.inspect = original  # type: ignore[method-assign]
    swept = await house.sweep()
    assert swept[Swept.RESUMED] == 2
    await house.settle()


@pytest.mark.parametrize("error", [StorageUnavailable("down"), InstanceDied("gone")])
@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("lost", [lost_after_received, published])
def test_a_break_at_any_request_of_a_sweep_is_mended_by_the_next_ones(
    tmp_path: Path, lost: Callable[[House], Awaitable[object]], mode: str, error: Exception
) -> None:
    for broken in itertools.count(1):
        house = build_house(tmp_path)
        if not asyncio.run(_break_and_mend(house, lost, mode, error, broken)):
            break
        house.check_books()
    assert 5 < broken < 40


async def _break_and_mend(
    house: House,
    lost: Callable[[House], Awaitable[object]],
    mode: str,
    error: Exception,
    broken: int,
) -> bool:
    """Tell whether the sweep came as far as the broken request."""
    await lost(house)
    house.clock.advance(FIRST_PAUSE)
    start = house.line.requests
    house.line.breaks[start + broken], house.line.error = mode, lambda: error
    try:
        await house.sweep()
    except (StorageUnavailable, InstanceDied):
        house.restart()
    reached = house.line.requests >= start + broken
    house.line.breaks.clear()
    for _ in range(6 * 12):
        house.clock.advance(10 * MINUTE)
        await house.sweep()
    await house.settle()
    assert house.statuses() == ["ok", "ok", "ok"]
    return reached


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    papers=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    losing=st.sampled_from([0.1, 0.5, 1.0]),
    breaking=st.sampled_from([0.0, 0.05]),
)
def test_whatever_is_lost_every_document_ends(
    tmp_path: Path, seed: int, papers: list[int], losing: float, breaking: float
) -> None:
    """Tasks vanish as they come, instances die over events and tasks, and neither comes again by itself."""
    house = build_house(tmp_path)
    chance = house.line.chance = seeded(seed)
    house.line.breaking_chance, house.line.error = breaking, lambda: InstanceDied("gone")
    for number, pages in enumerate(papers):
        house.drop(f"{number}.pdf", pages)
    received = asyncio.run(_live(house, lambda: chance.random() < losing))
    house.line.breaking_chance = 0.0
    house.check_books()
    house.assert_nothing_in_flight()
    for name in received:
        assert house.record(name)["counts"]["pages"] in (0, papers[int(name.removesuffix(".pdf"))])


async def _live(house: House, is_lost: Callable[[], bool]) -> set[str]:
    """Deliver each letter once at most, for eleven days of which the last three are calm. Give the names of
    the documents that ever had a job.
    """
    received: set[str] = set()
    while house.clock.monotonic() < 11 * DAY:
        if house.clock.monotonic() > 8 * DAY:
            house.line.breaking_chance = 0.0
        house._collect()
        letters, house.post = house.post, []
        for letter in letters:
            if isinstance(letter.content, Upload) or not is_lost():
                await house._deliver(letter)
        received |= {name.split("/")[1] for name in house.in_flight()}
        house.post.clear()
        house.clock.advance(HOUR)
        with contextlib.suppress(InstanceDied):
            await house.sweep()
        house.restart()
    return received
