"""How long so many pages take on so many GPUs, and how long those are paid for: reckoned second by second.

The flow simulation (tests/bench/flow) runs the real deeds page by page; this follows the same capacities in
bulk, and a test holds the two together.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from infra.operate import capacity
from infra.operate.deployment import Deployment

# From an upload's event to its tasks: opened, counted, written, published.
FAN_OUT_SECONDS = 2.0

# Around the model's call: looks, fetch, drawing, write.
AROUND_SECONDS = 0.3

_NEVER_SECONDS = 10_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds from the upload. `gpu_seconds` are all that GPU instances are billed for, of which
    `reading_seconds` are what the pages take at the full rate: the rest is starting and idleness.
    """

    seconds: float
    first_page_seconds: float
    gpu_seconds: float
    reading_seconds: float
    worker_seconds: float


@dataclass(slots=True, kw_only=True)
class _Course:
    """Where things stand. `starts` and `worker_starts` are when instances were asked for."""

    left: float
    now: float
    starts: list[float]
    worker_starts: list[float]
    window: float = capacity.PUSH_WINDOW_START
    first: float | None = None
    worker_seconds: float = 0.0
    at_gpus: deque[float] = field(
        default_factory=lambda: deque(maxlen=round(capacity.SCALING_WINDOW_SECONDS))
    )


def forecast(pages: int, given: Deployment) -> Forecast:
    """Reckon with documents dropped all at once, and nothing awake."""
    woken = capacity.EVENT_SECONDS + capacity.FUNCTION.mean_seconds
    published = woken + FAN_OUT_SECONDS + capacity.PUBLISH_SECONDS
    course = _Course(left=pages, now=published, starts=[woken], worker_starts=[published])
    while course.left > 0 and course.now < _NEVER_SECONDS:
        _second(course, given)
    ended = course.now
    idle = capacity.GPU.idle_seconds
    return Forecast(
        seconds=ended,
        first_page_seconds=course.first or ended,
        gpu_seconds=sum(
            max(ended, start + capacity.GPU.mean_seconds) + idle - start for start in course.starts
        ),
        reading_seconds=pages / capacity.PEAK_PAGES_PER_SECOND,
        worker_seconds=course.worker_seconds,
    )


def _second(course: _Course, given: Deployment) -> None:
    """Let a second pass: pages are out, some of them at the GPUs; what was read opens the window further."""
    workers = _ready(course.worker_starts, course.now, capacity.FUNCTION)
    out = min(course.left, course.window, workers * given.worker.concurrency)
    at_gpus = min(out, workers * given.settings.pages_at_gpu)
    ready = _ready(course.starts, course.now, capacity.GPU)
    speed = 0.0
    if ready:
        used = min(ready, math.ceil(at_gpus))
        each = min(max(1.0, at_gpus / used), given.gpu_seats)
        page_seconds = each / capacity.pages_per_second(each) + AROUND_SECONDS
        course.first = course.first or course.now + page_seconds
        speed = used * each / page_seconds
    course.left -= speed
    course.window = min(float(capacity.PUSH_WINDOW_MOST), course.window + speed)
    course.worker_seconds += max(1, workers)
    course.at_gpus.append(at_gpus)
    _scale(
        course.starts,
        sum(course.at_gpus) / capacity.SCALING_WINDOW_SECONDS,
        given.gpu_concurrency,
        given.gpus,
        course.now,
    )
    _scale(course.worker_starts, out, given.worker.concurrency, given.worker.instances, course.now)
    course.now += 1.0


def _ready(starts: list[float], now: float, starting: capacity.Starting) -> int:
    return sum(now >= start + starting.mean_seconds for start in starts)


def _scale(starts: list[float], in_flight: float, concurrency: int, most: int, now: float) -> None:
    """Ask for as many instances as what is in flight wants."""
    wanted = math.ceil(in_flight / (capacity.SCALING_TARGET * concurrency))
    starts.extend([now] * (min(wanted, most) - len(starts)))
