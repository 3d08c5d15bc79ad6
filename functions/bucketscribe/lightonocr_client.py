"""The OCR service's client: one image in, PageText out, every foreign error mapped in one table.

What is asked stands in a Profile; whether an answer is any good is judged in `quality`; who waits, asks
again or gives up is the deeds' business.
"""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from bucketscribe.errors import (
    AuthDenied,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelRejected,
    ModelTimeout,
    ModelUnavailable,
)
from bucketscribe.model import PageText, Profile
from bucketscribe.settings import PROFILES

CONNECT_TIMEOUT_SECONDS = 10.0
WRITE_TIMEOUT_SECONDS = 30.0  # a page image is 0.1 to 2 MB
POOL_TIMEOUT_SECONDS = 10.0  # there is a connection for every call at once: waiting means a fault of ours
READ_TIMEOUT_SECONDS = 300.0  # a full-length answer takes about 190 s on a busy L4
HEALTH_TIMEOUT_SECONDS = 10.0

# vLLM ends an answer with finish_reason `repetition` when its last tokens are one pattern of 1 to 40 tokens,
# 100 times over (SamplingParams.repetition_detection, since 0.17). Empty table cells, dot leaders and lines
# to fill in repeat legitimately, and what the server cuts off is lost, so its count is well above the 60 at
# which `quality` calls a text's end a loop. 40 x 100 is about what fits into 4096 tokens: no pattern longer
# than that could ever be seen so often.
REPETITION_DETECTION: Mapping[str, int] = {"max_pattern_size": 40, "min_pattern_size": 1, "min_count": 100}

# The server's own words in our messages, in characters (failures: model_rejected).
_WORDS_LIMIT = 500

# 4096 tokens are some 20 kB; what is longer does not come from the model.
_ANSWER_LIMIT_BYTES = 8 * 1024 * 1024

# uvicorn, under vLLM, closes a connection 5 s after its last answer; one that we drop earlier is never
# caught closing under a request.
_KEEPALIVE_SECONDS = 3.0

_MEDIA_TYPES: Mapping[bytes, str] = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

# What a server may quote of a request: data URIs, and long runs of base64 or of a token.
_QUOTED_DATA = re.compile(r"data:[^\s'\"]*|[\w+/=.-]{64,}")

NOT_SERVED = 404

_REJECTED = "the server has read the request and refuses it"
_STRANGER = "something else than the OCR service answers there; look at the setting ocr_url"
_OUR_FAULT = "the request could not be made; look at the setting ocr_url and at this version of httpx"

# The first row that holds a status or an exception decides. Nothing decides by a message's text.
# 500: with a data URI vLLM gives it for its own troubles only (a dead engine, no memory left): a page must
# not be marked failed for them. 404: a wrong address or a wrong model name is never a page's fault.
# 4xx that nothing here names: not known to be the page's fault.
TABLE: tuple[tuple[range | tuple[int, ...] | type[Exception], type[LightOnOCRError], str], ...] = (
    ((400, 413, 422), ModelRejected, _REJECTED),
    (
        (NOT_SERVED,),
        ModelUnavailable,
        "the model or the path is not served there; look at ocr_url and profile",
    ),
    ((401, 403, 407), AuthDenied, "the caller is not let in; look at run.invoker and the token's audience"),
    ((408, 425, 429, 503), ModelBusy, "no place is free"),
    ((502, 504), ModelCold, "no instance answers yet"),
    (range(500, 600), ModelBusy, "the server is in trouble"),
    (range(100, 500), ModelUnavailable, _STRANGER),
    (httpx.ConnectTimeout, ModelCold, "no connection within the connect timeout"),
    (httpx.ReadTimeout, ModelTimeout, "no answer within the read timeout"),
    (httpx.WriteTimeout, ModelBusy, "the page image was not taken within the write timeout"),
    (httpx.PoolTimeout, ModelBusy, "all connections of this instance are in use"),
    (httpx.ConnectError, ModelBusy, "the connection was refused, or its name or certificate is not right"),
    (httpx.ReadError, ModelBusy, "the connection broke while the answer was awaited"),
    (httpx.WriteError, ModelBusy, "the connection broke while the page image was sent"),
    (httpx.CloseError, ModelBusy, "the connection broke while it was closed"),
    (httpx.RemoteProtocolError, ModelBusy, "the server hung up or did not speak HTTP"),
    (httpx.ProxyError, ModelBusy, "the proxy does not let us through"),
    (httpx.DecodingError, ModelUnavailable, "the answer's encoding is broken"),
    (httpx.TooManyRedirects, ModelUnavailable, _STRANGER),
    (httpx.HTTPStatusError, ModelUnavailable, _STRANGER),
    (httpx.UnsupportedProtocol, ModelUnavailable, _OUR_FAULT),
    (httpx.LocalProtocolError, ModelUnavailable, _OUR_FAULT),
    (httpx.InvalidURL, ModelUnavailable, _OUR_FAULT),
    (httpx.CookieConflict, ModelUnavailable, _OUR_FAULT),
    (httpx.StreamError, ModelUnavailable, _OUR_FAULT),
)

