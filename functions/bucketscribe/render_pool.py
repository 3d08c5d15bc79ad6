"""Worker processes around `render`: one hostile page costs that page, never its neighbours, nor us.

Time and memory are limited here, by pebble and the kernel; that contains resources, not code. What is drawn
and how stands in `render`.
"""

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import pebble

from bucketscribe import render
from bucketscribe.errors import (
    BucketscribeError,
    DocumentCorrupt,
    PageRenderCrashed,
    PageRenderFailed,
    PageRenderTimeout,
    RenderError,
)
from bucketscribe.model import DocumentFacts, Encoding, Kind, PageImage

T = TypeVar("T")

FONTS = Path(__file__).parent / "fonts"
# A worker is replaced after so many tasks, so that what leaks stays small; that costs under 1 ms a page.
TASKS_PER_WORKER = 1000
# What a worker may take to be there, on a machine with nothing to spare; usual is half a second.
START_SECONDS = 60.0

# What comes back instead of a result -> what it means for the page.
FOREIGN_ERRORS: tuple[tuple[type[BaseException], type[RenderError], str], ...] = (
    (pebble.ProcessExpired, PageRenderCrashed, "it took its render process down"),
    (TimeoutError, PageRenderTimeout, "it took longer than the time limit (setting render_seconds)"),
    (MemoryError, PageRenderFailed, "it needs more memory than allowed (setting render_mib)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the processes are asked to do: functions of modules, found by their name over there."""

    inspect: Callable[..., DocumentFacts] = render.inspect
    draw: Callable[..., PageImage] = render.draw
    text_layer: Callable[..., str] = render.text_layer


class RenderPool:
    """Draw pages in `workers` processes. Implements `ports.Renderer`; of one event loop only.

    What fails is tried once more in a process that has done nothing before. Nothing is started before the
    first use or `warm()`.
    """

    def __init__(
        self,
        *,
        workers: int,
        seconds: float,
        memory_mib: int,
        encoding: Encoding = Encoding.AUTO,
        limits: render.Limits | None = None,
        fonts: Path = FONTS,
        work: Work | None = None,
    ) -> None:
        """Set the time limit of one render in seconds, and the address space of one process in MiB.

        The latter holds on Linux; macOS refuses to limit it, so there a memory bomb is stopped by the time
        limit only.
        """
        self._seconds = seconds
        self._encoding = encoding
        self._limits = limits or render.Limits()
        self._work = work or Work()
        self._usual = _Processes(workers, TASKS_PER_WORKER, memory_mib, fonts)
        # One process that is always new, for second tries. It works while its page's own place in the
        # usual ones lies idle, so `workers` still is the number of pages drawn at once.
        self._fresh = _Processes(1, 1, memory_mib, fonts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def warm(self) -> None:
        """Return when a process is ready, so that the first page need not wait for that."""
        await self._usual.run(os.getpid, START_SECONDS)

    async def inspect(self, path: Path) -> DocumentFacts:
        """Tell kind and number of pages. Raises DocumentError."""
        try:
            return await self._twice("The document", partial(self._work.inspect, path, self._limits))
        except RenderError as error:
            raise DocumentCorrupt(
                f"The document could not be opened: {error} Please open it in a viewer, save it anew and upload that."
            ) from error

    async def page(self, path: Path, kind: Kind, page: int, longest_edge_px: int) -> PageImage:
        """Draw one page (from 1). Raises RenderError."""
        draw = partial(
            self._work.draw,
            path,
            kind,
            page,
            longest_edge_px=longest_edge_px,
            encoding=self._encoding,
            limits=self._limits,
        )
        return await self._twice(f"Page {page}", draw)

    async def text_layer(self, path: Path, page: int) -> str:
        """Extract the PDF's own text of one page (from 1), "" when there is none. Raises RenderError."""
        return await self._twice(f"The text of page {page}", partial(self._work.text_layer, path, page))

    def close(self) -> None:
        """Stop every process at once; who still waits for a page is cancelled."""
        self._usual.close()
        self._fresh.close()

    async def _twice(self, what: str, function: Callable[[], T]) -> T:
        async with self._usual.place:
            try:
                return await self._once(self._usual, what, function)
            except RenderError:
                async with self._fresh.place:
                    return await self._once(self._fresh, what, function)

    async def _once(self, processes: "_Processes", what: str, function: Callable[[], T]) -> T:
        try:
            return await processes.run(function, self._seconds)
        except tuple(foreign for foreign, _, _ in FOREIGN_ERRORS) as error:
            ours, reason = next((o, r) for foreign, o, r in FOREIGN_ERRORS if isinstance(error, foreign))
            raise ours(f"{what} could not be drawn: {reason}.") from error


class _Processes:
    """A pebble pool that comes back when it broke, and holds no more tasks than it has processes.

    So a task that waits for its turn waits on our side, at `place`: cancelled there it costs nothing, while
    pebble would kill the process that comes to take it.
    """

    def __init__(self, workers: int, tasks_per_worker: int, memory_mib: int, fonts: Path) -> None:
        self.place = asyncio.Semaphore(workers)
        self._new = partial(
            pebble.ProcessPool,
            max_workers=workers,
            max_tasks=tasks_per_worker,
            initializer=_begin,
            initargs=(memory_mib, fonts),
            context=multiprocessing.get_context("spawn"),
        )
        self._pool: pebble.ProcessPool | None = None
        self._futures: set[pebble.ProcessFuture[object]] = set()
        self._closed = False

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        """Run in one of the processes. Raises what it raises, ProcessExpired when it dies, TimeoutError.

        pebble gives its pool up when a process dies that has nothing to do (killed by the kernel, say): that
        is nobody's fault, and a new pool gets the task.
        """
        try:
            return await self._in(self._running(), function, seconds)
        except (BrokenProcessPool, _Stuck):
            self._drop()
        try:
            return await self._in(self._running(), function, seconds)
        except (BrokenProcessPool, _Stuck) as error:
            self._drop()
            raise BucketscribeError(
                f"Render processes do not start, or do not answer ({error}). Is the limit on their memory "
                "too small (setting render_mib)?"
            ) from error
