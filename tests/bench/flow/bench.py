"""The runs that are shown: what people drop at three GPUs, warm-up or none, and more GPUs than three."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.operate import capacity
from infra.operate.deployment import deployment
from tests.bench import figures
from tests.bench.flow import scenarios
from tests.bench.flow.plots import busy_lines
from tests.bench.flow.scenarios import Scenario
from tests.bench.flow.simulation import simulate
from tests.bench.flow.world import Habits

GPUS = 3

# Pages of a flood for so many GPUs: some ten minutes of work, and no more than a laptop has patience for.
MANY = {1: 1_000, 10: 10_000, 30: 15_000, 100: 40_000}


def run() -> dict[str, Any]:
    """Simulate everything; two to ten minutes on one core."""
    return {
        "bench": "flow",
        "gpus": GPUS,
        "runs": [_row(scenario, GPUS, habits) for scenario, habits in _shown()],
        "warm_up": [
            _row(scenario, GPUS, Habits(warms_up=warms_up)) | {"warms_up": warms_up}
            for scenario in (scenarios.invoice(), scenarios.book())
            for warms_up in (True, False)
        ],
        "many": [_row(scenarios.flood(pages), gpus, Habits()) for gpus, pages in MANY.items()],
    }


def _shown() -> Iterator[tuple[Scenario, Habits]]:
    for scenario in (
        scenarios.invoice(),
        scenarios.book(),
        scenarios.flood(),
        scenarios.mixture(),
        scenarios.outage(),
        scenarios.one_of_three(),
        scenarios.office(),
    ):
        yield scenario, Habits()
    for scenario in (scenarios.flood(), scenarios.mixture(), scenarios.outage()):
        yield scenario, Habits(is_harsh=True)


def _row(scenario: Scenario, gpus: int, habits: Habits) -> dict[str, Any]:
    result, gauge = simulate(scenario, deployment(gpus), habits)
    return result.as_json() | {"series": gauge.series()}


def table(result: Mapping[str, Any]) -> str:
    """Write the figures as Markdown tables."""
    shown = figures.rows(
        [
            "dropped, at three L4s",
            "done",
            "of the least",
            "busy",
            "refusals a page, most tries",
            "dead, unread",
            "short ones: median, 95 of 100, most",
            "GPU time of the least",
        ],
        list(map(_shown_row, result["runs"])),
    )
    warm = figures.rows(
        ["first page, from the upload", "with warm-up", "without"], list(_warm_rows(result["warm_up"]))
    )
    many = figures.rows(
        ["L4s", "pages dropped", "done", "of the least", "busy", "of all", "refusals a page", "out at once"],
        list(map(_many_row, result["many"])),
    )
    return "\n\n".join([shown, warm, many])


def _shown_row(row: Mapping[str, Any]) -> Sequence[str]:
    short = [row[f"small_{name}_seconds"] for name in ("p50", "p95", "most")]
    return (
        row["scenario"] + ("; the window never narrows" if row["is_harsh"] else ""),
        f"{row['seconds']:,.0f} s",
        f"{row['seconds'] / row['ideal_seconds']:.2f}" if row["pages"] > 1 else "",
        figures.percent(row["busy"]),
        f"{row['refusals_a_page']:.2f}, {row['most_attempts']}",
        f"{row['dead_letters']}, {row['unread']}",
        figures.seconds(short),
        f"{row['gpu_seconds'] * capacity.PEAK_PAGES_PER_SECOND / row['pages']:.2f}",
    )


def _warm_rows(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        seconds = {row["warms_up"]: row["first_page_seconds"] for row in rows if row["scenario"] == scenario}
        yield scenario, figures.seconds([seconds[True]]), figures.seconds([seconds[False]])


def _many_row(row: Mapping[str, Any]) -> Sequence[str]:
    return (
        str(row["gpus"]),
        f"{row['pages']:,}",
        f"{row['seconds']:,.0f} s",
        f"{row['seconds'] / row['ideal_seconds']:.2f}",
        figures.percent(row["busy"]),
        figures.percent(row["busy_of_all"]),
        f"{row['refusals_a_page']:.2f}",
        f"{row['most_outstanding']:,}",
    )


def plot(result: Mapping[str, Any], folder: Path) -> None:
    """Draw how busy the L4s were over time, a line a scenario."""
    shown = [row for row in result["runs"] if row["busy"] is not None and not row["is_harsh"]]
    busy_lines(shown, folder / "flow.svg")
