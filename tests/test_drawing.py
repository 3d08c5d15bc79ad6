"""Fetching and drawing in turn and within the budget: nobody waits behind a hostile document."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bucketscribe import layout
from bucketscribe.document_cache import RECHECK_SECONDS
from bucketscribe.drawing import FORGIVEN_TIMEOUTS
from bucketscribe.errors import ModelTimeout, OutOfTime, PageRenderTimeout, StorageUnavailable
from bucketscribe.finish import End
from bucketscribe.model import Lane, PageTask
from bucketscribe.turns import Rank
from tests.house import House, asynchronous, build_house, story


async def tasks_of(house: House, name: str, pages: int) -> list[PageTask]:
    await house.take_in(house.drop(name, pages))
    house.post.clear()
    return house.tasks()


@asynchronous
async def test_an_invoice_is_drawn_before_a_book_that_came_first(tmp_path: Path) -> None:
    house = build_house(tmp_path, render_workers=1, pages_at_gpu=50)
    book = await tasks_of(house, "book.pdf", 30)
    (invoice,) = await tasks_of(house, "invoice.pdf", 1)
    original = house.renderer.page

    async def slow(*args: Any, **kwargs: Any) -> Any:
        for _ in range(50):
            await asyncio.sleep(0)
        return await original(*args, **kwargs)

    house.renderer.page = slow  # type: ignore[method-assign]
    readings = [asyncio.create_task(house.read(task)) for task in book]
    for _ in range(60):
        await asyncio.sleep(0)
    await house.read(invoice)
    before = house.renderer.drawn.index("invoice.pdf 1")
    await asyncio.gather(*readings)
    assert before < 5
    assert book[0].lane is Lane.BULK


@story
async def test_a_document_that_keeps_running_into_the_limit_falls_behind_all_others(house: House) -> None:
    tasks = await tasks_of(house, "hostile.pdf", FORGIVEN_TIMEOUTS + 1)
    drawing = house.transcriber.drawing
    for task in tasks[:-1]:
        assert drawing.rank(task) is Rank.EXPRESS
        house.renderer.failing[task.page] = PageRenderTimeout("too slow")
        await house.read(task)
    assert drawing.rank(tasks[-1]) is Rank.SLOW
    assert await house.read(tasks[-1]) is End.FINISHED
    assert house.statuses("hostile.pdf") == ["failed"] * FORGIVEN_TIMEOUTS + ["ok"]


@asynchronous
async def test_a_page_whose_document_cannot_be_fetched_in_time_goes_back(tmp_path: Path) -> None:
    house = build_house(
        tmp_path, page_seconds=1.0, call_reserve_seconds=0.95, ack_deadline_seconds=2.0, pages_at_gpu=1
    )
    (task,) = await tasks_of(house, "a.pdf", 1)
    house.restart()
    bucket = house.transcriber.drawing.cache._bucket

    async def never(*args: object, **kwargs: object) -> bool:
        await asyncio.Event().wait()
        return False

    bucket.download = never  # type: ignore[method-assign]
    with pytest.raises(OutOfTime):
        await house.read(task)
    assert house.outbox.get(layout.page(task.source, 1)) is None


@story
async def test_a_replaced_version_is_not_read_on_from_the_local_copy(house: House) -> None:
    tasks = await tasks_of(house, "a.pdf", 20)
    await house.read(tasks[0])
    new = house.drop("a.pdf", 1, title="new")
    house.clock.advance(RECHECK_SECONDS + 1)
    for task in tasks[1:]:
        assert await house.read(task) is End.SUPERSEDED
    assert house.scribe.asked == ["a.pdf 1"]
    await house.settle()
    assert house.record()["source"]["generation"] == str(new.source.generation)


@story
async def test_a_page_that_failed_after_model_calls_says_how_many_there_were(house: House) -> None:
    first, last = await tasks_of(house, "a.pdf", 2)
    house.scribe.will_say(1, ModelTimeout("late"))
    with pytest.raises(ModelTimeout):
        await house.read(first)
    house.inbox.drop("a.pdf")
    house.restart()
    await house.read(first, attempt=2)
    record: Mapping[str, Any] = house.page(first.source, 1)[0]
    assert (record["error"]["code"], record["attempts"]) == ("source_gone", 1)
    await house.read(last)
    assert house.statuses() == ["failed", "failed"]


def test_storage_trouble_while_fetching_is_no_fault_of_the_page(tmp_path: Path) -> None:
    house = build_house(tmp_path)

    async def run() -> None:
        (task,) = await tasks_of(house, "a.pdf", 1)
        house.restart()
        house.inbox.fail_next("download", StorageUnavailable("away"))
        with pytest.raises(StorageUnavailable):
            await house.read(task)
        assert await house.read(task, attempt=2) is End.FINISHED

    asyncio.run(run())
    assert house.statuses() == ["ok"]
