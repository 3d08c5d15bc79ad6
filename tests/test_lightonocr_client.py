"""What the client asks, how it takes answers, and what becomes of everything that can go wrong."""

import asyncio
import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bucketscribe import lightonocr_client
from bucketscribe.errors import (
    AuthDenied,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
)
from bucketscribe.lightonocr_client import LightOnOCRClient, mapped
from bucketscribe.model import PageText, Profile
from bucketscribe.settings import PROFILES
from tests.fakes.pages import page

RECORDED = Path(__file__).parent / "fixtures" / "vllm"
URL = "http://127.0.0.1:9"
SECRET = "eyJhbGciOiJSUzI1NiJ9." + "c2VjcmV0" * 40

Answer = Callable[[httpx.Request], httpx.Response]


def recorded(name: str) -> dict[str, Any]:
    return json.loads((RECORDED / f"{name}.json").read_text())


class CarriesSecret(httpx.Auth):
    def auth_flow(self, request):
        request.headers["Authorization"] = f"Bearer {SECRET}"
        yield request


class Service(httpx.AsyncBaseTransport):
    """A service in memory: answers as told and remembers the requests."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or (lambda _: httpx.Response(200, json=completion()))
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        return self.answer(request)

    @property
    def asked(self) -> dict[str, Any]:
        return json.loads(self.requests[-1].content)


def completion(content: str | None = "# Page", finish_reason: str = "stop", **more: Any) -> dict[str, Any]:
    body = recorded("valid")["body"]
    body["choices"][0]["message"]["content"] = content
    body["choices"][0]["finish_reason"] = finish_reason
    return {**body, **more}


def answering(status: int, **content: Any) -> Service:
    return Service(lambda _: httpx.Response(status, **content))


def raising(error: Exception) -> Service:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return Service(answer)


def read(service: Service, image: bytes = page(), auth: httpx.Auth | None = None, **how: Any) -> PageText:
    async def once() -> PageText:
        client = LightOnOCRClient(URL, auth=auth, connections=2, transport=service)
        try:
            return await client.extract_text(image, **how)
        finally:
            await client.aclose()

    return asyncio.run(once())


def healthy(service: Service) -> bool:
    return asyncio.run(LightOnOCRClient(URL, auth=None, connections=1, transport=service).health())


def leaves(error: type[Exception]) -> set[type[Exception]]:
    below = error.__subclasses__()
    return set().union(*(leaves(each) for each in below)) if below else {error}


def an_error(error: type[Exception]) -> Exception:
    """Make one without its constructor: httpx's have several shapes."""
    return error.__new__(error)


# What is asked.


def test_one_user_message_with_one_image_and_no_text_is_asked():
    service = Service()
    image = page()
    read(service, image)
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    assert service.asked == {
        "model": "lightonai/LightOnOCR-2-1B",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 4096,
        "stream": False,
        "repetition_detection": {"max_pattern_size": 40, "min_pattern_size": 1, "min_count": 100},
    }
    assert str(service.requests[0].url) == f"{URL}/v1/chat/completions"


def test_a_profile_with_a_prompt_adds_it_after_the_image():
    service = Service()
    grounding = Profile(
        name="grounding",
        model="lightonai/LightOnOCR-3-1B",
        revision="0",
        temperature=0.1,
        top_p=0.8,
        max_tokens=77,
        longest_edge_px=1540,
        prompt="grounding",
    )
    read(service, profile=grounding, temperature=0.8)
    asked = service.asked
    assert [part["type"] for part in asked["messages"][0]["content"]] == ["image_url", "text"]
    assert asked["messages"][0]["content"][1]["text"] == "grounding"
    assert (asked["model"], asked["temperature"], asked["top_p"], asked["max_tokens"]) == (
        "lightonai/LightOnOCR-3-1B",
        0.8,
        0.8,
        77,
    )


def test_a_temperature_of_zero_is_not_taken_for_none():
    service = Service()
    read(service, temperature=0.0)
    assert service.asked["temperature"] == 0.0


def test_a_jpeg_is_known_by_its_first_bytes():
    service = Service()
    read(service, page(encoding="JPEG"))
    url = service.asked["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,/9j/")


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"%PDF-1.7", b"\x89PNG", b"RIFF....WEBP"])
def test_what_is_neither_png_nor_jpeg_is_rejected_before_any_request(image):
    service = Service()
    with pytest.raises(ModelRejected):
        read(service, image)
    assert service.requests == []


def test_a_pattern_the_server_looks_for_fits_into_an_answer():
    patterns = lightonocr_client.REPETITION_DETECTION
    most = min(profile.max_tokens for profile in PROFILES.values())
    assert patterns["max_pattern_size"] * patterns["min_count"] <= most


