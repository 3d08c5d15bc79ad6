"""The stand-in answers as the recorded vLLM does; pages are queued, forgotten and never logged."""

import asyncio
import base64
import json
import re
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.requests import Request

from gpu_service.stand_in.app import ALIASES, Service
from gpu_service.stand_in.asked import image_tokens
from gpu_service.stand_in.reading import Readers
from tests.fakes.pages import WORDS, blank, page
from tests.fakes.stand_in import running_stand_in

RECORDED = Path(__file__).parent / "fixtures" / "vllm"

PNG = page()
A4 = blank(1089, 1540)


def uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def asks(*parts: dict[str, Any], **more: Any) -> bytes:
    """Write a request with these content parts."""
    return with_content(list(parts), **more)


def with_content(content: Any, role: str = "user", **more: Any) -> bytes:
    body = {"model": ALIASES[0], "messages": [{"role": role, "content": content}], "max_tokens": 16, **more}
    return json.dumps(body).encode()


TINY = image(uri(blank(13, 13)))
NOT_MODELLED = json.dumps({"messages": [{"role": "user", "content": [TINY]}]}).encode()

# For every recorded chat request one that fits its name and its answer.
REQUESTS: dict[str, bytes] = {
    "valid": asks(image(uri(A4))),
    "valid_text": asks(image(uri(A4)), {"type": "text", "text": "OCR"}),
    "no_image_string_content": with_content("hello there"),
    "empty_content_list": asks(),
    "2_images": asks(TINY, TINY),
    "broken_base64": asks(image("data:image/png;base64,@@@@")),
    "truncated_png": asks(image(uri(PNG[: len(PNG) // 2]))),
    "not_an_image": asks(image(uri(b"no image at all"))),
    "empty_data_uri": asks(image("data:image/png;base64,")),
    "no_data_prefix": asks(image(base64.b64encode(PNG).decode())),
    "http_url_unreachable": asks(image("http://127.0.0.1:9/a.png")),
    "file_url": asks(image("file:///a.png")),
    "jpeg": asks(image(uri(blank(308, 224, "JPEG"), "image/jpeg"))),
    "1x1_png": asks(image(uri(blank(1, 1)))),
    "tiny_13x13": asks(TINY),
    "very_wide_3000x20": asks(image(uri(blank(3000, 20)))),
    "4000x4000": asks(image(uri(blank(4000, 4000)))),
    "image_url_as_string": asks({"type": "image_url", "image_url": uri(PNG)}),
    "max_tokens_too_large": asks(TINY, max_tokens=100000),
    "max_tokens_0": asks(TINY, max_tokens=0),
    "max_tokens_minus_1": asks(TINY, max_tokens=-1),
    "prompt_too_long": with_content("word " * 20000),
    "unknown_model": asks(TINY, model="nope"),
    "no_model_field": NOT_MODELLED,
    "temperature_minus_1": asks(TINY, temperature=-1),
    "temperature_5": asks(TINY, temperature=5),
    "top_p_0": asks(TINY, top_p=0),
    "n_2": asks(TINY, n=2),
    "unknown_field": asks(TINY, unheard_of=True),
    "bad_json": b"{bad json",
    "empty_body": b"",
    "no_messages": json.dumps({"model": ALIASES[0]}).encode(),
    "role_bad": with_content("hello", role="nobody"),
    "wrong_ctype": asks(TINY),
    "logprobs": asks(TINY, logprobs=True, top_logprobs=1),
    "stop_by_ignore_min": asks(TINY, stop=["e"], min_tokens=2),
    "response_format_json": asks(TINY, response_format={"type": "json_object"}),
    "stream_error": asks(image("data:image/png;base64,@@@@"), stream=True),
}


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RECORDED / f"{name}.json").read_text())


CHATS = sorted(path.stem for path in RECORDED.glob("*.json") if not path.stem.startswith("get_"))
REFUSED = [name for name in CHATS if recorded(name)["status"] != 200]
TAKEN = [name for name in CHATS if recorded(name)["status"] == 200]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    log = tmp_path_factory.mktemp("stand_in") / "log"
    with running_stand_in(log) as service, httpx.Client(base_url=service.url, trust_env=False) as client:
        yield client


def ask(client: httpx.Client, name: str) -> httpx.Response:
    content_type = "text/plain" if name == "wrong_ctype" else "application/json"
    return client.post("/v1/chat/completions", content=REQUESTS[name], headers={"Content-Type": content_type})


def alike(message: str) -> str:
    """Leave out what must differ: the names of the models, and the very image that was sent."""
    message = re.sub(r"Valid aliases: .*\.", "Valid aliases.", message)
    return re.sub(r"input_value='data:image/png;base64,iV\.\.\..{23}'", "input_value", message)


def test_every_recorded_chat_has_a_request_here():
    assert set(REQUESTS) == set(CHATS)
    assert len(REFUSED) == 22


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_refused_in_the_words_of_the_recorded_vllm(stand_in, name):
    want, got = recorded(name), ask(stand_in, name)
    assert got.status_code == want["status"]
    assert got.headers["content-type"] == want["content_type"]
    want_error, got_error = want["body"]["error"], got.json()["error"]
    assert list(got.json()) == ["error"]
    assert alike(got_error.pop("message")) == alike(want_error.pop("message"))
    assert got_error == want_error


@pytest.mark.parametrize("name", TAKEN)
def test_what_the_recorded_vllm_takes_is_taken_in_the_same_envelope(stand_in, name):
    want, got = recorded(name), ask(stand_in, name)
    assert got.status_code == 200
    assert list(got.json()) == [*list(want["body"])] or name in {"n_2", "logprobs"}
    assert [list(choice) for choice in got.json()["choices"]] == [
        list(choice) for choice in want["body"]["choices"]
    ]
    assert list(got.json()["choices"][0]["message"]) == list(want["body"]["choices"][0]["message"])


@pytest.mark.parametrize("name", [name for name in TAKEN if "usage" in recorded(name)["body"]])
def test_prompt_tokens_are_counted_as_the_recorded_vllm_counts_them(stand_in, name):
    want, got = recorded(name)["body"]["usage"], ask(stand_in, name).json()["usage"]
    assert got["prompt_tokens"] == want["prompt_tokens"]
    assert got["total_tokens"] == got["prompt_tokens"] + got["completion_tokens"]


@pytest.mark.parametrize("path", ["/nope", "/server_info", "/v1/chat/completions"])
def test_an_unknown_path_or_method_is_answered_with_a_detail_alone(stand_in, path):
    want = recorded("get_" + path.strip("/").replace("/", "_"))
    got = stand_in.get(path)
    assert (got.status_code, got.json()) == (want["status"], want["body"])


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_health_is_an_empty_200(stand_in, path):
    got = stand_in.get(path)
    assert (got.status_code, got.content, got.headers.get("content-type")) == (200, b"", None)


@pytest.mark.parametrize("path", ["/v1/models", "/version", "/load"])
def test_what_the_server_says_of_itself_has_the_recorded_fields(stand_in, path):
    want = recorded("get_" + path.strip("/").replace("/", "_"))["body"]
    got = stand_in.get(path).json()
    assert set(want) <= set(got)
    if path == "/v1/models":
        assert set(want["data"][0]) == set(got["data"][0])


def test_the_metrics_have_the_names_that_vllm_gives_them(stand_in):
    got = stand_in.get("/metrics")
    assert got.headers["content-type"] == recorded("get_metrics")["content_type"]
    assert "vllm:num_requests_running{" in got.text


def test_it_says_that_it_is_a_stand_in(stand_in):
    (model,) = stand_in.get("/v1/models").json()["data"]
    assert model["id"].startswith("bucketscribe-stand-in/tesseract-")
    assert ask(stand_in, "valid").json()["model"] == model["id"]


@pytest.mark.parametrize("encoding", ["PNG", "JPEG"])
def test_a_page_is_read_without_an_error(stand_in, encoding):
    body = asks(image(uri(page(encoding=encoding))), max_tokens=4096)
    got = stand_in.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    (choice,) = got.json()["choices"]
    assert WORDS in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_an_answer_longer_than_max_tokens_is_cut_and_says_so(stand_in):
    body = asks(image(uri(PNG)), max_tokens=2)
    got = stand_in.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    (choice,) = got.json()["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == WORDS[:8]
    assert got.json()["usage"]["completion_tokens"] == 2


def test_an_image_is_counted_in_squares_of_28_px():
    assert image_tokens(1089, 1540) == 2145
    assert image_tokens(1190, 1540) == 2365
    assert image_tokens(1540, 1540) == 3025


def test_a_request_to_stream_is_refused_not_half_served(stand_in):
    body = asks(TINY, stream=True)
    got = stand_in.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert (got.status_code, got.json()["error"]["param"]) == (400, "stream")


class StuckReaders(Readers):
    """Never gets round to reading anything."""

    def __init__(self) -> None:
        super().__init__(1)
        self.queued: list[Future[str]] = []

    def submit(self, image: Image.Image) -> "Future[str]":
        self.queued.append(Future())
        return self.queued[-1]


def test_a_page_whose_caller_hangs_up_is_taken_out_of_the_queue():
    async def exchange() -> None:
        readers = StuckReaders()
        service = Service(readers)
        events = iter(
            [
                {"type": "http.request", "body": REQUESTS["valid"], "more_body": False},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> Any:
            return next(events)

        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
        await service.chat_completions(Request(scope, receive))
        await asyncio.sleep(0)
        assert [queued.cancelled() for queued in readers.queued] == [True]
        assert service.load == 0

    asyncio.run(exchange())


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_once_and_without_a_word(tmp_path, ending):
    with running_stand_in(tmp_path / "log") as service:
        headers = {"Content-Type": "application/json"}
        body = asks(image(uri(PNG)), max_tokens=4096)
        url = f"{service.url}/v1/chat/completions"
        assert httpx.post(url, content=body, headers=headers, trust_env=False).status_code == 200
        assert httpx.post(url, content=b"{", headers=headers, trust_env=False).status_code == 400
        service.process.send_signal(ending)
        assert service.process.wait(timeout=1) == -ending
    assert service.output.read_text() == "", "neither a page's text nor a traceback is printed"
