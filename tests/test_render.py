"""What is drawn, and that nothing else is: by PDFium and Pillow themselves, in this process."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bucketscribe import canvas, render
from bucketscribe.errors import (
    DocumentCorrupt,
    DocumentEncrypted,
    DocumentWithoutPages,
    EmptyObject,
    PageRenderFailed,
    TooLarge,
    TooManyPages,
    UnsupportedType,
)
from bucketscribe.model import Encoding, Kind, PageImage
from bucketscribe.render import Limits
from bucketscribe.render_pool import FONTS
from tests import papers
from tests.hostile import image_bombs, pdf_bombs

Laid = Callable[[bytes], Path]


@pytest.fixture
def laid(tmp_path: Path) -> Laid:
    """Lay bytes on the disk under a name that says nothing."""

    def lay(data: bytes) -> Path:
        path = tmp_path / "document"
        path.write_bytes(data)
        return path

    return lay


@pytest.fixture(scope="module", autouse=True)
def pdfium_with_our_fonts() -> None:
    render.start(FONTS)


def drawn(
    path: Path, page: int = 1, longest: int = 1540, encoding: Encoding = Encoding.AUTO, **limits: int
) -> PageImage:
    return render.draw(path, page, longest_edge_px=longest, encoding=encoding, limits=Limits(**limits))


def seen(image: PageImage) -> Image.Image:
    """Decode as the model's server would."""
    opened = Image.open(io.BytesIO(image.data))
    opened.load()
    assert opened.size == (image.width, image.height)
    return opened


# Kinds


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "JPEG2000"])
def test_an_image_is_known_by_its_content_and_has_one_page(laid: Laid, format_name: str) -> None:
    path = laid(papers.saved(papers.picture(), format_name))
    facts = render.inspect(path, Limits())
    assert (facts.kind, facts.pages) == (Kind.IMAGE, 1)
    assert drawn(path).ink > 0.03


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw", "jpeg"])
def test_every_frame_of_a_tiff_is_a_page(laid: Laid, compression: str) -> None:
    path = laid(papers.tiff(3, compression))
    facts = render.inspect(path, Limits())
    assert (facts.kind, facts.pages) == (Kind.TIFF, 3)
    assert [drawn(path, page).ink > 0.03 for page in (1, 2, 3)] == [True] * 3


def test_a_pdf_is_known_by_a_header_that_stands_behind_other_bytes(laid: Laid) -> None:
    path = laid(b"\0" * 900 + papers.pdf(pages=2))
    assert render.inspect(path, Limits()).kind is Kind.PDF
    assert render.inspect(path, Limits()).pages == 2


@pytest.mark.parametrize("data", [b"BM is how this letter begins, dear reader", b"PK\3\4 an archive", b"\0"])
def test_what_is_neither_is_unsupported(laid: Laid, data: bytes) -> None:
    with pytest.raises(UnsupportedType, match="convert it to PDF"):
        render.inspect(laid(data), Limits())


def test_an_empty_file_is_named_so(laid: Laid) -> None:
    with pytest.raises(EmptyObject):
        render.inspect(laid(b""), Limits())


# Documents that cannot be opened


def test_a_password_is_named(laid: Laid) -> None:
    with pytest.raises(DocumentEncrypted, match="remove the password"):
        render.inspect(laid(papers.encrypted_pdf("secret")), Limits())


def test_the_empty_password_is_tried(laid: Laid) -> None:
    path = laid(papers.encrypted_pdf(""))
    assert render.inspect(path, Limits()).pages == 1
    assert drawn(path).ink > 0


def test_an_unknown_security_handler_counts_as_encrypted(laid: Laid) -> None:
    document = papers.pdf().replace(b"trailer\n<<", b"trailer\n<< /Encrypt << /Filter /Rights.Management >>")
    with pytest.raises(DocumentEncrypted, match="not supported"):
        render.inspect(laid(document), Limits())


@pytest.mark.parametrize("data", [papers.corrupt_pdf(), b"\x89PNG\r\n\x1a\nno", b"II*\0\xff\xff\xff\xff"])
def test_a_damaged_document_is_corrupt_and_its_path_is_not_told(laid: Laid, data: bytes) -> None:
    path = laid(data)
    with pytest.raises(DocumentCorrupt) as caught:
        render.inspect(path, Limits())
    assert str(path) not in str(caught.value)


