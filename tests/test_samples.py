"""The samples are what their script makes, show what they are there to show, and may be passed on.

Committed and fresh samples are compared by what one sees, not by bytes: another release of reportlab,
FreeType or libjpeg may write or round differently without anybody having touched a sample. Within one
installation the bytes must agree.
"""

import hashlib
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageOps, ImageSequence, ImageStat

from samples import make_samples

SAMPLES = Path(make_samples.__file__).parent
DOCUMENTS = SAMPLES / "documents"
SCAN = DOCUMENTS / "scanned-book.pdf"
MADE = ("table.pdf", "two-columns.pdf", "blank-in-the-middle.pdf", "form.pdf", "fax.tiff", "photo.jpg")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    make_samples.make(folder)
    return folder


def test_a_second_run_writes_the_same_bytes(fresh: Path, tmp_path: Path) -> None:
    make_samples.make(tmp_path)
    assert _bytes_below(tmp_path) == _bytes_below(fresh)


def test_the_folder_holds_what_the_script_makes_and_the_scan(fresh: Path) -> None:
    made = {path.name for path in (fresh / "documents").iterdir()}
    assert made == set(MADE)
    assert {path.name for path in DOCUMENTS.iterdir()} == made | {SCAN.name}
    assert [path.name for path in (SAMPLES / "broken").iterdir()] == ["broken.pdf"]


@pytest.mark.parametrize("name", MADE)
def test_a_committed_sample_looks_like_a_fresh_one(fresh: Path, name: str) -> None:
    committed, made = _pages(DOCUMENTS / name), _pages(fresh / "documents" / name)
    assert [page.size for page in committed] == [page.size for page in made]
    for one, other in zip(committed, made, strict=True):
        # The most that the mean of any 8 × 8 px differs, in gray levels. Measured: a changed word or an
        # empty box 55 to 143, all text one pixel lower 32, another JPEG quality 1.
        difference = ImageChops.difference(one.reduce(8), other.reduce(8))
        assert max(difference.tobytes()) < 45


@pytest.mark.parametrize("name", [name for name in MADE if name.endswith(".pdf")])
def test_a_committed_pdf_says_what_a_fresh_one_says(fresh: Path, name: str) -> None:
    assert _text_layer(DOCUMENTS / name) == _text_layer(fresh / "documents" / name)


def test_the_page_in_the_middle_is_blank_and_the_labels_are_not_the_numbers() -> None:
    path = DOCUMENTS / "blank-in-the-middle.pdf"
    blank = [page.getextrema() == (255, 255) for page in _pages(path)]
    assert blank == [False, True, False]
    with pypdfium2.PdfDocument(path) as document:
        assert [document.get_page_label(index) for index in range(3)] == ["i", "ii", "1"]


def test_the_forms_values_are_drawn_only_with_its_fields() -> None:
    path = DOCUMENTS / "form.pdf"
    (with_fields,), (without,) = _pages(path), _pages(path, forms=False)
    assert _darkness(with_fields) > 1.2 * _darkness(without)
    assert "Marguerite" not in _text_layer(path)[0]


def test_the_fax_has_three_pages_in_g4() -> None:
    with Image.open(DOCUMENTS / "fax.tiff") as fax:
        modes = [(frame.mode, frame.info["compression"]) for frame in ImageSequence.Iterator(fax)]
    assert modes == [("1", "group4")] * 3


def test_the_photo_lies_on_its_side() -> None:
    with Image.open(DOCUMENTS / "photo.jpg") as photo:
        assert photo.getexif()[0x0112] == 6
        assert photo.width > photo.height
        upright = ImageOps.exif_transpose(photo)
    assert upright.height > upright.width


def test_pdfium_refuses_the_broken_one_as_corrupt() -> None:
    path = SAMPLES / "broken" / "broken.pdf"
    assert path.read_bytes().startswith(b"%PDF-")
    with pytest.raises(pypdfium2.PdfiumError) as refusal:
        pypdfium2.PdfDocument(path)
    assert refusal.value.err_code == pypdfium2.raw.FPDF_ERR_FORMAT


def test_the_scan_is_the_original_and_its_origin_and_licence_are_stated() -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(SCAN.read_bytes()).hexdigest() in readme
    for words in ("py-pdf/pypdf", "BSD-3-Clause", "Copyright (c) 2006-2008, Mathieu Fenniak", "AS IS"):
        assert words in readme


def test_every_sample_stands_in_the_readme() -> None:
    readme = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in _bytes_below(SAMPLES) if f"`{name}`" not in readme] == []


def test_the_samples_stay_small() -> None:
    assert sum(len(data) for data in _bytes_below(SAMPLES).values()) < 700_000


def _bytes_below(folder: Path) -> dict[str, bytes]:
    paths = [*folder.glob("documents/*"), *folder.glob("broken/*")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _pages(path: Path, *, forms: bool = True) -> list[Image.Image]:
    """Draw every page in gray, upright."""
    if path.suffix != ".pdf":
        with Image.open(path) as image:
            return [ImageOps.exif_transpose(frame).convert("L") for frame in ImageSequence.Iterator(image)]
    with pypdfium2.PdfDocument(path) as document:
        if forms:
            document.init_forms()
        return [page.render(scale=1, grayscale=True).to_pil().copy() for page in document]


def _text_layer(path: Path) -> list[str]:
    with pypdfium2.PdfDocument(path) as document:
        return [page.get_textpage().get_text_bounded() for page in document]


def _darkness(page: Image.Image) -> float:
    return 255 - ImageStat.Stat(page).mean[0]
