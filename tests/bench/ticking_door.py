"""The page door with a clock beside it that tells how late its event loop is: a function source for
functions-framework, with functions/ on the path. A GET answers with what was seen since the last one: for
each tick the seconds it came late, and those the loop's thread worked meanwhile. Late by more is the
machine's doing, which gave the processor to others.
"""

import asyncio
import time

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import main

TICK_SECONDS = 0.005
_late: list[tuple[float, float]] = []
_ticking: list["asyncio.Task[None]"] = []


async def _tick() -> None:
    while True:
        begun, worked = time.perf_counter(), time.thread_time()
        await asyncio.sleep(TICK_SECONDS)
        _late.append((time.perf_counter() - begun - TICK_SECONDS, time.thread_time() - worked))


@functions_framework.aio.http
async def on_page_task(request: Request) -> Response:
    if not _ticking:
        _ticking.append(asyncio.create_task(_tick()))
    if request.method == "GET":
        seen = list(_late)
        _late.clear()
        return JSONResponse(seen)
    return await main.on_page_task(request)
