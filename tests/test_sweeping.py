"""`bucketscribe sweep`: finds the run, has it swept, says what was done."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bucketscribe.resume import Swept
from infra.local import outbox, sweeping
from infra.local.errors import CannotRun
from tests.test_command import COMMAND, SAMPLE, started
from tests.test_supervisor import wait_until

# A sweep that was before, and lines that are none of the summary.
EARLIER = (
    '{"severity": "INFO", "message": "jobs swept", "jobs": 9, "seconds": 0.1, "moving": 9}\nsomething else\n'
)


@contextmanager
def answering(status: int, log: Path | None = None, line: str = "") -> Iterator[str]:
    """Serve a door that writes a line into its log and answers so; yield its URL."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if log:
                with log.open("a") as file:
                    file.write(line)
            self.send_response(status)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def swept(**counts: int) -> str:
    line = {
        "severity": "INFO",
        "message": "jobs swept",
        "jobs": sum(counts.values()),
        "seconds": 0.1,
        **counts,
    }
    return json.dumps(line) + "\n"


def sweep(folder: Path, status: int = 204, line: str = "") -> int:
    """Sweep a run whose door answers and logs so."""
    with outbox.lent(folder) as premises:
        log = premises.logs / "sweep.log"
        log.write_text(EARLIER)
        with answering(status, log, line) as door:
            sweeping.announce(premises, door)
            return sweeping.sweep(folder)


def test_there_are_words_for_all_that_may_become_of_a_document() -> None:
    assert set(sweeping.WORDS) == {outcome.value for outcome in Swept}


def test_what_was_done_is_said_in_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path / "outbox", line=swept(moving=2, resumed=1)) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "1 of 3 documents in flight: taken up"
    assert said[1].startswith("2 of 3 documents in flight: left alone: moving, or not still for long enough")


def test_when_nothing_is_in_flight_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep(tmp_path / "outbox", line=swept()) == 0
    assert capsys.readouterr().out == "nothing is in flight: there was nothing to sweep\n"


@pytest.mark.parametrize("outcome", ["stuck", "broken"])
def test_a_document_that_stands_still_or_is_in_trouble_makes_it_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], outcome: str
) -> None:
    assert sweep(tmp_path / "outbox", line=swept(moving=2, **{outcome: 1})) == 1
    assert "sweep.log says which, and why" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "line", "said"),
    [(503, "", "the sweep broke off with 503; .*sweep.log says why"), (204, "", "does not tell what it did")],
)
def test_a_sweep_that_breaks_off_or_tells_nothing_is_told(
    tmp_path: Path, status: int, line: str, said: str
) -> None:
    with pytest.raises(CannotRun, match=said):
        sweep(tmp_path / "outbox", status, line)


def test_a_run_that_is_not_ready_yet_is_told_from_none(tmp_path: Path) -> None:
    folder = tmp_path / "outbox"
    with outbox.lent(folder), pytest.raises(CannotRun, match="is just starting or ending"):
        sweeping.sweep(folder)
    with pytest.raises(CannotRun, match="no run is using the outbox"):
        sweeping.sweep(folder)


def swept_by_command(folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [COMMAND, "sweep"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_a_run_it_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    done = swept_by_command(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no run is using the outbox outbox" in done.stderr
    assert "start `make watch`" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.stack
def test_a_run_is_swept_from_a_second_terminal_and_one_that_was_killed_is_not(tmp_path: Path) -> None:
    """The model is busy all the time, so that a document is in flight for as long as it takes."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "table.pdf").write_bytes(SAMPLE.read_bytes())
    with answering(503) as busy, started("--watch", "inbox", "--ocr-url", busy, folder=tmp_path) as process:
        assert process.stdout
        while "Ready after" not in process.stdout.readline():
            assert process.poll() is None
        while not list((tmp_path / "outbox").glob("jobs/table.pdf/*.json")):
            assert process.poll() is None
        done = swept_by_command(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("1 of 1 document in flight: left alone")
        process.kill()
    wait_until(lambda: "no run is using the outbox outbox" in swept_by_command(tmp_path).stderr)
