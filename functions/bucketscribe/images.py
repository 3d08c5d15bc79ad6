"""Image files and TIFFs, by Pillow: what is one, how many pages it has, a page's pixels. No PDF here.

Everything is checked against the limit on pixels before a pixel is decoded: 98 megapixels cost 84 MB as a
JPEG, 832 MB as a PNG and 1,580 MB as a WebP.
"""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from bucketscribe.canvas import Canvas, Pixels, fit, padded
from bucketscribe.errors import BucketscribeError, DocumentCorrupt, PageRenderFailed, TooLarge
from bucketscribe.model import Kind

MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", Kind.IMAGE),
    (b"\xff\xd8\xff", Kind.IMAGE),  # JPEG
    (b"GIF87a", Kind.IMAGE),
    (b"GIF89a", Kind.IMAGE),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Kind.IMAGE),  # JPEG 2000
    (b"\xff\x4f\xff\x51", Kind.IMAGE),  # its bare codestream
    (b"II*\x00", Kind.TIFF),
    (b"MM\x00*", Kind.TIFF),
    (b"II+\x00", Kind.TIFF),  # BigTIFF
    (b"MM\x00+", Kind.TIFF),
)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "JPEG2000", "TIFF")
# Sizes in bytes of a BMP's second header, which tell one from any text that begins with BM.
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)

# Beyond this two resolutions are a mistake in the file, not a fax's.
MOST_SQUASHED = 4.0

# What Pillow's readers raise on damaged files, as seen over thousands of them; MemoryError is not theirs.
PILLOW_ERRORS = (
    OSError, EOFError, ValueError, TypeError, SyntaxError, LookupError, ArithmeticError, AttributeError,
    AssertionError, RuntimeError, struct.error, Image.DecompressionBombError,
)  # fmt: skip

# EXIF orientation -> what undoes it, and the clockwise turn in that.
UPRIGHT: dict[int, tuple[Image.Transpose, int]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT, 0),
    3: (Image.Transpose.ROTATE_180, 180),
    4: (Image.Transpose.FLIP_TOP_BOTTOM, 180),
    5: (Image.Transpose.TRANSPOSE, 90),
    6: (Image.Transpose.ROTATE_270, 90),
    7: (Image.Transpose.TRANSVERSE, 270),
    8: (Image.Transpose.ROTATE_90, 270),
}


def kind(header: bytes) -> Kind | None:
    """Tell an image or a TIFF by the first 32 bytes; None when it is neither."""
    for magic, found in MAGIC:
        if header.startswith(magic):
            return found
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return Kind.IMAGE
    if header[:2] == b"BM" and int.from_bytes(header[14:18], "little") in BMP_HEADERS:
        return Kind.IMAGE
    return None


def count(path: Path, kind: Kind, *, max_pages: int, max_pixels: int) -> int:
    """Count the pages, stopping at one more than `max_pages`: frames are found by walking from one to the
    next. Raises DocumentCorrupt, and TooLarge for a single image; a TIFF's frames are checked one by one
    when they are drawn, so that one of them does not cost the others.
    """
    width, height = _webp_size(path)
    if width * height > max_pixels:
        raise TooLarge(_too_large(width, height, max_pixels))
    with _opened(path, DocumentCorrupt, "The image is damaged. Please save it anew and upload that") as image:
        if kind is Kind.TIFF:
            return _frames(image, max_pages + 1)
        width, height = image.size
        if width * height > max_pixels:
            raise TooLarge(_too_large(width, height, max_pixels))
        return 1


def draw(path: Path, page: int, *, longest_edge_px: int, max_pixels: int) -> Canvas:
    """Read one frame (from 1), upright, on white, shrunk to `longest_edge_px` but never enlarged.

    Raises PageRenderFailed.
    """
    with _opened(path, PageRenderFailed, f"Page {page} could not be decoded") as image:
        image.seek(page - 1)
        width, height = image.size
        if width * height > max_pixels:
            raise PageRenderFailed(_too_large(width, height, max_pixels))
        true, lying = _unsquashed(image), width > height
        image.draft(None, fit(width, height, longest_edge_px, enlarge=False))  # to 1/2, 1/4 or 1/8 of a JPEG
        turned = _upright(image)[1] if image.format == "TIFF" else 0  # loading does that, and then forgets it
        image.load()  # before others are asked for their EXIF data, which would load them and hide its errors
        method, degrees = _upright(image)
        upright = image if method is None else image.transpose(method)
        flat = _on_white(upright)
        size = fit(*_turned(true, lying, upright), longest_edge_px, enlarge=False)
        small = flat if flat.size == size else flat.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        return Canvas(pixels=_pad(small), width=size[0], height=size[1], rotation=turned + degrees)


