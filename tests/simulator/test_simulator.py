"""Thousands of lives of the house, each drawn from its seed: whatever happens, all the invariants hold."""

import os
import time

import pytest

from tests.simulator.mutations import MUTATIONS, Mutation, hunt
from tests.simulator.world import run

# SEEDS runs in all, from FIRST on; with MINUTES on and on behind them, until the time is up.
SEEDS = int(os.environ.get("SEEDS") or 10_000)
FIRST = int(os.environ.get("FIRST") or 0)
MINUTES = float(os.environ.get("MINUTES") or 0)
PARTS = 40


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_every_page_ends_accounted_for(part: int) -> None:
    if MINUTES:
        pytest.skip("runs by the clock instead")
    for seed in range(FIRST + part, FIRST + SEEDS, PARTS):
        assert_holds(seed)


@pytest.mark.skipif(not MINUTES, reason="only with MINUTES, as in `make soak`")
@pytest.mark.parametrize("part", range(2))
def test_it_goes_on_holding_for_as_long_as_one_likes(part: int) -> None:
    seed, end = FIRST + SEEDS + part, time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        assert_holds(seed)
        seed += 2


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_each_protection_is_missed_when_it_is_taken_away(mutation: Mutation) -> None:
    assert hunt(mutation), f"no seed below {mutation.bound} has caught it: {mutation.what}"


def test_a_seed_replays_exactly() -> None:
    for seed in (3, 54, 333):
        first, second = run(seed).watch, run(seed).watch
        assert first.history() == second.history()


def assert_holds(seed: int) -> None:
    world = run(seed)
    broken = [f"{name}: {sentence}" for name, sentence in world.watch.violations]
    assert not broken, f"seed {seed}, replayed by `python -m tests.simulator --seed {seed}`:\n" + "\n".join(
        broken
    )
