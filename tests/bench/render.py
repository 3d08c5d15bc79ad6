"""What drawing and encoding a page costs, against PDFium's own floor and against others, on the same pages.

Processor time, children's too, so that what else the machine does matters little; in turns, so that what
matters falls on all alike.
"""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pypdfium2 as pdfium
from PIL import Image

from bucketscribe import render
from bucketscribe.model import Encoding
from bucketscribe.render_pool import RenderPool
from tests.bench import figures, floor, pages, processor

# Draws one page (from 1) of the document and encodes it.
Way = Callable[[int], object]

FLOOR = "PDFium's drawing and the encoding, the floor"
HERE = "here"
JPEG, COLOUR_PNG = "here, all as JPEG", "here, all as PNG"
POOL = "here, in its render process"
PILLOW = "pypdfium2 and Pillow's PNG"
PPM = "pdftoppm, then Pillow's PNG, as pdf2image does"
PNG = "pdftoppm -png"


def run(*, rounds: int = 5) -> dict[str, Any]:
    """Measure every way on a page of each kind. Milliseconds of processor time a page."""
    with tempfile.TemporaryDirectory() as folder, _ways(Path(folder)) as (ways, skipped):
        spent: dict[str, dict[str, list[float]]] = {kind: {way: [] for way in ways} for kind in pages.KINDS}
        for measured in range(rounds + 1):
            for page, kind in enumerate(pages.KINDS, start=1):
                for name, way in ways.items():
                    milliseconds = _milliseconds(way, page)
                    if measured:  # the first round warms up
                        spent[kind][name].append(milliseconds)
    return {
        "rounds": rounds,
        "skipped": skipped,
        "milliseconds": {
            kind: {name: figures.spread(values) for name, values in by_way.items()}
            for kind, by_way in spent.items()
        },
        "all": {name: figures.spread(_means(spent, name)) for name in ways},
    }


def table(result: dict[str, Any]) -> str:
    """Show the mean page and every kind, in ms, and how often the floor fits into each way."""
    base = result["all"][FLOOR]["median"]
    body = [
        [
            name,
            figures.shown(figure),
            f"{figure['median'] / base:.2f}",
            *(f"{result['milliseconds'][kind][name]['median']:.1f}" for kind in pages.KINDS),
        ]
        for name, figure in result["all"].items()
    ]
    lines = [figures.rows(["way", "ms of processor a page", "× the floor", *pages.KINDS], body)]
    lines += [f"Skipped: {name} ({why})." for name, why in result["skipped"].items()]
    return "\n\n".join(lines)


def plot(result: dict[str, Any], folder: Path) -> None:
    """Draw the mean page."""
    title = "Drawing and encoding a page"
    figures.bars(folder / "render.svg", title, "ms of processor time a page", result["all"])


def _means(spent: dict[str, dict[str, list[float]]], way: str) -> list[float]:
    """Give each round's mean over the kinds."""
    return [
        sum(values) / len(values) for values in zip(*(by_way[way] for by_way in spent.values()), strict=True)
    ]


def _milliseconds(way: Way, page: int) -> float:
    begun = processor.seconds_with_children()
    way(page)
    return 1000 * (processor.seconds_with_children() - begun)


@contextmanager
def _ways(folder: Path) -> Iterator[tuple[dict[str, Way], dict[str, str]]]:
    """Yield all ways that can be measured here, and why others cannot."""
    path = folder / "pages.pdf"
    path.write_bytes(pages.document())
    draw = partial(render.draw, path, longest_edge_px=floor.LONGEST_EDGE_PX, limits=render.Limits())
    with floor.opened(path) as document, _pool(path) as pool:
        ways: dict[str, Way] = {
            FLOOR: lambda page: floor.encode(floor.draw(document, page)),
            HERE: partial(draw, encoding=Encoding.AUTO),
            JPEG: partial(draw, encoding=Encoding.JPEG),
            COLOUR_PNG: partial(draw, encoding=Encoding.PNG),
            POOL: pool,
            PILLOW: lambda page: _pillow_png(document[page - 1]),
        }
        skipped = {}
        if shutil.which("pdftoppm"):
            ways |= {PPM: lambda page: _ppm(path, page), PNG: lambda page: _pdftoppm(path, page, "-png")}
        else:
            skipped = dict.fromkeys((PPM, PNG), "pdftoppm is not installed")
        yield ways, skipped


@contextmanager
def _pool(path: Path) -> Iterator[Way]:
    pool, loop = RenderPool(workers=1, seconds=20.0, memory_mib=2048), asyncio.new_event_loop()
    try:
        yield lambda page: loop.run_until_complete(pool.page(path, page, floor.LONGEST_EDGE_PX))
    finally:
        pool.close()
        loop.close()


def _pillow_png(page: pdfium.PdfPage) -> bytes:
    image = page.render(scale=floor.LONGEST_EDGE_PX / max(page.get_size())).to_pil()
    return _png(image)


def _ppm(path: Path, page: int) -> bytes:
    with Image.open(BytesIO(_pdftoppm(path, page))) as image:
        return _png(image)


def _png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _pdftoppm(path: Path, page: int, *more: str) -> bytes:
    number, size = str(page), str(floor.LONGEST_EDGE_PX)
    command = ("pdftoppm", *more, "-f", number, "-l", number, "-scale-to", size, str(path))
    return subprocess.run(command, check=True, capture_output=True).stdout
