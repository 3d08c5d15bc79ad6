"""What the stand-in sends: vLLM's envelopes, as recorded from vLLM 0.32. No HTTP here."""

import math
import secrets
import time
from collections.abc import Sequence
from typing import Any

VLLM_VERSION = "0.32.0"
MAX_MODEL_LEN = 8192

# English Markdown has about four characters to a token; the stand-in has no tokenizer to count them with.
CHARACTERS_PER_TOKEN = 4


class Refusal(Exception):
    """An answer that is an error, with vLLM's words, type and parameter."""

    def __init__(
        self, message: str, *, status: int = 400, kind: str = "BadRequestError", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {
            "error": {"message": message, "type": kind, "param": param, "code": status}
        }


def validation_error(kind: str, loc: str, says: str, given: str, context: str = "") -> Refusal:
    """Refuse as vLLM's request validation does: a count, then one line per error in Python's notation."""
    detail = f"{{'type': {kind!r}, 'loc': {loc!r}, 'msg': {says!r}, 'input': {given!r}{context}}}"
    return Refusal(f"1 validation error:\n  {detail}", kind="Bad Request", param=loc)


def tokens(text: str) -> int:
    """Estimate tokens by length."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def completion(*, model: str, text: str, choices: int, prompt_tokens: int, max_tokens: int) -> dict[str, Any]:
    """Answer with `text`, cut where `max_tokens` would have cut it."""
    # The token that ends an answer is counted too; an answer that is cut off has none.
    is_cut = tokens(text) + 1 > max_tokens
    spent = max_tokens if is_cut else tokens(text) + 1
    shown = text[: max_tokens * CHARACTERS_PER_TOKEN] if is_cut else text
    reason = "length" if is_cut else "stop"
    return {
        "id": f"chatcmpl-{secrets.token_hex(8)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(index, shown, reason) for index in range(choices)],
        "service_tier": None,
        "system_fingerprint": model.replace("/", "-"),
        "usage": {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + choices * spent,
            "completion_tokens": choices * spent,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


def _choice(index: int, text: str, reason: str) -> dict[str, Any]:
    return {
        "index": index,
        "message": {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "reasoning": None,
        },
        "logprobs": None,
        "finish_reason": reason,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }


def models(names: Sequence[str]) -> dict[str, Any]:
    """List what is served; `owned_by` says by whom."""
    created = int(time.time())
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": created,
                "owned_by": "bucketscribe-stand-in",
                "root": name,
                "parent": None,
                "max_model_len": MAX_MODEL_LEN,
                "permission": [],
            }
            for name in names
        ],
    }
