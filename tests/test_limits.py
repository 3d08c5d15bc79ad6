"""Every setting that is a limit bites: which test shows it, and those tests that stand nowhere else.

Where the limit is one of the real render processes or of the cache, it is set as the doors set it.
"""

import ast
import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

import main
from bucketscribe.drawing import Drawing
from bucketscribe.errors import (
    ModelTimeout,
    OutOfTime,
    PageRenderCrashed,
    PageRenderFailed,
    PageRenderTimeout,
    TooLarge,
    TooManyPages,
)
from bucketscribe.fan_out import lane_of, task_of
from bucketscribe.finish import End
from bucketscribe.give_up import GaveUp
from bucketscribe.model import Job, JobState, Lane, ObjectRef
from bucketscribe.settings import Settings
from bucketscribe.turns import Rank
from tests import papers
from tests.fakes.bucket import FakeBucket
from tests.house import asynchronous, build_house

TESTS = Path(__file__).parent
DAY_SECONDS = 24 * 3600.0

# A limit and the test that shows it bite, with another value than the default.
BITES: dict[str, str] = {
    "document_mib": "test_failures.test_too_large",
    "document_pages": "test_limits.test_a_document_of_more_pages_than_set_is_refused",
    "image_pixels": "test_limits.test_an_image_of_more_pixels_than_set_is_refused",
    "express_pages": "test_limits.test_a_document_of_more_pages_than_set_goes_bulk",
    "render_workers": "test_limits.test_no_more_pages_are_drawn_at_once_than_there_are_workers",
    "render_seconds": "test_limits.test_a_render_is_cut_off_after_the_seconds_set",
    "render_mib": "test_limits.test_a_render_may_not_take_more_memory_than_set",
    "cache_mib": "test_limits.test_the_local_copies_take_no_more_than_set",
    "memory_mib": "test_settings.test_settings_that_do_not_fit_together_are_refused",
    "ack_deadline_seconds": "test_settings.test_settings_that_do_not_fit_together_are_refused",
    "page_seconds": "test_limits.test_a_call_may_take_what_is_left_of_the_seconds_set",
    "call_reserve_seconds": "test_limits.test_no_call_begins_within_the_reserve_set",
    "pages_at_gpu": "test_transcribe.test_the_places_at_the_gpu_are_never_more_than_set",
    "pages_waiting": "test_transcribe.test_a_full_house_refuses_at_once",
    "model_calls": "test_asking.test_the_calls_are_a_setting",
    "model_timeouts": "test_limits.test_a_page_may_time_out_as_often_as_set",
    "parked_days": "test_limits.test_a_page_is_parked_for_the_days_set",
}


def test_every_limit_there_is_has_a_test_that_shows_it_bite() -> None:
    assert sorted(BITES) == sorted(each.name for each in fields(Settings) if each.type in (int, float))
    for where in BITES.values():
        module, _, name = where.partition(".")
        tree = ast.parse((TESTS / f"{module}.py").read_text())
        found = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in found, where


def drawing(**limits: int | float) -> tuple[Drawing, FakeBucket]:
    """Build what the doors build to draw with, over a bucket in memory."""
    defaults = {"project": "p", "input_bucket": "in", "output_bucket": "out", "ocr_url": "http://127.0.0.1:1"}
    bucket = FakeBucket("in")
    return main._drawing(Settings(**defaults | {"render_workers": 1} | limits), bucket), bucket


def drawn_by(
    use: Callable[[Drawing, Path], Awaitable[None]], document: bytes, path: Path, **limits: int | float
) -> None:
    path.write_bytes(document)

    async def use_it() -> None:
        built, _ = drawing(**limits)
        try:
            await use(built, path)
        finally:
            built.renderer.close()  # type: ignore[attr-defined]

    asyncio.run(use_it())


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "document"


async def inspect(built: Drawing, path: Path) -> None:
    await built.renderer.inspect(path)


async def draw(built: Drawing, path: Path) -> None:
    await built.renderer.page(path, 1, 1540)


def test_a_document_of_more_pages_than_set_is_refused(scratch: Path) -> None:
    drawn_by(inspect, papers.pdf(3), scratch, document_pages=3)
    with pytest.raises(TooManyPages, match="4 pages, more than the 3 allowed"):
        drawn_by(inspect, papers.pdf(4), scratch, document_pages=3)


