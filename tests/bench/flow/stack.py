"""Real runs: the laptop's cloud, with its doors, broker and bucket server, in front of the served L4s.

The L4s' time runs faster (10 times); budgets are as much shorter, and what drawing, storage and doors take
here counts as many times. Back-off is the laptop's, 1 to 10 s: in an outage there are more deliveries of a
page than in the cloud, not fewer. On a machine whose cores cannot keep up the busy fraction says more of it
than of the flow.
"""

# ruff: noqa: T201 - says to people what runs, and for how long

import contextlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
from reportlab.pdfgen.canvas import Canvas

from infra.local.outbox import premises_of
from infra.operate.capacity import PEAK_PAGES_PER_SECOND
from infra.operate.deployment import deployment
from tests.bench.flow import scenarios
from tests.bench.flow.measures import percentile
from tests.bench.flow.plots import busy_lines
from tests.bench.flow.scenarios import Scenario
from tests.fakes.loopback import free_port

GPUS = 3
SCALE = 10.0
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 3600.0
_START_SECONDS = 300.0
_A4 = (595, 842)

# A point of the plot every so many seconds of the L4s' time.
_POINT_SECONDS = 60.0


@dataclass(kw_only=True)
class Stack:
    """What runs: the `cloud` watches `inbox`; `ends` gets the JSON of every document that ended, and when."""

    cloud: "subprocess.Popen[str]"
    url: str
    scale: float
    inbox: Path
    outbox: Path
    ends: "queue.Queue[tuple[float, dict[str, Any]]]" = field(default_factory=queue.Queue)

    def state(self) -> dict[str, Any]:
        told: dict[str, Any] = httpx.get(f"{self.url}/state", trust_env=False, timeout=60).json()
        return told

    def fail(self, seconds: float) -> None:
        httpx.post(f"{self.url}/fail", params={"seconds": seconds}, trust_env=False).raise_for_status()

    def gpu_seconds(self, name: str) -> float:
        """Tell how long a document's first page waited for the GPUs and was read there, by its record."""
        record = json.loads((self.outbox / "documents" / f"{name}.json").read_text())
        seconds: dict[str, float] = record["pages"][0]["seconds"]
        return (seconds["wait"] + seconds["ocr"]) * self.scale

    def deliveries(self, prefix: str) -> list[int]:
        """Tell which delivery of a page ended it, for each page ended of the documents named so."""
        lines = self._logged("on_page_task", "page ended", prefix)
        return [line["attempt"] for line in lines]

    def parked(self, prefix: str) -> int:
        """Count the dead letters among the pages of the documents named so."""
        return len(self._logged("on_dead_letter", "page parked", prefix))

    def _logged(self, door: str, message: str, prefix: str) -> list[dict[str, Any]]:
        log = premises_of(self.outbox).logs / f"{door}.log"
        lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
        said = (line for line in lines if line["message"].startswith(message))
        return [line for line in said if f"/{prefix}" in line["source"]]

    def prepare(self, name: str, pages: int) -> None:
        """Write a document whole, where the watch does not look; every page says something of its own."""
        file = io.BytesIO()
        drawing = Canvas(file, pagesize=_A4, invariant=1)
        for page in range(1, pages + 1):
            drawing.drawString(50, 780, f"{name}, page {page}")
            drawing.showPage()
        drawing.save()
        self._prepared(name).write_bytes(file.getvalue())

    def drop(self, name: str) -> None:
        """Put a document that is prepared into the inbox."""
        self._prepared(name).rename(self.inbox / name)

    def _prepared(self, name: str) -> Path:
        return self.inbox / f".{name}"


@contextlib.contextmanager
def running(scale: float) -> Iterator[Stack]:
    """Start both, and stop both; budgets are as much shorter as time is faster."""
    port = free_port()
    settings = deployment(GPUS).settings
    environment = os.environ | {
        "BUCKETSCRIBE_PAGES_AT_GPU": str(settings.pages_at_gpu),
        "BUCKETSCRIBE_PAGES_WAITING": str(settings.pages_waiting),
        "BUCKETSCRIBE_PAGE_SECONDS": str(settings.page_seconds / scale),
        "BUCKETSCRIBE_CALL_RESERVE_SECONDS": str(settings.call_reserve_seconds / scale),
    }
    served = [sys.executable, "-m", "tests.bench.flow.served", str(port), str(scale), str(GPUS)]
    command = Path(sys.executable).with_name("bucketscribe")
    with tempfile.TemporaryDirectory() as folder:
        inbox, outbox = Path(folder, "inbox"), Path(folder, "outbox")
        inbox.mkdir()
        local = [command, "local", "--json", "--watch", inbox, "--outbox", outbox]
        url = f"http://127.0.0.1:{port}"
        local += ["--ocr-url", url]
        # The L4s have nothing to lose, the laptop's cloud has programs of its own to end.
        with _process(served, environment, stderr=None, ends_by=signal.SIGKILL):
            _wake(url)
            with _process(local, environment, stderr=subprocess.PIPE, ends_by=signal.SIGINT) as cloud:
                _wait_until_ready(cloud)
                stack = Stack(cloud=cloud, url=url, scale=scale, inbox=inbox, outbox=outbox)
                threading.Thread(target=_listen, args=(stack,), daemon=True).start()
                yield stack