def test_a_pdf_without_pages_is_named_so_whatever_was_wrong_with_the_one_before(laid: Laid) -> None:
    with pytest.raises(DocumentCorrupt):
        render.inspect(laid(papers.corrupt_pdf()), Limits())
    with pytest.raises(DocumentWithoutPages):
        render.inspect(laid(papers.pageless_pdf()), Limits())


# Limits


def test_a_page_count_too_large_to_be_true_is_counted_again(laid: Laid) -> None:
    lie = papers.lying_pdf(900_000)
    assert len(lie) < 500
    assert render.inspect(laid(lie), Limits()).pages == 1


def test_too_many_pages_name_limit_setting_and_value(laid: Laid) -> None:
    with pytest.raises(TooManyPages, match=r"has 4 pages, more than the 3 .*document_pages"):
        render.inspect(laid(papers.pdf(pages=4)), Limits(max_pages=3))


def test_a_tiffs_frames_are_not_walked_beyond_the_limit(laid: Laid) -> None:
    with pytest.raises(TooManyPages, match="at least 3 pages, more than the 2 "):
        render.inspect(laid(papers.tiff(9)), Limits(max_pages=2))


def test_a_tiff_whose_frames_go_in_a_circle_ends(laid: Laid) -> None:
    data = bytearray(papers.tiff(1))
    directory = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, directory)[0]
    struct.pack_into("<I", data, directory + 2 + 12 * entries, directory)
    assert render.inspect(laid(bytes(data)), Limits()).pages == 1


def test_a_decompression_bomb_is_refused_before_it_is_decoded(laid: Laid) -> None:
    bomb = papers.saved(Image.new("1", (20_000, 20_000)), "PNG")
    with pytest.raises(TooLarge, match=r"20000 x 20000 = 400000000 pixels.* 50000000 .*image_pixels"):
        render.inspect(laid(bomb), Limits())


def test_a_giant_frame_fails_alone(laid: Laid) -> None:
    path = laid(papers.tiff(2, size=(400, 300)))
    assert render.inspect(path, Limits(max_pixels=1000)).pages == 2
    with pytest.raises(PageRenderFailed, match="image_pixels"):
        drawn(path, max_pixels=1000)


# Sizes


@settings(deadline=None)
@given(
    width=st.floats(0.001, 1e6),
    height=st.floats(0.001, 1e6),
    longest=st.integers(28, 4000),
    enlarge=st.booleans(),
)
def test_no_size_goes_beyond_the_longest_edge_nor_loses_its_aspect(
    width: float, height: float, longest: int, enlarge: bool
) -> None:
    wide, high = canvas.fit(width, height, longest, enlarge=enlarge)
    assert min(wide, high) >= 1
    assert max(canvas.padded(wide), canvas.padded(high)) <= longest
    assert canvas.padded(wide) % 28 == canvas.padded(high) % 28 == 0
    scale = max(wide, high) / max(width, height)
    assert abs(max(1.0, width * scale) - wide) <= 1
    assert abs(max(1.0, height * scale) - high) <= 1
    if enlarge:
        assert max(wide, high) == longest // 28 * 28
    else:
        assert wide <= max(1, round(width))
        assert high <= max(1, round(height))


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((595, 842), (1092, 1540)),
        ((612, 792), (1204, 1540)),
        ((842, 595), (1540, 1092)),
        ((595.28, 841.89), (1092, 1540)),
        ((3, 14_400), (28, 1540)),
        ((14_400, 14_400), (1540, 1540)),
        ((5, 5), (1540, 1540)),
    ],
)
def test_a_pdf_page_is_drawn_at_its_size(
    laid: Laid, points: tuple[float, float], expected: tuple[int, int]
) -> None:
    page = drawn(laid(papers.pdf(size=points)))
    assert (page.width, page.height) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [((10, 10), (28, 28)), ((400, 300), (420, 308)), ((3000, 2000), (1540, 1036)), ((5000, 3), (1540, 28))],
)
def test_an_image_is_shrunk_but_never_enlarged(
    laid: Laid, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    page = drawn(laid(papers.saved(papers.picture(size), "JPEG")))
    assert (page.width, page.height) == expected


def test_padding_is_white_and_counts_for_nothing(laid: Laid) -> None:
    image = seen(drawn(laid(papers.saved(half_black((100, 100)), "PNG"))))
    assert image.size == (112, 112)
    assert np.asarray(image)[:, 100:].min() == 255
    assert np.asarray(image)[100:].min() == 255
    assert drawn(laid(papers.saved(Image.new("L", (100, 100)), "PNG"))).blank


@pytest.mark.parametrize("longest", [1540, 1000, 28])
def test_the_profiles_longest_edge_holds(laid: Laid, longest: int) -> None:
    page = drawn(laid(papers.pdf()), longest=longest)
    assert max(page.width, page.height) == longest // 28 * 28


# What is on the page


@pytest.mark.parametrize(("degrees", "wide"), [(0, False), (90, True), (180, False), (270, True)])
def test_a_pages_rotation_is_applied_and_told(laid: Laid, degrees: int, wide: bool) -> None:
    page = drawn(laid(papers.rotated_pdf(degrees)))
    assert page.rotation == degrees
    assert (page.width > page.height) is wide


def test_a_rotated_page_has_its_top_where_the_viewer_has_it(laid: Laid) -> None:
    assert dark_side(seen(drawn(laid(papers.rotated_pdf(0))))) == "top"
    assert dark_side(seen(drawn(laid(papers.rotated_pdf(90))))) == "right"
    assert dark_side(seen(drawn(laid(papers.rotated_pdf(180))))) == "bottom"


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "degrees"), [(1, 0), (2, 0), (3, 180), (4, 180), (5, 90), (6, 90), (7, 270), (8, 270)]
)
def test_a_photo_stands_upright_whatever_its_exif_orientation(
    laid: Laid, format_name: str, orientation: int, degrees: int
) -> None:
    page = drawn(laid(papers.photo_with_exif(orientation, format_name=format_name)))
    assert page.rotation == degrees
    assert (page.width, page.height) == (420, 308)
    assert dark_side(seen(page)) == "top"


