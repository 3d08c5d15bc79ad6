"""A short run of what `make chaos` does for longer, and one in which something is lost on purpose."""

import asyncio
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos import run as chaos
from tests.chaos.options import Options
from tests.chaos.story import Story

pytestmark = pytest.mark.stack


def story_of(options: Options, folder: Path) -> Story:
    story = asyncio.run(chaos.run(options, folder, lambda _: None))
    print("\n".join(report.lines(options, story)))  # noqa: T201 - pytest shows it when something is wrong
    return story


def test_nothing_is_lost_though_programs_are_killed_and_answers_fail(tmp_path: Path) -> None:
    options = Options(documents=20, seed=11, kill_seconds=3.0, dropped_within_seconds=5.0, redone=1)
    story = story_of(options, tmp_path)
    assert story.verdict.wrong == []
    assert story.verdict.documents.total() == 20
    assert story.kills.total() > 0
    assert story.redone
    assert story.counted["copies"] > 0
    assert story.given.total.total() > story.given.total["through"] > 0


def test_a_broker_that_forgets_is_noticed(tmp_path: Path) -> None:
    """Most answers fail, so that tasks wait with the broker, to be pushed again, when it dies."""
    options = Options(
        documents=8,
        seed=11,
        share=0.9,
        kill_seconds=0.7,
        mortals={"post": 1},
        dropped_within_seconds=0.0,
        stalled_seconds=8.0,
        is_forgetful=True,
    )
    story = story_of(options, tmp_path)
    assert any("nothing has moved for 8 s" in sentence for sentence in story.verdict.wrong)
