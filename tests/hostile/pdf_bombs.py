"""PDFs of a few kilobytes that cost gigabytes, minutes or sanity. Written by hand, byte by byte the same."""

import functools
import zlib

from tests import papers

PAGE = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R /Resources << %b >> %b >>"


def one_page(content: bytes, *objects: bytes, resources: bytes = b"", page: bytes = b"") -> bytes:
    """Write a page whose content is object 4; `objects` are numbered from 5."""
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE % (resources, page),
        stream(content),
        *objects,
    )


def stream(content: bytes, entries: bytes = b"", *, squeezes: int = 1) -> bytes:
    """Write a stream that is deflated so many times over: the second pass alone makes 1,000 of 1 again."""
    for _ in range(squeezes):
        content = zlib.compress(content, 9)
    filters = b" ".join([b"/FlateDecode"] * squeezes)
    return raw_stream(content, entries + b" /Filter [%b]" % filters)


def raw_stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<< /Length %d %b >>\nstream\n%b\nendstream" % (len(content), entries, content)


def zeros(megabytes: int, squeezes: int = 2, fill: bytes = b"\0") -> tuple[bytes, bytes]:
    """Deflate that many megabytes of one byte, without holding them; return data and its /Filter entry.

    One megabyte is deflated and repeated: gigabytes take 10 s otherwise.
    """
    block = fill * 2**20
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = functools.reduce(lambda so_far, _: zlib.adler32(block, so_far), range(megabytes), 1)
    content = b"\x78\xda" + packed * megabytes + b"\x03\0" + checksum.to_bytes(4, "big")
    for _ in range(squeezes - 1):
        content = zlib.compress(content, 9)
    return content, b"/Filter [%b]" % b" ".join([b"/FlateDecode"] * squeezes)


def form_dag(depth: int = 40) -> bytes:
    """Draw a form that draws another twice, and so on: 2 ** depth drawings."""
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources << /XObject << /F %d 0 R >> >>"
    forms = [stream(b"/F Do /F Do", form % number) for number in range(6, 6 + depth)]
    leaf = stream(b"0 0 9 9 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 200 200]")
    return one_page(b"/F Do /F Do", *forms, leaf, resources=b"/XObject << /F 5 0 R >>")


def flat_form_dag(depth: int = 9, width: int = 60) -> bytes:
    """Stay within any limit on depth: each form draws the next 60 times."""
    draws = b"/F Do " * width
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources << /XObject << /F %d 0 R >> >>"
    forms = [stream(draws, form % number) for number in range(6, 6 + depth)]
    leaf = stream(b"0 0 9 9 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 200 200]")
    return one_page(draws, *forms, leaf, resources=b"/XObject << /F 5 0 R >>")


def form_cycle() -> bytes:
    """Draw a form that draws itself."""
    form = b"/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Resources << /XObject << /F 5 0 R >> >>"
    return one_page(b"/F Do 0 0 50 50 re f", stream(b"/F Do", form), resources=b"/XObject << /F 5 0 R >>")


def line_flood(lines: int = 6_000_000) -> bytes:
    content = b"0 0 m 200 200 l S\n" * lines
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE % (b"", b""),
        stream(content, squeezes=2),
    )


def text_flood(words: int = 3_000_000) -> bytes:
    """Say the same word over and over on one spot."""
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    content = b"BT /F 9 Tf 9 9 Td " + b"(word) Tj " * words + b"ET"
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE % (b"/Font << /F 5 0 R >>", b""),
        stream(content, squeezes=2),
        font,
    )


def long_text(characters: int = 10_000_000) -> bytes:
    """Say ten million letters in a row, on a page that is wide enough and crashes when it is drawn."""
    words = b"[" + b"(wordwordwordwordwordwordwordwordwordword) " * (characters // 40) + b"] TJ"
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R /PageLabels << /Limits [0 9] /Kids [6 0 R] >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9000000 200] /Contents 4 0 R "
        b"/Resources << /Font << /F 5 0 R >> >> >>",
        stream(b"BT /F 0.01 Tf 9 9 Td " + words + b" ET", squeezes=2),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Limits [0 9] /Kids [6 0 R] >>",
    )