def _wake(url: str) -> None:
    """Wait until a GPU is awake: what is measured is warm GPU time."""
    print("waking a GPU", file=sys.stderr, flush=True)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=_START_SECONDS).is_success:
                return
        time.sleep(_LOOK_SECONDS)
    raise TimeoutError("the served L4s did not wake")


@contextlib.contextmanager
def _process(
    command: list[Any], environment: dict[str, str], *, stderr: int | None, ends_by: signal.Signals
) -> Iterator["subprocess.Popen[str]"]:
    """Run a program that Ctrl-C does not reach: here it is said when it ends, and how."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(ends_by)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(process: "subprocess.Popen[str]") -> None:
    """Read what it says of itself until it is ready, and go on reading, so that it never waits for us."""
    assert process.stderr
    for line in process.stderr:
        if "Ready after" in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return
    raise RuntimeError("the laptop's cloud ended instead of starting")


def _listen(stack: Stack) -> None:
    assert stack.cloud.stdout
    for line in stack.cloud.stdout:
        stack.ends.put((time.monotonic(), json.loads(line)))


@dataclass(kw_only=True)
class Watch:
    """One scenario under way; seconds are of the L4s' time, from its beginning. `prefix` begins the names of
    its documents.
    """

    stack: Stack
    scenario: Scenario
    prefix: str
    dropped: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    busy: list[float] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    first: float | None = None

    def __post_init__(self) -> None:
        for drop in self.scenario.drops:
            self.stack.prepare(self.prefix + drop.name, drop.pages)
        self._away = self.scenario.away
        self._answered_before = self.stack.state()["answered"]
        self._began = time.monotonic()
        self._room = GPUS * deployment(GPUS).gpu_concurrency

    def put_through(self) -> dict[str, Any]:
        """Drop everything in its time and look on until all has ended.

        Raises TimeoutError, and RuntimeError when the laptop's cloud ends before.
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
        answered = seen["answered"] - self._answered_before
        if answered and self.first is None:
            self.first = now
        if answered and self.scenario.pages - answered > self._room and seen["gpus"] and not seen["is_away"]:
            self.busy.append(seen["speed"] / (seen["gpus"] * PEAK_PAGES_PER_SECOND))
        if not self.points or now >= self.points[-1][0] + _POINT_SECONDS:
            self.points.append((now, seen["speed"] / (GPUS * PEAK_PAGES_PER_SECOND)))
        while not self.stack.ends.empty():
            at, told = self.stack.ends.get()
            self.ended[told["name"]] = self._now(at)
            self.statuses[told["status"]] += 1

    def _figures(self) -> dict[str, Any]:
        short = [self.prefix + drop.name for drop in self.scenario.drops if drop.pages == 1]
        answered = self.stack.state()["answered"] - self._answered_before
        deliveries = self.stack.deliveries(self.prefix)
        return {
            "scenario": self.scenario.name,
            "pages": self.scenario.pages,
            "statuses": dict(self.statuses),
            "seconds": round(max(self.ended.values()), 1),
            "first_page_seconds": round(self.first or 0.0, 1),
            "busy": round(fmean(self.busy), 4) if self.busy else None,
            "answers_a_page": round(answered / self.scenario.pages, 3),
            "deliveries_a_page": round(fmean(deliveries), 2),
            "most_deliveries": max(deliveries),
            "dead_letters": self.stack.parked(self.prefix),
            "short_at_gpus_seconds": _spread([self.stack.gpu_seconds(name) for name in short]),
            "short_seconds": _spread([self.ended[name] - self.dropped[name] for name in short]),
            "series": {
                "minutes": [round(at / 60, 1) for at, _ in self.points],
                "busy": [round(share, 3) for _, share in self.points],
            },
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
    with running(scale) as stack:
        for number, scenario in enumerate(shown, start=1):
            print(f"{scenario.name}, {scale:g} times as fast", file=sys.stderr, flush=True)
            rows.append(Watch(stack=stack, scenario=scenario, prefix=f"{number}-").put_through())
    return {"bench": "stack", "gpus": GPUS, "scale": scale, "runs": rows}


def table(result: Mapping[str, Any]) -> str:
    """Write the figures as a Markdown table."""
    lines = [
        f"| dropped, at three L4s, {result['scale']:g} times as fast | ended | done | first page | busy "
        "| answers of the model a page | deliveries a page, most | dead letters "
        "| short ones at the GPUs: median, 95 of 100, most | all told |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(_cells(row))} |" for row in result["runs"]]
    return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["scenario"],
        ", ".join(f"{count:,} {status}" for status, count in row["statuses"].items()),
        f"{row['seconds']:,.0f} s",
        f"{row['first_page_seconds']:.0f} s",
        "" if row["busy"] is None else f"{100 * row['busy']:.1f} %",
        f"{row['answers_a_page']:.3f}",
        f"{row['deliveries_a_page']:.2f}, {row['most_deliveries']}",
        f"{row['dead_letters']}",
        ", ".join(f"{each:,.0f} s" for each in row["short_at_gpus_seconds"]),
        ", ".join(f"{each:,.0f} s" for each in row["short_seconds"]),
    )


def plot(result: Mapping[str, Any], folder: Path) -> None:
    """Draw how busy the L4s were over time, a line a scenario."""
    busy_lines(result["runs"], folder / "stack.svg")
