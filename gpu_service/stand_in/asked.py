"""A request's bytes become what is asked, or the refusal that vLLM would give. Nothing is ever fetched.

Known and left out: streaming is refused; logprobs, stop strings and response formats are taken and have no
effect, as have temperature and top_p, whose ranges are checked all the same.
"""

import base64
import binascii
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, UnidentifiedImageError

from gpu_service.stand_in.answers import MAX_MODEL_LEN, Refusal, tokens, validation_error

# What the model's processor does: longest side at most 1540 px, one token for each 28 px square begun.
LONGEST_EDGE_PX = 1540
PATCH_PX = 28

# The chat template around the content, as counted by vLLM for a request with empty content.
TEMPLATE_TOKENS = 15

_CHOICES_LIMIT = 16
_ROLES = frozenset({"system", "user", "assistant"})
_SHOWN_CHARACTERS = 50  # pydantic shows this much of an input, its middle left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to read and how much to answer; `image` is gray and at most 1540 px long, None for text alone."""

    image: Image.Image | None
    prompt_tokens: int
    max_tokens: int
    choices: int


def understand(content_type: str, data: bytes, served: tuple[str, ...]) -> Asked:
    """Check a chat completion request in vLLM's order. Raises Refusal. Blocks while an image is decoded."""
    body = _decoded(content_type, data)
    model = body.get("model")
    if model is not None and model not in served:
        message = f"The model `{model}` does not exist. Valid aliases: {', '.join(served)}."
        raise Refusal(message, status=404, kind="NotFoundError", param="model")
    _check_sampling(body)
    max_tokens = _max_tokens(body)
    images: list[str] = []
    words = 0
    for part in _parts(body["messages"]):
        if part.get("type") == "image_url":
            images.append(_image_url(part.get("image_url")))
        else:
            words += tokens(str(part.get("text", "")))
    if len(images) > 1:
        raise Refusal("At most 1 image(s) may be provided in one prompt. (parameter=image)", param="image")
    image = _image(images[0]) if images else None
    if body.get("stream"):
        raise Refusal("the stand-in does not stream", param="stream")
    prompt_tokens = TEMPLATE_TOKENS + words + (image_tokens(image.width, image.height) if image else 0)
    _check_length(prompt_tokens)
    return Asked(
        image=image,
        prompt_tokens=prompt_tokens,
        max_tokens=min(max_tokens, MAX_MODEL_LEN - prompt_tokens),
        choices=_choices(body.get("n")),
    )


def image_tokens(width: int, height: int) -> int:
    """Count an image's tokens as vLLM does, sides in px, after scaling down to the longest edge."""
    ratio = max(width, height) / LONGEST_EDGE_PX
    if ratio > 1:
        width, height = math.floor(width / ratio), math.floor(height / ratio)
    return max(1, math.ceil(width / PATCH_PX)) * max(1, math.ceil(height / PATCH_PX))