def annotation_flood(times: int = 300_000) -> bytes:
    """Refer to one annotation so many times."""
    look = stream(b"1 0 0 rg 0 0 50 50 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 50 50]")
    annotation = b"<< /Type /Annot /Subtype /Stamp /Rect [0 0 50 50] /F 4 /AP << /N 6 0 R >> >>"
    annots = b"/Annots [" + b"5 0 R " * times + b"]"
    return one_page(b"", annotation, look, page=annots)


def shading(operators: int = 16_000) -> bytes:
    """Colour every pixel by a function of 64 KB."""
    function = raw_stream(
        b"{ " + b"sin " * operators + b"pop dup dup }",
        b"/FunctionType 4 /Domain [0 1 0 1] /Range [0 1 0 1 0 1]",
    )
    shade = (
        b"<< /ShadingType 1 /ColorSpace /DeviceRGB /Domain [0 1 0 1] /Matrix [200 0 0 200 0 0] "
        b"/Function 6 0 R >>"
    )
    return one_page(b"/S sh", shade, function, resources=b"/Shading << /S 5 0 R >>")


def pattern_flood() -> bytes:
    """Tile a page with a pattern that is tiled with a pattern, in steps of a thousandth of a point."""
    tile = (
        b"/PatternType 1 /PaintType 1 /TilingType 1 /BBox [0 0 1 1] /XStep .001 /YStep .001 "
        b"/Resources << /Pattern << /P %d 0 R >> >>"
    )
    inner = b"/Pattern cs /P scn 0 0 200 200 re f"
    leaf = stream(b"0 0 1 1 re f", tile % 7)
    return one_page(
        inner, stream(inner, tile % 6), stream(inner, tile % 7), leaf, resources=b"/Pattern << /P 5 0 R >>"
    )


def soft_mask_dag(depth: int = 30) -> bytes:
    """Mask by a group that masks twice by another, and so on."""
    group = (
        b"/Type /XObject /Subtype /Form /BBox [0 0 200 200] /Group << /S /Transparency /CS /DeviceGray >> "
        b"/Resources << /ExtGState << /G << /SMask << /S /Luminosity /G %d 0 R >> >> >> >>"
    )
    drawing = b"/G gs 0 0 200 200 re f /G gs 0 0 99 99 re f"
    groups = [stream(drawing, group % number) for number in range(6, 6 + depth)]
    leaf = stream(b"0 0 9 9 re f", b"/Type /XObject /Subtype /Form /BBox [0 0 200 200]")
    mask = b"/ExtGState << /G << /SMask << /S /Luminosity /G 5 0 R >> >> >>"
    return one_page(drawing, *groups, leaf, resources=mask)


def glyph_cycle() -> bytes:
    """Draw a letter whose outline is that very letter, in a font that describes itself by drawing."""
    font = (
        b"<< /Type /Font /Subtype /Type3 /FontBBox [0 0 9 9] /FontMatrix [1 0 0 1 0 0] /FirstChar 97 "
        b"/LastChar 97 /Widths [9] /CharProcs << /a 6 0 R >> /Encoding << /Type /Encoding "
        b"/Differences [97 /a] >> /Resources << /Font << /F 5 0 R >> >> >>"
    )
    letter = stream(b"9 0 d0 BT /F 1 Tf (aaaaaaaa) Tj ET 0 0 5 5 re f")
    return one_page(b"BT /F 1 Tf (aaaaaaaa) Tj ET", font, letter, resources=b"/Font << /F 5 0 R >>")


def garbage_fonts() -> bytes:
    """Embed four fonts that are none."""
    kinds = ((b"Type1", b"FontFile"), (b"TrueType", b"FontFile2"), (b"Type1", b"FontFile3 /Subtype /Type1C"))
    objects, fonts, content = [], b"", b"BT 20 150 Td "
    for index, (subtype, file) in enumerate(kinds):
        first = 5 + 3 * index
        key, _, more = file.partition(b" ")
        noise = bytes((number * 7919 + index * 104729) % 251 for number in range(4000))
        fonts += b"/F%d %d 0 R " % (index, first)
        content += b"/F%d 20 Tf (Garbage) Tj 0 -30 Td " % index
        objects += [
            b"<< /Type /Font /Subtype /%b /BaseFont /X /FontDescriptor %d 0 R >>" % (subtype, first + 1),
            b"<< /Type /FontDescriptor /FontName /X /Flags 4 /%b %d 0 R >>" % (key, first + 2),
            stream(noise, more),
        ]
    return one_page(content + b"ET", *objects, resources=b"/Font << %b >>" % fonts)


