"""smoke.sh against the stand-in, against servers that misbehave, and against a curl that takes notes."""

import ast
import asyncio
import contextlib
import http.server
import io
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from bucketscribe.lightonocr_client import LightOnOCRClient
from bucketscribe.settings import PROFILES
from gpu_service.smoke import make_page
from tests.fakes.loopback import free_port
from tests.fakes.stand_in import running_stand_in

FOLDER = Path(__file__).parent.parent / "gpu_service"
SMOKE = FOLDER / "smoke.sh"
PAGE = FOLDER / "smoke" / "page.png"
MODEL = PROFILES["lightonocr-2-1b"].model
TOKEN = "eyJ-this-is-a-secret"

# A fair reading of the page, in Markdown.
READING = f"# {make_page.TITLE}\n\n" + "\n\n".join(make_page.PARAGRAPHS)

Answer = tuple[int, Any]


def models(*names: str) -> Answer:
    return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def completion(text: str | None, reason: str = "stop") -> Answer:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    return 200, {
        "model": MODEL,
        "choices": [choice],
        "usage": {"prompt_tokens": 2160, "completion_tokens": 99},
    }


@dataclass(kw_only=True)
class Mood:
    """What a server answers; `health` one after another, the last for ever. `bodies` is what it was asked."""

    health: tuple[int, ...] = (200,)
    models: Answer = field(default_factory=lambda: models(MODEL))
    page: Answer = field(default_factory=lambda: completion(READING))
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    looked: int = 0

    def answer(self, path: str) -> Answer:
        if path == "/health":
            self.looked += 1
            return self.health[min(self.looked, len(self.health)) - 1], None
        return self.models if path == "/v1/models" else self.page