def _decoded(content_type: str, data: bytes) -> dict[str, Any]:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
        raise Refusal(message, kind="Bad Request")
    if not data:
        raise validation_error("missing", "body", "Field required", "None")
    try:
        body = json.loads(data)
    except json.JSONDecodeError as error:
        context = f", 'ctx': {{'error': {error.msg!r}}}"
        loc = f"body.{error.pos}"
        raise validation_error(
            "json_invalid", loc, "JSON decode error", "<dict of 0 items>", context
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise Refusal("There was an error parsing the body", kind="Bad Request") from error
    if not isinstance(body, dict):
        message = "Input should be a valid dictionary"
        raise validation_error("dict_type", "body", message, f"<{type(body).__name__}>")
    if "messages" not in body:
        raise validation_error("missing", "body.messages", "Field required", f"<dict of {len(body)} items>")
    return body


def _check_sampling(body: dict[str, Any]) -> None:
    temperature, top_p = _number(body, "temperature", 1.0), _number(body, "top_p", 1.0)
    if temperature < 0:
        raise _out_of_range("temperature", "must be non-negative", temperature)
    if temperature > 2:  # noqa: PLR2004 - vLLM's limit
        raise _out_of_range("temperature", "must be in [0, 2]", temperature)
    if not 0 < top_p <= 1:
        raise _out_of_range("top_p", "must be in (0, 1]", top_p)


def _max_tokens(body: dict[str, Any]) -> int:
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    value = int(_number(body, name, MAX_MODEL_LEN))
    if value < 1:
        raise _out_of_range("max_tokens", "must be at least 1", value)
    if value > MAX_MODEL_LEN:
        raise Refusal(
            f"max_tokens={value} cannot be greater than max_model_len={MAX_MODEL_LEN}."
            f" Please request fewer output tokens. (parameter=max_tokens, value={value})",
            param="max_tokens",
        )
    return value


def _number(body: dict[str, Any], name: str, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = "Input should be a valid number"
        raise validation_error("float_type", f"body.{name}", message, type(value).__name__)
    return value if name.startswith("max_") else float(value)


def _out_of_range(name: str, rule: str, value: float) -> Refusal:
    return Refusal(f"{name} {rule}, got {value}. (parameter={name}, value={value})", param=name)


def _parts(messages: Any) -> Iterator[dict[str, Any]]:
    """Yield the content's parts of all messages; the template leaves out roles that it does not know."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        message = "Input should be a valid list"
        raise validation_error("list_type", "body.messages", message, type(messages).__name__)
    for message in messages:
        content = message.get("content")
        if message.get("role") not in _ROLES:
            continue
        if isinstance(content, str):
            yield {"type": "text", "text": content}
        elif isinstance(content, list):
            yield from (part for part in content if isinstance(part, dict))


def _image_url(value: Any) -> str:
    if isinstance(value, dict) and isinstance(value.get("url"), str):
        return str(value["url"])
    shown = repr(value)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[: _SHOWN_CHARACTERS // 2]}...{shown[1 - _SHOWN_CHARACTERS // 2 :]}"
    raise Refusal(
        "1 validation error for ChatCompletionContentPartImageParam\nimage_url\n  Input should be a valid"
        f" dictionary [type=dict_type, input_value={shown}, input_type={type(value).__name__}]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/dict_type"
    )


def _image(url: str) -> Image.Image:
    """Decode a data URI; refuse any other, an address on the network as if it did not answer."""
    scheme, _, rest = url.partition(":")
    if scheme in ("http", "https"):
        host, port = _host_and_port(url)
        message = f"Cannot connect to host {host}:{port} ssl:default [Connect call failed ('{host}', {port})]"
        raise Refusal(message, status=500, kind="InternalServerError")
    if scheme == "file":
        message = "Cannot load local files without `--allowed-local-media-path`."
        raise Refusal(message, status=500, kind="InternalServerError")
    if scheme != "data":
        raise Refusal("The URL must be either a HTTP, data or file URL.")
    _, _, encoded = rest.partition(",")
    if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", encoded):
        raise Refusal("Non-base64 digit found")
    try:
        data = base64.b64decode(encoded)
    except binascii.Error as error:
        raise Refusal("Incorrect padding") from error
    return _gray(data)


def _host_and_port(url: str) -> tuple[str | None, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Refusal("The URL could not be parsed.") from error
    return parts.hostname, port


def _gray(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        image.draft("L", (LONGEST_EDGE_PX, LONGEST_EDGE_PX))
        gray = image.convert("L")
    except UnidentifiedImageError as error:
        message = "Failed to load image: cannot identify image file <_io.BytesIO object>"
        raise Refusal(message) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Refusal(f"Failed to load image: {error}") from error
    gray.thumbnail((LONGEST_EDGE_PX, LONGEST_EDGE_PX))
    return gray


def _check_length(prompt_tokens: int) -> None:
    if prompt_tokens >= MAX_MODEL_LEN:
        over = MAX_MODEL_LEN + 1  # vLLM counts no further
        raise Refusal(
            f"This model's maximum context length is {MAX_MODEL_LEN} tokens. However, your prompt contains"
            f" at least {over} input tokens, which exceeds this limit even without any output tokens. Please"
            f" reduce the length of the input prompt. (parameter=input_tokens, value={over})",
            param="input_tokens",
        )


def _choices(value: Any) -> int:
    return min(max(value, 1), _CHOICES_LIMIT) if isinstance(value, int) else 1
