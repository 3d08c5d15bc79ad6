"""What a page costs in documents of 10 to 10,000 pages: `make bench BENCH=growth`.

Requests are counted over a document's whole way, at the buckets, and are the same in every run. Seconds and
CPU are this machine's, with fakes for what is not ours; bytes are Python's (tracemalloc). The two steps that
a document's length could make long are also taken alone: its fan-out, and its end with 20 kB of text a page.
"""

import asyncio
import contextlib
import gc
import io
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bucketscribe import layout, records
from bucketscribe.fan_out import BATCH_TASKS, fan_out
from bucketscribe.finish import End, finish
from bucketscribe.model import Message, ObjectInfo, ObjectRef, PageRecord, PageStatus
from tests.bench import figures
from tests.fakes.bucket import FakeBucket
from tests.house import House, build_house
from tests.test_requests import at_random, cost, in_order, in_reverse, live

SIZES = (10, 100, 1_000, 10_000)
ORDERS = (in_order, at_random, in_reverse)
COUNTS = ("look", "body", "write", "list", "other", "all")
BODY = "A line of text as it stands on a page, with an é and a 文 in it.\n" * 300
MIB = 1024 * 1024
TICK_SECONDS = 0.001


def run() -> dict[str, Any]:
    """Take documents of all sizes their whole way in three orders, then fan out and end one of each size."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return {
            "lives": [_life(Path(folder), pages, order) for pages in SIZES for order in ORDERS],
            "fan_outs": [_fan_out(Path(folder), pages) for pages in SIZES],
            "ends": [_end(Path(folder), pages) for pages in SIZES],
        }


def table(result: dict[str, Any]) -> str:
    """Show the counts, then the two steps."""
    counted = ("look", "read the body", "write", "list", "other", "all told, a page")
    lives = figures.rows(
        ["pages in the document", "their order", *counted, "CPU, ms a page"],
        list(map(_life_row, result["lives"])),
    )
    taken = ("seconds", "held, MiB", "held, kB a page", "loop held up, ms", "publish requests")
    steps = [_step_row("fan-out", each) for each in result["fan_outs"]]
    steps += [_step_row("end", each) for each in result["ends"]]
    return lives + "\n\n" + figures.rows(["pages", "step", *taken], steps)


def _life_row(life: dict[str, Any]) -> list[str]:
    counts = [f"{life[name]:.3f}" for name in COUNTS]
    return [f"{life['pages']:,}", life["order"], *counts, f"{life['cpu_ms']:.2f}"]


def _step_row(name: str, step: dict[str, Any]) -> list[str]:
    held = [f"{step['held_mib']:.1f}", f"{_kb_a_page(step):.1f}"]
    hold, published = f"{1000 * step['longest_hold']:.0f}", str(step["published"])
    return [f"{step['pages']:,}", name, f"{step['seconds']:.2f}", *held, hold, published]


def _kb_a_page(step: dict[str, Any]) -> float:
    kilobytes: float = step["held_mib"] * MIB / 1000 / step["pages"]
    return kilobytes


def plot(result: dict[str, Any], folder: Path) -> None:
    """Draw requests, CPU and memory a page over the number of pages, into growth.svg."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    requests, cpu, memory = figure.subplots(1, 3)
    for order in ("in order", "at random", "in reverse"):
        lives = [each for each in result["lives"] if each["order"] == order]
        sizes = [each["pages"] for each in lives]
        requests.plot(sizes, [each["all"] for each in lives], marker="o", label=order)
        cpu.plot(sizes, [each["cpu_ms"] for each in lives], marker="o", label=order)
    for step, name in (("fan_outs", "fan-out"), ("ends", "end")):
        sizes = [each["pages"] for each in result[step]]
        memory.plot(sizes, [_kb_a_page(each) for each in result[step]], marker="o", label=name)
    memory.axhline(len(BODY.encode()) / 1000, linestyle=":", color="gray", label="its text")
    titles = ("storage requests a page", "CPU of house and fakes, ms a page", "held at most, kB a page")
    for axes, title in zip((requests, cpu, memory), titles, strict=True):
        axes.set(title=title, xscale="log", xlabel="pages in the document", ylim=(0, None))
        axes.legend()
    figures.save(figure, folder / "growth.svg")


