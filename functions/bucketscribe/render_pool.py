"""Documents opened and drawn in other processes: a hostile page costs that page, never its neighbours.

What is drawn, and how, stands in `render`; how processes are kept, in `processes`. Here stands who gets a
second try, and what it means for a page when its process dies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from bucketscribe import render
from bucketscribe.errors import (
    DocumentCorrupt,
    PageRenderCrashed,
    PageRenderFailed,
    PageRenderTimeout,
    RenderError,
)
from bucketscribe.model import DocumentFacts, Encoding, PageImage
from bucketscribe.processes import Processes, ProcessExpired

T = TypeVar("T")

FONTS = Path(__file__).parent / "fonts"
# A process is replaced after so many tasks, so that what leaks stays small; that costs under 1 ms a page.
TASKS_PER_PROCESS = 1000

# What comes back instead of a result -> what it means for the page.
FOREIGN_ERRORS: dict[type[BaseException], tuple[type[RenderError], str]] = {
    ProcessExpired: (PageRenderCrashed, "the process that opened it died"),
    TimeoutError: (PageRenderTimeout, "it took longer than allowed (setting render_seconds)"),
    MemoryError: (PageRenderFailed, "it takes more memory than allowed (setting render_mib)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the processes are asked to do: functions of modules, which are found by name over there."""

    inspect: Callable[..., DocumentFacts] = render.inspect
    draw: Callable[..., PageImage] = render.draw
    text_layer: Callable[..., str] = render.text_layer


class RenderPool:
    """Open and draw in `workers` processes: `ports.Renderer`. Of one event loop only.

    What fails is tried once more, in a process that has done nothing before. Nothing is started before the
    first use.
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

        macOS cannot limit the latter: there only the time limit stops what eats memory.
        """
        self._seconds = seconds
        self._encoding = encoding
        self._limits = limits or render.Limits()
        self._work = work or Work()
        processes = partial(Processes, memory_mib=memory_mib, begin=partial(render.start, fonts))
        self._usual = processes(workers, tasks_per_process=TASKS_PER_PROCESS)
        # For second tries: one process that is always new. It works while the page's own place among the
        # usual ones lies idle, so `workers` remains the number of pages drawn at once.
        self._fresh = processes(1, tasks_per_process=1)

    async def inspect(self, path: Path) -> DocumentFacts:
        """Tell kind and number of pages. Raises DocumentError."""
        try:
            return await self._twice("The document", partial(self._work.inspect, path, self._limits))
        except RenderError as error:
            raise DocumentCorrupt(
                f"{error} Please open it in a viewer, save it anew and upload that."
            ) from error

    async def page(self, path: Path, page: int, longest_edge_px: int) -> PageImage:
        """Draw one page (from 1). Raises RenderError."""
        draw = partial(
            self._work.draw,
            path,
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
        """Stop every process at once, for good; who waits for a page gets a BucketscribeError."""
        self._usual.close()
        self._fresh.close()

    async def _twice(self, what: str, function: Callable[[], T]) -> T:
        async with self._usual.place:
            try:
                return await self._once(self._usual, what, function)
            except RenderError:
                async with self._fresh.place:
                    return await self._once(self._fresh, what, function)

    async def _once(self, processes: Processes, what: str, function: Callable[[], T]) -> T:
        try:
            return await processes.run(function, self._seconds)
        except tuple(FOREIGN_ERRORS) as error:
            ours, reason = FOREIGN_ERRORS[type(error)]
            raise ours(f"{what} could not be opened: {reason}.") from error
