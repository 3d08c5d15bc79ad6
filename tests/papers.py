"""Documents for tests, made in memory: good ones, odd ones, and those that want to do harm."""

import io
import zlib
from collections.abc import Sequence

import pikepdf
from PIL import Image, ImageDraw
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

A4 = (595.0, 842.0)


def pdf(
    pages: int = 1, text: str = "Page {page}", size: tuple[float, float] = A4, gray: float = 0.0
) -> bytes:
    """Write `text` near the top of every page, in 20 points; gray 0 is black, 1 is white."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=size)
    for page in range(1, pages + 1):
        canvas.setFont("Helvetica", 20)
        canvas.setFillGray(gray)
        canvas.drawString(size[0] * 0.1, size[1] * 0.8, text.format(page=page))
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def blank_pdf(pages: int = 1) -> bytes:
    return pdf(pages, text="")


def tinted_pdf(red: float, green: float, blue: float) -> bytes:
    """Paint one page evenly."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    canvas.setFillColorRGB(red, green, blue)
    canvas.rect(-10, -10, A4[0] + 20, A4[1] + 20, stroke=0, fill=1)
    canvas.save()
    return file.getvalue()


def coloured_pdf() -> bytes:
    """Draw red type on white."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    canvas.setFillColorRGB(0.8, 0, 0)
    canvas.setFont("Helvetica", 40)
    canvas.drawString(100, 600, "Red")
    canvas.save()
    return file.getvalue()


def encrypted_pdf(password: str) -> bytes:
    """Protect a page by a password; "" for one that opens without being asked."""
    return _saved(pdf(), encryption=pikepdf.Encryption(user=password, owner="owner"))


def corrupt_pdf() -> bytes:
    return b"%PDF-1.7\n" + b"this is not what a PDF says\n" * 20


def pageless_pdf() -> bytes:
    return written(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [] /Count 0 >>")


def lying_pdf(pages: int = 900_000) -> bytes:
    """Claim a number of pages and hold one."""
    return written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count %d >>" % pages,
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
    )


def broken_page_pdf() -> bytes:
    """Hold a good page and one that is no page."""
    return written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
        b"(neither page nor pages)",
    )


def form_pdf(value: str = "Ada Lovelace") -> bytes:
    """Fill in a text field; the page itself is empty."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    canvas.acroForm.textfield(
        name="who", value=value, x=100, y=600, width=300, height=30, borderWidth=0, fillColor=None
    )
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def cjk_pdf(text: str = "你好世界") -> bytes:
    """Write Chinese in a font that is not in the file."""
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    canvas.setFont("STSong-Light", 40)
    canvas.drawString(100, 600, text)
    canvas.save()
    return file.getvalue()


def rotated_pdf(degrees: int = 90) -> bytes:
    """Ask the viewer to turn an upright A4 page clockwise."""
    with pikepdf.open(io.BytesIO(pdf(text="The line at the top of an upright page"))) as document:
        document.pages[0].Rotate = degrees
        return _bytes(document)


def cropped_pdf(box: Sequence[float]) -> bytes:
    """Set a page's CropBox, which may lie beside the page."""
    with pikepdf.open(io.BytesIO(pdf())) as document:
        document.pages[0].CropBox = pikepdf.Array(list(box))
        return _bytes(document)


def labelled_pdf(*prefixes: str) -> bytes:
    """Give every page a label of its own; "" for none."""
    with pikepdf.open(io.BytesIO(pdf(len(prefixes)))) as document:
        numbers: list[object] = []
        for index, prefix in enumerate(prefixes):
            numbers += [index, pikepdf.Dictionary(P=pikepdf.String(prefix))]
        document.Root.PageLabels = pikepdf.Dictionary(Nums=pikepdf.Array(numbers))
        return _bytes(document)


def hanging_pdf(depth: int = 40) -> bytes:
    """Hold form fields that are each other's children, twice each: 2 ** depth of them. PDFium counts them."""
    first = 4
    fields = [
        b"<< /T (f) /FT /Tx /Kids [%d 0 R %d 0 R] >>" % (number + 1, number + 1)
        for number in range(first, first + depth)
    ]
    return written(
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [%d 0 R] >> >>" % first,
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>",
        *fields,
        b"<< /T (leaf) /FT /Tx /V (x) /Subtype /Widget /Rect [0 0 9 9] >>",
    )


def memory_bomb_pdf(states: int = 8_000_000) -> bytes:
    """Save the graphics state over and over: a few KB that become gigabytes."""
    content = zlib.compress(b"q " * states, 9)
    return written(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 4 0 R >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%b\nendstream" % (len(content), content),
    )


def written(*objects: bytes) -> bytes:
    """Write a PDF by hand from its objects, numbered from 1; the first is the catalog."""
    body, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    table += b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(body))
    return body + table + trailer


def picture(size: tuple[int, int] = (400, 300), mode: str = "RGB") -> Image.Image:
    """Draw something dark on white, more of it at the top than at the bottom."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((size[0] // 8, size[1] // 8, size[0] // 2, size[1] // 4), fill=(20, 20, 120))
    return image.convert(mode)


def saved(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)  # type: ignore[arg-type]
    return file.getvalue()


def tiff(pages: int = 2, compression: str = "group4", size: tuple[int, int] = (400, 300)) -> bytes:
    """Write a TIFF of several pages, by default as fax machines do."""
    mode = "1" if compression.startswith("group") else "RGB"
    first, *others = [picture(size, mode) for _ in range(pages)]
    return saved(first, "TIFF", save_all=True, append_images=others, compression=compression)


def photo_with_exif(orientation: int, size: tuple[int, int] = (400, 300), format_name: str = "JPEG") -> bytes:
    """Photograph a dark band at the top of what the camera saw, stored as the EXIF orientation says."""
    seen = Image.new("RGB", size, "white")
    ImageDraw.Draw(seen).rectangle((0, 0, size[0], size[1] // 4), fill="black")
    store = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = seen.transpose(store[orientation]) if orientation in store else seen
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(stored, format_name, exif=exif)


def animated_gif() -> bytes:
    """Show something first and something else then."""
    return saved(picture(), "GIF", save_all=True, append_images=[Image.new("RGB", (400, 300), "red")])


def truncated_jpeg() -> bytes:
    whole = saved(Image.effect_noise((400, 300), 90), "JPEG")
    return whole[: len(whole) // 2]


def _saved(document: bytes, encryption: pikepdf.Encryption) -> bytes:
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(document)) as opened:
        opened.save(file, encryption=encryption)
    return file.getvalue()


def _bytes(document: pikepdf.Pdf) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()
