"""What one instance holds in memory, counted: page images by the places at the GPU, a finish by its text."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bucketscribe import layout, manuscript, records
from bucketscribe.errors import ModelBusy
from bucketscribe.fan_out import fan_out
from bucketscribe.finish import End, finish
from bucketscribe.model import Message, PageRecord, PageStatus, PageText
from tests.fakes.bucket import FakeBucket
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


async def peak_of_finishing(folder: Path, pages: int, body_bytes: int) -> int:
    """Finish a document; tell the most bytes held meanwhile, the bucket's own aside."""
    house = build_house(folder)
    house.outbox = ForgetfulBucket(b"word " * (body_bytes // 5) + b"\n")
    house.restart()
    upload = house.drop("a.pdf", pages)
    await house.take_in(upload)
    for page in range(1, pages + 1):
        metadata = records.page_metadata(PageRecord(page=page, status=PageStatus.OK))
        house.outbox.put(layout.page(upload.source, page), b"", metadata=metadata)
    finisher = replace(house.give_up.finisher, output_bucket=house.outbox)
    tracemalloc.start()
    try:
        assert await finish(upload.source, finisher) is End.FINISHED
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert house.outbox.uploaded > pages * body_bytes


class ForgetfulBucket(FakeBucket):
    """Every page has a body of its own, as if it came over the line; of what is uploaded none is kept."""

    def __init__(self, body: bytes) -> None:
        super().__init__("out")
        self._body = body
        self.uploaded = 0

    async def body(self, name: str, generation: int) -> bytes | None:
        await asyncio.sleep(0)
        return bytes(bytearray(self._body))

    async def upload(self, name: str, parts: AsyncIterable[bytes], **more: Any) -> int:
        async for part in parts:
            self.uploaded += len(part)
        return await self.write(name, b"", **more)


@asynchronous
async def test_finishing_holds_no_more_of_a_longer_text(tmp_path: Path) -> None:
    """32 MB of text, then 320: what is held grows by the bodies read ahead, and one part."""
    pages = 800
    short = await peak_of_finishing(tmp_path / "short", pages, 40_000)
    long = await peak_of_finishing(tmp_path / "long", pages, 400_000)
    assert long - short < 2 * manuscript.READERS * 400_000, f"{short / 1e6:.1f} and {long / 1e6:.1f} MB"


@asynchronous
async def test_finishing_holds_a_few_kilobytes_for_every_page(tmp_path: Path) -> None:
    fewer = await peak_of_finishing(tmp_path / "fewer", 1_000, 4_000)
    more = await peak_of_finishing(tmp_path / "more", 5_000, 4_000)
    assert (more - fewer) / 4_000 < 8_000, f"{fewer / 1e6:.1f} and {more / 1e6:.1f} MB"


@asynchronous
async def test_fanning_out_holds_one_batch_of_tasks_whatever_the_number_of_pages(tmp_path: Path) -> None:
    peaks = []
    for pages in (2_000, 20_000):
        house = build_house(tmp_path / str(pages), document_pages=pages)
        topic = CountingTopic()
        fanning = replace(house.fan_out, bulk=topic)
        upload = house.drop("a.pdf", pages)
        tracemalloc.start()
        try:
            await fan_out(upload, fanning)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert topic.published == pages
    assert peaks[1] < 1.2 * peaks[0], peaks


class CountingTopic:
    """Messages are gone when they are taken."""

    published = 0

    async def publish(self, messages: Sequence[Message]) -> None:
        self.published += len(messages)
