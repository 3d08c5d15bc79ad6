"""The flow of pages, simulated small: GPUs busy while there is work, nothing lost, short before long."""

import json
from pathlib import Path

import pytest

from infra.operate import capacity
from infra.operate.deployment import deployment
from tests.bench.flow import scenarios, stack, table
from tests.bench.flow.measures import Result
from tests.bench.flow.scenarios import Scenario
from tests.bench.flow.simulation import simulate
from tests.bench.flow.world import Habits

ROOT = Path(__file__).parent.parent
GPUS = 3


def put_through(scenario: Scenario, gpus: int = GPUS, **habits: bool) -> Result:
    result, _ = simulate(scenario, deployment(gpus), Habits(**habits))
    assert result.unread == 0
    assert result.dead_letters == 0
    return result


@pytest.fixture(scope="module")
def flood() -> Result:
    return put_through(scenarios.flood(1500, a_document=100))


def test_gpus_are_busy_while_there_is_a_backlog(flood: Result):
    assert flood.busy is not None
    assert flood.busy >= 0.95


def test_gpus_are_busy_when_pubsub_never_has_less_than_3000_pages_out():
    result = put_through(scenarios.flood(2000, a_document=100), is_harsh=True)
    assert result.busy is not None
    assert result.busy >= 0.95


def test_a_flood_wastes_no_gpu_time_and_hardly_a_delivery(flood: Result):
    assert flood.wasted < 0.001
    assert flood.refusals_a_page < 0.2
    assert flood.most_attempts < 10


def test_the_same_run_gives_the_same_figures(flood: Result):
    assert put_through(scenarios.flood(1500, a_document=100)) == flood


def test_the_same_outage_gives_the_same_figures():
    once, again = (put_through(scenarios.outage(400, hours=0.5, begins=200.0)) for _ in range(2))
    assert once == again


def test_two_copies_of_every_task_cost_no_gpu_time():
    assert put_through(scenarios.flood(600, a_document=100), sends_twice=True).wasted < 0.001


@pytest.mark.parametrize("is_harsh", [False, True])
def test_an_outage_of_two_hours_loses_nothing_and_kills_no_message(is_harsh: bool):
    result = put_through(scenarios.outage(400, begins=200.0), is_harsh=is_harsh)
    assert result.seconds > 2 * 3600
    assert result.most_attempts < deployment(GPUS).delivery_attempts / 2


def test_an_invoice_behind_a_book_takes_a_minute_of_warm_gpu_time_at_the_median():
    result = put_through(scenarios.mixture(3000, 75))
    assert result.small_p50_seconds is not None
    assert result.small_p50_seconds <= 60
    assert result.busy is not None
    assert result.busy >= 0.95


def test_a_smaller_quota_than_deployed_for_only_takes_longer():
    result = put_through(scenarios.one_of_three(600))
    assert result.wasted < 0.05
    assert result.busy is not None
    assert result.busy >= 0.95


def test_a_gpu_woken_by_the_fan_out_reads_the_first_page_sooner():
    for scenario in (scenarios.invoice(), scenarios.book(30)):
        woken, asleep = (put_through(scenario, warms_up=each).first_page_seconds for each in (True, False))
        assert woken is not None
        assert asleep is not None
        assert woken < asleep - capacity.FUNCTION.least_seconds


@pytest.mark.parametrize("gpus", [1, 3, 7, 12, 30, 60, 100, 150])
def test_whatever_the_number_of_gpus_every_worker_instance_starts(gpus: int):
    """Cloud Run starts the last instance when 60 % of the others' room is taken; more than so many pages
    of a lane Pub/Sub never has out.
    """
    given = deployment(gpus)
    others = given.worker.concurrency * (given.worker.instances - 1)
    assert others * capacity.SCALING_TARGET < capacity.PUSH_WINDOW_MOST
    assert given.settings.pages_at_gpu <= given.settings.pages_waiting == given.worker.concurrency


def test_more_gpus_than_one_worker_instance_serves_are_all_busy():
    result = put_through(scenarios.flood(6000), 12)
    assert result.busy is not None
    assert result.busy >= 0.95


def test_the_readme_of_the_cloud_shows_the_figures_that_were_written_down():
    figures = json.loads((ROOT / "docs" / "bench" / "flow.json").read_text())
    on_a_laptop = json.loads((ROOT / "docs" / "bench" / "stack.json").read_text())
    text = (ROOT / "infra" / "README.md").read_text()
    assert table(figures) in text
    assert stack.table(on_a_laptop) in text
    simulated = [*figures["runs"], *figures["many"]]
    assert all(row["dead_letters"] == 0 for row in simulated)
    assert all(row["parked"] == 0 for row in on_a_laptop["runs"])
    assert all(row["busy"] is None or row["busy"] >= 0.95 for row in simulated + on_a_laptop["runs"])
    assert all(row["unread"] == 0 for row in simulated)
    assert all(set(row["statuses"]) == {"complete"} for row in on_a_laptop["runs"])
    behind_a_book = on_a_laptop["runs"][3]
    assert behind_a_book["scenario"] == scenarios.mixture().name
    assert behind_a_book["short_at_gpus_seconds"][0] <= 60
