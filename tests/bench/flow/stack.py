"""Real runs: the laptop's cloud, with its doors, broker and bucket server, in front of the served L4s.

`python -m tests.bench.flow.stack [FILE.json [SCALE [PAGES]]]`. The L4s' time runs SCALE times as fast
(5); budgets are as much shorter, and what drawing, storage and doors take here counts SCALE times. On a
machine whose cores cannot keep up the busy fraction says more of it than of the flow.
"""

# ruff: noqa: T201 - a table for people

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx
from reportlab.pdfgen.canvas import Canvas

from infra.operate.capacity import PEAK_PAGES_PER_SECOND
from infra.operate.deployment import deployment
from tests.bench.flow.measures import percentile
from tests.fakes.loopback import free_port

GPUS = 3
_LOOK_SECONDS = 0.1
_PATIENCE_SECONDS = 3600.0
_START_SECONDS = 300.0
_A4 = (595, 842)


@dataclass(kw_only=True)
class Stack:
    """What runs: `inbox` is watched, `ends` gets the JSON of every document that ended, and when."""

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

    def drop(self, name: str, pages: int) -> None:
        """Put a document into the inbox whole; every page of it says something of its own."""
        file = io.BytesIO()
        drawing = Canvas(file, pagesize=_A4, invariant=1)
        for page in range(1, pages + 1):
            drawing.drawString(50, 780, f"{name}, page {page}")
            drawing.showPage()
        drawing.save()
        part = self.inbox / f".{name}"
        part.write_bytes(file.getvalue())
        part.rename(self.inbox / name)


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
        stack = Stack(url=f"http://127.0.0.1:{port}", scale=scale, inbox=inbox, outbox=outbox)
        with contextlib.ExitStack() as programs:
            programs.enter_context(_process(served, environment))
            _wake(stack.url)
            process = programs.enter_context(_process([*local, "--ocr-url", stack.url], environment))
            _wait_until_ready(process)
            threading.Thread(target=_listen, args=(process, stack), daemon=True).start()
            yield stack


def _wake(url: str) -> None:
    """Wait until a GPU is awake: what is measured is warm GPU time."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False, timeout=_START_SECONDS).is_success:
                return
        time.sleep(_LOOK_SECONDS)
    raise TimeoutError("the served L4s did not wake")


@contextlib.contextmanager
def _process(command: list[Any], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
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


def _listen(process: "subprocess.Popen[str]", stack: Stack) -> None:
    assert process.stdout
    for line in process.stdout:
        stack.ends.put((time.monotonic(), json.loads(line)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A document, dropped so many seconds after the beginning."""

    name: str
    pages: int = 1
    at: float = 0.0


