"""The benchmarks run, at their smallest: figures come out, a table and a plot are made of them. How large
they are is nobody's business here.
"""

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as bench
from tests.bench import client, figures, pages, render, startup
from tests.bench.flow import scenarios, stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processor time is read from /proc")


def numbers(result: Any) -> list[float]:
    if isinstance(result, dict):
        return [number for each in result.values() for number in numbers(each)]
    if isinstance(result, list):
        return [number for each in result for number in numbers(each)]
    return [] if result is None or isinstance(result, str) else [float(result)]


def assert_shown(module: bench.Bench, result: dict[str, Any], folder: Path) -> None:
    found = numbers(result)
    assert found
    assert all(math.isfinite(number) for number in found)
    assert module.table(result).startswith("| ")
    module.plot(result, folder)
    (plot,) = folder.glob("*.svg")
    assert plot.read_text().rstrip().endswith("</svg>")


def test_drawing_is_measured(tmp_path: Path) -> None:
    assert_shown(render, render.run(rounds=1), tmp_path)


@pytest.mark.stack
def test_the_client_path_is_measured(tmp_path: Path) -> None:
    assert_shown(client, client.run(rounds=1, times=1, most_cores=1), tmp_path)


@pytest.mark.stack
def test_starting_is_measured(tmp_path: Path) -> None:
    assert_shown(startup, startup.run(rounds=1, doors=("sweep",)), tmp_path)


@pytest.mark.stack
def test_the_laptop_cloud_before_modelled_gpus_is_measured(tmp_path: Path) -> None:
    """An outage among it, at a speed that two cores do not keep up with: nothing is lost for that."""
    away = scenarios.outage(200, hours=0.05, begins=150.0)
    result = stack.run(scale=30, shown=(scenarios.invoice(), away))
    assert_shown(stack, result, tmp_path)
    one, many = result["runs"]
    assert (one["statuses"], many["statuses"]) == ({"complete": 1}, {"complete": len(away.drops)})
    assert one["answers_a_page"] == many["answers_a_page"] == 1.0
    assert one["parked"] == many["parked"] == 0
    assert one["most_deliveries"] == 1
    assert many["most_deliveries"] > 1
    assert many["seconds"] > 150.0 + 180.0
    assert one["wasted"] < 0.05 < many["wasted"]
    assert one["short_at_gpus_seconds"][0] < one["short_seconds"][0]


def test_a_bench_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="no bench is called nonsense; there are render, client, growth"):
        bench.main(["render", "nonsense"])


def test_the_report_is_made_of_what_was_measured_last() -> None:
    report = bench._report()
    for name, headline, _ in bench.BENCHES:
        assert (bench.FOLDER / f"{name}.json").exists()
        assert f"## {headline}\n" in report
    assert (bench.FOLDER / "README.md").read_text() == report


def test_a_figure_is_a_median_with_its_least_and_most() -> None:
    assert figures.shown(figures.spread([3.0, 1.0, 2.0])) == "2.0 (1.0 to 3.0)"


def test_the_measured_pages_are_the_same_every_time() -> None:
    once, again = pages.document(("text", "fax")), pages.document(("text", "fax"))
    assert once == again
