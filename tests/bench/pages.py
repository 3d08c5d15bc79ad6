"""The pages that are measured: a PDF of what people print and scan, made here, the same every time.

Type in black and in colour, a table, and scans as office machines write them: 200 dpi in gray and in colour
as JPEG, 300 dpi in black and white as CCITT G4.
"""

import contextlib
import io
from random import Random

import pikepdf
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from reportlab.pdfgen.canvas import Canvas

from tests.fakes.line import seeded

A4 = (595, 842)
TYPED = ("text", "colour", "table")
SCANNED = {"fax": "1", "gray scan": "L", "colour scan": "RGB"}
KINDS = (*TYPED, *SCANNED)

_TEXT = (
    "the keeper wrote one line about it in his log book lamp is lit fog not impressed archive keeps that "
    "today together with two hundred and eleven others every of them begins weather driver found shelves"
)
_BLACK, _BLUE, _RED = (0.0, 0.0, 0.0), (0.1, 0.1, 0.6), (0.6, 0.1, 0.1)
_LINES = 52
_GRAIN = 12  # levels of 255 by which a scanner's pixels differ on even paper


def document(kinds: tuple[str, ...] = KINDS, *, times: int = 1) -> bytes:
    """Write a PDF with a page of each kind named, in that order, so many times over: each time as objects of
    their own, since what PDFium remembers of one page must help with no other.
    """
    files = [_typed(kind) if kind in TYPED else _scanned(SCANNED[kind]) for kind in kinds]
    with pikepdf.new() as whole, contextlib.ExitStack() as stack:
        for file in files * times:
            whole.pages.extend(stack.enter_context(pikepdf.open(io.BytesIO(file))).pages)
        written = io.BytesIO()
        whole.save(written)
    return written.getvalue()


def _typed(kind: str) -> bytes:
    file, chance = io.BytesIO(), seeded(1)
    drawing = Canvas(file, pagesize=A4, invariant=1)
    if kind == "table":
        _table(drawing, chance)
    else:
        _lines(drawing, chance, (_BLACK,) if kind == "text" else (_BLACK, _BLUE, _RED))
    drawing.save()
    return file.getvalue()


def _line(chance: Random) -> str:
    return " ".join(chance.choices(_TEXT.split(), k=15))


def _lines(drawing: Canvas, chance: Random, colours: tuple[tuple[float, float, float], ...]) -> None:
    drawing.setFont("Times-Roman", 10)
    for line in range(_LINES):
        drawing.setFillColorRGB(*colours[line % len(colours)])
        drawing.drawString(50, 790 - 14 * line, _line(chance))


def _table(drawing: Canvas, chance: Random) -> None:
    drawing.setFont("Helvetica", 8)
    drawing.grid([50 + 62 * column for column in range(9)], [90 + 14 * row for row in range(51)])
    for row in range(50):
        for column in range(8):
            drawing.drawString(54 + 62 * column, 94 + 14 * row, f"{chance.randint(0, 999_999):,}")


def _scanned(mode: str) -> bytes:
    """Write a page that is one picture, as Pillow does: JPEG, or G4 for what is black and white."""
    file, dpi = io.BytesIO(), 300 if mode == "1" else 200
    paper = _paper(dpi)
    picture = paper.convert("1") if mode == "1" else _seen(paper, mode)
    options = {} if mode == "1" else {"quality": 80}
    picture.save(file, "PDF", resolution=dpi, **options)
    return file.getvalue()


def _paper(dpi: int) -> Image.Image:
    paper = Image.new("L", (round(A4[0] * dpi / 72), round(A4[1] * dpi / 72)), 255)
    pen, font, chance = ImageDraw.Draw(paper), ImageFont.load_default(size=dpi * 10 / 72), seeded(1)
    for line in range(_LINES):
        pen.text((50 * dpi / 72, (50 + 14 * line) * dpi / 72), _line(chance)[:88], fill=30, font=font)
    return paper


def _seen(paper: Image.Image, mode: str) -> Image.Image:
    """Soften edges and grain the paper as a scanner does; colour scans are a little yellow."""
    grain = Image.effect_noise(paper.size, _GRAIN).point(lambda level: min(255, level + 112))
    seen = Image.blend(paper.filter(ImageFilter.GaussianBlur(0.8)), grain, 0.3)
    if mode == "L":
        return seen
    return Image.merge("RGB", [seen.point(lambda level, by=tint: level * by) for tint in (1.0, 0.97, 0.9)])