def test_a_large_photo_that_lies_on_its_side_is_shrunk_upright(laid: Laid) -> None:
    page = drawn(laid(papers.photo_with_exif(6, size=(3000, 2000))))
    assert (page.width, page.height) == (1540, 1036)
    assert dark_side(seen(page)) == "top"


def test_the_values_of_form_fields_are_drawn(laid: Laid) -> None:
    filled, empty = drawn(laid(papers.form_pdf("Ada Lovelace"))), drawn(laid(papers.form_pdf("")))
    assert filled.ink > empty.ink + 0.0005


def test_without_its_form_a_filled_page_would_be_blank(laid: Laid) -> None:
    """Show what `init_forms` is there for: PDFium itself leaves the values out."""
    with pdfium.PdfDocument(laid(papers.form_pdf())) as document:
        bare = document[0].render(scale=1).to_numpy()
        assert canvas.measure(np.ascontiguousarray(bare))[1]


def test_chinese_without_an_embedded_font_is_drawn_with_ours(laid: Laid, tmp_path: Path) -> None:
    path = laid(papers.cjk_pdf())
    assert drawn(path).ink > 0.002
    (tmp_path / "no fonts").mkdir()
    render.start(tmp_path / "no fonts")
    try:
        assert drawn(path).blank
    finally:
        render.start(FONTS)


def test_a_cropbox_beside_the_page_shows_the_whole_page(laid: Laid) -> None:
    page = drawn(laid(papers.cropped_pdf((2000, 2000, 3000, 3000))))
    assert (page.width, page.height) == (1092, 1540)
    assert page.ink > 0


def test_labels_are_told_cut_and_never_empty(laid: Laid) -> None:
    path = laid(papers.labelled_pdf("iv", "", "A-" * 40))
    assert [drawn(path, page).label for page in (1, 2, 3)] == ["iv", None, "A-" * 16]
    assert drawn(laid(papers.pdf())).label is None


@pytest.mark.parametrize("page", [2, 3])
def test_a_page_that_cannot_be_loaded_fails_alone(laid: Laid, page: int) -> None:
    path = laid(papers.broken_page_pdf())
    assert render.inspect(path, Limits()).pages == 2
    assert drawn(path, 1).blank
    with pytest.raises(PageRenderFailed, match=f"Page {page} "):
        drawn(path, page)


def test_a_missing_frame_fails(laid: Laid) -> None:
    with pytest.raises(PageRenderFailed, match="Page 7 "):
        drawn(laid(papers.tiff(2)), 7)


def test_a_truncated_jpeg_fails_rather_than_show_its_half(laid: Laid) -> None:
    path = laid(papers.truncated_jpeg())
    assert render.inspect(path, Limits()).pages == 1
    with pytest.raises(PageRenderFailed):
        drawn(path)


