"""The command line as a user meets it: a process, its words, its exit code."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bucketscribe.model import DocumentStatus
from infra.local import bucket_server, session, wiring
from infra.local.errors import CannotRun
from infra.local.progress import Outcome, Trouble
from tests.fakes.bucket_server import serving_buckets
from tests.fakes.emulator import needs_emulator

COMMAND = Path(sys.executable).with_name("bucketscribe")
SAMPLE = Path(__file__).parent.parent / "samples/documents/table.pdf"


def run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "local", *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def started(*words: str | Path, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [COMMAND, "local", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever started the tests in the background may have had SIGINT ignored, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )


def left_running(folder: Path) -> list[str]:
    """List processes that have something of the run's folder in their command line or environment."""
    listed = subprocess.run(["ps", "axwwe", "-o", "stat=,args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line and not line.startswith("Z")]


def test_help_teaches_by_examples(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    for word in ("--watch inbox", "--json", "--ocr-url http", "exit codes", '"my scan.pdf"'):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is nothing to read: name files"),
        (("nope.pdf", "no*.tif"), "nope.pdf: there is no such file\n  no*.tif: there is no such file"),
        (("--watch", "."), "--watch . and --outbox outbox must not lie within each other"),
        (("--colour",), "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_word_is_told_before_anything_starts(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = run(*words, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("absent",), "there is no folder absent"),
        ((".", "--in", "absent"), "there is no folder absent"),
        (("gs://",), "gs:// names no bucket"),
        (("gs://out/pages/",), "what is verified lies below documents/"),
    ],
)
def test_a_place_that_cannot_be_verified_is_told(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [COMMAND, "verify", *words],
        cwd=tmp_path,
        env=os.environ | {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9", "GOOGLE_CLOUD_PROJECT": "test"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("documents/typo", "no document is called so or begins so"),
        ("documents/typo.pdf.json", "no document is called so or begins so"),
        ("", "name the folder that holds documents/"),
    ],
)
def test_nothing_that_could_be_verified_is_not_as_it_should_be(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "documents").mkdir()
    done = verify(tmp_path / place)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_whole_bucket_may_be_empty_yet_but_not_a_prefix_of_it(tmp_path: Path) -> None:
    with serving_buckets(tmp_path, "out") as port:
        cloud = {"STORAGE_EMULATOR_HOST": bucket_server.url(port), "GOOGLE_CLOUD_PROJECT": "test"}
        whole = verify("gs://out", **cloud)
        part = verify("gs://out/documents/x/", **cloud)
    assert (whole.returncode, whole.stdout) == (0, "nothing to verify yet\n")
    assert part.returncode == 2
    assert "gs://out/documents/x/: nothing was verified" in part.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("estimate", "gs://in"),
        ("verify", "gs://out"),
        ("verify", ".", "--in", "gs://in"),
        ("redo", "gs://in/a.pdf", "--out", "gs://out"),
    ],
)
def test_without_credentials_the_operator_is_told_how_to_log_in(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    hidden = ("GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
    nobody = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
    done = subprocess.run(
        [COMMAND, *words],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in hidden} | nobody,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "run `gcloud auth application-default login`" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_a_verification_as_it_ends_the_others() -> None:
    """The bucket server answers nothing until the signal was sent: the command is in the midst of it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        cloud = {"STORAGE_EMULATOR_HOST": bucket_server.url(server.getsockname()[1])}
        process = subprocess.Popen(
            [COMMAND, "verify", "gs://out"],
            env=os.environ | cloud | {"GOOGLE_CLOUD_PROJECT": "test"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        )
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        told, said = process.communicate(timeout=60)
    assert (process.returncode, told, said) == (130, "", "")


def verify(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "verify", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [("ocr.example", "ocr_url must be an origin"), ("http://127.0.0.1:1", "no OCR server answers at")],
)
def test_an_ocr_server_that_cannot_be_asked_is_told(tmp_path: Path, url: str, said: str) -> None:
    done = run(SAMPLE, "--ocr-url", url, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outbox").is_symlink()
    assert left_running(tmp_path) == []


def test_an_emulator_that_is_not_installed_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    done = run(SAMPLE, "--pubsub-emulator", folder=tmp_path)
    assert done.returncode == 2
    assert "gcloud is not on PATH" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.stack
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_everything_at_once_and_quietly(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with started("--watch", "inbox", folder=tmp_path) as process:
        assert process.stdout
        while "Ready after" not in process.stdout.readline():
            assert process.poll() is None
        assert len(left_running(tmp_path)) > 5
        process.send_signal(number)
        process.send_signal(number)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors == ""
    assert time.monotonic() - sent < 10
    assert left_running(tmp_path) == []
    assert not (tmp_path / "outbox").is_symlink()


@pytest.mark.stack
def test_after_a_killed_run_nothing_is_left_and_the_next_one_works(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "early.pdf").write_bytes(SAMPLE.read_bytes())
    with started("--watch", "inbox", "--json", folder=tmp_path) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["name"] == "early.pdf"
        refused = run(SAMPLE, folder=tmp_path)
        assert refused.returncode == 2
        assert "another run is using the outbox" in refused.stderr
        process.kill()
    assert (tmp_path / "outbox").is_symlink()
    done = run(SAMPLE, "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    assert told["status"] == "complete"
    assert told["text"] == "outbox/documents/table.pdf.md"
    assert "Invoice" in (tmp_path / told["text"]).read_text()
    assert (tmp_path / "outbox/documents/early.pdf.md").exists()
    assert not (tmp_path / "outbox").is_symlink()
    assert left_running(tmp_path) == []


@needs_emulator
@pytest.mark.stack
def test_a_killed_run_takes_googles_emulator_with_it(tmp_path: Path) -> None:
    with started("--watch", "inbox", "--pubsub-emulator", folder=tmp_path) as process:
        assert process.stdout
        while "Ready after" not in process.stdout.readline():
            assert process.poll() is None
        assert any("pubsub-emulator" in line and "-jar" in line for line in left_running(tmp_path))
        process.kill()
    deadline = time.monotonic() + 10
    while left_running(tmp_path):
        assert time.monotonic() < deadline, left_running(tmp_path)
        time.sleep(0.1)


def test_an_outcome_for_scripts_is_one_line_of_ascii() -> None:
    trouble = Trouble(page=None, code="document_encrypted", message="Passwort\nnötig")
    outcome = Outcome(name="ä\n.pdf", generation=7, status=DocumentStatus.FAILED, errors=(trouble,))
    line = session.as_json(outcome, Path("outbox"))
    assert line.isascii()
    assert "\n" not in line
    told = json.loads(line)
    assert (told["name"], told["generation"], told["text"]) == ("ä\n.pdf", "7", None)
    assert told["errors"] == [{"page": None, "code": "document_encrypted", "message": "Passwort\nnötig"}]


def test_nothing_that_leads_to_a_real_cloud_is_inherited(tmp_path: Path) -> None:
    real = {
        "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/key.json",
        "GOOGLE_CLOUD_PROJECT": "production",
        "PUBSUB_EMULATOR_HOST": "elsewhere:1",
        "CLOUDSDK_CONFIG": "/home/me/.config/gcloud",
        "BUCKETSCRIBE_OUTPUT_BUCKET": "production",
        "BUCKETSCRIBE_INCLUDE": "*.exotic",
        "BUCKETSCRIBE_PAGES_AT_GPU": "7",
        "NO_PROXY": "intranet",
        "PATH": os.environ["PATH"],
    }
    clean = wiring.clean_environment(real, tmp_path)
    wired = wiring.wire(clean, wiring.free_ports(), None)
    text = "\n".join(wired.values())
    assert not any(word in text for word in ("production", "/home/me", "elsewhere", "exotic"))
    assert wired["NO_PROXY"] == "127.0.0.1,localhost,intranet"
    assert wiring.check(wired).pages_at_gpu == 7


def test_a_setting_that_is_wrong_is_told_before_anything_starts(tmp_path: Path) -> None:
    clean = wiring.clean_environment({"BUCKETSCRIBE_RENDER_WORKERS": "many"}, tmp_path)
    with pytest.raises(CannotRun, match="BUCKETSCRIBE_RENDER_WORKERS is 'many'"):
        wiring.check(wiring.wire(clean, wiring.free_ports(), None))
