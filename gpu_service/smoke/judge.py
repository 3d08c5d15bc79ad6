"""smoke.sh's JSON: writes the request, judges the answers. Standard library alone, Python 3.9 and later.

    judge.py request MODEL IMAGE      print the request's body
    judge.py models MODEL FILE        is MODEL in this answer of /v1/models?
    judge.py page WORDS_FILE FILE     is this answer of /v1/chat/completions a reading of the page?
    judge.py error FILE               print what a refusal says

Exits 1 with a sentence on standard error when the service is wrong. A good page's text is not printed.
"""

import base64
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# What is shown of an answer that is wrong, in characters.
SHOWN = 300


class WrongAnswer(Exception):
    """The service answered, and its answer is not what it must be."""


def request(model: str, image: str) -> str:
    """Write what the functions' client writes (a test compares them): one message, one image, no text."""
    data = base64.b64encode(Path(image).read_bytes()).decode("ascii")
    url = "data:image/png;base64," + data
    body = {
        "model": model,
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 4096,
        "stream": False,
        "repetition_detection": {"max_pattern_size": 40, "min_pattern_size": 1, "min_count": 100},
    }
    return json.dumps(body)


def models(model: str, answer: str) -> str:
    """Look for the model in the list. Raises WrongAnswer."""
    served = [str(each["id"]) for each in _decoded(answer)["data"]]
    if model not in served:
        raise WrongAnswer(
            "the service serves " + (", ".join(served) or "nothing") + ", not " + model + ": clients that ask"
            " for " + model + " get a 404. Deploy the image of the right profile, or name another (--profile)"
        )
    return "model: " + model


def page(words: str, answer: str) -> str:
    """Check an answer against the words that stand on the page. Raises WrongAnswer."""
    body = _decoded(answer)
    choice = body["choices"][0]
    text = choice["message"]["content"] or ""
    if choice["finish_reason"] != "stop":
        raise WrongAnswer(
            "the reading ended by " + str(choice["finish_reason"]) + ", not by stop: " + text[:SHOWN]
        )
    if not text.strip():
        raise WrongAnswer("the reading of a page full of text is empty")
    found = " ".join(text.lower().split())
    expected = Path(words).read_text(encoding="utf-8").splitlines()
    missing = [each for each in expected if each.lower() not in found]
    if missing:
        raise WrongAnswer("the reading lacks " + ", ".join(missing) + "; it begins: " + text[:SHOWN])
    usage = body.get("usage") or {}
    return "{} characters, {} tokens in, {} tokens out".format(
        len(text), usage.get("prompt_tokens", "?"), usage.get("completion_tokens", "?")
    )


def error(answer: str) -> str:
    """Quote a refusal in one line."""
    try:
        says = str(_decoded(answer)["error"]["message"])
    except (WrongAnswer, LookupError, TypeError):
        says = Path(answer).read_text(encoding="utf-8", errors="replace")
    return " ".join(says.split())[:SHOWN]


def _decoded(path: str) -> Any:
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError as cause:
        raise WrongAnswer("this is no JSON, so no vLLM: " + " ".join(text.split())[:SHOWN]) from cause


COMMANDS: Mapping[str, Callable[..., str]] = {
    "request": request,
    "models": models,
    "page": page,
    "error": error,
}


def main() -> None:
    try:
        says = COMMANDS[sys.argv[1]](*sys.argv[2:])
    except WrongAnswer as wrong:
        sys.exit(str(wrong))
    except (LookupError, TypeError, AttributeError) as cause:
        sys.exit("the answer has not the form that vLLM gives it (" + repr(cause) + ")")
    sys.stdout.write(says + "\n")


if __name__ == "__main__":
    main()
