"""Every way in which an answer of the model's server can be none, or be no good, and what may come of it.

After the table of failures: the error that the client makes of it, and whether that is the page's own fault.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from gpu_service.stand_in import answers

MODEL = "bucketscribe-chaos"


class Manner(StrEnum):
    """What happens on the wire."""

    ANSWER = "answer"
    CUT = "cut"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to fail. `code` is what a page may end failed with because of it; None for what is waited out.

    `is_final`: one such answer ends the page; of the others it takes two.
    """

    name: str
    manner: Manner = Manner.ANSWER
    status: int = 200
    body: bytes = b""
    code: str | None = None
    is_final: bool = False


def _said(text: str | None, reason: str = "stop") -> bytes:
    body = answers.completion(model=MODEL, text=text or "", choices=1, prompt_tokens=900, max_tokens=4096)
    body["choices"][0].update(finish_reason=reason)
    body["choices"][0]["message"].update(content=text)
    return json.dumps(body).encode()


def _refused(status: int) -> Fault:
    body = json.dumps(answers.Refusal("out of order, on purpose", status=status).body).encode()
    return Fault(name=str(status), status=status, body=body)


def _rejected(status: int) -> Fault:
    body = json.dumps(answers.Refusal("this page, no", status=status).body).encode()
    return Fault(name=str(status), status=status, body=body, code="model_rejected", is_final=True)


_ROW = "| 12 | brass polish | 3 |\n"

# The client's whole table, and one of those that it does not name (302, 418).
_WAITED_OUT_STATUSES = (302, 401, 403, 404, 407, 408, 418, 425, 429, 500, 502, 503, 504)
_REJECTED_STATUSES = (400, 413, 422)

# What is waited out, and then what is the page's own fault: each side is half of all faults.
WAITED_OUT: tuple[Fault, ...] = (
    *(_refused(status) for status in _WAITED_OUT_STATUSES),
    Fault(name="refused", manner=Manner.RESET),
    Fault(name="cut off", manner=Manner.CUT, body=_said("The first half of")),
    Fault(name="no JSON", body=b"<html>It works!</html>"),
    Fault(name="other JSON", body=b'{"object": "list", "data": []}'),
    Fault(name="abort", body=_said("The engine is going", "abort")),
)
OWN: tuple[Fault, ...] = (
    *(_rejected(status) for status in _REJECTED_STATUSES),
    Fault(name="hang", manner=Manner.HANG, code="model_timeout"),
    Fault(name="length", body=_said("Too much of it", "length"), code="model_truncated", is_final=True),
    Fault(name="repetition", body=_said(_ROW * 20, "repetition"), code="model_loop"),
    Fault(name="loop", body=_said(_ROW * 200), code="model_loop"),
    Fault(name="empty", body=_said(""), code="model_empty"),
    Fault(name="null", body=_said(None), code="model_empty"),
    Fault(name="blank talk", body=_said("There is no content in the provided image."), code="blank_talk"),
)
FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in (*WAITED_OUT, *OWN)}

# Not drawn, but seen: the client gave up waiting for a right answer.
LATE = Fault(name="late", code="model_timeout")


def draw(random: Callable[[], float], share: float) -> Fault | None:
    """Draw what happens to one answer; None: it comes through. `random` gives numbers from 0 up to 1."""
    if random() >= share:
        return None
    kinds = WAITED_OUT if random() < 1 / 2 else OWN
    return kinds[int(random() * len(kinds))]
