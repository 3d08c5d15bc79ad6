"""The time of one delivery."""

from bucketscribe.budget import Budget
from tests.fakes.clock import FakeClock


def test_a_model_call_begins_before_the_reserve_is_touched():
    clock = FakeClock()
    budget = Budget(clock, seconds=540, reserve_seconds=300)
    assert (budget.left(), budget.waitable()) == (540, 240)
    clock.advance(240)
    assert (budget.left(), budget.waitable()) == (300, 0)


def test_time_that_is_up_is_below_nought():
    clock = FakeClock()
    clock.advance(1000)
    budget = Budget(clock, seconds=10, reserve_seconds=5)
    clock.advance(11)
    assert (budget.left(), budget.waitable()) == (-1, -6)
