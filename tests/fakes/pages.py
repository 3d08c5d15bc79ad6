"""Small page images with known words on them."""

import functools
import io

from PIL import Image, ImageDraw, ImageFont

WORDS = "The quick brown fox jumps over the lazy dog"


@functools.cache
def page(words: str = WORDS, *, size: tuple[int, int] = (1092, 280), encoding: str = "PNG") -> bytes:
    """Draw one line of black words on white."""
    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).text((40, 40), words, fill=0, font=ImageFont.load_default(40))
    return encoded(image, encoding)


@functools.cache
def blank(width: int, height: int, encoding: str = "PNG") -> bytes:
    return encoded(Image.new("L", (width, height), 255), encoding)


def encoded(image: Image.Image, encoding: str) -> bytes:
    data = io.BytesIO()
    image.save(data, encoding)
    return data.getvalue()
