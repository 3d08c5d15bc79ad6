"""What is measured of a run: when pages and documents ended, and how busy the GPUs were until then."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from infra.operate.capacity import PEAK_PAGES_PER_SECOND

# How often is looked.
SAMPLE_SECONDS = 5.0

# A point of a plot every so many samples.
_EVERY = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. `speed` is of all L4s together, in average pages a second; `left` are pages dropped and not
    ended.
    """

    at_seconds: float
    gpus: int
    speed: float
    left: int
    is_away: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run. Seconds are of the time shown; a percentile is None where there was nothing of its kind.

    `busy`: what the L4s that stood produced, of what they could have, while more pages were left than fit
    into all of them; `busy_of_all` counts those that might have stood too, from the first one on, an outage
    left out. None when there was no backlog. `wasted` is GPU work for nothing, as a share of all pages' work.
    """

    scenario: str
    gpus: int
    is_harsh: bool
    pages: int
    seconds: float
    ideal_seconds: float
    first_page_seconds: float | None
    busy: float | None
    busy_of_all: float | None
    refusals_a_page: float
    most_attempts: int
    most_outstanding: int
    dead_letters: int
    unread: int
    page_p50_seconds: float | None
    page_p95_seconds: float | None
    small_p50_seconds: float | None
    small_p95_seconds: float | None
    small_most_seconds: float | None
    gpu_seconds: float
    worker_seconds: float
    wasted: float

    def as_json(self) -> dict[str, Any]:
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


@dataclass(kw_only=True)
class Gauge:
    """Collects. `room` is how many pages fit into all GPUs of the deployment, `gpus` their number."""

    gpus: int
    room: int
    samples: list[Sample] = field(default_factory=list)
    page_ends: dict[str, float] = field(default_factory=dict)
    document_ends: dict[str, float] = field(default_factory=dict)

    def busy(self) -> float | None:
        seen = [each for each in self._in_backlog() if each.gpus]
        possible = sum(each.gpus for each in seen) * PEAK_PAGES_PER_SECOND
        return sum(each.speed for each in seen) / possible if seen else None

    def busy_of_all(self) -> float | None:
        seen = self._in_backlog()
        first = next((number for number, each in enumerate(seen) if each.gpus), len(seen))
        seen = seen[first:]
        possible = len(seen) * self.gpus * PEAK_PAGES_PER_SECOND
        return sum(each.speed for each in seen) / possible if seen else None

    def series(self) -> dict[str, list[float]]:
        """Thin out the samples for a plot: minutes, and the share of all L4s' speed."""
        seen, peak = self.samples[::_EVERY], PEAK_PAGES_PER_SECOND * self.gpus
        return {
            "minutes": [round(each.at_seconds / 60, 1) for each in seen],
            "busy": [round(each.speed / peak, 3) for each in seen],
        }

    def _in_backlog(self) -> Sequence[Sample]:
        return [each for each in self.samples if each.left > self.room and not each.is_away]


def percentile(values: Sequence[float], share: float) -> float | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
