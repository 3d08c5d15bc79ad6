"""The house in one instance, wired as main wires it, over fakes that take their time."""

import random
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bucketscribe.document_cache import DocumentCache
from bucketscribe.drawing import Drawing
from bucketscribe.fan_out import FanOut
from bucketscribe.finish import Finisher
from bucketscribe.give_up import GiveUp
from bucketscribe.model import DocumentFacts, PageImage
from bucketscribe.ports import Reader, Topic
from bucketscribe.resume import Resume
from bucketscribe.settings import PROFILES, Settings
from bucketscribe.transcribe import Transcriber
from bucketscribe.turns import Places, Turns
from infra.operate import capacity
from tests.bench.flow.timing import Timing
from tests.fakes.bucket import FakeBucket
from tests.fakes.line import BucketOverLine
from tests.fakes.renderer import FakeRenderer

T = TypeVar("T")

# A request to Cloud Storage: a guess.
STORAGE_SECONDS = 0.03

# Downloads came at 100 MB/s where it was measured once (2026-11); 100 KB a page is a guess.
DOWNLOAD_SECONDS_A_PAGE = 0.001

# Counting a document's pages: the render process starts, and opens it (11 ms for 16,000 pages, 2026-11).
COUNT_SECONDS = 1.0


class Line:
    """Carries a request to Cloud Storage, as `tests.fakes.line.Line` does; none is ever lost."""

    def __init__(self, timing: Timing, inbox: FakeBucket) -> None:
        self._timing = timing
        self._inbox = inbox

    async def carry(self, verb: str, name: str, request: Callable[[], Awaitable[T]]) -> T:
        stored = self._inbox.get(name) if verb == "download" else None
        pages = int(stored.data.rpartition(b"\n")[2]) if stored else 0
        await self._timing.sleep(STORAGE_SECONDS + pages * DOWNLOAD_SECONDS_A_PAGE)
        return await request()


class Renderer:
    """`ports.Renderer`: make-believe documents, drawn in the time that a core takes for a page."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._papers = FakeRenderer()

    async def inspect(self, path: Path) -> DocumentFacts:
        await self._timing.sleep(COUNT_SECONDS)
        return await self._papers.inspect(path)

    async def page(self, path: Path, page: int, longest_edge_px: int) -> PageImage:
        await self._timing.sleep(capacity.RENDER_SECONDS)
        self._papers.drawn.clear()
        return await self._papers.page(path, page, longest_edge_px)

    async def text_layer(self, path: Path, page: int) -> str:
        return await self._papers.text_layer(path, page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """All that an instance reaches: buckets, topics, the model, and what time it is."""

    timing: Timing
    chance: random.Random
    inbox: FakeBucket
    outbox: FakeBucket
    express: Topic
    bulk: Topic
    finished: Topic
    reader: Reader
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What main builds in an instance."""

    fan_out: FanOut
    transcriber: Transcriber
    give_up: GiveUp
    resume: Resume


def build(settings: Settings, outside: Outside) -> House:
    finisher = _finisher(outside)
    cache = DocumentCache(
        finisher.input_bucket,
        Path(tempfile.mkdtemp(dir=outside.folder)),
        limit_bytes=settings.cache_mib * 1024**2,
        monotonic=outside.timing.monotonic,
    )
    renderer = Renderer(outside.timing)
    lanes = {"express": outside.express, "bulk": outside.bulk}
    fan_out = FanOut(
        settings=settings, finisher=finisher, cache=cache, renderer=renderer, reader=outside.reader, **lanes
    )
    give_up = GiveUp(settings=settings, finisher=finisher, **lanes)
    drawing = Drawing(
        input_bucket=finisher.input_bucket,
        cache=cache,
        renderer=renderer,
        places=Places(places=settings.render_workers, where="at the render processes"),
    )
    return House(
        fan_out=fan_out,
        transcriber=_transcriber(settings, outside, finisher, drawing),
        give_up=give_up,
        resume=Resume(fan_out=fan_out, give_up=give_up),
    )


def _finisher(outside: Outside) -> Finisher:
    line = Line(outside.timing, outside.inbox)
    return Finisher(
        input_bucket=BucketOverLine(outside.inbox, line),
        output_bucket=BucketOverLine(outside.outbox, line),
        finished=outside.finished,
        clock=outside.timing,
    )


def _transcriber(settings: Settings, outside: Outside, finisher: Finisher, drawing: Drawing) -> Transcriber:
    return Transcriber(
        settings=settings,
        profiles=PROFILES,
        finisher=finisher,
        drawing=drawing,
        reader=outside.reader,
        turns=Turns(places=settings.pages_at_gpu, waiting=settings.pages_waiting),
        clock=outside.timing,
        chance=outside.chance,
    )
