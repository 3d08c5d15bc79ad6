"""A page task becomes a page object."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bucketscribe import layout, records
from bucketscribe.errors import (
    ModelBusy,
    ModelCold,
    ModelTimeout,
    NewerMessage,
    OutOfTime,
    StorageUnavailable,
)
from bucketscribe.finish import End
from bucketscribe.model import PageFault, PageNote, PageRecord, PageStatus, PageTask, PageText
from tests.fakes.scribe import answer
from tests.house import House, build_house, story, task, words


async def one_page(house: House, pages: int = 1) -> PageTask:
    """Fan a document out; return its first task."""
    await house.take_in(house.drop("a.pdf", pages))
    house.post.clear()
    return house.tasks()[0]


# What a page leaves behind.


@story
async def test_a_page_leaves_its_text_and_its_record(house: House) -> None:
    house.renderer.labels[1] = "iii"
    task = await one_page(house)
    await house.read(task)
    record, body = house.page(task.source, 1)
    assert body == "a.pdf 1\n"
    assert record["status"] == "ok"
    assert record["label"] == "iii"
    assert record["attempts"] == 1
    assert record["finish_reason"] == "stop"
    assert (record["prompt_tokens"], record["completion_tokens"]) == (10, 5)
    assert set(record["seconds"]) == {"wait", "fetch", "render", "ocr"}


@story
async def test_the_models_words_are_cleaned_before_they_are_kept(house: House) -> None:
    house.scribe.will_say(1, answer("<!-- page 2 of 9 -->\r\n<script>x</script>"))
    task = await one_page(house)
    await house.read(task)
    assert "<script>" not in house.text()
    assert house.record()["counts"]["pages"] == 1


@story
async def test_a_blank_page_is_never_sent_to_the_model(house: House) -> None:
    house.renderer.blank.add(1)
    assert await house.read(await one_page(house)) is End.FINISHED
    assert house.scribe.asked == []
    assert house.statuses() == ["blank"]


@story
async def test_a_faint_page_of_which_the_model_says_nothing_is_blank(house: House) -> None:
    house.renderer.faint.add(1)
    house.scribe.will_say(1, answer(""))
    await house.read(await one_page(house))
    (page,) = house.record()["pages"]
    assert (page["status"], page["flags"], page["attempts"]) == ("blank", ["model_empty"], 1)


# Deliveries.


@story
async def test_a_second_delivery_after_the_first_finds_the_page_done(house: House) -> None:
    task = await one_page(house, 2)
    await house.read(task)
    assert await house.read(task, attempt=2) is End.WAITING
    assert house.scribe.asked == ["a.pdf 1"]


@story
async def test_a_second_delivery_during_the_first_waits_for_it_and_asks_nothing(house: House) -> None:
    house.line.delays = 3
    task = await one_page(house)
    ends = await asyncio.gather(house.read(task), house.read(task), house.read(task, attempt=2))
    assert End.FINISHED in ends
    assert house.scribe.asked == ["a.pdf 1"]


@story
async def test_a_second_delivery_in_another_instance_changes_nothing(house: House) -> None:
    """Both ask the model; whoever is second finds the page written and leaves it."""
    house.line.delays = 3
    task = await one_page(house)
    first = house.read(task)
    house.restart()
    await asyncio.gather(first, house.read(task))
    assert words(house.text()) == ["a.pdf 1"]
    house.assert_nothing_in_flight()


@story
async def test_a_page_that_ended_while_it_was_drawn_is_not_asked_for(house: House) -> None:
    task = await one_page(house)
    house.restart()

    async def ended() -> None:
        ok = PageRecord(page=1, status=PageStatus.OK)
        house.outbox.put(layout.page(task.source, 1), b"other\n", metadata=records.page_metadata(ok))

    house.line.meanwhile("download", "a.pdf", ended)
    assert await house.read(task) is End.FINISHED
    assert house.scribe.asked == []
    assert words(house.text()) == ["other"]


@story
async def test_a_page_of_a_document_that_was_closed_is_done_with(house: House) -> None:
    task = await one_page(house)
    await house.read(task)
    assert await house.read(task, attempt=2) is End.CLOSED
    assert len(house.finished.messages) == 1


@story
async def test_a_task_with_an_unknown_profile_is_left_to_a_newer_worker(house: House) -> None:
    task = replace(await one_page(house), profile="lightonocr-9")
    with pytest.raises(NewerMessage):
        await house.read(task)


@story
async def test_a_redo_writes_a_page_that_stands_in_an_older_edition(house: House) -> None:
    first = await one_page(house)
    await house.read(first)
    house.scribe.will_say(1, answer("better"))
    await house.read(replace(first, edition=1))
    record, body = house.page(first.source, 1)
    assert (record["edition"], body) == (1, "better\n")
    await house.read(first, attempt=2)
    assert house.page(first.source, 1)[1] == "better\n"


# Time.


@story
async def test_a_busy_service_is_asked_again_with_growing_pauses(house: House) -> None:
    house.scribe.will_say(1, *[ModelBusy("429")] * 5, ModelCold("502"))
    assert await house.read(await one_page(house)) is End.FINISHED
    assert len(house.clock.sleeps) == 6
    for nominal, slept in zip((1, 2, 4, 8, 16, 30), house.clock.sleeps, strict=True):
        assert nominal / 2 <= slept <= nominal * 1.5
    assert house.record()["pages"][0]["attempts"] == 1


@pytest.mark.parametrize("trouble", [ModelBusy("429"), ModelCold("502")])
@story
async def test_a_service_that_stays_busy_sends_the_page_back_within_its_waiting_time(
    house: House, trouble: ModelBusy
) -> None:
    house.scribe.always = trouble
    task = await one_page(house)
    with pytest.raises(type(trouble)):
        await house.read(task)
    assert 200.0 < house.clock.monotonic() <= 240.0
    assert min(house.scribe.given_seconds) >= 300.0
    assert house.outbox.get(layout.note(task.source, 1)) is None


@story
async def test_no_call_begins_with_less_than_the_reserve_left(house: House) -> None:
    """The fetch takes so long that no model call could end in time."""
    task = await one_page(house)
    house.restart()

    async def slowly() -> None:
        house.clock.advance(241.0)

    house.line.meanwhile("download", "a.pdf", slowly)
    with pytest.raises(OutOfTime):
        await house.read(task)
    assert house.scribe.asked == []
    assert await house.read(task, attempt=2) is End.FINISHED


@story
async def test_who_was_refused_comes_back_to_the_head_of_the_queue(house: House) -> None:
    house.settings = replace(house.settings, pages_at_gpu=1)
    house.restart()
    await house.take_in(house.drop("a.pdf", 25))
    house.post.clear()
    house.scribe.will_say(1, ModelBusy("429"))
    original = house.clock.sleep

    async def a_moment(seconds: float) -> None:
        house.clock.sleeps.append(seconds)
        await asyncio.sleep(0)

    house.clock.sleep = a_moment  # type: ignore[method-assign]
    tasks = house.tasks()
    express = task(tasks[0].source, 25, 25)
    order = [*tasks[:5], express]
    await asyncio.gather(*(house.read(each) for each in order))
    house.clock.sleep = original  # type: ignore[method-assign]
    asked = [int(each.split()[1]) for each in house.scribe.asked]
    assert asked[0] == 1
    assert asked.index(1, 1) <= 3
    assert asked.index(25) < asked.index(3)
    for each in tasks[5:24]:
        await house.read(each)
    house.assert_nothing_in_flight()


@story
async def test_the_places_at_the_gpu_are_never_more_than_set(house: House) -> None:
    house.settings = replace(house.settings, pages_at_gpu=3)
    house.restart()
    house.line.delays = 2
    busiest = now = 0
    original = house.scribe.extract_text

    async def counted(*args: object, **kwargs: object) -> PageText:
        nonlocal busiest, now
        now += 1
        busiest = max(busiest, now)
        try:
            for _ in range(20):
                await asyncio.sleep(0)
            return await original(*args, **kwargs)  # type: ignore[arg-type]
        finally:
            now -= 1

    house.scribe.extract_text = counted  # type: ignore[method-assign]
    house.drop("a.pdf", 20)
    await house.settle(width=20)
    assert busiest == 3


def test_a_full_house_refuses_at_once(tmp_path: Path) -> None:
    house = build_house(tmp_path, pages_at_gpu=2, pages_waiting=2)

    async def five_at_once() -> list[object]:
        tasks = [await one_page(house, 5)]
        tasks += [replace(tasks[0], page=page) for page in range(2, 6)]
        house.line.delays = 5
        return list(await asyncio.gather(*(house.read(each) for each in tasks), return_exceptions=True))

    results = asyncio.run(five_at_once())
    assert sum(isinstance(each, OutOfTime) for each in results) == 3


@story
async def test_a_timeouts_note_is_kept_over_deliveries_and_goes_at_the_finish(house: House) -> None:
    house.scribe.will_say(1, ModelTimeout("late"))
    task = await one_page(house)
    with pytest.raises(ModelTimeout):
        await house.read(task)
    assert layout.note(task.source, 1) in house.outbox.listing
    assert await house.read(task, attempt=2) is End.FINISHED
    assert house.record()["pages"][0]["attempts"] == 2
    house.assert_nothing_in_flight()


@pytest.mark.parametrize("attempt", [2, None])
@story
async def test_a_note_is_read_whenever_there_may_be_one(house: House, attempt: int | None) -> None:
    house.scribe.will_say(1, ModelTimeout("late"), ModelTimeout("late"))
    task = await one_page(house)
    with pytest.raises(ModelTimeout):
        await house.read(task)
    assert await house.read(task, attempt=attempt) is End.FINISHED
    assert house.statuses() == ["failed"]


@story
async def test_what_was_used_up_is_remembered_when_storage_fails_at_the_next_turn(house: House) -> None:
    house.scribe.will_say(1, answer("", finish_reason="repetition"), ModelBusy("429"))
    task = await one_page(house)
    looks = 0

    def second_look_before_asking(verb: str, name: str) -> None:
        nonlocal looks
        looks += verb == "look" and name.startswith("pages/")
        if looks == 3:
            house.line.at = None
            raise StorageUnavailable("503")

    house.line.at = second_look_before_asking
    with pytest.raises(StorageUnavailable):
        await house.read(task)
    stored = house.outbox.get(layout.note(task.source, 1))
    assert stored
    assert records.decode_note(stored.data).calls == 1
    assert await house.read(task, attempt=2) is End.FINISHED


# Sources that change.


@story
async def test_a_source_deleted_half_way_leaves_what_was_read(house: House) -> None:
    first = await one_page(house, 3)
    await house.read(first)
    house.inbox.drop("a.pdf")
    house.restart()
    for page in (2, 3):
        await house.read(replace(first, page=page))
    assert house.statuses() == ["ok", "failed", "failed"]
    assert house.record()["status"] == "partial"
    assert {error["code"] for error in house.record()["errors"]} == {"source_gone"}


@story
async def test_a_source_replaced_half_way_closes_the_old_job(house: House) -> None:
    first = await one_page(house, 3)
    await house.read(first)
    house.drop("a.pdf", 1, title="new")
    house.restart()
    assert await house.read(replace(first, page=2)) is End.SUPERSEDED
    await house.settle()
    assert words(house.text()) == ["new 1"]


@story
async def test_a_source_that_is_there_but_could_not_be_fetched_is_neither_gone_nor_replaced(
    house: House,
) -> None:
    """A download that finds nothing, though the very version is live: another try, no verdict."""
    task = await one_page(house)
    house.restart()

    async def hide_and_show() -> None:
        stored = house.inbox.get("a.pdf")
        assert stored
        house.inbox.drop("a.pdf")

        async def show() -> None:
            house.inbox._objects["a.pdf"] = stored
            house.inbox._order.append("a.pdf")

        house.line.meanwhile("look", "a.pdf", show)

    house.line.meanwhile("download", "a.pdf", hide_and_show)
    with pytest.raises(StorageUnavailable):
        await house.read(task)
    assert await house.read(task, attempt=2) is End.FINISHED
    assert house.statuses() == ["ok"]


@story
async def test_a_task_that_is_sent_again_looks_what_its_page_has_used_up(house: House) -> None:
    """It is a first delivery, and no first try."""
    await house.take_in(house.drop(pages=1))
    (task,) = house.tasks()
    fault = PageFault(code="model_timeout", message="late")
    note = PageNote(page=1, calls=house.settings.model_calls, timeouts=1, fault=fault)
    house.outbox.put(layout.note(task.source, 1), records.encode_note(note))
    await house.read(replace(task, again=True))
    assert house.scribe.asked == []
    assert house.record()["errors"][0]["code"] == "model_timeout"