def handler(mood: Mood) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.headers_seen()
            self.send(*mood.answer(self.path))

        def do_POST(self) -> None:
            self.headers_seen()
            mood.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send(*mood.answer(self.path))

        def headers_seen(self) -> None:
            mood.headers.append({name.lower(): value for name, value in self.headers.items()})

        def send(self, status: int, body: Any) -> None:
            data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(mood: Mood) -> Iterator[str]:
    """Serve in this mood on the loopback; give the URL."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(mood)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def smoke(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run smoke.sh; its temporary files go below `folder`, where none may stay."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    ended = subprocess.run(
        [SMOKE, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(temporary), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert list(temporary.iterdir()) == [], "temporary files were left behind"
    return ended


# The stand-in, with real Tesseract.


def test_the_stand_in_passes_under_its_own_name(tmp_path):
    with running_stand_in(tmp_path / "log") as service:
        (served,) = httpx.get(f"{service.url}/v1/models", trust_env=False).json()["data"]
        ended = smoke("--model", served["id"], service.url, folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"model: {served['id']}" in ended.stdout
    assert "ready: it was warm" in ended.stdout
    assert re.search(r"page: \d+ characters, 2160 tokens in, \d+ tokens out, in \d+\.\d+ s", ended.stdout)


def test_the_stand_in_does_not_pass_for_the_model(tmp_path):
    with running_stand_in(tmp_path / "log") as service:
        ended = smoke(service.url, folder=tmp_path)
    assert ended.returncode == 1
    assert f"not {MODEL}" in ended.stderr


# A good service.


def test_a_good_service_is_asked_once_in_the_words_of_the_functions_client(tmp_path):
    theirs, ours = Mood(), Mood()

    async def read(url: str) -> None:
        client = LightOnOCRClient(url, auth=None, connections=1)
        await client.extract_text(PAGE.read_bytes())
        await client.aclose()

    with serving(theirs) as url:
        asyncio.run(read(url))
    with serving(ours) as url:
        assert smoke(url, folder=tmp_path).returncode == 0
    assert ours.bodies == theirs.bodies
    assert [each["content-type"] for each in ours.headers if "content-type" in each] == ["application/json"]


def test_no_token_is_sent_to_the_loopback(tmp_path):
    mood = Mood()
    with serving(mood) as url:
        assert smoke(folder=tmp_path, OCR_URL=f"{url}/").returncode == 0
    assert not [each for each in mood.headers if "authorization" in each]


def test_a_good_page_is_not_printed(tmp_path):
    with serving(Mood()) as url:
        ended = smoke(url, folder=tmp_path)
    assert ended.stderr == ""
    assert f"page: {len(READING)} characters, 2160 tokens in, 99 tokens out" in ended.stdout
    assert "keeper" not in ended.stdout


def test_words_are_found_whatever_their_case_and_wherever_lines_end(tmp_path):
    with serving(Mood(page=completion(READING.upper().replace(" ", "\n")))) as url:
        assert smoke(url, folder=tmp_path).returncode == 0


def test_a_cold_start_is_waited_for_and_its_length_is_told(tmp_path):
    with serving(Mood(health=(503, 503, 200))) as url:
        ended = smoke(url, folder=tmp_path)
    assert ended.returncode == 0
    assert re.search(r"ready: after [1-9]\d* s of cold start", ended.stdout)


def test_another_profile_means_another_model(tmp_path):
    third = PROFILES["lightonocr-3-1b"]
    mood = Mood(models=models(third.model))
    with serving(mood) as url:
        assert smoke("--profile", third.name, url, folder=tmp_path).returncode == 0
        assert smoke(url, folder=tmp_path).returncode == 1
    assert [body["model"] for body in mood.bodies] == [third.model]


# Services that misbehave: exit code 1, and a sentence that helps.


def test_a_service_that_never_gets_ready_is_given_up_at_the_deadline(tmp_path):
    started = time.monotonic()
    with serving(Mood(health=(503,))) as url:
        ended = smoke("--deadline", "2", url, folder=tmp_path)
    assert ended.returncode == 1
    assert "not ready within 2 s" in ended.stderr
    assert "503" in ended.stderr
    assert time.monotonic() - started < 10


def test_a_service_that_is_not_there_is_given_up_at_the_deadline(tmp_path):
    ended = smoke(f"http://127.0.0.1:{free_port()}", folder=tmp_path, SMOKE_DEADLINE="1")
    assert ended.returncode == 1
    assert "no connection" in ended.stderr


def test_a_service_that_takes_the_connection_and_says_nothing_is_given_up_at_the_deadline(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ended = smoke("--deadline", "1", url, folder=tmp_path)
    assert ended.returncode == 1
    assert "no answer in time" in ended.stderr


@pytest.mark.parametrize(
    ("status", "help_given"), [(401, "token is not accepted"), (403, "roles/run.invoker")]
)
def test_a_caller_who_is_not_let_in_is_told_at_once_what_to_do(tmp_path, status, help_given):
    mood = Mood(health=(status,))
    with serving(mood) as url:
        ended = smoke(url, folder=tmp_path)
    assert ended.returncode == 1
    assert help_given in ended.stderr
    assert mood.looked == 1


WRONG: dict[str, tuple[Mood, str]] = {
    "another model": (
        Mood(models=models("other/model")),
        f"serves other/model, not {MODEL}",
    ),
    "no model": (Mood(models=models()), "serves nothing"),
    "a web page instead of models": (Mood(models=(200, b"<html>hello")), "no JSON"),
    "models in another form": (Mood(models=(200, {"models": []})), "has not the form"),
    "models refused": (Mood(models=(500, None)), "/v1/models answered 500"),
    "a page cut off": (Mood(page=completion(READING, "length")), "ended by length"),
    "a page in a loop": (Mood(page=completion(READING, "repetition")), "ended by repetition"),
    "an empty page": (Mood(page=completion("")), "is empty"),
    "no text at all": (Mood(page=completion(None)), "is empty"),
    "another text": (Mood(page=completion("The lazy dog")), "lacks harbour bell, Skerry Point"),
    "a word too few": (Mood(page=completion(READING.replace("lanterns", "lamps"))), "lacks lanterns;"),
    "a page refused": (
        Mood(page=(400, {"error": {"message": "not\nso"}})),
        "answered 400: not so",
    ),
    "a page refused wordily": (Mood(page=(502, b"bad gateway")), "answered 502: bad gateway"),
    "a page without a choice": (Mood(page=(200, {"choices": []})), "has not the form"),
    "no completion": (Mood(page=(200, b"ok")), "no JSON"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_found_out(tmp_path, name):
    mood, sentence = WRONG[name]
    with serving(mood) as url:
        ended = smoke(url, folder=tmp_path)
    assert ended.returncode == 1
    assert sentence in ended.stderr
    assert "good:" not in ended.stdout
    assert "Traceback" not in ended.stderr


# Calls that are wrong: exit code 2, and nobody is asked.


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "which URL?"),
        (("http://127.0.0.1:1", "http://127.0.0.1:2"), "one URL, not two"),
        (("--fast", "http://127.0.0.1:1"), "unknown option: --fast"),
        (("http://127.0.0.1:1", "--model"), "--model needs a value"),
        (("--profile", "", "http://127.0.0.1:1"), "--profile needs a value"),
        (("--profile", "none", "http://127.0.0.1:1"), "no profile none"),
        (("--deadline", "soon", "http://127.0.0.1:1"), "whole number of seconds"),
        (("http://ocr.example",), "not sent over plain http"),
        (("http://127.0.0.1.example",), "not sent over plain http"),
        (("https://ocr.example/v1",), "no origin"),
        (('https://ocr.example" url = "x',), "no origin"),
        (("https://user@ocr.example",), "no origin"),
        (("ocr.example",), "no origin"),
    ],
)
def test_a_wrong_call_is_told_apart_from_a_wrong_service(tmp_path, arguments, sentence):
    ended = smoke(*arguments, folder=tmp_path)
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert ended.stdout == ""


def test_help_tells_of_every_option_and_variable(tmp_path):
    ended = smoke("--help", folder=tmp_path)
    assert ended.returncode == 0
    for word in ("--profile", "--model", "--deadline", "OCR_URL", "SMOKE_ACCOUNT", "SMOKE_DEADLINE"):
        assert word in ended.stdout


# The token. gcloud and curl are fakes: the one gives a token, the other notes what a list of processes shows.

FAKE_GCLOUD = """#!/bin/bash
printf '%s\\n' "$@" >"$NOTES/gcloud"
[[ ! -e $NOTES/refuse ]] || { echo "ERROR: you are not logged in" >&2; exit 1; }
echo eyJ-this-is-a-secret
"""

FAKE_CURL = """#!/bin/bash
printf '%s\\n' "$@" >>"$NOTES/curl"
env >>"$NOTES/environment"
config=$2
cat "$config" >"$NOTES/config"
for word in "$@"; do
  case $previous in --output) output=$word ;; esac
  previous=$word
