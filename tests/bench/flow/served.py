"""The GPU service as a server: vLLM's HTTP in front of the modelled L4s, in a time that runs faster.

`python -m tests.bench.flow.served PORT SCALE GPUS`. `/state` tells what the L4s are doing, `/fail?seconds=N`
has the service be away. How much work a page is hangs on its image.
"""

import asyncio
import base64
import contextlib
import json
import sys
import zlib
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.operate import capacity
from infra.operate.deployment import deployment
from tests.bench.flow.cloud_run import CloudRun
from tests.bench.flow.l4 import L4, Refused
from tests.bench.flow.scenarios import work
from tests.bench.flow.timing import Timing
from tests.fakes.scribe import MODEL

_HANGS_UP = 499
_TOKENS = {"prompt_tokens": 2160, "completion_tokens": 600, "total_tokens": 2760}


class Served:
    """The routes. `answered` counts pages read, `read` their work in average pages; seconds are of the time
    shown.
    """

    def __init__(self, scale: float, gpus: int) -> None:
        given = deployment(gpus)
        self._timing = Timing(scale=scale)
        self._l4s: list[L4] = []
        self._answered = 0
        self._read = 0.0

        def make(_number: int) -> L4:
            self._l4s.append(L4(self._timing, seats=given.gpu_seats, queued=given.gpu_queued))
            return self._l4s[-1]

        self._service = CloudRun(
            timing=self._timing,
            make=make,
            instances=given.gpus,
            concurrency=given.gpu_concurrency,
            starting=capacity.GPU,
        )

    async def read(self, request: Request) -> Response:
        """Answer one page; a caller who hangs up frees its place, as in vLLM."""
        asked = json.loads(await request.body())
        image = asked["messages"][0]["content"][0]["image_url"]["url"]
        pages = work(str(zlib.crc32(base64.b64decode(image.partition(",")[2]))))
        reading = asyncio.ensure_future(self._service.serve(lambda l4: l4.read(pages)))
        hanging_up = asyncio.ensure_future(_disconnected(request))
        await asyncio.wait({reading, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        hanging_up.cancel()
        if not reading.done():
            reading.cancel()
            return Response(status_code=_HANGS_UP)
        try:
            reading.result()
        except Refused as refusal:
            return Response(status_code=refusal.status)
        self._answered += 1
        self._read += pages
        return JSONResponse(_completion(f"# Page {pages:.3f}\n\nRead by nobody.\n"))

    async def health(self, _request: Request) -> Response:
        try:
            await self._service.serve(lambda _: self._timing.sleep(0.05))
        except Refused as refusal:
            return Response(status_code=refusal.status)
        return Response()

    async def state(self, _request: Request) -> Response:
        ready = self._service.ready()
        return JSONResponse(
            {
                "seconds": self._timing.monotonic(),
                "answered": self._answered,
                "read": self._read,
                "gpus": len(ready),
                "speed": sum(l4.speed for l4 in ready),
                "work": sum(l4.work for l4 in self._l4s),
                "refused": self._service.refused,
                "is_away": self._service.is_away,
            }
        )

    async def close(self) -> None:
        await self._service.close()

    async def fail(self, request: Request) -> Response:
        for l4 in self._service.fail(float(request.query_params["seconds"])):
            l4.die()
        return Response()


async def _disconnected(request: Request) -> None:
    with contextlib.suppress(ClientDisconnect):
        while (await request.receive())["type"] != "http.disconnect":
            pass


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _TOKENS,
    }


def application(served: Served) -> Starlette:
    return Starlette(
        routes=[
            Route("/v1/chat/completions", served.read, methods=["POST"]),
            Route("/health", served.health),
            Route("/state", served.state),
            Route("/fail", served.fail, methods=["POST"]),
        ]
    )


async def serve(port: int, scale: float, gpus: int) -> None:
    app = application(Served(scale, gpus))
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", timeout_keep_alive=60)
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
