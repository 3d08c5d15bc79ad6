"""A GPU that takes no time: answers every image at once with the same page of Markdown, as vLLM does.

`python -m tests.bench.gpu PORT` serves it.
"""

import json
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# About the 600 tokens that a page of print has.
_PARAGRAPH = (
    "The keepers counted everything: ships, seals, gulls, broken panes, cups of tea. Every night has its own "
    "page, and every page is accounted for."
)
_TEXT = "# Log\n\n" + "\n\n".join(f"{number}. {_PARAGRAPH}" for number in range(1, 17)) + "\n"
_ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "lightonai/LightOnOCR-2-1B",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 2160, "completion_tokens": 600, "total_tokens": 2760},
    }
).encode()


async def _read(request: Request) -> Response:
    """Answer when the whole request has come, looking at none of it."""
    async for _ in request.stream():
        pass
    return Response(_ANSWER, media_type="application/json")


async def _health(_request: Request) -> Response:
    return Response()


app = Starlette(
    routes=[
        Route("/v1/chat/completions", _read, methods=["POST"]),
        Route("/health", _health),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_keep_alive=60)