def test_every_timeout_is_explicit():
    service = Service()
    read(service, read_timeout_seconds=123.0)
    timeouts = service.requests[0].extensions["timeout"]
    assert timeouts == {"connect": 10.0, "read": 123.0, "write": 30.0, "pool": 10.0}


def test_requests_go_out_together_over_one_pool():
    async def together() -> int:
        at_once, most, all_here = 0, 0, asyncio.Event()

        class Slow(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request):
                nonlocal at_once, most
                at_once += 1
                most = max(most, at_once)
                if at_once == 20:
                    all_here.set()
                await all_here.wait()
                return httpx.Response(200, json=completion())

        client = LightOnOCRClient(URL, auth=None, connections=20, transport=Slow())
        await asyncio.gather(*(client.extract_text(page()) for _ in range(20)))
        return most

    assert asyncio.run(together()) == 20


# What comes back.


def test_the_answer_of_the_recorded_vllm_is_taken():
    body = recorded("valid")["body"]
    text = read(answering(200, json=body))
    assert text == PageText(
        markdown=body["choices"][0]["message"]["content"],
        finish_reason="length",
        prompt_tokens=2160,
        completion_tokens=16,
        model="lightonai/LightOnOCR-tiny",
    )


@pytest.mark.parametrize("reason", ["stop", "length", "repetition"])
def test_the_finish_reason_is_passed_on(reason):
    assert read(answering(200, json=completion(finish_reason=reason))).finish_reason == reason


def test_no_content_is_an_empty_text():
    assert read(answering(200, json=completion(None))).markdown == ""


def test_an_answer_without_usage_counts_no_tokens():
    assert read(answering(200, json=completion(usage=None))).prompt_tokens == 0


def test_a_lone_surrogate_does_not_reach_the_house():
    text = read(answering(200, content=json.dumps(completion("a\ud800b")).encode()))
    assert text.markdown == "a?b"


MALFORMED = {
    "no JSON": b"<html>welcome</html>",
    "no UTF-8": b"\xff\xfe\x00",
    "nothing": b"",
    "a list": b"[]",
    "a word": b'"text"',
    "null": b"null",
    "no choices": json.dumps(completion() | {"choices": []}).encode(),
    "no message": json.dumps(completion() | {"choices": [{"finish_reason": "stop"}]}).encode(),
    "a number for a text": json.dumps(completion(5)).encode(),
    "no finish reason": json.dumps(completion(finish_reason=None)).encode(),
    "strange usage": json.dumps(completion(usage=[1])).encode(),
    "endless tokens": json.dumps(completion(usage={"prompt_tokens": 1e999, "completion_tokens": 0})).encode(),
    "no model": json.dumps(completion(model=None)).encode(),
    "a tower": b"[" * 200_000,
    "too much": json.dumps(completion("x" * 9_000_000)).encode(),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_answer_is_an_error_that_another_try_may_mend(name):
    with pytest.raises(ModelUnavailable):
        read(answering(200, content=MALFORMED[name]))


def test_an_answer_that_trickles_ends_with_the_read_timeout(monkeypatch):
    monkeypatch.setattr(lightonocr_client, "CONNECT_TIMEOUT_SECONDS", 0.0)

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b" "
                await asyncio.sleep(0)

    with pytest.raises(ModelTimeout):
        read(answering(200, stream=Trickle()), read_timeout_seconds=0.05)


# What goes wrong.


def test_every_leaf_of_the_exceptions_of_httpx_has_a_row_of_its_own():
    roots = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)
    found = set().union(*(leaves(root) for root in roots))
    assert len(found) >= 19
    for error in found:
        assert mapped(an_error(error)) != (ModelUnavailable, "unheard of"), error


def test_every_exception_that_httpx_exports_descends_from_those_roots():
    exported = [getattr(httpx, name) for name in httpx.__all__]
    errors = {each for each in exported if isinstance(each, type) and issubclass(each, Exception)}
    assert {each for each in errors if not issubclass(each, lightonocr_client._HTTPX_ERRORS)} == set()


def test_every_status_that_is_not_200_is_an_error_of_ours():
    for status in (*range(201, 207), *range(300, 600)):
        error, meaning = mapped(status)
        assert issubclass(error, LightOnOCRError)
        assert meaning != "unheard of", status


