"""The stand-in's routes. Pages wait for a reader in the order they came; who hangs up is forgotten.

Logs nothing of a page.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gpu_service.stand_in import answers
from gpu_service.stand_in.answers import Refusal
from gpu_service.stand_in.asked import Asked, understand
from gpu_service.stand_in.reading import EngineError, Readers, engine_version

# Requests are answered that name the models the stand-in stands in for; answers name the stand-in.
ALIASES = ("lightonai/LightOnOCR-2-1B", "lightonai/LightOnOCR-3-1B")

# As vLLM with --max-num-queued-reqs: above this many pages at once the answer is 503.
_LOAD_LIMIT = 1000

# nginx's word for "the client has gone"; nobody reads it.
_CLIENT_GONE = 499


class Service:
    """The routes' common ground: the readers and what they are busy with."""

    def __init__(self, readers: Readers) -> None:
        self.readers = readers
        self.model = f"bucketscribe-stand-in/tesseract-{engine_version()}"
        self.load = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0

    async def chat_completions(self, request: Request) -> Response:
        if self.load >= _LOAD_LIMIT:
            message = "The server is overloaded. Please try again later."
            raise Refusal(message, status=503, kind="ServiceUnavailableError")
        self.load += 1
        try:
            return await self._answer(request)
        except EngineError as error:
            raise Refusal(str(error), status=500, kind="InternalServerError") from error
        finally:
            self.load -= 1

    async def _answer(self, request: Request) -> Response:
        data = await request.body()
        served = (self.model, *ALIASES)
        asked = await asyncio.to_thread(understand, request.headers.get("content-type", ""), data, served)
        text = await self._read(asked, request)
        if text is None:
            return Response(status_code=_CLIENT_GONE)
        body = answers.completion(
            model=self.model,
            text=text,
            choices=asked.choices,
            prompt_tokens=asked.prompt_tokens,
            max_tokens=asked.max_tokens,
        )
        self.prompt_tokens += body["usage"]["prompt_tokens"]
        self.generation_tokens += body["usage"]["completion_tokens"]
        return JSONResponse(body)

    async def _read(self, asked: Asked, request: Request) -> str | None:
        """Read the image, "" without one; None when the client hung up before a reader was free."""
        if asked.image is None:
            return ""
        reading = asyncio.wrap_future(self.readers.submit(asked.image))
        hang_up = asyncio.ensure_future(request.receive())
        either: set[asyncio.Future[Any]] = {reading, hang_up}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()
            hang_up.cancel()

    async def health(self, _: Request) -> Response:
        return Response(status_code=200 if self.readers.is_alive else 503)

    async def models(self, _: Request) -> Response:
        return JSONResponse(answers.models([self.model]))

    async def version(self, _: Request) -> Response:
        return JSONResponse({"version": answers.VLLM_VERSION, "stand_in": self.model})

    async def server_load(self, _: Request) -> Response:
        return JSONResponse({"server_load": self.load})

    async def metrics(self, _: Request) -> Response:
        values = {
            "vllm:num_requests_running": self.load,
            "vllm:prompt_tokens_total": self.prompt_tokens,
            "vllm:generation_tokens_total": self.generation_tokens,
        }
        lines = (f'{name}{{engine="0",model_name="{self.model}"}} {n:.1f}\n' for name, n in values.items())
        media_type = "text/plain; version=1.0.0; charset=utf-8"
        return PlainTextResponse("".join(lines), media_type=media_type)


def make_app(readers: int) -> Starlette:
    """Build the server, with so many pages read at once; an engine is loaded before it serves."""
    service = Service(Readers(readers))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.readers.start()
        yield
        service.readers.stop()

    return Starlette(
        routes=[
            Route("/v1/chat/completions", service.chat_completions, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/health", service.health),
            Route("/ping", service.health, methods=["GET", "POST"]),
            Route("/version", service.version),
            Route("/load", service.server_load),
            Route("/metrics", service.metrics),
        ],
        exception_handlers={Refusal: _refuse, HTTPException: _no_route},
        lifespan=lifespan,
    )


async def _refuse(_: Request, refusal: Any) -> Response:
    return JSONResponse(refusal.body, status_code=refusal.status)


async def _no_route(_: Request, error: Any) -> Response:
    return JSONResponse({"detail": error.detail}, status_code=error.status_code)