def test_an_image_of_more_pixels_than_set_is_refused(scratch: Path) -> None:
    picture = papers.saved(papers.picture((40, 30)), "PNG")
    drawn_by(inspect, picture, scratch, image_pixels=1200)
    with pytest.raises(TooLarge, match="1199 allowed"):
        drawn_by(inspect, picture, scratch, image_pixels=1199)


def test_a_render_is_cut_off_after_the_seconds_set(scratch: Path) -> None:
    with pytest.raises(PageRenderTimeout):
        drawn_by(draw, papers.hanging_pdf(), scratch, render_seconds=0.5)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux limits the address space")
def test_a_render_may_not_take_more_memory_than_set(scratch: Path) -> None:
    hungry = papers.saved(papers.picture((4000, 4000), "RGBA"), "PNG")
    drawn_by(draw, hungry, scratch, render_mib=2048)
    with pytest.raises((PageRenderFailed, PageRenderCrashed)):
        drawn_by(draw, hungry, scratch, render_mib=384)


@asynchronous
async def test_no_more_pages_are_drawn_at_once_than_there_are_workers() -> None:
    built, _ = drawing(render_workers=2)
    async with (
        built.places.place(Rank.BULK, timeout_seconds=1),
        built.places.place(Rank.BULK, timeout_seconds=1),
    ):
        with pytest.raises(OutOfTime, match="render processes"):
            async with built.places.place(Rank.EXPRESS, timeout_seconds=0):
                pass


@asynchronous
async def test_the_local_copies_take_no_more_than_set(tmp_path: Path) -> None:
    built, bucket = drawing(cache_mib=1, document_mib=1)
    sources = [
        ObjectRef(bucket="in", name=name, generation=bucket.put(name, bytes(400 * 1024))) for name in "abcde"
    ]
    for source in sources:
        async with built.cache.document(source) as path:
            assert path
            assert sum(copies(tmp_path)) <= 2**20
    assert len(copies(tmp_path)) == 2


def copies(folder: Path) -> list[int]:
    return [each.stat().st_size for each in folder.rglob("*.document")]


def test_a_document_of_more_pages_than_set_goes_bulk(tmp_path: Path) -> None:
    house = build_house(tmp_path, express_pages=2)
    received = house.clock.now()
    profile = house.settings.model_profile
    job = Job(upload=house.drop(), state=JobState.PLANNED, profile=profile, received_at=received, pages=2)
    assert lane_of(job, house.settings) is Lane.EXPRESS
    assert task_of(replace(job, pages=3), 1, house.settings, received).lane is Lane.BULK


@asynchronous
async def test_a_call_may_take_what_is_left_of_the_seconds_set(tmp_path: Path) -> None:
    house = build_house(tmp_path, page_seconds=77.0, call_reserve_seconds=33.0)
    await house.take_in(house.drop(pages=1))
    (task,) = house.tasks()
    assert await house.read(task) is End.FINISHED
    assert house.scribe.given_seconds == [77.0]


@pytest.mark.parametrize(("seconds", "asked"), [(44.0, True), (44.1, False)])
@asynchronous
async def test_no_call_begins_within_the_reserve_set(tmp_path: Path, seconds: float, asked: bool) -> None:
    house = build_house(tmp_path, page_seconds=77.0, call_reserve_seconds=33.0)
    await house.take_in(house.drop(pages=1))
    (task,) = house.tasks()
    house.restart()

    async def slowly() -> None:
        house.clock.advance(seconds)

    house.line.meanwhile("download", "a.pdf", slowly)
    try:
        await house.read(task)
    except OutOfTime:
        assert not asked
    assert bool(house.scribe.asked) is asked


@asynchronous
async def test_a_page_may_time_out_as_often_as_set(tmp_path: Path) -> None:
    house = build_house(tmp_path, model_calls=4, model_timeouts=3)
    house.scribe.always = ModelTimeout("late")
    house.drop(pages=1)
    await house.settle()
    (error,) = house.record()["errors"]
    assert (error["code"], error["attempts"]) == ("model_timeout", 3)


@asynchronous
async def test_a_page_is_parked_for_the_days_set(tmp_path: Path) -> None:
    house = build_house(tmp_path, parked_days=2.0)
    await house.take_in(house.drop(pages=1))
    (task,) = house.tasks()
    house.clock.advance(1.9 * DAY_SECONDS)
    assert await house.bury(task) is GaveUp.PARKED
    house.clock.advance(0.2 * DAY_SECONDS)
    assert await house.bury(task) is GaveUp.FAILED
    assert house.record()["errors"][0]["code"] == "attempts_exhausted"
