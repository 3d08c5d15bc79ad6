"""Documents opened and drawn: a file to its kind and number of pages, a page to what the model sees, a
page's own text. PDFs by PDFium here, all others in `images`; sizes, ink and bytes in `canvas`.

Runs inside the worker processes of `render_pool`: PDFium is not thread-safe, and hostile files hang it or
take all memory. The only room that subtracts one from a page number.
"""

import ctypes
import logging
import math
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pikepdf
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

from bucketscribe import images
from bucketscribe.canvas import Canvas, encode, fit, padded
from bucketscribe.errors import (
    DocumentCorrupt,
    DocumentEncrypted,
    DocumentError,
    DocumentWithoutPages,
    EmptyObject,
    PageRenderFailed,
    TooManyPages,
    UnsupportedType,
)
from bucketscribe.model import DocumentFacts, Encoding, Kind, PageImage
from bucketscribe.open_documents import OpenDocuments

# A PDF's header may stand behind other bytes (ISO 32000, annex H.3.4.1).
HEADER_BYTES = 1024
# From here on a PDF's own page count is not taken on trust: files of 315 bytes claim 900,000 pages.
TRUSTED_PAGES = 1000
LABEL_CHARACTERS = 32
# More text than this is on no page that was meant to be read (a newspaper's has 30,000), and 800 bytes of PDF
# can claim ten million for each of 5,000 pages, which nobody could put together.
TEXT_CHARACTERS = 100_000
WHITE = 0xFF

# PDFium's reason for not opening a document -> what that means for it; any other means that it is damaged.
OPEN_ERRORS: dict[int, tuple[type[DocumentError], str]] = {
    pdfium_c.FPDF_ERR_PASSWORD: (
        DocumentEncrypted,
        "The PDF is protected by a password. Please remove the password and upload it again.",
    ),
    pdfium_c.FPDF_ERR_SECURITY: (
        DocumentEncrypted,
        "The PDF is encrypted in a way that is not supported (rights management, for example). Please save "
        "it without protection and upload it again.",
    ),
}
CORRUPT: tuple[type[DocumentError], str] = (
    DocumentCorrupt,
    "The PDF is damaged and could not be opened. Please open it in a viewer, save it anew and upload that.",
)

# PDFium keeps the pointer to its font folders, so what it points to must live as long as the process.
_font_folders: list[object] = []

_documents = OpenDocuments()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is too much: pages in a document, and pixels in an image before it is decoded."""

    max_pages: int = 5000
    max_pixels: int = 50_000_000


def start(font_folder: Path) -> None:
    """Start PDFium anew, with this folder as its only source of fonts that a PDF lacks.

    Cloud images have no fonts; that those of a laptop are not looked at makes both draw the same. PDFium
    leaves text without a font out, without a word. Documents that are open are closed.
    """
    _documents.close()
    logging.getLogger("pypdfium2").setLevel(
        logging.ERROR
    )  # its advice on how to build PDFium is not for logs
    folders = (ctypes.c_char_p * 2)(str(font_folder).encode(), None)
    _font_folders.append(folders)
    config = pdfium_c.FPDF_LIBRARY_CONFIG(
        version=2,
        m_pUserFontPaths=ctypes.cast(folders, ctypes.POINTER(ctypes.POINTER(ctypes.c_char))),
        m_pIsolate=None,
        m_v8EmbedderSlot=0,
    )
    pdfium_c.FPDF_DestroyLibrary()
    pdfium_c.FPDF_InitLibraryWithConfig(config)


def inspect(path: Path, limits: Limits) -> DocumentFacts:
    """Tell a document's kind by its content, and count its pages. Raises DocumentError."""
    kind = _kind(path)
    if kind is Kind.PDF:
        pages, seen = (count := _pdf_pages(path)), str(count)
    else:
        pages = images.count(path, kind, max_pages=limits.max_pages, max_pixels=limits.max_pixels)
        seen = f"at least {pages}"  # frames are not counted any further
    if pages > limits.max_pages:
        raise TooManyPages(
            f"The document has {seen} pages, more than the {limits.max_pages} allowed (setting "
            "document_pages). Please split it, or raise the setting."
        )
    return DocumentFacts(kind=kind, pages=pages)


def draw(path: Path, page: int, *, longest_edge_px: int, encoding: Encoding, limits: Limits) -> PageImage:
    """Draw one page (from 1). A PDF page's longest side becomes `longest_edge_px`, never a pixel more; images
    are shrunk to it, never enlarged. Both sides are padded with white to multiples of 28.

    Raises PageRenderFailed.
    """
    is_pdf = _kind(path) is Kind.PDF
    try:
        if is_pdf:
            canvas = _pdf_canvas(path, page, longest_edge_px)
        else:
            canvas = images.draw(path, page, longest_edge_px=longest_edge_px, max_pixels=limits.max_pixels)
        image = encode(canvas, encoding)
    except MemoryError as error:
        raise PageRenderFailed(f"Page {page} needs more memory than a render process may have.") from error
    if is_pdf and image.blank:
        _refuse_lost_pictures(path, page)
    return image


