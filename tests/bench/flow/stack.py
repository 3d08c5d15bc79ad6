"""Real runs: the laptop's cloud, with its doors, broker and bucket server, in front of the served L4s.

`python -m tests.bench.flow.stack [FILE.json [SCALE [PAGES]]]`. The time of the L4s runs SCALE times as fast (5);
budgets are as much shorter, and what drawing, storage and doors take here counts SCALE times. On a machine
whose cores cannot keep up the busy fraction says more of it than of the flow.
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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from reportlab.pdfgen.canvas import Canvas

from infra.operate.capacity import PEAK_PAGES_PER_SECOND
from infra.operate.deployment import deployment
from tests.bench.flow.measures import percentile
from tests.fakes.stand_in import free_port

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
    ends: "queue.Queue[tuple[float, dict[str, Any]]]" = field(default_factory=queue.Queue)

    def state(self) -> dict[str, Any]:
        told: dict[str, Any] = httpx.get(f"{self.url}/state", trust_env=False, timeout=60).json()
        return told

    def fail(self, seconds: float) -> None:
        httpx.post(f"{self.url}/fail", params={"seconds": seconds}, trust_env=False).raise_for_status()

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
        stack = Stack(url=f"http://127.0.0.1:{port}", scale=scale, inbox=inbox)
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


def put_through(
    stack: Stack,
    scenario: str,
    drops: list[tuple[str, int, float]],
    *,
    away: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Drop documents (name, pages, seconds from the beginning) and watch the L4s until all have ended."""
    room = GPUS * deployment(GPUS).gpu_concurrency
    pages = sum(count for _, count, _ in drops)
    begun, first = stack.state(), None
    dropped: dict[str, float] = {}
    ended: dict[str, float] = {}
    statuses: dict[str, int] = {}
    busy: list[float] = []
    began = time.monotonic()
    while len(ended) < len(drops):
        now = (time.monotonic() - began) * stack.scale
        if now > _PATIENCE_SECONDS * stack.scale:
            raise RuntimeError(f"{scenario}: {len(drops) - len(ended)} documents never ended")
        for name, count, at in drops:
            if at <= now and name not in dropped:
                dropped[name] = now
                stack.drop(name, count)
        if away and now >= away[0]:
            stack.fail(away[1])
            away = None
        seen = stack.state()
        answered = seen["answered"] - begun["answered"]
        first = first if first is not None or not answered else now
        if answered and pages - answered > room and seen["gpus"] and not seen["is_away"]:
            busy.append(seen["speed"] / (seen["gpus"] * PEAK_PAGES_PER_SECOND))
        with contextlib.suppress(queue.Empty):
            while True:
                at, told = stack.ends.get_nowait()
                ended[told["name"]] = (at - began) * stack.scale
                statuses[told["status"]] = statuses.get(told["status"], 0) + 1
        time.sleep(_LOOK_SECONDS)
    short = [ended[name] - dropped[name] for name, count, _ in drops if count == 1]
    return {
        "scenario": scenario,
        "pages": pages,
        "statuses": statuses,
        "seconds": round(max(ended.values()), 1),
        "first_page_seconds": round(first or 0.0, 1),
        "busy": round(sum(busy) / len(busy), 4) if busy else None,
        "short_p50_seconds": None if not short else round(percentile(short, 0.5) or 0.0, 1),
        "gpu_calls_a_page": round((stack.state()["answered"] - begun["answered"]) / pages, 3),
    }


def run(*, scale: float = 5.0, pages: int = 1000) -> dict[str, Any]:
    """Put an invoice, a book, a flood, a mixture and an outage through, one after the other."""
    at_once = [(f"flood-{number}.pdf", 100, 0.0) for number in range(pages // 100)]
    invoices = [(f"invoice-{number}.pdf", 1, 60.0 + 20.0 * number) for number in range(10)]
    outage = [(name.replace("flood", "outage"), count, at) for name, count, at in at_once]
    with running(scale) as stack:
        return {
            "bench": "flow on a laptop",
            "scale": scale,
            "cores": os.cpu_count(),
            "runs": [
                put_through(stack, "one invoice", [("invoice.pdf", 1, 0.0)]),
                put_through(stack, "one book of 300", [("book.pdf", 300, 0.0)]),
                put_through(stack, f"a flood of {pages:,} pages", at_once),
                put_through(
                    stack, "an invoice every 20 s behind a book", [("long.pdf", pages, 0.0), *invoices]
                ),
                put_through(stack, "a flood, and 10 minutes without a GPU", outage, away=(120.0, 600.0)),
            ],
        }


def table(result: dict[str, Any]) -> str:
    lines = [
        f"| on a laptop, time {result['scale']:g} times as fast | ended | done | first page | busy "
        "| short ones, median | model calls a page |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["runs"]:
        ended = ", ".join(f"{count} {status}" for status, count in row["statuses"].items())
        busy = "" if row["busy"] is None else f"{100 * row['busy']:.1f} %"
        short = "" if row["short_p50_seconds"] is None else f"{row['short_p50_seconds']:.0f} s"
        lines.append(
            f"| {row['scenario']} | {ended} | {row['seconds']:,.0f} s | {row['first_page_seconds']:.0f} s "
            f"| {busy} | {short} | {row['gpu_calls_a_page']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    file, scale, pages = (*sys.argv[1:], *("", "5", "1000")[len(sys.argv) - 1 :])
    figures = run(scale=float(scale), pages=int(pages))
    print(table(figures))
    if file:
        Path(file).write_text(json.dumps(figures, indent=1) + "\n")
