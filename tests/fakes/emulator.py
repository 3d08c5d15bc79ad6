"""Google's Pub/Sub emulator as a process of its own, where it is installed."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import emulator
from infra.local.errors import CannotRun
from tests.fakes.loopback import free_port

_READY_WITHIN_SECONDS = 60.0


def missing() -> str:
    """Say why nothing can be checked against it, or nothing."""
    try:
        emulator.find()
    except CannotRun as error:
        return f"NOT CHECKED: {error}"
    return ""


needs_emulator = pytest.mark.skipif(bool(missing()), reason=missing())


@contextlib.contextmanager
def running_emulator(output: Path) -> Iterator[int]:
    """Start it, wait until it answers, yield its port, stop it; what it prints goes to the file `output`."""
    port = free_port()
    with (
        output.open("wb") as log,
        subprocess.Popen(emulator.find().command(port), stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            deadline = time.monotonic() + _READY_WITHIN_SECONDS
            while not asyncio.run(emulator.is_ready(port)):
                assert process.poll() is None, output.read_text()
                assert time.monotonic() < deadline, "it does not answer"
                time.sleep(0.05)
            yield port
        finally:
            process.kill()