def boxed(box: bytes) -> bytes:
    """Write a page of any MediaBox, with a bar on it."""
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox %b /Contents 4 0 R >>" % box,
        stream(b"0 0 100 20 re f"),
    )


def page_tree_dag(depth: int = 20) -> bytes:
    """Count 2 ** depth pages, honestly: each node has the next one twice."""
    nodes = [
        b"<< /Type /Pages /Kids [%d 0 R %d 0 R] /Count %d >>" % (number, number, 2 ** (depth - level))
        for level, number in enumerate(range(3, 3 + depth))
    ]
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, b"<< /Type /Page /MediaBox [0 0 200 200] >>"
    )


def page_tree_cycle(count: int = 3) -> bytes:
    """Be one's own grandparent."""
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count %d >>" % count,
        b"<< /Type /Pages /Parent 2 0 R /Kids [2 0 R 3 0 R] /Count %d >>" % count,
    )


def page_tree_chain(depth: int = 20_000) -> bytes:
    """Hang one page on a chain of nodes."""
    nodes = [b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (number + 1) for number in range(2, 2 + depth)]
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, b"<< /Type /Page /MediaBox [0 0 200 200] >>"
    )


def label_tree(kids: bytes) -> bytes:
    """Look a page's label up in a tree that is no tree."""
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R /PageLabels 5 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE % (b"", b""),
        stream(b"0 0 50 50 re f"),
        b"<< /Limits [0 9] /Kids [%b] >>" % kids,
        b"<< /Limits [0 9] /Kids [5 0 R 6 0 R] >>",
    )


def image(width: int, height: int, data: bytes, entries: bytes) -> bytes:
    """Draw one image over the whole page."""
    picture = raw_stream(
        data, b"/Type /XObject /Subtype /Image /Width %d /Height %d %b" % (width, height, entries)
    )
    return one_page(b"200 0 0 200 0 0 cm /I Do", picture, resources=b"/XObject << /I 5 0 R >>")


def flate_image() -> bytes:
    """Claim 40,000 x 40,000 px in colour, 4.8 GB, and hold the first 128 MB of them in a few KB."""
    data, entry = zeros(128, squeezes=3)
    return image(40_000, 40_000, data, b"/ColorSpace /DeviceRGB /BitsPerComponent 8 " + entry)


def jbig2_image() -> bytes:
    """Claim a JBIG2 page of 65,535 x 65,535 px with a region as large, coded in nothing."""
    side = 65_535
    info = side.to_bytes(4, "big") * 2 + bytes(8) + b"\0" + b"\0\0"
    region = side.to_bytes(4, "big") * 2 + bytes(8) + b"\0" + b"\0" + b"\x03\xff\xfd\xff\x02\xfe\xfe\xfe"
    data = b""
    for number, (kind, body) in enumerate(((48, info), (38, region + bytes(2000)))):
        data += number.to_bytes(4, "big") + bytes([kind, 0, 1]) + len(body).to_bytes(4, "big") + body
    return image(side, side, data, b"/ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /JBIG2Decode")


def jbig2_symbols(times: int = 200) -> bytes:
    """Ask for the same huge region again and again on one page."""
    side = 30_000
    info = side.to_bytes(4, "big") * 2 + bytes(8) + b"\0" + b"\0\0"
    region = side.to_bytes(4, "big") * 2 + bytes(8) + b"\0" + b"\0" + b"\x03\xff\xfd\xff\x02\xfe\xfe\xfe"
    data = b""
    for number, (kind, body) in enumerate(((48, info), *((38, region + bytes(64)) for _ in range(times)))):
        data += number.to_bytes(4, "big") + bytes([kind, 0, 1]) + len(body).to_bytes(4, "big") + body
    return image(side, side, data, b"/ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /JBIG2Decode")


