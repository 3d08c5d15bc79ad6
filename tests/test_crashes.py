"""Whatever breaks, and whenever: every document ends, once, with the right text, and nothing stays behind.

The line breaks at every single request of a document's whole way, before it has reached the other side or
when its answer is on the way back, as an error or as the instance's death; then the post delivers again what
was refused, as Pub/Sub and Eventarc do.
"""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from bucketscribe.errors import (
    DocumentCorrupt,
    ModelBusy,
    ModelRejected,
    ModelTimeout,
    PageRenderCrashed,
)
from tests.fakes.line import instance_gone, line_down
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
