"""What one instance holds in memory, counted: page images by the places at the GPU, a finish by its text."""

import asyncio
import tracemalloc
from pathlib import Path

from bucketscribe import layout, records
from bucketscribe.errors import ModelBusy
from bucketscribe.finish import End, finish
from bucketscribe.model import PageRecord, PageStatus, PageText
from tests.house import asynchronous, build_house

PLACES = 4


@asynchronous
async def test_pages_that_wait_for_their_turn_hold_no_image(tmp_path: Path) -> None:
    """Drawing comes after the turn: with every place taken by a slow model, no further page is drawn."""
    house = build_house(tmp_path, pages_at_gpu=PLACES)
    original, answer_now = house.scribe.extract_text, asyncio.Event()

    async def slow(*args: object, **kwargs: object) -> PageText:
        await answer_now.wait()
        return await original(*args, **kwargs)  # type: ignore[arg-type]

    house.scribe.extract_text = slow  # type: ignore[method-assign]
    await house.take_in(house.drop("a.pdf", 40))
    house.post.clear()
    readings = [asyncio.create_task(house.read(task)) for task in house.tasks()]
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(house.renderer.drawn) == PLACES
    answer_now.set()
    await asyncio.gather(*readings)
    assert house.statuses() == ["ok"] * 40


@asynchronous
async def test_a_refused_page_gives_its_image_up_and_is_drawn_again(tmp_path: Path) -> None:
    """Drawing takes 20 ms; images kept through an outage would fill the instance."""
    house = build_house(tmp_path)
    house.scribe.will_say(1, ModelBusy("full"), ModelBusy("full"))
    await house.take_in(house.drop("a.pdf", 1))
    house.post.clear()
    (task,) = house.tasks()
    assert await house.read(task) is End.FINISHED
    assert house.renderer.drawn == ["a.pdf 1"] * 3


@asynchronous
async def test_finishing_takes_memory_by_a_small_multiple_of_the_text(tmp_path: Path) -> None:
    pages, body = 1000, b"word " * 800 + b"\n"
    house = build_house(tmp_path)
    upload = house.drop("a.pdf", pages)
    await house.take_in(upload)
    for page in range(1, pages + 1):
        metadata = records.page_metadata(PageRecord(page=page, status=PageStatus.OK))
        house.outbox.put(layout.page(upload.source, page), body, metadata=metadata)
    tracemalloc.start()
    try:
        assert await finish(upload.source, house.give_up.finisher) is End.FINISHED
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * pages * len(body), f"{peak / (pages * len(body)):.1f} times the text"