def _life(folder: Path, pages: int, order: Callable[..., Any]) -> dict[str, Any]:
    """Take one document from its event to its end, page by page."""
    house = build_house(folder / f"{order.__name__}-{pages}", document_pages=max(SIZES))
    begun = time.process_time()
    asyncio.run(live(house, pages, order, 1))
    spent = cost(house, pages)
    return {
        "pages": pages,
        "order": order.__name__.replace("_", " "),
        "look": spent["look"],
        "body": spent["body"],
        "write": spent["write"],
        "list": spent["names"] + spent["infos"],
        "other": spent["read"] + spent["delete"] + spent["download"],
        "all": spent["total"],
        "cpu_ms": 1000 * (time.process_time() - begun) / pages,
    }


def _fan_out(folder: Path, pages: int) -> dict[str, Any]:
    topics = [CountingTopic() for _ in range(2)]

    def prepare(number: int) -> Callable[[], Awaitable[object]]:
        house = build_house(folder / f"out-{pages}-{number}", document_pages=max(SIZES))
        upload = house.drop("a.pdf", pages)
        topic = topics[number]
        return lambda: fan_out(upload, replace(house.fan_out, express=topic, bulk=topic))

    figures = _step(prepare)
    assert topics[0].messages == pages
    return {"pages": pages, "published": topics[0].requests, **figures}


def _end(folder: Path, pages: int) -> dict[str, Any]:
    def prepare(number: int) -> Callable[[], Awaitable[object]]:
        house = build_house(folder / f"end-{pages}-{number}", document_pages=max(SIZES))
        house.outbox = DistantBucket()
        house.restart()
        source = asyncio.run(_read_all(house, pages))
        finisher = replace(house.give_up.finisher, output_bucket=house.outbox)

        async def end() -> None:
            assert await finish(source, finisher) is End.FINISHED

        return end

    return {"pages": pages, "published": 1, **_step(prepare)}


async def _read_all(house: House, pages: int) -> ObjectRef:
    """Have all pages stand in the ledger, and the job."""
    upload = house.drop("a.pdf", pages)
    await house.take_in(upload)
    for page in range(1, pages + 1):
        seconds = {"wait": 0.4, "fetch": 0.01, "render": 0.02, "ocr": 1.7}
        record = PageRecord(page=page, status=PageStatus.OK, width_px=1089, height_px=1540, seconds=seconds)
        name = layout.page(upload.source, page)
        house.outbox.put(name, b"", metadata=records.page_metadata(record))
    return upload.source


def _step(prepare: Callable[[int], Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """Take a step twice: for its time and for how long it holds the loop up; then for what it holds."""
    timed = asyncio.run(_timed(prepare(0)))
    step = prepare(1)
    tracemalloc.start()
    try:
        asyncio.run(_awaited(step))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return {"held_mib": held / MIB, **timed}


async def _awaited(step: Callable[[], Awaitable[object]]) -> None:
    await step()


async def _timed(step: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Time a step, while a neighbour wants the loop every millisecond. How long he had to wait is given in
    CPU that the process has used meanwhile: what else the machine does is not the step's.
    """
    longest = 0.0

    async def neighbour() -> None:
        nonlocal longest
        while True:
            asked = time.process_time()
            await asyncio.sleep(TICK_SECONDS)
            longest = max(longest, time.process_time() - asked)

    ticking = asyncio.create_task(neighbour())
    await asyncio.sleep(0)
    gc.collect()
    gc.freeze()  # as an instance does when it is built: what the fakes' buckets hold is not looked through
    begun = time.perf_counter()
    await step()
    seconds = time.perf_counter() - begun
    await asyncio.sleep(2 * TICK_SECONDS)
    ticking.cancel()
    return {"seconds": seconds, "longest_hold": longest}


@dataclass
class CountingTopic:
    """Messages are gone when they are taken, so many in a request."""

    messages: int = 0
    requests: int = 0

    async def publish(self, messages: Sequence[Message]) -> None:
        await asyncio.sleep(TICK_SECONDS)
        self.messages += len(messages)
        self.requests += -(-len(messages) // BATCH_TASKS)


class DistantBucket(FakeBucket):
    """Every page has a body of its own, as if it came over the line; listings are made on another thread, as
    the real client's; of what is uploaded nothing is kept.
    """

    _page = BODY.encode()

    async def body(self, name: str, generation: int) -> bytes | None:
        await asyncio.sleep(0)
        return bytes(bytearray(self._page))

    async def infos(self, prefix: str) -> list[ObjectInfo]:
        infos = super().infos(prefix)
        return await asyncio.to_thread(lambda: asyncio.run(infos))

    async def upload(self, name: str, parts: AsyncIterable[bytes], **more: Any) -> int:
        async for _ in parts:
            pass
        return await self.write(name, b"", **more)
