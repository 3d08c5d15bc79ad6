"""Real runs: the same documents through the laptop's cloud (`laptop`) in front of the served L4s.

The L4s' time runs faster (10 times); budgets are as much shorter, and what drawing, storage and doors take
here counts as many times. The laptop's broker has fewer pages out than Pub/Sub and pushes refused ones again
sooner: for windows and attempts believe the simulation. On a machine whose cores cannot keep up the busy
fraction says more of it than of the flow.
"""

# ruff: noqa: T201 - says to people what runs, and for how long

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from infra.operate.deployment import deployment
from tests.bench import figures
from tests.bench.flow import scenarios
from tests.bench.flow.laptop import Stack, running
from tests.bench.flow.measures import SAMPLE_SECONDS, Gauge, Sample, percentile
from tests.bench.flow.plots import busy_lines
from tests.bench.flow.scenarios import Scenario

GPUS = 3
SCALE = 10.0
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 3600.0


@dataclass(kw_only=True)
class Watch:
    """One scenario under way; seconds are of the L4s' time, from its beginning. `prefix` begins the names of
    its documents. L4s count as standing from the first page at one of them on: what was before is the
    laptop's.
    """

    stack: Stack
    scenario: Scenario
    prefix: str
    dropped: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    first: float | None = None
    has_begun: bool = False

    def __post_init__(self) -> None:
        for drop in self.scenario.drops:
            self.stack.prepare(self.prefix + drop.name, drop.pages)
        self._away = self.scenario.away
        self._before = self.stack.state()
        self._began = time.monotonic()
        self._gauge = Gauge(gpus=GPUS, room=GPUS * deployment(GPUS).gpu_concurrency)

    def put_through(self) -> dict[str, Any]:
        """Drop everything in its time and look on until all has ended.

        Raises TimeoutError, and RuntimeError when the laptop's cloud ends before or did not log every page.
        """
        while len(self.ended) < len(self.scenario.drops):
            now = self._now(time.monotonic())
            if now > _PATIENCE_SECONDS * self.stack.scale:
                missing = len(self.scenario.drops) - len(self.ended)
                raise TimeoutError(f"{self.scenario.name}: {missing} documents never ended")
            if self.stack.cloud.poll() is not None:
                raise RuntimeError(f"{self.scenario.name}: the laptop's cloud ended in the midst of it")
            self._act(now)
            self._look(now)
            time.sleep(_LOOK_SECONDS)
        return self._figures()

    def _now(self, at: float) -> float:
        return (at - self._began) * self.stack.scale

    def _act(self, now: float) -> None:
        for drop in self.scenario.drops:
            name = self.prefix + drop.name
            if drop.at_seconds <= now and name not in self.dropped:
                self.dropped[name] = now
                self.stack.drop(name)
        if self._away and now >= self._away[0]:
            self.stack.fail(self._away[1])
            self._away = None

    def _look(self, now: float) -> None:
        seen = self.stack.state()
        answered = seen["answered"] - self._before["answered"]
        if answered and self.first is None:
            self.first = now
        self.has_begun |= seen["speed"] > 0
        samples = self._gauge.samples
        if not samples or now >= samples[-1].at_seconds + SAMPLE_SECONDS:
            sample = Sample(
                at_seconds=now,
                gpus=seen["gpus"] if self.has_begun else 0,
                speed=seen["speed"],
                left=self.scenario.pages - answered,
                is_away=seen["is_away"],
            )
            samples.append(sample)
        while not self.stack.ends.empty():
            at, told = self.stack.ends.get()
            if told["name"] in self.dropped.keys() - self.ended.keys():
                self.ended[told["name"]] = self._now(at)
                self.statuses[told["status"]] += 1

    def _figures(self) -> dict[str, Any]:
        short = [self.prefix + drop.name for drop in self.scenario.drops if drop.pages == 1]
        seen = self.stack.state()
        answered, read, work = (seen[name] - self._before[name] for name in ("answered", "read", "work"))
        deliveries, busy = self.stack.deliveries(self.prefix), self._gauge.busy()
        if len(deliveries) < self.scenario.pages:
            raise RuntimeError(f"{self.scenario.name}: only {len(deliveries)} pages ended, by the log")
        return {
            "scenario": self.scenario.name,
            "pages": self.scenario.pages,
            "statuses": dict(self.statuses),
            "seconds": round(max(self.ended.values()), 1),
            "first_page_seconds": round(self.first or 0.0, 1),
            "busy": None if busy is None else round(busy, 4),
            "answers_a_page": round(answered / self.scenario.pages, 3),
            "deliveries_a_page": round(fmean(deliveries), 2),
            "most_deliveries": max(deliveries),
            "parked": self.stack.parked(self.prefix),
            "wasted": round(work / read - 1, 4),
            "short_at_gpus_seconds": _spread([self.stack.seconds_at_gpus(name) for name in short]),
            "short_seconds": _spread([self.ended[name] - self.dropped[name] for name in short]),
            "series": self._gauge.series(),
        }


def _spread(seconds: Sequence[float]) -> list[float]:
    """Give the median, what 95 of 100 stay below, and the most; nothing for nothing."""
    shown = (percentile(seconds, share) for share in (0.5, 0.95, 1.0))
    return [round(each, 1) for each in shown if each is not None]


def run(
    *,
    scale: float = SCALE,
    shown: Sequence[Scenario] = (
        scenarios.invoice(),
        scenarios.book(),
        scenarios.flood(),
        scenarios.mixture(),
        scenarios.outage(),
    ),
) -> dict[str, Any]:
    """Put one after the other through; some 40 minutes at ten times the speed."""
    rows = []
    with running(scale, GPUS) as stack:
        for number, scenario in enumerate(shown, start=1):
            print(f"{scenario.name}, {scale:g} times as fast", file=sys.stderr, flush=True)
            rows.append(Watch(stack=stack, scenario=scenario, prefix=f"{number}-").put_through())
    return {"bench": "stack", "gpus": GPUS, "scale": scale, "runs": rows}


def table(result: Mapping[str, Any]) -> str:
    """Write the figures as a Markdown table."""
    head = [
        f"dropped, at three L4s, {result['scale']:g} times as fast",
        "ended",
        "done",
        "first page",
        "busy",
        "answers of the model a page",
        "GPU work for nothing",
        "deliveries a page, most",
        "parked",
        "short ones at the GPUs: median, 95 of 100, most",
        "all told",
    ]
    return figures.rows(head, list(map(_cells, result["runs"])))


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    return (
        row["scenario"],
        ", ".join(f"{count:,} {status}" for status, count in row["statuses"].items()),
        f"{row['seconds']:,.0f} s",
        f"{row['first_page_seconds']:.0f} s",
        figures.percent(row["busy"]),
        f"{row['answers_a_page']:.3f}",
        figures.percent(row["wasted"]),
        f"{row['deliveries_a_page']:.2f}, {row['most_deliveries']}",
        f"{row['parked']}",
        figures.seconds(row["short_at_gpus_seconds"]),
        figures.seconds(row["short_seconds"]),
    )


def plot(result: Mapping[str, Any], folder: Path) -> None:
    """Draw how busy the L4s were over time, a line a scenario."""
    busy_lines(result["runs"], folder / "stack.svg")
