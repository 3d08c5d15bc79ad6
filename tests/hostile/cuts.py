"""Good documents that break off: the project's samples, and an image of every kind."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import papers

SAMPLES = Path(__file__).parent.parent.parent / "samples" / "documents"
FORMATS = ("PNG", "WEBP", "GIF", "BMP", "JPEG2000", "TIFF")

# Where a document breaks off, in thousandths of its length.
FEW = (0, 10, 600)
MANY = (0, 1, 2, 5, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 990, 999)

# What a document that breaks off may be, when it cannot be opened.
CODES = frozenset({"empty_object", "unsupported_type", "document_corrupt", "document_without_pages"})
# How its pages may end: what is left of them is read.
PAGES = frozenset({"ok", "blank", "page_render_failed"})


def whole() -> dict[str, bytes]:
    """Give the good documents by name."""
    found = {path.name: path.read_bytes() for path in sorted(SAMPLES.iterdir())}
    return found | {f"picture.{kind}": papers.saved(papers.picture(), kind) for kind in FORMATS}


def cut(thousandths: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yield each document broken off at each of these places, under a name that says where."""
    for name, data in whole().items():
        for each in thousandths:
            yield f"{name}.{each}", data[: len(data) * each // 1000]
