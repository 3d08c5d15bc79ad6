"""The least that a page can cost: PDFium's own drawing at the size that the model sees, and the encoding that
is sent, in one process, the document open. No measure of ink, no other process, no file, no network.

`python -m tests.bench.floor FILE.pdf PAGES` prints what that takes, in seconds of the processor and of the
clock.
"""

# ruff: noqa: T201 - that is how it reports

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from bucketscribe import canvas, render
from bucketscribe.model import Encoding
from bucketscribe.render_pool import FONTS

LONGEST_EDGE_PX = 1540
_FLAGS = pdfium_c.FPDF_ANNOT | pdfium_c.FPDF_REVERSE_BYTE_ORDER


@contextmanager
def opened(path: Path) -> Iterator[pdfium.PdfDocument]:
    """Open a document, as it stays for all of its pages."""
    render.start(FONTS)
    with pdfium.PdfDocument(path) as document:
        document.init_forms()
        yield document


def draw(document: pdfium.PdfDocument, page: int) -> canvas.Pixels:
    """Draw a page (from 1) with PDFium, and nothing else."""
    loaded = document[page - 1]
    width, height = canvas.fit(*loaded.get_size(), LONGEST_EDGE_PX, enlarge=True)
    bitmap = pdfium.PdfBitmap.new_native(
        canvas.padded(width), canvas.padded(height), pdfium_c.FPDFBitmap_BGR, rev_byteorder=True
    )
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, bitmap.width, bitmap.height)
    pdfium_c.FPDF_RenderPageBitmap(bitmap, loaded, 0, 0, width, height, 0, _FLAGS)
    return bitmap.to_numpy()


def encode(pixels: canvas.Pixels) -> bytes:
    """Encode as is sent: gray PNG, or JPEG where there is colour."""
    return canvas._encoded(canvas._without_colour_if_gray(pixels), Encoding.AUTO)[0]


def main(path: Path, count: int) -> None:
    with opened(path) as document:
        begun = time.perf_counter(), time.process_time()
        for page in range(1, count + 1):
            encode(draw(document, page))
        print(time.process_time() - begun[1], time.perf_counter() - begun[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
