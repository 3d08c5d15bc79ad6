"""Measure drawing and encoding as ratios within one run: `python tests/bench/render.py [FILE.pdf ...]`.

Absolute figures say more of the machine than of the code; the ways are timed in turns, so that what else
the machine does weighs on all of them alike. Without files, typical pages are made: text, type in colour,
and a scan.
"""

# ruff: noqa: T201 - a table for people

import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFilter
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from bucketscribe import canvas, render
from bucketscribe.model import Encoding, Kind
from bucketscribe.render_pool import FONTS

ROUNDS = 5
LONGEST_EDGE_PX = 1540
A4 = (595, 842)
MOST_PAGES_OF_A_FILE = 20


def main() -> None:
    render.start(FONTS)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(name) for name in sys.argv[1:]] or [_typical(Path(folder))]
        pages = [(path, page) for path in paths for page in _pages_of(path)]
        ways: dict[str, Callable[[Path, int], int]] = {
            "drawn only": _drawn,
            "drawn, auto": lambda path, page: _encoded(path, page, Encoding.AUTO),
            "drawn, jpeg": lambda path, page: _encoded(path, page, Encoding.JPEG),
            "drawn, png": lambda path, page: _encoded(path, page, Encoding.PNG),
            "drawn, Pillow's PNG": _pillow_png,
        }
        _print(len(pages), *_measured(ways, pages))


def _pages_of(path: Path) -> range:
    facts = render.inspect(path, render.Limits())
    return range(1, min(facts.pages, MOST_PAGES_OF_A_FILE) + 1) if facts.kind is Kind.PDF else range(0)


def _measured(
    ways: dict[str, Callable[[Path, int], int]], pages: list[tuple[Path, int]]
) -> tuple[dict[str, float], dict[str, int]]:
    """Sum each page's best time, in seconds, and its bytes, by way."""
    seconds, sizes = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    for path, page in pages:
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(ROUNDS):
            for name, way in ways.items():
                begun = time.perf_counter()
                size = way(path, page)
                best[name] = min(best[name], time.perf_counter() - begun)
                sizes[name] += size
        for name in ways:
            seconds[name] += best[name]
    return seconds, {name: size // ROUNDS for name, size in sizes.items()}


def _print(pages: int, seconds: dict[str, float], sizes: dict[str, int]) -> None:
    base = seconds["drawn, auto"]
    print(f"{pages} pages, {ROUNDS} rounds, best of each")
    print(f"{'way':22}{'ms/page':>9}{'pages/s':>9}{'against auto':>14}{'KB/page':>9}")
    for name, total in seconds.items():
        print(
            f"{name:22}{1000 * total / pages:9.1f}{pages / total:9.0f}{total / base:13.2f}x"
            f"{sizes[name] / pages / 1000:9.0f}"
        )


def _canvas(path: Path, page: int) -> canvas.Canvas:
    return render._pdf_canvas(path, page, LONGEST_EDGE_PX)


def _drawn(path: Path, page: int) -> int:
    _canvas(path, page)
    return 0


def _encoded(path: Path, page: int, encoding: Encoding) -> int:
    return len(canvas.encode(_canvas(path, page), encoding).data)


def _pillow_png(path: Path, page: int) -> int:
    file = io.BytesIO()
    Image.fromarray(_canvas(path, page).pixels).save(file, "PNG", compress_level=1)
    return len(file.getvalue())


def _typical(folder: Path) -> Path:
    path = folder / "typical.pdf"
    drawing = Canvas(str(path), pagesize=A4)
    for colour in ((0.0, 0.0, 0.0), (0.1, 0.1, 0.6)):
        drawing.setFillColorRGB(*colour)
        drawing.setFont("Times-Roman", 10)
        for line in range(55):
            drawing.drawString(
                50, 790 - 13.5 * line, f"{line:2} " + "the quick brown fox jumps over it; " * 3
            )
        drawing.showPage()
    noise = (
        Image.effect_noise((1240, 1754), 60)
        .filter(ImageFilter.GaussianBlur(2))
        .point(lambda v: min(255, v + 90))
    )
    drawing.drawImage(ImageReader(noise), 0, 0, *A4)
    drawing.showPage()
    drawing.save()
    return path


if __name__ == "__main__":
    main()
