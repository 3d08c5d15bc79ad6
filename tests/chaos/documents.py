"""What is dropped: documents drawn from a seed, and what may become of each page by its own nature."""

import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image, ImageDraw, ImageFont
from reportlab.pdfgen.canvas import Canvas

from tests import papers

# Words that Tesseract does not take for each other; three of them make a page unlike all others.
# fmt: off
VOCABULARY = (
    "anchor", "basket", "bridge", "candle", "carpet", "castle", "copper", "cotton", "dragon", "engine",
    "falcon", "forest", "garden", "hammer", "harbor", "island", "jacket", "kettle", "ladder", "lemon",
    "magnet", "meadow", "mirror", "needle", "orange", "pencil", "pepper", "pigeon", "planet", "pocket",
    "rabbit", "ribbon", "saddle", "silver", "spider", "summer", "temple", "thunder", "timber", "tunnel",
    "turtle", "velvet", "violin", "walnut", "window", "winter",
)
# fmt: on
WORDS_ON_A_PAGE = 3

_FOLDERS = ("", "letters/", "scans of May/", "Prüfung/")
_BLANK_SHARE = 0.12
_REPLACED_SHARE = 0.12
_DELETED_SHARE = 0.05
_TYPE_POINTS = 30
_SCAN_PX = (1200, 400)


class Nature(StrEnum):
    """What a page is by itself."""

    TEXT = "text"
    BLANK = "blank"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page; `words` stand on no other one."""

    nature: Nature
    words: tuple[str, ...] = ()


_BLANK = Page(nature=Nature.BLANK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What is uploaded under one name. `code` says why it cannot be opened; then it has no pages."""

    data: bytes
    pages: tuple[Page, ...] = ()
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A name, what is dropped under it one after the other, and whether it is deleted again."""

    name: str
    versions: tuple[Version, ...]
    is_deleted: bool

    @property
    def newest(self) -> Version:
        return self.versions[-1]


class Pencil:
    """What drawing needs: chance, and words that no page has had yet."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._had: set[frozenset[str]] = set()

    def words(self) -> tuple[str, ...]:
        while True:
            words = tuple(self.chance.sample(VOCABULARY, WORDS_ON_A_PAGE))
            if frozenset(words) not in self._had:
                self._had.add(frozenset(words))
                return words

    def pages(self, most: int) -> tuple[Page, ...]:
        """Draw some pages, a few of them blank."""
        return tuple(
            _BLANK if self.chance.random() < _BLANK_SHARE else self.page()
            for _ in range(self.chance.randint(1, most))
        )

    def page(self) -> Page:
        return Page(nature=Nature.TEXT, words=self.words())


def draw(number: int, chance: random.Random) -> list[Document]:
    """Draw so many documents."""
    pencil = Pencil(chance)
    return [_document(index, pencil) for index in range(1, number + 1)]


def _document(index: int, pencil: Pencil) -> Document:
    chance = pencil.chance
    [(name, _, drawn)] = chance.choices(_KINDS, [weight for _, weight, _ in _KINDS])
    versions = chance.choice((2, 3)) if chance.random() < _REPLACED_SHARE else 1
    return Document(
        name=f"{chance.choice(_FOLDERS)}{index:04} {name}",
        versions=tuple(drawn(pencil) for _ in range(versions)),
        is_deleted=versions == 1 and chance.random() < _DELETED_SHARE,
    )


def _pdf(pencil: Pencil) -> Version:
    pages = pencil.pages(6)
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=papers.A4)
    for page in pages:
        canvas.setFont("Helvetica", _TYPE_POINTS)
        canvas.drawString(60, 700, " ".join(page.words))
        canvas.showPage()
    canvas.save()
    return Version(data=file.getvalue(), pages=pages)


def _fax(pencil: Pencil) -> Version:
    pages = pencil.pages(3)
    first, *others = [_scan(page, "1") for page in pages]
    data = papers.saved(first, "TIFF", save_all=True, append_images=others, compression="group4")
    return Version(data=data, pages=pages)


def _photo(pencil: Pencil) -> Version:
    page = pencil.page()
    return Version(data=papers.saved(_scan(page, "RGB"), "JPEG", quality=90), pages=(page,))


def _screenshot(pencil: Pencil) -> Version:
    page = pencil.page()
    return Version(data=papers.saved(_scan(page, "L"), "PNG"), pages=(page,))


def _blank(pencil: Pencil) -> Version:
    number = pencil.chance.randint(1, 3)
    return Version(data=papers.blank_pdf(number), pages=(_BLANK,) * number)


def _half_broken(_: Pencil) -> Version:
    return Version(data=papers.broken_page_pdf(), pages=(_BLANK, Page(nature=Nature.BROKEN)))


def _unopened(data: bytes, code: str) -> Callable[[Pencil], Version]:
    return lambda _: Version(data=data, code=code)


def _scan(page: Page, mode: str) -> Image.Image:
    image = Image.new("L", _SCAN_PX, 255)
    font = ImageFont.load_default(size=64)
    ImageDraw.Draw(image).text((40, 150), " ".join(page.words), fill=0, font=font)
    return image.convert(mode, dither=Image.Dither.NONE)


# A name's ending, how often of 100, and what draws it.
_KINDS: tuple[tuple[str, int, Callable[[Pencil], Version]], ...] = (
    ("letter.pdf", 50, _pdf),
    ("fax.tif", 14, _fax),
    ("photo.jpg", 7, _photo),
    ("screenshot.png", 6, _screenshot),
    ("blank.pdf", 5, _blank),
    ("half broken.pdf", 3, _half_broken),
    ("locked.pdf", 4, _unopened(papers.encrypted_pdf("secret"), "document_encrypted")),
    ("broken.pdf", 4, _unopened(papers.corrupt_pdf(), "document_corrupt")),
    ("empty.pdf", 3, _unopened(b"", "empty_object")),
    ("note.txt", 4, _unopened(b"no document at all", "unsupported_type")),
)
