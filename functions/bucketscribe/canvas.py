"""A drawn page: which size it gets, what stands on it, its bytes. Where its pixels come from is the business
of `render` (PDF) and `images` (all others).

Times below are of one core, 1190 x 1540 px; the choice of encodings was measured over 15 typical pages:
Pillow's PNG 45 ms and 635 KB in colour, 21 ms and 306 KB in gray; its JPEG at quality 95 4.6 ms and 469 KB;
a gray PNG deflated by isal 1.8 ms and 346 KB, on pages of text 162 KB, smaller than the JPEG and lossless.
`make bench BENCH=render` measures again.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from bucketscribe.model import Encoding, PageImage

Pixels = NDArray[np.uint8]
"""Rows x columns when gray, rows x columns x RGB in colour; 255 is white."""

# The model's patch, px: an image whose sides are multiples is not resampled on the server, and costs no
# more tokens than the smaller one, ceil(h/28) * ceil(w/28) in any case.
PATCH = 28
JPEG_QUALITY = 95

# Levels of 255. From the paper's level on, what differs more is ink to the eye; ...
CLEARLY = 48
# ... and what differs this little can still be type: #f5f5f5 on white differs by 10, JPEG noise on an even
# surface by 1 to 3.
SLIGHTLY = 8
# Share of pixels that may differ slightly on a blank page: 9 of an A4 page's 1.7 M, the dot of an i. A
# lone digit of 5 points has 14 and more. Smaller images may have none.
BLANK_SHARE = 5e-6
# So much ink on every fifth row says that the page is no blank one, and how much there is about: counting all
# rows takes 1 to 2 ms. With less of it all are counted.
PLENTY = 0.01
SAMPLED_ROWS = 5
# The gray test looks at so many rows first: colour shows early.
GRAY_TEST_ROWS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """A page's pixels, white beyond `width` x `height` px of content, both of its own sides multiples of
    28. `rotation` is in degrees clockwise, as already applied.
    """

    pixels: Pixels
    width: int
    height: int
    rotation: int = 0
    label: str | None = None


def fit(width: float, height: float, longest_edge_px: int, *, enlarge: bool) -> tuple[int, int]:
    """Scale a size so that its longest side is `longest_edge_px`, or stays as it is when that would
    enlarge it and must not. Sides are whole px, at least 1. An edge that is no multiple of 28 counts as the
    next lower one, so that padding does not go beyond it.
    """
    longest = max(PATCH, longest_edge_px // PATCH * PATCH)
    scale = longest / max(width, height)
    if not enlarge:
        scale = min(scale, 1.0)
    return max(1, round(width * scale)), max(1, round(height * scale))


def padded(side: int) -> int:
    """Round up to a multiple of 28."""
    return -(-side // PATCH) * PATCH


def encode(canvas: Canvas, encoding: Encoding) -> PageImage:
    """Turn a canvas into what is sent; a blank page is not encoded and has no data."""
    pixels = _without_colour_if_gray(canvas.pixels)
    ink, blank = measure(pixels[: canvas.height, : canvas.width])
    data, media_type = (b"", "") if blank else _encoded(pixels, encoding)
    return PageImage(
        data=data,
        media_type=media_type,
        width=pixels.shape[1],
        height=pixels.shape[0],
        ink=ink,
        rotation=canvas.rotation,
        blank=blank,
        label=canvas.label,
    )


def measure(pixels: Pixels) -> tuple[float, bool]:
    """Tell the share of ink, 0 to 1, and whether the page is blank.

    Paper is the level that most pixels have. An evenly black or tinted page is blank. In colour the three
    channels must agree that it is: pale yellow type on white hardly shows in the luminance.
    """
    sample = Image.fromarray(np.ascontiguousarray(pixels[::SAMPLED_ROWS]))
    ink = _share(sample.convert("L").histogram(), CLEARLY)
    return (ink, False) if ink >= PLENTY else _measure_all(pixels)


def _measure_all(pixels: Pixels) -> tuple[float, bool]:
    image = Image.fromarray(pixels)
    luminance = image.convert("L").histogram()
    blank = _share(luminance, SLIGHTLY) <= BLANK_SHARE
    if blank and image.mode == "RGB":
        levels = image.histogram()
        blank = all(_share(levels[start : start + 256], SLIGHTLY) <= BLANK_SHARE for start in (0, 256, 512))
    return _share(luminance, CLEARLY), blank


def _share(histogram: list[int], distance: int) -> float:
    """Tell the share of pixels further than `distance` from the most common level."""
    paper = histogram.index(max(histogram))
    near = sum(histogram[max(0, paper - distance) : paper + distance + 1])
    return 1 - near / sum(histogram) if near < sum(histogram) else 0.0


def _without_colour_if_gray(pixels: Pixels) -> Pixels:
    """Keep one channel where all three are exactly the same."""
    if pixels.ndim == 2:  # noqa: PLR2004 - rows and columns
        return pixels
    if _is_gray(pixels[:: max(1, len(pixels) // GRAY_TEST_ROWS)]) and _is_gray(pixels):
        return np.ascontiguousarray(pixels[..., 0])
    return pixels


def _is_gray(pixels: Pixels) -> bool:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return np.array_equal(red, green) and np.array_equal(green, blue)


def _encoded(pixels: Pixels, encoding: Encoding) -> tuple[bytes, str]:
    gray = pixels.ndim == 2  # noqa: PLR2004 - rows and columns
    if encoding is Encoding.PNG or (encoding is Encoding.AUTO and gray):
        return _png(pixels), "image/png"
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue(), "image/jpeg"


def _png(pixels: Pixels) -> bytes:
    """Write an 8-bit PNG whose rows are not filtered: filters cost time and save nothing on text."""
    height, width = pixels.shape[:2]
    colour_type = 0 if pixels.ndim == 2 else 2  # noqa: PLR2004 - rows and columns
    row_bytes = pixels[0].size
    rows = np.zeros((height, 1 + row_bytes), np.uint8)  # the leading 0: "no filter"
    rows[:, 1:] = pixels.reshape(height, row_bytes)
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    body = isal_zlib.compress(rows, 1)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
