"""The OCR stand-in as a process of its own, on a free loopback port."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.fakes.loopback import free_port

_READY_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStandIn:
    url: str
    process: "subprocess.Popen[bytes]"
    output: Path


@contextlib.contextmanager
def running_stand_in(output: Path, *, readers: int = 1) -> Iterator[RunningStandIn]:
    """Start it, wait until it answers, stop it; what it prints goes to the file `output`."""
    port = free_port()
    command = (sys.executable, "-m", "gpu_service.stand_in", "--port", str(port), "--readers", str(readers))
    root = Path(__file__).parents[2]
    with (
        output.open("wb") as log,
        subprocess.Popen(command, cwd=root, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process)
            yield RunningStandIn(url=url, process=process, output=output)
        finally:
            process.kill()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, "the stand-in ended instead of serving"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                return
        time.sleep(0.02)
    raise TimeoutError(f"the stand-in did not answer at {url}")