def test_no_status_but_the_three_and_no_exception_blames_the_page():
    """A page that is blamed ends failed: a wrong audience or an outage must never do that."""
    assert {status for status in range(201, 600) if mapped(status)[0] is ModelRejected} == {
        400,
        413,
        422,
    }
    for root in lightonocr_client._HTTPX_ERRORS:
        assert all(mapped(an_error(error))[0] is not ModelRejected for error in leaves(root))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, ModelBusy),
        (503, ModelBusy),
        (500, ModelBusy),
        (502, ModelCold),
        (504, ModelCold),
        (401, AuthDenied),
        (403, AuthDenied),
        (302, ModelUnavailable),
        (204, ModelUnavailable),
        (405, ModelUnavailable),
        (400, ModelRejected),
        (404, ModelUnavailable),
        (413, ModelRejected),
        (422, ModelRejected),
    ],
)
def test_a_status_becomes_the_error_of_the_failure_table(status, error):
    with pytest.raises(error) as caught:
        read(answering(status, text="no"))
    assert type(caught.value) is error
    assert f"HTTP {status}" in str(caught.value)


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (httpx.ConnectError("refused"), ModelBusy),
        (httpx.RemoteProtocolError("gone"), ModelBusy),
        (httpx.ReadError("reset"), ModelBusy),
        (httpx.ConnectTimeout("slow"), ModelCold),
        (httpx.ReadTimeout("slow"), ModelTimeout),
    ],
)
def test_a_broken_connection_becomes_the_error_of_the_failure_table(cause, error):
    with pytest.raises(error) as caught:
        read(raising(cause))
    assert type(caught.value) is error
    assert caught.value.__cause__ is cause


def test_a_refusal_carries_the_servers_own_words():
    body = recorded("max_tokens_too_large")["body"]
    with pytest.raises(ModelRejected, match=r"max_tokens=100000 cannot be greater than max_model_len=8192"):
        read(answering(400, json=body))


def test_the_servers_words_are_cut_to_500_characters():
    with pytest.raises(ModelRejected) as caught:
        read(answering(422, json={"error": {"message": "no " * 9999}}))
    assert len(str(caught.value).partition("it says: ")[2]) == 500


def test_words_that_are_no_envelope_are_quoted_in_one_line():
    with pytest.raises(ModelUnavailable, match=r"it says: <h1>Not Found</h1> on this server$"):
        read(answering(404, text="<h1>Not Found</h1>\n on this server\n"))


@pytest.mark.parametrize("status", [200, 400, 401, 422, 500])
def test_neither_image_nor_token_nor_page_text_gets_into_messages_and_logs(status, caplog):
    """The worst server quotes the whole request back, token and image included."""
    caplog.set_level(logging.DEBUG)

    def quote(request: httpx.Request) -> httpx.Response:
        said = f"you sent {request.headers['Authorization']} and {request.content.decode()}"
        return httpx.Response(status, json={"error": {"message": said}})

    with pytest.raises(LightOnOCRError) as caught:
        read(Service(quote), auth=CarriesSecret())
    seen = f"{caught.value!r} {caplog.text}"
    assert SECRET[:30] not in seen
    assert base64.b64encode(page()).decode()[:30] not in seen


def test_the_text_of_a_page_in_a_broken_answer_is_in_no_traceback():
    broken = json.dumps(completion("the diary of a lighthouse keeper")).encode()[:-20]
    with pytest.raises(ModelUnavailable) as caught:
        read(answering(200, content=broken))
    assert caught.value.__suppress_context__
    assert "lighthouse" not in str(caught.value)


def test_what_httpx_quotes_of_a_token_stays_out_of_the_message():
    with pytest.raises(ModelUnavailable) as caught:
        read(raising(httpx.LocalProtocolError(f"Illegal header value b'Bearer {SECRET}'")))
    assert SECRET[:30] not in str(caught.value)


def test_an_error_of_ours_from_the_identity_comes_through_as_it_is():
    class Denied(httpx.Auth):
        async def async_auth_flow(self, request):
            raise AuthDenied("no id token")
            yield request

    with pytest.raises(AuthDenied, match=r"^no id token$"):
        read(Service(), auth=Denied())


def test_an_answer_that_the_server_broke_off_is_asked_for_again():
    choice = {"message": {"content": "half a pa"}, "finish_reason": "abort"}
    answer = {"model": "m", "choices": [choice]}
    with pytest.raises(ModelBusy) as caught:
        read(Service(lambda _: httpx.Response(200, json=answer)))
    assert "half a pa" not in str(caught.value)


# Health.


@pytest.mark.parametrize(("status", "well"), [(200, True), (204, False), (404, False), (503, False)])
def test_health_is_a_plain_200(status, well):
    service = answering(status)
    assert healthy(service) is well
    assert service.requests[0].url.path == "/health"


@pytest.mark.parametrize("error", lightonocr_client._HTTPX_ERRORS)
def test_health_never_raises(error):
    for leaf in leaves(error):
        assert healthy(raising(an_error(leaf))) is False


def test_health_gives_up_in_its_own_time():
    async def ask() -> bool:
        class Deaf(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request):
                await asyncio.Event().wait()

        client = LightOnOCRClient(URL, auth=None, connections=1, transport=Deaf())
        return await client.health(timeout_seconds=0.01)

    assert asyncio.run(ask()) is False
