"""`python -m gpu_service.stand_in --port N`: serve until a signal, which ends the process at once."""

import argparse
import contextlib
import os
import signal
from collections.abc import Iterator

import uvicorn


class _Server(uvicorn.Server):
    """A server without a last will: nothing it does is worth waiting for, a page least of all."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the system's default, where uvicorn would wait for its requests."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gpu_service.stand_in", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--readers", type=int, default=os.cpu_count() or 1, help="pages read at once")
    given = parser.parse_args()
    # OpenMP reads this once, when Tesseract's library is loaded, which the import below does.
    os.environ["OMP_THREAD_LIMIT"] = "1"
    from gpu_service.stand_in.app import make_app  # noqa: PLC0415

    app = make_app(max(1, given.readers))
    config = uvicorn.Config(app, host=given.host, port=given.port, log_level="warning", access_log=False)
    _Server(config).run()


if __name__ == "__main__":
    main()