# How an answer ends by itself; any other reason (vLLM: abort, error) is the server's, which is going down.
_ENDS = frozenset({"stop", "length", "repetition"})

# What taking an unexpected JSON apart raises.
_UNEXPECTED = (ValueError, LookupError, TypeError, RecursionError)

_HTTPX_ERRORS = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict)


class LightOnOCRClient:
    """`ports.Reader` over HTTP, with one connection pool. Lives on one event loop.

    `connections` is how many calls may be under way at once; `profile` is asked when a call names none.
    Without `auth` the service is on the loopback, which no proxy of the environment can reach.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: httpx.Auth | None,
        connections: int,
        profile: Profile = PROFILES["lightonocr-2-1b"],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._profile = profile
        self._url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            auth=auth,
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=_KEEPALIVE_SECONDS),
            transport=transport,
            trust_env=auth is not None,
        )

    async def extract_text(
        self,
        image: bytes,
        *,
        profile: Profile | None = None,
        read_timeout_seconds: float = READ_TIMEOUT_SECONDS,
        temperature: float | None = None,
    ) -> PageText:
        """Read one PNG or JPEG. Raises LightOnOCRError and nothing else.

        Without `temperature` the profile's holds. The whole call takes at most the connect timeout more
        than `read_timeout_seconds`, however slowly the answer trickles in.
        """
        request = self._http.build_request(
            "POST",
            f"{self._url}/v1/chat/completions",
            content=_request(image, profile or self._profile, temperature),
            headers={"content-type": "application/json"},
            timeout=_timeouts(read_timeout_seconds),
        )
        status, answer = await self._send(request, read_timeout_seconds + CONNECT_TIMEOUT_SECONDS)
        if status != httpx.codes.OK:
            raise self._error(status, answer)
        try:
            text = _page_text(json.loads(answer))
        except _UNEXPECTED:
            # Not `from error`: a decoding error quotes what it could not decode, which is the page's text.
            raise ModelUnavailable(
                f"reading a page at {self._url}: HTTP 200, but no chat completion; {_STRANGER}"
            ) from None
        if text.finish_reason not in _ENDS:
            raise ModelBusy(f"reading a page at {self._url}: the server broke the answer off")
        return text

    async def health(self, *, timeout_seconds: float = HEALTH_TIMEOUT_SECONDS) -> bool:
        """Tell whether the service says that it can read; never raises."""
        timeouts = httpx.Timeout(timeout_seconds)
        request = self._http.build_request("GET", f"{self._url}/health", timeout=timeouts)
        try:
            status, _ = await self._send(request, timeout_seconds)
        except LightOnOCRError:
            return False
        return status == httpx.codes.OK

    async def aclose(self) -> None:
        """Close the connections; the client is of no use afterwards."""
        await self._http.aclose()

    async def _send(self, request: httpx.Request, seconds: float) -> tuple[int, bytes]:
        """Send and read the whole answer; tell its status and body. Raises LightOnOCRError."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.send(request, stream=True)
                try:
                    return response.status_code, await _read(response)
                finally:
                    await response.aclose()
        except _HTTPX_ERRORS as error:
            raise self._error(error) from error
        except TimeoutError as error:
            raise ModelTimeout(f"reading a page at {self._url}: no whole answer in {seconds:g} s") from error

    def _error(self, cause: int | Exception, answer: bytes = b"") -> LightOnOCRError:
        """Translate. An exception's own words stay out: some quote headers, with the token in them."""
        error, meaning = mapped(cause)
        what = f"HTTP {cause}" if isinstance(cause, int) else type(cause).__name__
        words = f"; it says: {_words(answer)}" if error is ModelRejected or cause == NOT_SERVED else ""
        return error(f"reading a page at {self._url}: {what}, {meaning}{words}")


