"""The laptop's cloud in front of the served L4s, started, fed and ended by a bench."""

# ruff: noqa: T201 - says to people what runs

import contextlib
import io
import json
import os
import queue
import signal
import ssl
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

from infra.local.outbox import premises_of
from infra.operate.deployment import deployment
from tests.fakes.loopback import free_port

_LOOK_SECONDS = 0.1
_START_SECONDS = 300.0
_A4 = (595, 842)
_PARKED = "attempts_exhausted"


@dataclass(kw_only=True)
class Stack:
    """What runs: the `cloud` watches `inbox`; `ends` gets the JSON of every document that ended, and when."""

    cloud: "subprocess.Popen[str]"
    l4s: httpx.Client
    scale: float
    inbox: Path
    outbox: Path
    ends: "queue.Queue[tuple[float, dict[str, Any]]]" = field(default_factory=queue.Queue)

    def state(self) -> dict[str, Any]:
        told: dict[str, Any] = self.l4s.get("/state").json()
        return told

    def fail(self, seconds: float) -> None:
        self.l4s.post("/fail", params={"seconds": seconds}).raise_for_status()

    def seconds_at_gpus(self, name: str) -> float:
        """Tell how long a document's first page waited for the GPUs and was read there, by its record."""
        record = json.loads((self.outbox / "documents" / f"{name}.json").read_text())
        seconds: dict[str, float] = record["pages"][0]["seconds"]
        return (seconds["wait"] + seconds["ocr"]) * self.scale

    def deliveries(self, prefix: str) -> list[int]:
        """Tell which delivery of a page ended it, for each page that ended of the documents named so."""
        lines = self._logged("on_page_task", prefix)
        return [line["attempt"] for line in lines if line["message"] == "page ended"]

    def parked(self, prefix: str) -> int:
        """Count the dead letters that had a page parked, of the documents named so."""
        return sum(line.get("code") == _PARKED for line in self._logged("on_dead_letter", prefix))

    def _logged(self, door: str, prefix: str) -> list[dict[str, Any]]:
        log = premises_of(self.outbox).logs / f"{door}.log"
        lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if f"/{prefix}" in line.get("source", "")]

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
def running(scale: float, gpus: int) -> Iterator[Stack]:
    """Start both, and stop both; budgets are as much shorter as time is faster."""
    port = free_port()
    settings = deployment(gpus).settings
    environment = os.environ | {
        "BUCKETSCRIBE_PAGES_AT_GPU": str(settings.pages_at_gpu),
        "BUCKETSCRIBE_PAGES_WAITING": str(settings.pages_waiting),
        "BUCKETSCRIBE_PAGE_SECONDS": str(settings.page_seconds / scale),
        "BUCKETSCRIBE_CALL_RESERVE_SECONDS": str(settings.call_reserve_seconds / scale),
    }
    served = [sys.executable, "-m", "tests.bench.flow.served", str(port), str(scale), str(gpus)]
    command = Path(sys.executable).with_name("bucketscribe")
    with tempfile.TemporaryDirectory() as folder:
        inbox, outbox = Path(folder, "inbox"), Path(folder, "outbox")
        inbox.mkdir()
        local = [command, "local", "--json", "--watch", inbox, "--outbox", outbox]
        url = f"http://127.0.0.1:{port}"
        local += ["--ocr-url", url]
        # The L4s have nothing to lose, the laptop's cloud has programs of its own to end.
        with (
            _process(served, environment, stderr=None, ends_by=signal.SIGKILL),
            _client(url) as l4s,
        ):
            _wake(l4s)
            with _process(local, environment, stderr=subprocess.PIPE, ends_by=signal.SIGINT) as cloud:
                _wait_until_ready(cloud)
                stack = Stack(cloud=cloud, l4s=l4s, scale=scale, inbox=inbox, outbox=outbox)
                threading.Thread(target=_listen, args=(stack,), daemon=True).start()
                yield stack


def _client(url: str) -> httpx.Client:
    # No certificates are loaded for it: looking on shall cost little of the processor that is looked at.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(base_url=url, verify=tls, trust_env=False, timeout=_START_SECONDS)


def _wake(l4s: httpx.Client) -> None:
    """Wait until one L4 is awake: what is measured is warm GPU time."""
    print("waking an L4", file=sys.stderr, flush=True)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if l4s.get("/health").is_success:
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