@contextmanager
def _opened(path: Path, error: type[BucketscribeError], saying: str) -> Iterator[Image.Image]:
    """Open for the length of a block; whatever Pillow raises in it becomes `error`."""
    # Our own check knows the setting and says the value seen; Pillow's would warn, or raise without it.
    Image.MAX_IMAGE_PIXELS = None
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata, on hundreds of good files
        try:
            with Image.open(file, formats=FORMATS) as image:
                yield image
        except UnidentifiedImageError as caught:  # whose own message is the path
            raise error(f"{saying} (only its first bytes are those of an image).") from caught
        except PILLOW_ERRORS as caught:
            raise error(f"{saying} ({caught}).") from caught


def _webp_size(path: Path) -> tuple[int, int]:
    """Read a WebP's size from its header, (0, 0) for all else: Pillow sets the memory for all of its pixels
    aside when it opens one, before it tells how many they are. (developers.google.com/speed/webp/docs)
    """
    with path.open("rb") as file:
        header = file.read(30)
    if header[:4] != b"RIFF":
        return 0, 0
    match header[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(header[24:27], "little"), 1 + int.from_bytes(header[27:30], "little")
        case b"VP8L":
            sides = int.from_bytes(header[21:25], "little")
            return 1 + (sides & 0x3FFF), 1 + (sides >> 14 & 0x3FFF)
        case b"VP8 ":
            sides = int.from_bytes(header[26:30], "little")
            return sides & 0x3FFF, sides >> 16 & 0x3FFF
    return 0, 0


def _frames(image: Image.Image, most: int) -> int:
    """Walk the frames. One that cannot be read counts too: it fails when it is drawn, on its own."""
    found = 1
    while found < most:
        try:
            image.seek(found)
        except EOFError:
            break
        except PILLOW_ERRORS:
            if image.tell() < found:  # not even its directory could be read: the way to the next is lost
                break
        found += 1
    return found


def _too_large(width: int, height: int, max_pixels: int) -> str:
    return (
        f"The image has {width} x {height} = {width * height} pixels, more than the {max_pixels} allowed "
        "(setting image_pixels). Please scale it down, or raise the setting."
    )


def _upright(image: Image.Image) -> tuple[Image.Transpose | None, int]:
    """Tell how to turn it, by its EXIF data: not at all when there are none or they are damaged, as viewers
    do.
    """
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1), (None, 0))
    except PILLOW_ERRORS:
        return None, 0


def _unsquashed(image: Image.Image) -> tuple[int, int]:
    """Tell a TIFF's size with square pixels: a fax of standard resolution has 204 x 98 to the inch, and
    looks squashed without that.
    """
    width, height = image.size
    across, down = image.info.get("dpi", (1, 1)) if image.format == "TIFF" else (1, 1)
    ratio = float(across) / float(down) if across > 0 and down > 0 else 1.0
    if 1 < ratio <= MOST_SQUASHED:
        return width, round(height * ratio)
    if 1 / MOST_SQUASHED <= ratio < 1:
        return round(width / ratio), height
    return width, height


def _turned(size: tuple[int, int], lying: bool, upright: Image.Image) -> tuple[int, int]:
    """Swap the sides when what lay now stands, or the other way round."""
    return size if lying == (upright.width > upright.height) else (size[1], size[0])


def _on_white(image: Image.Image) -> Image.Image:
    """Bring any mode to L or RGB; what is transparent becomes white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_in_8_bits(np.asarray(image)))
    if image.has_transparency_data:
        mode = "L" if image.mode in {"L", "LA", "La"} else "RGB"
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert(mode)
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")


def _in_8_bits(values: np.ndarray) -> Pixels:
    """Scale samples of more than 8 bits from their white, the least usual one that holds the brightest."""
    levels = np.nan_to_num(values.astype(np.float32), posinf=0.0)
    brightest = float(levels.max(initial=0.0))
    whites: tuple[float, ...] = (255.0, 4095.0, 65535.0)  # 12 bits come in 16
    if np.issubdtype(values.dtype, np.floating):
        whites = (1.0, *whites)
    white = next((white for white in whites if brightest <= white), brightest)
    return (levels.clip(0, white) * (255 / white)).round().astype(np.uint8)


def _pad(image: Image.Image) -> Pixels:
    """Extend with white, to the right and downwards, to multiples of 28."""
    canvas = Image.new(image.mode, (padded(image.width), padded(image.height)), "white")
    canvas.paste(image, (0, 0))
    return np.asarray(canvas)