@dataclass(kw_only=True)
class Watch:
    """One scenario under way; seconds are of the L4s' time, from its beginning."""

    stack: Stack
    scenario: str
    drops: Sequence[Dropped]
    away: tuple[float, float] | None = None
    dropped: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    busy: list[float] = field(default_factory=list)
    first: float | None = None

    def __post_init__(self) -> None:
        self._answered_before = self.stack.state()["answered"]
        self._began = time.monotonic()
        self._room = GPUS * deployment(GPUS).gpu_concurrency
        self._pages = sum(each.pages for each in self.drops)

    def put_through(self) -> dict[str, Any]:
        """Drop everything in its time and look on until all has ended."""
        while len(self.ended) < len(self.drops):
            now = self._now(time.monotonic())
            if now > _PATIENCE_SECONDS * self.stack.scale:
                raise RuntimeError(f"{self.scenario}: {len(self.drops) - len(self.ended)} never ended")
            self._act(now)
            self._look(now)
            time.sleep(_LOOK_SECONDS)
        return self._figures()

    def _now(self, at: float) -> float:
        return (at - self._began) * self.stack.scale

    def _act(self, now: float) -> None:
        for each in self.drops:
            if each.at <= now and each.name not in self.dropped:
                self.dropped[each.name] = now
                self.stack.drop(each.name, each.pages)
        if self.away and now >= self.away[0]:
            self.stack.fail(self.away[1])
            self.away = None

    def _look(self, now: float) -> None:
        seen = self.stack.state()
        answered = seen["answered"] - self._answered_before
        if answered and self.first is None:
            self.first = now
        if answered and self._pages - answered > self._room and seen["gpus"] and not seen["is_away"]:
            self.busy.append(seen["speed"] / (seen["gpus"] * PEAK_PAGES_PER_SECOND))
        while not self.stack.ends.empty():
            at, told = self.stack.ends.get()
            self.ended[told["name"]] = self._now(at)
            self.statuses[told["status"]] += 1

    def _figures(self) -> dict[str, Any]:
        short = [each.name for each in self.drops if each.pages == 1]
        median = percentile([self.ended[name] - self.dropped[name] for name in short], 0.5)
        at_gpu = percentile([self.stack.gpu_seconds(name) for name in short], 0.5)
        answered = self.stack.state()["answered"] - self._answered_before
        return {
            "scenario": self.scenario,
            "pages": self._pages,
            "statuses": dict(self.statuses),
            "seconds": round(max(self.ended.values()), 1),
            "first_page_seconds": round(self.first or 0.0, 1),
            "busy": round(fmean(self.busy), 4) if self.busy else None,
            "short_p50_seconds": None if median is None else round(median, 1),
            "short_gpu_p50_seconds": None if at_gpu is None else round(at_gpu, 1),
            "gpu_calls_a_page": round(answered / self._pages, 3),
        }


def run(*, scale: float = 5.0, pages: int = 1000) -> dict[str, Any]:
    """Put an invoice, a book, a flood, a mixture and an outage through, one after the other."""
    invoices = [Dropped(name=f"invoice-{number}.pdf", at=60.0 + 20.0 * number) for number in range(10)]

    def flood(name: str) -> list[Dropped]:
        return [Dropped(name=f"{name}-{number}.pdf", pages=100) for number in range(pages // 100)]

    with running(scale) as stack:

        def put_through(scenario: str, *drops: Dropped, away: tuple[float, float] | None = None) -> Any:
            return Watch(stack=stack, scenario=scenario, drops=drops, away=away).put_through()

        return {
            "bench": "flow on a laptop",
            "scale": scale,
            "cores": os.cpu_count(),
            "runs": [
                put_through("one invoice", Dropped(name="invoice.pdf")),
                put_through("one book of 300", Dropped(name="book.pdf", pages=300)),
                put_through(f"a flood of {pages:,} pages", *flood("flood")),
                put_through(
                    "an invoice every 20 s behind a book", Dropped(name="long.pdf", pages=pages), *invoices
                ),
                put_through("a flood, and 10 minutes without a GPU", *flood("outage"), away=(120.0, 600.0)),
            ],
        }


def table(result: dict[str, Any]) -> str:
    lines = [
        f"| on a laptop, time {result['scale']:g} times as fast | ended | done | first page | busy "
        "| short ones: at the GPUs, all told, median | model calls a page |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["runs"]:
        short = (row["short_gpu_p50_seconds"], row["short_p50_seconds"])
        cells = (
            row["scenario"],
            ", ".join(f"{count} {status}" for status, count in row["statuses"].items()),
            f"{row['seconds']:,.0f} s",
            f"{row['first_page_seconds']:.0f} s",
            "" if row["busy"] is None else f"{100 * row['busy']:.1f} %",
            ", ".join(f"{each:.0f} s" for each in short if each is not None),
            f"{row['gpu_calls_a_page']:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    file, scale, pages = (*sys.argv[1:], *("", "5", "1000")[len(sys.argv) - 1 :])
    figures = run(scale=float(scale), pages=int(pages))
    print(table(figures))
    if file:
        Path(file).write_text(json.dumps(figures, indent=1) + "\n")
