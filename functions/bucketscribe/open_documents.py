"""PDFs that stay open between their pages, in the process that draws them; what is drawn is for `render` to
say.

A late page of a book takes PDFium up to 70 ms to find when it is opened anew: it walks all those before.
"""

import resource
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pypdfium2 as pdfium

# Open at once: an instance reads a few documents side by side, and each costs memory.
KEPT = 4
# A document is opened anew after so many pages: PDFium keeps of each what it has parsed.
PAGES = 100
# The share of the process's address space by which what is kept may make it grow: the limit is meant for the
# page that is drawn, and PDFium leaves a picture out, without a word, when it finds no memory for it.
GROWTH_SHARE = 8


def address_space_bytes() -> int:
    """Tell the size of this process's address space; 0 where it cannot be told (macOS), nor limited."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


@dataclass(slots=True)
class _Open:
    document: pdfium.PdfDocument
    pages: int = 0


class OpenDocuments:
    """The documents that this process has open, by file; the one that was used least lately goes first."""

    def __init__(self, address_space: Callable[[], int] = address_space_bytes) -> None:
        self._open: OrderedDict[tuple[int, ...], _Open] = OrderedDict()
        self._address_space = address_space
        self._at_first: int | None = None

    @contextmanager
    def lend(self, path: Path) -> Iterator[pdfium.PdfDocument]:
        """Lend a document for one page, its forms ready. Raises PdfiumError when it cannot be opened.

        Whatever is raised meanwhile closes all: what was open may be to blame, or damaged.
        """
        if self._at_first is None:
            self._at_first = self._address_space()
        found = path.stat()
        try:
            opened = self._opened(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
            yield opened.document
        except BaseException:
            self.close()
            raise
        self._tidy(self._at_first)

    def close(self) -> None:
        """Close all."""
        while self._open:
            self._close_oldest()

    def _opened(self, path: Path, file: tuple[int, ...]) -> _Open:
        if file in self._open and self._open[file].pages >= PAGES:
            self._open.pop(file).document.close()
        if file not in self._open:
            document = pdfium.PdfDocument(path)
            self._open[file] = _Open(document)
            # Before a page is loaded, or the values of its form fields are not drawn.
            document.init_forms()
        self._open.move_to_end(file)
        self._open[file].pages += 1
        return self._open[file]

    def _tidy(self, at_first: int) -> None:
        while len(self._open) > KEPT:
            self._close_oldest()
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY and self._address_space() - at_first > limit // GROWTH_SHARE:
            self.close()

    def _close_oldest(self) -> None:
        self._open.popitem(last=False)[1].document.close()
