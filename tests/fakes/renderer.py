"""A renderer of make-believe documents: each is a title and a number of pages; an image says its words."""

from pathlib import Path

from bucketscribe.errors import DocumentError, RenderError
from bucketscribe.model import DocumentFacts, Kind, PageImage

# Ink of an ordinary page, and of one with nothing but a speck on it.
INK = 0.08
SPECK = 0.0001


def paper(title: str, pages: int) -> bytes:
    """Make a document that FakeRenderer opens."""
    return f"{title}\n{pages}".encode()


class FakeRenderer:
    """`ports.Renderer`, scripted page by page, whatever the document.

    `cannot_open` is raised by inspect; pages in `blank` have nothing on them, those in `faint` a speck;
    `failing` says what drawing a page raises, `text_layers` what a page's own text is, and `unreadable`
    pages raise for their text layer too. `drawn` holds what was drawn, in order.
    """

    def __init__(self) -> None:
        self.cannot_open: DocumentError | None = None
        self.blank: set[int] = set()
        self.faint: set[int] = set()
        self.failing: dict[int, RenderError] = {}
        self.text_layers: dict[int, str] = {}
        self.unreadable: set[int] = set()
        self.labels: dict[int, str] = {}
        self.opened: list[str] = []
        self.drawn: list[str] = []

    async def inspect(self, path: Path) -> DocumentFacts:
        title, pages = _open(path)
        self.opened.append(title)
        if self.cannot_open:
            raise self.cannot_open
        return DocumentFacts(kind=Kind.PDF, pages=pages)

    async def page(self, path: Path, page: int, longest_edge_px: int) -> PageImage:
        title, pages = _open(path)
        assert 1 <= page <= pages, f"page {page} of {pages}"
        self.drawn.append(f"{title} {page}")
        if page in self.failing:
            raise self.failing[page]
        blank = page in self.blank
        return PageImage(
            data=b"" if blank else f"{title} {page}".encode(),
            media_type="image/png",
            width=longest_edge_px // 28 * 28,
            height=28,
            ink=0.0 if blank else SPECK if page in self.faint else INK,
            blank=blank,
            label=self.labels.get(page),
        )

    async def text_layer(self, path: Path, page: int) -> str:
        _open(path)
        if page in self.unreadable:
            raise RenderError(f"the text layer of page {page} cannot be read")
        return self.text_layers.get(page, "")


def _open(path: Path) -> tuple[str, int]:
    title, _, pages = path.read_text().partition("\n")
    return title, int(pages)