def mapped(cause: int | Exception) -> tuple[type[LightOnOCRError], str]:
    """Look a status or an exception up in the table: which error of ours it is, and what it means."""
    for of, error, meaning in TABLE:
        if isinstance(cause, of) if isinstance(of, type) else cause in of:
            return error, meaning
    return ModelUnavailable, "unheard of"


def media_type(image: bytes) -> str:
    """Tell PNG from JPEG by their first bytes. Raises ModelRejected for anything else."""
    for magic, name in _MEDIA_TYPES.items():
        if image.startswith(magic):
            return name
    raise ModelRejected(f"{len(image)} bytes that are neither PNG nor JPEG were not sent to the model")


def _request(image: bytes, profile: Profile, temperature: float | None) -> bytes:
    """Write what is asked, as JSON: one user message, one image, and no text unless the profile has a prompt.

    The image goes in as the bytes that it is sent as: as text it would be searched for what JSON must escape,
    and copied, which takes longer than all else here.
    """
    options = {
        "model": profile.model,
        "temperature": profile.temperature if temperature is None else temperature,
        "top_p": profile.top_p,
        "max_tokens": profile.max_tokens,
        "stream": False,
        "repetition_detection": dict(REPETITION_DETECTION),
    }
    prompt = [{"type": "text", "text": profile.prompt}] if profile.prompt else []
    content = [{"type": "image_url", "image_url": {"url": f"data:{media_type(image)};base64,"}}, *prompt]
    asked = json.dumps({"messages": [{"role": "user", "content": content}], **options})
    # The first thing in it that looks so: whatever else there is comes later.
    before, after = asked.split("base64,", 1)
    return b"".join((before.encode(), b"base64,", base64.b64encode(image), after.encode()))


def _timeouts(read_seconds: float) -> httpx.Timeout:
    return httpx.Timeout(
        connect=CONNECT_TIMEOUT_SECONDS,
        read=read_seconds,
        write=WRITE_TIMEOUT_SECONDS,
        pool=POOL_TIMEOUT_SECONDS,
    )


async def _read(response: httpx.Response) -> bytes:
    """Read a body up to the limit, which cuts it: then it is no JSON any more."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ANSWER_LIMIT_BYTES:
            break
    return bytes(body[:_ANSWER_LIMIT_BYTES])


def _page_text(answer: Any) -> PageText:
    """Take the text out of a chat completion. Raises one of _UNEXPECTED when it is none.

    A refusal has null for content, which is an empty text; llama-server may leave the usage out.
    """
    choice, usage = answer["choices"][0], answer.get("usage") or {}
    content = choice["message"]["content"]
    return PageText(
        markdown="" if content is None else _text(content),
        finish_reason=_text(choice["finish_reason"]),
        prompt_tokens=_count(usage["prompt_tokens"]) if usage else 0,
        completion_tokens=_count(usage["completion_tokens"]) if usage else 0,
        model=_text(answer["model"]),
    )


def _text(value: Any) -> str:
    """Take a string. JSON can carry lone surrogates, which UTF-8 cannot: they become question marks."""
    if not isinstance(value, str):
        raise TypeError("a string was expected")
    return value.encode("utf-8", "replace").decode("utf-8")


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError("a number of tokens was expected")
    return value


def _words(answer: bytes) -> str:
    """Quote the server in one line: its error's message, or what else it sent; never a request's data."""
    text = answer[: 64 * _WORDS_LIMIT].decode("utf-8", "replace")
    with contextlib.suppress(*_UNEXPECTED):
        text = str(json.loads(answer)["error"]["message"])
    return " ".join(_QUOTED_DATA.sub("(data)", text).split())[:_WORDS_LIMIT]