def test_a_png_with_damaged_data_fails_rather_than_show_its_half(laid: Laid) -> None:
    whole = papers.saved(Image.effect_noise((400, 300), 90), "PNG")
    with pytest.raises(PageRenderFailed):
        drawn(laid(whole[:20_000] + b"\xff" * 500 + whole[20_500:]))


def test_lack_of_memory_fails_the_page(laid: Laid, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(render, "encode", starved)
    with pytest.raises(PageRenderFailed, match="memory"):
        drawn(laid(papers.pdf()))


# Modes of images


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_comes_out_dark_on_white(laid: Laid, mode: str) -> None:
    gray = np.asarray(papers.picture(mode="L"))
    match mode:
        case "I;16":
            image = Image.fromarray(gray.astype(np.uint16) * 257)
        case "I":
            image = Image.fromarray(gray.astype(np.int32) * 257)
        case "F":
            image = Image.fromarray(gray.astype(np.float32) / 255)
        case _:
            image = papers.picture(mode=mode)
    page = drawn(laid(papers.saved(image, "TIFF")))
    shown = np.asarray(seen(page).convert("L"))[:300, :400]
    assert shown[280, 380] >= 254
    assert shown[60, 100] <= 60
    assert page.ink == pytest.approx(0.048, abs=0.005)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_is_white(laid: Laid, mode: str) -> None:
    image = Image.new("RGBA", (280, 280), (0, 0, 0, 0))
    image.paste((10, 10, 10, 255), (20, 20, 100, 100))
    if mode == "PA":
        data = papers.saved(image.quantize(8), "PNG")
    else:
        data = papers.saved(image.convert(mode), "PNG")
    shown = np.asarray(seen(drawn(laid(data))).convert("L"))
    assert shown[200, 200] == 255
    assert shown[50, 50] < 30


def test_an_animation_shows_its_first_frame(laid: Laid) -> None:
    path = laid(papers.animated_gif())
    assert render.inspect(path, Limits()).pages == 1
    assert drawn(path).ink == pytest.approx(0.048, abs=0.005)


# Ink and blankness


@pytest.mark.parametrize(
    "data",
    [papers.blank_pdf(), papers.tinted_pdf(0, 0, 0), papers.tinted_pdf(0.9, 0.95, 0.8)],
    ids=["white", "black", "tinted"],
)
def test_an_even_page_is_blank_and_has_no_data(laid: Laid, data: bytes) -> None:
    page = drawn(laid(data))
    assert page.blank
    assert (page.data, page.ink, page.width, page.height) == (b"", 0.0, 1092, 1540)


@pytest.mark.parametrize("gray", [0.0, 0.5, 0.9, 0.96])
def test_light_text_is_never_taken_for_nothing(laid: Laid, gray: float) -> None:
    assert not drawn(laid(papers.pdf(text="hardly to be seen", gray=gray))).blank


@pytest.mark.parametrize("digit", list("0123456789"))
def test_one_small_digit_makes_a_page_not_blank(laid: Laid, digit: str) -> None:
    """20 points on a page four times A4 are 5 points on A4."""
    assert not drawn(laid(papers.pdf(text=digit, size=(2380, 3368)))).blank


def test_pale_yellow_type_counts_though_its_luminance_hardly_differs(laid: Laid) -> None:
    image = Image.new("RGB", (280, 280), "white")
    image.paste((255, 255, 200), (100, 100, 120, 120))
    assert not drawn(laid(papers.saved(image, "PNG"))).blank


def test_ink_is_the_share_that_stands_out_clearly(laid: Laid) -> None:
    assert drawn(laid(papers.saved(half_black((280, 280), share=0.25), "PNG"))).ink == pytest.approx(0.25)
    assert drawn(laid(papers.pdf(gray=0.9))).ink == 0


# Encodings


def test_a_gray_page_is_a_gray_png_and_a_coloured_one_a_jpeg(laid: Laid) -> None:
    gray, colour = drawn(laid(papers.pdf())), drawn(laid(papers.coloured_pdf()))
    assert (gray.media_type, seen(gray).format, seen(gray).mode) == ("image/png", "PNG", "L")
    assert (colour.media_type, seen(colour).format, seen(colour).mode) == ("image/jpeg", "JPEG", "RGB")


@pytest.mark.parametrize("encoding", [Encoding.PNG, Encoding.JPEG])
@pytest.mark.parametrize("data", [papers.pdf(), papers.coloured_pdf()], ids=["gray", "coloured"])
def test_the_setting_decides_for_both(laid: Laid, encoding: Encoding, data: bytes) -> None:
    page = drawn(laid(data), encoding=encoding)
    assert page.media_type == f"image/{encoding}"
    assert seen(page).format == encoding.upper()


@settings(deadline=None)
@given(data=st.data(), colour=st.booleans(), blocks=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_a_png_of_ours_holds_the_very_pixels(
    data: st.DataObject, colour: bool, blocks: tuple[int, int]
) -> None:
    height, width = blocks[0] * 28, blocks[1] * 28
    noise = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    pixels = noise.integers(0, 256, (height, width, 3) if colour else (height, width), np.uint8)
    page = canvas.encode(canvas.Canvas(pixels=pixels, width=width, height=height), Encoding.PNG)
    assert np.array_equal(np.asarray(seen(page)), pixels)


# The text layer


def test_a_pages_own_text_is_read(laid: Laid) -> None:
    path = laid(papers.pdf(pages=2, text="This is page {page}."))
    assert render.text_layer(path, 2).strip() == "This is page 2."


def test_what_has_no_text_layer_gives_none(laid: Laid) -> None:
    assert render.text_layer(laid(papers.blank_pdf()), 1) == ""
    assert render.text_layer(laid(papers.tiff()), 1) == ""


def test_the_text_of_a_page_that_cannot_be_loaded_fails(laid: Laid) -> None:
    with pytest.raises(PageRenderFailed):
        render.text_layer(laid(papers.broken_page_pdf()), 2)


def half_black(size: tuple[int, int], share: float = 0.5) -> Image.Image:
    image = Image.new("L", size, "white")
    image.paste(0, (0, 0, size[0], round(size[1] * share)))
    return image


def dark_side(image: Image.Image) -> str:
    """Tell on which side most of the ink stands."""
    ink = 255 - np.asarray(image.convert("L")).astype(float)
    rows, columns = np.indices(ink.shape)
    down = (rows * ink).sum() / ink.sum() / ink.shape[0] - 0.5
    right = (columns * ink).sum() / ink.sum() / ink.shape[1] - 0.5
    if abs(down) > abs(right):
        return "bottom" if down > 0 else "top"
    return "right" if right > 0 else "left"


def test_a_fax_of_unequal_resolution_is_not_squashed(tmp_path: Path) -> None:
    path = tmp_path / "fax.tiff"
    path.write_bytes(papers.saved(papers.picture((1728, 1100), "L").convert("1"), "TIFF", dpi=(204, 98)))
    image = drawn(path)
    assert image.height == 1540
    assert abs(image.width - 1540 * 1728 / (1100 * 204 / 98)) < 28


# What is lost, or too large, before anybody sees it


PLAIN = b"/ColorSpace /DeviceGray /BitsPerComponent 8 "


@pytest.mark.parametrize(
    "lost",
    [pdf_bombs.predictor_image(), pdf_bombs.image(99, 99, b"no JPEG", PLAIN + b"/Filter /DCTDecode")],
    ids=["too large", "damaged"],
)
def test_a_picture_that_pdfium_leaves_out_in_silence_is_no_blank_page(laid: Laid, lost: bytes) -> None:
    with pytest.raises(PageRenderFailed, match="could not be decoded"):
        drawn(laid(lost))


def test_a_blank_scan_is_a_blank_page(laid: Laid) -> None:
    data, entry = pdf_bombs.zeros(1, squeezes=1, fill=b"\xff")
    assert drawn(laid(pdf_bombs.image(1024, 1024, data, PLAIN + entry))).blank


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_is_measured_before_it_is_opened(laid: Laid, lossless: bool, mode: str) -> None:
    path = laid(papers.saved(papers.picture((400, 300), mode), "WEBP", lossless=lossless))
    assert render.inspect(path, Limits(max_pixels=400 * 300)).pages == 1
    with pytest.raises(TooLarge, match="400 x 300"):
        render.inspect(path, Limits(max_pixels=400 * 300 - 1))


def test_a_giant_webp_is_too_large_and_not_damaged(laid: Laid) -> None:
    with pytest.raises(TooLarge, match="16383 x 16383"):
        render.inspect(laid(image_bombs.webp(16383, 16383)), Limits())


def test_a_text_layer_longer_than_any_page_is_none(laid: Laid) -> None:
    with pytest.raises(PageRenderFailed, match="200000 characters"):
        render.text_layer(laid(pdf_bombs.long_text(200_000)), 1)
    assert len(render.text_layer(laid(pdf_bombs.long_text(80_000)), 1)) == 80_000