def text_layer(path: Path, page: int) -> str:
    """Extract a PDF page's own text (from 1), lines ended by LF; "" for what is no PDF.

    Raises PageRenderFailed.
    """
    if _kind(path) is not Kind.PDF:
        return ""
    with _pdf_page(path, page) as (_, loaded):
        found = loaded.get_textpage()
        if (characters := found.count_chars()) > TEXT_CHARACTERS:
            raise PageRenderFailed(
                f"Page {page} has {characters} characters of text, more than {TEXT_CHARACTERS}: no page has."
            )
        text: str = found.get_text_bounded()
    # PDFium writes U+FFFE for a hyphen at the end of a line.
    return text.replace("\r\n", "\n").replace("\ufffe", "-").replace("\0", "")


def _kind(path: Path) -> Kind:
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if not header:
        raise EmptyObject("The file is empty. Please upload it again.")
    kind = images.kind(header) or (Kind.PDF if b"%PDF-" in header else None)
    if kind is None:
        raise UnsupportedType(
            "The file is neither a PDF nor an image that can be read here (PNG, JPEG, WebP, GIF, BMP, "
            "JPEG 2000, TIFF). Please convert it to PDF and upload that."
        )
    return kind


def _pdf_pages(path: Path) -> int:
    """Open with the raw call: PDFium keeps its last error until the next, so that a document which opens but
    has no pages would come with the error of one before it.
    """
    handle = pdfium_c.FPDF_LoadDocument(os.fsencode(path), None)
    if not handle:
        meaning, message = OPEN_ERRORS.get(pdfium_c.FPDF_GetLastError(), CORRUPT)
        raise meaning(message)
    with pdfium.PdfDocument(handle) as document:
        pages = len(document)
    if pages > TRUSTED_PAGES:
        pages = _pages_counted_again(path)
    if pages == 0:
        raise DocumentWithoutPages("The PDF has no pages. Please check that it was saved completely.")
    return pages


def _pages_counted_again(path: Path) -> int:
    """Walk the page tree with another library, which refuses what does not add up."""
    try:
        with pikepdf.open(path, suppress_warnings=True) as document:
            return len(document.pages)
    except (pikepdf.PdfError, RuntimeError) as error:
        meaning, message = CORRUPT
        raise meaning(message) from error


def _pdf_canvas(path: Path, page: int, longest_edge_px: int) -> Canvas:
    """Draw into a bitmap of our own size: PdfPage.render() rounds up, and 1 page in 50 gets 1541 px."""
    with _pdf_page(path, page) as (document, loaded):
        width, height = fit(*_size(loaded, page), longest_edge_px, enlarge=True)
        bitmap = pdfium.PdfBitmap.new_native(
            padded(width), padded(height), pdfium_c.FPDFBitmap_BGR, rev_byteorder=True
        )
        ctypes.memset(bitmap.buffer, WHITE, bitmap.stride * bitmap.height)  # fill_rect takes 0.6 ms
        box = (0, 0, width, height, 0, pdfium_c.FPDF_ANNOT | pdfium_c.FPDF_REVERSE_BYTE_ORDER)
        pdfium_c.FPDF_RenderPageBitmap(bitmap, loaded, *box)
        if document.formenv is not None:
            pdfium_c.FPDF_FFLDraw(document.formenv, bitmap, loaded, *box)
        return Canvas(
            pixels=bitmap.to_numpy(),
            width=width,
            height=height,
            rotation=loaded.get_rotation(),
            label=_label(document, page),
        )


def _refuse_lost_pictures(path: Path, page: int) -> None:
    """Tell a page that is blank from a scan that PDFium cannot decode, or that is too large for it: it leaves
    such a picture out, without a word.
    """
    with _pdf_page(path, page) as (_, loaded):
        for found in loaded.get_objects(filter=(pdfium_c.FPDF_PAGEOBJ_IMAGE,)):
            bitmap = pdfium_c.FPDFImageObj_GetBitmap(found)
            if not bitmap:
                raise PageRenderFailed(
                    f"Page {page} holds a picture that could not be decoded, and shows nothing else."
                )
            pdfium_c.FPDFBitmap_Destroy(bitmap)


@contextmanager
def _pdf_page(path: Path, page: int) -> Iterator[tuple[pdfium.PdfDocument, pdfium.PdfPage]]:
    """Open a page for the length of a block; whatever PDFium refuses in it fails the page."""
    try:
        with _documents.lend(path) as document, closing(document[page - 1]) as loaded:
            yield document, loaded
    except pdfium.PdfiumError as error:
        raise PageRenderFailed(f"Page {page} could not be loaded from the PDF ({error}).") from error


def _size(loaded: pdfium.PdfPage, page: int) -> tuple[float, float]:
    """Tell a page's size in points, as rotated. A CropBox beside the MediaBox leaves nothing (0 x 0): then
    the MediaBox is drawn.
    """
    if min(loaded.get_size()) <= 0:
        loaded.set_cropbox(*loaded.get_mediabox())
    width, height = loaded.get_size()
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise PageRenderFailed(f"Page {page} has no area: {width} x {height} points.")
    return width, height


def _label(document: pdfium.PdfDocument, page: int) -> str | None:
    """Read the page's own name, such as iv or A-3, cut to 32 characters."""
    try:
        label: str = document.get_page_label(page - 1)
    except UnicodeDecodeError:
        return None
    return label.strip()[:LABEL_CHARACTERS] or None