done
case $word in
  */health) : ;;
  */models) cp "$NOTES/models.json" "$output" ;;
  *) cp "$NOTES/page.json" "$output" ;;
esac
ls -ld "$config" "$(dirname "$config")" | cut -c 1-10 >"$NOTES/modes"
printf '200 0.5'
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "models.json").write_text(json.dumps(models(MODEL)[1]))
    (folder / "page.json").write_text(json.dumps(completion(READING)[1]))
    for name, text in (("gcloud", FAKE_GCLOUD), ("curl", FAKE_CURL)):
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder


def smoke_with_notes(notes: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    path = f"{notes / 'bin'}:{os.environ['PATH']}"
    return smoke("https://ocr.example/", folder=notes.parent, PATH=path, NOTES=str(notes), **more)


def test_the_token_is_in_a_private_file_and_nowhere_else(notes):
    ended = smoke_with_notes(notes)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (notes / "config").read_text() == f'header = "Authorization: Bearer {TOKEN}"\n'
    assert (notes / "modes").read_text().split() == ["drwx------", "-rw-------"]
    calls = (notes / "curl").read_text()
    assert "https://ocr.example/v1/chat/completions" in calls.splitlines()
    for text in (calls, (notes / "environment").read_text(), ended.stdout):
        assert TOKEN not in text
    assert "base64" not in calls, "the page is too long for a command line"


def test_without_an_account_the_caller_asks_as_himself(notes):
    smoke_with_notes(notes)
    assert (notes / "gcloud").read_text().split() == ["auth", "print-identity-token"]


def test_an_account_is_impersonated_for_the_services_audience(notes):
    smoke_with_notes(notes, SMOKE_ACCOUNT="a@b.example")
    assert (notes / "gcloud").read_text().split() == [
        *("auth", "print-identity-token", "--impersonate-service-account=a@b.example"),
        *("--audiences=https://ocr.example", "--include-email"),
    ]


def test_without_a_token_nobody_is_asked(notes):
    (notes / "refuse").touch()
    ended = smoke_with_notes(notes)
    assert ended.returncode == 2
    assert "you are not logged in" in ended.stderr
    assert not (notes / "curl").exists()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_no_file_behind(tmp_path, ending):
    with subprocess.Popen(
        [SMOKE, f"http://127.0.0.1:{free_port()}"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)},
        start_new_session=True,
        # Whoever started the tests in the background, or with nohup, had it ignored, which is inherited.
        preexec_fn=lambda: signal.signal(ending, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        try:
            wait_until(lambda: any(tmp_path.glob("*/curl")))  # where the token would stand
            assert end(process, ending) != 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []


def end(process: "subprocess.Popen[bytes]", ending: signal.Signals) -> int:
    """Send the signal, again as a person would: bash overlooks a Ctrl-C that comes just when curl ends."""
    for _ in range(10):
        os.killpg(process.pid, ending)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=6)
    raise AssertionError(f"{ending.name} does not end it")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# What it is made of.


def test_nothing_in_the_script_is_newer_than_bash_3_2():
    text = SMOKE.read_text()
    words = r"mapfile|readarray|declare -[Ag]|local -n|wait -n|coproc|EPOCH"
    assert not re.search(words + r"|\$\{[^}]*(@[A-Za-z]|,,|\^\^)\}|&>>|\|&", text)
    assert "jq " not in text


def test_the_judge_is_written_for_the_python_of_a_mac():
    tree = ast.parse((FOLDER / "smoke" / "judge.py").read_text(), feature_version=(3, 9))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names


def test_the_page_is_as_the_renderer_draws_it_and_small(tmp_path):
    drawn = make_page.make(tmp_path)
    assert len(PAGE.read_bytes()) < 150_000
    with Image.open(PAGE) as committed, Image.open(io.BytesIO(drawn.data)) as again:
        assert committed.size == again.size == (1092, 1540)
        difference = np.abs(np.asarray(committed, np.int16) - np.asarray(again, np.int16))
    assert difference.mean() < 1, "run gpu_service/smoke/make_page.py"


def test_the_words_looked_for_stand_on_the_page():
    words = (FOLDER / "smoke" / "words.txt").read_text().splitlines()
    assert len(words) >= 3
    for each in words:
        assert each.lower() in READING.lower()