def fax_image() -> bytes:
    """Hold 60,000 x 60,000 px of fax, all white by convention."""
    parameters = b"/DecodeParms << /K -1 /Columns 60000 /Rows 60000 >>"
    return image(
        60_000,
        60_000,
        b"\xff" * 7500,
        b"/ColorSpace /DeviceGray /BitsPerComponent 1 /Filter /CCITTFaxDecode " + parameters,
    )


def predictor_image() -> bytes:
    """Ask for rows of two gigabytes."""
    data, entry = zeros(1, squeezes=1)
    parameters = b" /DecodeParms << /Predictor 15 /Columns 2147483647 /Colors 4 /BitsPerComponent 16 >>"
    return image(
        2_000_000_000, 2, data, b"/ColorSpace /DeviceCMYK /BitsPerComponent 16 " + entry + parameters
    )


def filter_chain(filters: int = 100_000) -> bytes:
    """Pass one word through 100,000 filters."""
    chain = b"/Filter [" + b"/ASCIIHexDecode " * filters + b"]"
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE % (b"", b""),
        raw_stream(b"00>", chain),
    )


def content_bomb(megabytes: int = 3072) -> bytes:
    """Hold three gigabytes of blanks as a page's content."""
    data, entry = zeros(megabytes, squeezes=3, fill=b" ")
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        PAGE % (b"", b""),
        raw_stream(data, entry),
    )


def object_stream_bomb(megabytes: int = 3072) -> bytes:
    """Keep the page in an object stream that unpacks to three gigabytes."""
    data, entry = zeros(megabytes, squeezes=3, fill=b" ")
    return _with_object_stream(raw_stream(data, b"/Type /ObjStm /N 1000000 /First 9 " + entry))


def object_stream_cycle() -> bytes:
    """Keep in an object stream where the object stream is."""
    return _with_object_stream(stream(b"4 0 5 0 << >> << >>", b"/Type /ObjStm /N 2 /First 8 /Extends 4 0 R"))


def _with_object_stream(content: bytes) -> bytes:
    """Write a file whose object 3, the page, lies in object stream 4 as the cross-reference stream 5 says."""
    body = b"%PDF-1.7\n"
    places = []
    objects = (b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", content)
    for number, each in zip((1, 2, 4), objects, strict=True):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    rows = [
        (0, 0, 255),
        (1, places[0], 0),
        (1, places[1], 0),
        (2, 4, 0),
        (1, places[2], 0),
        (1, len(body), 0),
    ]
    table = b"".join(bytes([kind]) + place.to_bytes(8, "big") + bytes([last]) for kind, place, last in rows)
    start = len(body)
    cross = stream(table, b"/Type /XRef /Size 6 /W [1 8 1] /Root 1 0 R")
    return body + b"5 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (cross, start)


def deep_nesting(depth: int = 500_000) -> bytes:
    """Nest arrays in the page's dictionary, and in its content."""
    return one_page(b"[" * depth + b"]" * depth + b" TJ", page=b"/X " + b"[" * depth + b"]" * depth)


def previous_loop() -> bytes:
    """Send the reader of the cross-reference table back to the same table."""
    good = papers.pdf()
    start = int(good.rpartition(b"startxref")[2].split()[0])
    return good.replace(b"trailer\n<<", b"trailer\n<< /Prev %d" % start)


def reference_loop() -> bytes:
    """Say that a page's content is what it is, and that its length is too."""
    return papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox 5 0 R /Contents [4 0 R 5 0 R] >>",
        b"<< /Length 4 0 R >>\nstream\n0 0 9 9 re f\nendstream",
        b"5 0 R",
    )


def huge_cross_reference(objects: int = 8_388_607) -> bytes:
    """Promise eight million objects."""
    return papers.pdf().replace(b"/Size", b"/Size %d /Was" % objects)


def unknown_encryption() -> bytes:
    """Be encrypted by nobody's rules."""
    good = papers.written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
        b"<< /Filter /Rights.Management /V 9 /R 9 >>",
    )
    return good.replace(b"/Root 1 0 R", b"/Root 1 0 R /Encrypt 4 0 R")
