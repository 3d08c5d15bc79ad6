"""Whatever breaks, and whenever: every document ends, once, with the right text, and nothing stays behind.

The line breaks at every single request of a document's whole way, before it has reached the other side or
when its answer is on the way back, as an error or as the instance's death; then the post delivers again what
was refused, as Pub/Sub and Eventarc do.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketscribe.errors import (
    DocumentCorrupt,
    ModelBusy,
    ModelRejected,
    ModelTimeout,
    PageRenderCrashed,
)
from tests.fakes.line import instance_gone, line_down, seeded
from tests.fakes.scribe import answer
from tests.house import House, build_house, words

# More requests than a document of three pages makes on its whole way, even the hard one.
_FAR = 400


def _easy(house: House) -> list[str]:
    house.drop("a.pdf", 3)
    return ["ok", "ok", "ok"]


def _corrupt(house: House) -> list[str]:
    house.renderer.cannot_open = DocumentCorrupt("this file is damaged")
    house.drop("a.pdf", 3)
    return []


def _empty(house: House) -> list[str]:
    house.drop("a.pdf", data=b"")
    return []


def _hard(house: House) -> list[str]:
    """A page that cannot be drawn, one that is blank, and one that the model reads at the third try only."""
    house.renderer.failing[1] = PageRenderCrashed("page 1 crashed its process")
    house.renderer.blank.add(2)
    house.scribe.will_say(3, ModelTimeout("too slow"), ModelBusy("busy"))
    house.drop("a.pdf", 3)
    return ["failed", "blank", "ok"]


def _refused_by_model(house: House) -> list[str]:
    house.scribe.will_say(2, *[ModelRejected("the server says no")] * 50)
    house.drop("a.pdf", 3)
    return ["ok", "failed", "ok"]


def _twice(house: House) -> list[str]:
    """Both the event and the tasks come double."""
    upload = house.drop("a.pdf", 3)
    house.repeat(upload)
    return ["ok", "ok", "ok"]


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("error", [line_down, instance_gone])
@pytest.mark.parametrize("mode", ["before", "after"])
@pytest.mark.parametrize("start", [_easy, _corrupt, _empty, _hard, _refused_by_model, _twice])
def test_a_break_at_any_request_is_mended(
    tmp_path: Path, start: Callable[[House], list[str]], mode: str, error: Callable[[], Exception], width: int
) -> None:
    for broken in itertools.count(1):
        house = build_house(tmp_path)
        house.line.breaks[broken] = mode
        house.line.error = error
        expected = start(house)
        asyncio.run(house.settle(width=width))
        house.check_books()
        at = house.line.log[broken - 1 : broken]
        assert house.statuses() == expected, f"broken {mode} request {broken}: {at}"
        assert len(house.finished.messages) <= 3, f"broken {mode} request {broken}: {at}"
        for page, status in enumerate(expected, 1):
            assert (f"a.pdf {page}" in words(house.text())) == (status == "ok")
        if house.line.requests < broken:
            break
    assert 10 < broken < _FAR


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    papers=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    breaking=st.sampled_from([0.0, 0.02, 0.1, 0.2]),
    delays=st.integers(0, 5),
    width=st.integers(1, 20),
    tries=st.sampled_from([3, 100]),
    died=st.booleans(),
)
def test_any_weather_ends_with_every_page_accounted_for(  # noqa: PLR0917 - Hypothesis names them
    tmp_path: Path,
    seed: int,
    papers: list[int],
    breaking: float,
    delays: int,
    width: int,
    tries: int,
    died: bool,
) -> None:
    """Random documents in random order, with copies, re-uploads, moods of the model and broken requests."""
    chance = seeded(seed)
    house = build_house(tmp_path, tries=tries, backoff_seconds=chance.choice([10.0, 3600.0, 90_000.0]))
    house.line.chance = seeded(seed)
    house.line.breaking_chance, house.line.delays = breaking, delays
    house.line.error = instance_gone if died else line_down
    for number, pages in enumerate(papers):
        upload = house.drop(f"{number}.pdf", pages)
        for _ in range(chance.randint(0, 2)):
            house.repeat(upload)
        if chance.random() < 0.3:
            house.drop(f"{number}.pdf", chance.randint(1, 6), title=f"{number}.pdf again")
    _moods(house, chance)
    _surprise(house, chance)
    asyncio.run(house.settle(width=width, order=chance))
    house.check_books()
    for number in range(len(papers)):
        stored = house.inbox.get(f"{number}.pdf")
        record = house.record(f"{number}.pdf")
        if stored:
            assert record["counts"]["pages"] == int(stored.data.split(b"\n")[1])
        else:
            assert record["pages"] or record["errors"][0]["code"] == "source_gone"


def _surprise(house: House, chance: random.Random) -> None:
    """Delete or replace a document in the middle of somebody's work on any of them."""

    async def deleted() -> None:
        house.inbox.drop("0.pdf")

    async def replaced() -> None:
        house.drop("0.pdf", chance.randint(1, 6), title="0.pdf at last")

    what = chance.choice([None, None, deleted, replaced])
    if what:
        verb = chance.choice(["look", "read", "body", "write", "infos", "download", "publish", "delete"])
        house.line.meanwhile(verb, "", what)


def _moods(house: House, chance: random.Random) -> None:
    for page in range(1, 7):
        match chance.randint(0, 9):
            case 0:
                house.renderer.blank.add(page)
            case 1:
                house.renderer.failing[page] = PageRenderCrashed("crashed")
            case 2:
                house.scribe.will_say(page, ModelTimeout("late"), answer("x", finish_reason="length"))
            case 3:
                house.scribe.will_say(page, *[ModelBusy("busy")] * chance.randint(1, 30))
            case 4:
                house.scribe.will_say(page, answer(""), answer("  "))
            case _:
                pass
