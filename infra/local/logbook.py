"""The supervisor's own log file: what was unexpected goes there, never to the terminal."""

import asyncio
import logging
from pathlib import Path
from types import TracebackType

from infra.local.errors import CannotRun

_EXPECTED = (CannotRun, asyncio.CancelledError, KeyboardInterrupt, SystemExit)

_log = logging.getLogger(__name__)


class Logbook:
    """A context: logging goes to `path`. An unexpected error is written there, with its traceback, and
    leaves as a CannotRun that says where to read on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handler = logging.FileHandler(path, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def __enter__(self) -> None:
        logging.getLogger().addHandler(self._handler)
        logging.captureWarnings(capture=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error and not isinstance(error, _EXPECTED):
                _log.error("the run ended unexpectedly", exc_info=error)
                raise CannotRun(
                    f"something unexpected happened ({error!r}); the story stands in {self._path}"
                ) from error
        finally:
            logging.captureWarnings(capture=False)
            logging.getLogger().removeHandler(self._handler)
            self._handler.close()
