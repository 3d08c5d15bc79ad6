"""The real bucket server on a free port, for tests that want Cloud Storage's own client at work."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local import bucket_server
from tests.fakes.loopback import free_port

_PATIENCE_SECONDS = 20.0


@contextmanager
def serving_buckets(root: Path, *buckets: str) -> Iterator[int]:
    """Serve `buckets` from folders under `root`; yield the port."""
    bucket_server.prepare(root, buckets)
    port = free_port()
    process = subprocess.Popen(
        bucket_server.command(root, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)


def _await_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not asyncio.run(bucket_server.is_ready(port)):
        assert process.poll() is None, "the bucket server ended at once"
        assert time.monotonic() < deadline, "the bucket server does not answer"
        time.sleep(0.01)
