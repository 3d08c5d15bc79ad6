"""Images that are small on disk and large in memory, or that lead round in circles. Written by hand."""

import io
import struct
import zlib

from PIL import Image

from tests import papers
from tests.hostile.pdf_bombs import zeros


def png(
    width: int, height: int, *, colour: int = 0, bits: int = 1, extra: bytes = b"", rows: int = 0
) -> bytes:
    """Write a PNG of any size, all of its rows zeros, or only the first `rows` of them."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = bytes(1 + (width * bits * channels + 7) // 8)
    at_once = max(1, 2**20 // len(row))  # a million rows one by one take half a minute
    blocks, rest = divmod(rows or height, at_once)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * at_once) for _ in range(blocks))
    data += packer.compress(row * rest) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(6)) if colour == 3 else b""
    return b"\x89PNG\r\n\x1a\n" + head + palette + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_text(megabytes: int = 64) -> bytes:
    """Comment a picture with 64 MB of zeros."""
    text, _ = zeros(megabytes, squeezes=1)
    return png(8, 8, extra=chunk(b"zTXt", b"Comment\0\0" + text))


def png_surplus(megabytes: int = 64) -> bytes:
    """Send 64 MB of rows after the last."""
    return png(256, 256, bits=8, rows=megabytes * 2**20 // 257)


def webp(width: int, height: int) -> bytes:
    """Write a lossless WebP of one colour: five codes of one symbol each, and no bit a pixel."""
    bits = (width - 1) | (height - 1) << 14 | 0 << 28  # no alpha, version 0
    bits |= 0 << 32  # no transform, no colour cache, no further codes
    for number in range(5):
        bits |= 0b0001 << (35 + 4 * number)  # a simple code, of one symbol, of one bit: 0
    body = b"\x2f" + bits.to_bytes(8, "little") + bytes(8)
    part = b"VP8L" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(part)) + b"WEBP" + part


def gif_screen() -> bytes:
    """Spread a screen of 65,535 x 65,535 px for one pixel."""
    good = papers.saved(papers.picture((8, 8), "P"), "GIF")
    return good[:6] + b"\xff\xff\xff\xff" + good[10:]


def gif_extents() -> bytes:
    """Lay a first frame of 65,535 x 65,535 px on a screen of 8."""
    good = papers.saved(papers.picture((8, 8), "P"), "GIF")
    place = good.index(b"\x2c\0\0\0\0\x08\0\x08\0")
    return good[: place + 5] + b"\xff\xff\xff\xff" + good[place + 9 :]


def gif_frames(frames: int = 20_000) -> bytes:
    """Show 20,000 frames, of which the first counts."""
    good = papers.saved(papers.picture((8, 8), "P"), "GIF")
    place = good.index(b"\x2c\0\0\0\0")
    return good[:place] + good[place:-1] * frames + good[-1:]


def bmp_giant() -> bytes:
    """Claim 60,000 x 60,000 px, run-length coded."""
    head = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 8, 1, 0, 0, 0, 256, 0)
    return (
        b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + 2, 0, 0, 14 + 40 + 1024) + head + bytes(1024) + b"\0\1"
    )


def jpeg_giant() -> bytes:
    """Say 65,500 x 65,500 px in the header of a small JPEG."""
    good = papers.saved(papers.picture((64, 64)), "JPEG")
    place = good.index(b"\xff\xc0") + 5
    return good[:place] + struct.pack(">HH", 65_500, 65_500) + good[place + 4 :]


def jpeg_truncated() -> bytes:
    """Break off in the middle of the picture."""
    whole = papers.photo_with_exif(1)
    return whole[: len(whole) * 3 // 4]


def jpeg_progressive(scans: int = 20_000) -> bytes:
    """Refine 4,000 x 4,000 px 20,000 times by nothing: a scan of every pixel each."""
    good = papers.saved(Image.new("L", (4000, 4000)), "JPEG", progressive=True, quality=1)
    last = good.rindex(b"\xff\xda")
    return good[:last] + good[last:-2] * scans + good[-2:]


def jpeg2000_giant() -> bytes:
    """Say 2^31 - 1 x 2^31 - 1 px in a bare codestream."""
    good = papers.saved(papers.picture((64, 64)), "JPEG2000", no_jp2=True)
    side = struct.pack(">I", 2**31 - 1)
    return good[:8] + side + side + good[16:]


def tiff(*directories: dict[int, tuple[int, int, int]], loop_to: int | None = None) -> bytes:
    """Write a TIFF of these directories, tag -> (type, count, value); the last leads to number `loop_to`."""
    places = [8]
    for entries in directories:
        places.append(places[-1] + 2 + 12 * len(entries) + 4)
    places[-1] = 0 if loop_to is None else places[loop_to]
    parts = [b"II*\0" + struct.pack("<I", 8)]
    for entries, after in zip(directories, places[1:], strict=True):
        rows = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
        parts.append(struct.pack("<H", len(entries)) + rows + struct.pack("<I", after))
    return b"".join(parts)


def frame(side: int = 8, **changes: tuple[int, int, int]) -> dict[int, tuple[int, int, int]]:
    """Describe a black and white frame whose only strip is the file's first bytes."""
    entries = {
        256: (4, 1, side),
        257: (4, 1, side),
        258: (3, 1, 1),
        259: (3, 1, 1),
        262: (3, 1, 0),
        273: (4, 1, 0),
        278: (4, 1, side),
        279: (4, 1, side),
    }
    names = {"strips": 273, "compression": 259, "bits": 258, "samples": 277, "sub": 330}
    return entries | {names[name]: entry for name, entry in changes.items()}


def tiff_deflate(side: int = 60_000) -> bytes:
    """Pack one giant frame between two good ones."""
    return tiff(frame(), frame(side, compression=(3, 1, 8)), frame())


def tiff_strips() -> bytes:
    """Say that the strips are four thousand million, and lie anywhere."""
    return tiff(frame(strips=(4, 0xFFFFFFFF, 8)))


def apng(frames: int = 5000) -> bytes:
    """Animate 5,000 frames, of which the first counts."""
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    one = struct.pack(">IIIIHHBB", 8, 8, 0, 0, 1, 1, 0, 0)
    good = png(8, 8, extra=control + chunk(b"fcTL", struct.pack(">I", 0) + one))
    body = zlib.compress(bytes(2 * 8))
    more = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * index + 1) + one)
        + chunk(b"fdAT", struct.pack(">I", 2 * index + 2) + body)
        for index in range(frames - 1)
    )
    return good[:-12] + more + good[-12:]


def exif_loop() -> bytes:
    """Orient a photograph by a directory that leads to itself."""
    loop = tiff(
        {0x0112: (3, 1, 6), 0x8769: (4, 1, 8), 0x8825: (4, 1, 8)},
        loop_to=0,
    )
    file = io.BytesIO()
    papers.picture().save(file, "JPEG", exif=b"Exif\0\0" + loop)
    return file.getvalue()
