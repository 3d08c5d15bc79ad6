"""Writes the sample documents, the same bytes every time: no dates, no random numbers, no system fonts.

    python samples/make_samples.py [FOLDER]

writes FOLDER/documents/* and FOLDER/broken/broken.pdf; without FOLDER, beside this file. The scanned book in
documents/ is not made here: README.md says where it comes from. All texts are inventions.
"""

import sys
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from reportlab.lib import colors
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    FrameBreak,
    PageTemplate,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

AUTHOR = "Skerry Point Lighthouse Archive"
# Uncompressed, so that the bytes do not depend on a zlib, and `git diff` can show what changed.
INVARIANT = {"invariant": 1, "pageCompression": 0}
STYLES = getSampleStyleSheet()
PROSE = ParagraphStyle(
    "prose", fontName="Times-Roman", fontSize=13, leading=17, spaceAfter=8, alignment=TA_JUSTIFY
)

GOODS = (  # what, how many, price of one in pence
    ("Lamp oil, can of 20 litres", 6, 4250),
    ("Brass polish, tin of 500 ml", 12, 875),
    ("Storm glass, cut by hand", 3, 18900),
    ("Log book, ruled, 200 pages", 25, 640),
    ("Signal flags, full set", 1, 13200),
)
VAT_PERCENT = 20

ARTICLE = """
The lighthouse at Skerry Point was lit for the first time on a wet evening in October. Nobody on the
mainland saw it. The fog was so thick that the keeper, a patient man called Tobias Wren, walked down to the
landing stage to be certain that the lamp was burning at all.
|
He wrote one line about it in his log book: the lamp is lit, the fog is not impressed. The archive keeps
that book today, together with two hundred and eleven others, and every one of them begins with the weather.
|
The books are the reason why the archive exists. When the light was made automatic, a van came to take the
furniture away. The driver found the shelves in the oil store, read three pages, and sat down on a barrel to
read some more. He missed the evening ferry and brought the books to the town library in the morning.
|
What do they tell us? They tell us that the keepers counted everything: ships, seals, gulls, broken panes,
cups of tea. They tell us that a goat called Admiral lived on the island for nine years and that nobody
could say how it had come there.
|
They also show how careful the work was. Every night has its own page, and every page is accounted for.
Where a keeper was ill, the next one wrote that the page was left empty, and why. There is not one gap in
ninety years.
|
Volunteers are now copying the books by machine. The pages are photographed, a computer reads them, and a
person compares the two. Old ink is pale and the sea has been in some of the volumes, so the comparing takes
time. But the keepers were never in a hurry, and neither are we.
"""

VISITORS = """
The archive is open from Tuesday to Saturday, between ten in the morning and four in the afternoon. In
winter we close when the light goes, because the reading room has no lamps of its own. That is not a joke,
only a long story.
|
Please bring a pencil. Pens stay in the basket beside the door, where the archive cat guards them. Log books
are brought to your table one at a time. Turn the pages slowly and tell us when you find sand between them:
we collect it, and we know which beach it comes from.
|
The page before this one is empty on purpose. In the printed booklet it is the back of the title page.
"""

FAX = (
    """To: Harbour and Lamp Supplies
    From: Skerry Point Lighthouse Archive
    Pages: 3 with this one
    |
    Dear friends,
    |
    the storm of last week has broken three panes of the lantern room.
    The next two pages show what we need and how to find us.
    Please answer by fax. The telephone is under water.
    |
    With kind regards,
    Ada Wren, archivist""",
    """What we need
    |
    3 panes of storm glass, 60 by 90 centimetres
    2 tubes of putty, the grey kind
    1 ladder, twelve steps, not the one from last time
    1 box of biscuits for the crew of the supply boat
    |
    The ladder can wait. The biscuits cannot.""",
    """How to find us
    |
    Leave the harbour at high water and steer west.
    Keep the red buoy on your left hand.
    When you see a goat on a rock, you have gone too far.
    |
    Land on the north side, where the steps are.
    Somebody will catch your rope.""",
)

NOTICE = """NOTICE TO KEEPERS
    |
    The lamp must be trimmed every four hours.
    Clean the lens with vinegar and a soft cloth.
    Write the weather into the log before supper.
    |
    Whoever hears the fog bell first shall wake
    the other keeper, politely, and with tea.
    |
    Nobody is to feed the goat."""

FORM_FIELDS = (  # label, value
    ("Name of reader", "Marguerite Oakley"),
    ("Town", "Little Harbour"),
    ("Log book number", "LB-0147"),
    ("Reason for reading", "My grandfather saw the green comet"),
)
FORM_BOXES = (("I have clean and dry hands", True), ("I have brought a goat", False))


def make(folder: Path) -> None:
    """Write all samples below `folder`; what lies there under their names is replaced."""
    documents, broken = folder / "documents", folder / "broken"
    documents.mkdir(parents=True, exist_ok=True)
    broken.mkdir(exist_ok=True)
    _invoice(documents / "table.pdf")
    _article(documents / "two-columns.pdf")
    _booklet(documents / "blank-in-the-middle.pdf")
    _form(documents / "form.pdf")
    _fax(documents / "fax.tiff")
    _photo(documents / "photo.jpg")
    # Cut before the first page: PDFium mends a file that still has its pages, and refuses this one.
    (broken / "broken.pdf").write_bytes((documents / "table.pdf").read_bytes()[:400])


def _invoice(path: Path) -> None:
    net = sum(count * price for _, count, price in GOODS)
    vat = net * VAT_PERCENT // 100
    rows = [("Description", "Quantity", "Unit price", "Amount")]
    rows += [(what, str(count), _pounds(price), _pounds(count * price)) for what, count, price in GOODS]
    rows += [("Subtotal", "", "", _pounds(net)), (f"VAT {VAT_PERCENT} %", "", "", _pounds(vat))]
    rows += [("Total due", "", "", _pounds(net + vat))]
    table = Table(rows, colWidths=(230, 70, 80, 80), rowHeights=24)
    table.setStyle(
        [
            ("GRID", (0, 0), (-1, -1), 0.75, colors.black),
            ("BACKGROUND", (0, 0), (-1, 0), colors.Color(0.88, 0.92, 0.96)),
            ("FONT", (0, 0), (-1, 0), "Helvetica-Bold", 11),
            ("FONT", (0, 1), (-1, -1), "Helvetica", 11),
            ("FONT", (0, -1), (-1, -1), "Helvetica-Bold", 11),
            ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
            ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ]
    )
    story: list[Flowable] = [
        Paragraph("Invoice 1047", STYLES["Title"]),
        Paragraph("Harbour and Lamp Supplies, 12 Quay Street, Little Harbour", STYLES["Normal"]),
        Paragraph("To the Skerry Point Lighthouse Archive, for the month of March", STYLES["Normal"]),
        Spacer(1, 18),
        table,
        Spacer(1, 18),
        Paragraph("Payable within thirty days. The supply boat leaves on Thursdays.", STYLES["Normal"]),
    ]
    SimpleDocTemplate(str(path), pagesize=A4, title="Invoice 1047", author=AUTHOR, **INVARIANT).build(story)


def _pounds(pence: int) -> str:
    return f"{pence // 100:,}.{pence % 100:02}"


def _article(path: Path) -> None:
    width, height = A4
    margin, gap, head = 56, 26, 84
    column = (width - 2 * margin - gap) / 2
    body = height - 2 * margin - head
    frames = [
        Frame(margin, height - margin - head, width - 2 * margin, head, id="head"),
        Frame(margin, margin, column, body, id="left"),
        Frame(margin + column + gap, margin, column, body, id="right"),
    ]
    document = BaseDocTemplate(
        str(path), pagesize=A4, title="The Lamp and the Log Books", author=AUTHOR, **INVARIANT
    )
    document.addPageTemplates(PageTemplate(frames=frames))
    paragraphs = [Paragraph(text, PROSE) for text in ARTICLE.split("|")]
    story: list[Flowable] = [Paragraph("The Lamp and the Log Books", STYLES["Title"]), FrameBreak()]
    document.build([*story, *paragraphs[:3], FrameBreak(), *paragraphs[3:]])


def _booklet(path: Path) -> None:
    canvas = Canvas(str(path), pagesize=A4, **INVARIANT)
    canvas.setTitle("Notes for Visitors")
    canvas.setAuthor(AUTHOR)
    canvas.addPageLabel(0, style="ROMAN_LOWER", start=1)
    canvas.addPageLabel(2, style="ARABIC", start=1)
    width, height = A4
    canvas.setFont("Times-Bold", 30)
    canvas.drawCentredString(width / 2, height * 0.62, "Notes for Visitors")
    canvas.setFont("Times-Roman", 16)
    canvas.drawCentredString(width / 2, height * 0.56, AUTHOR)
    canvas.showPage()
    canvas.showPage()  # the blank one
    paragraphs: list[Flowable] = [Paragraph(text, PROSE) for text in VISITORS.split("|")]
    heading = Paragraph("Before you come", STYLES["Heading1"])
    Frame(90, 90, width - 180, height - 180).addFromList([heading, *paragraphs], canvas)
    canvas.showPage()
    canvas.save()


def _form(path: Path) -> None:
    """Draw labels into the page and values into form fields only: without its form, the form looks empty."""
    canvas = Canvas(str(path), pagesize=A4, **INVARIANT)
    canvas.setTitle("Request to read a log book")
    canvas.setAuthor(AUTHOR)
    canvas.setFont("Helvetica-Bold", 20)
    canvas.drawString(72, 740, "Request to read a log book")
    canvas.setFont("Helvetica", 12)
    top = 660
    plain = {
        "borderColor": colors.gray,
        "fillColor": colors.white,
        "textColor": colors.black,
        "borderWidth": 0.5,
    }
    for label, value in FORM_FIELDS:
        canvas.drawString(72, top + 34, label)
        canvas.acroForm.textfield(
            name=label, value=value, x=72, y=top, width=330, height=26, fontSize=13, **plain
        )
        top -= 62
    for label, checked in FORM_BOXES:
        canvas.acroForm.checkbox(name=label, checked=checked, x=72, y=top, size=18, **plain)
        canvas.drawString(102, top + 5, label)
        top -= 36
    canvas.showPage()
    canvas.save()


def _fax(path: Path) -> None:
    """Draw what a fax machine in its fine mode sends: 1728 px wide, black and white, 204 × 196 dpi."""
    pages = []
    for number, text in enumerate(FAX, start=1):
        page = Image.new("L", (1728, 2200), 255)
        _write(page, f"SKERRY POINT ARCHIVE     FAX 0147     PAGE {number}", left=90, top=30, size=28)
        _write(page, text, left=150, top=260, size=44)
        pages.append(page.convert("1", dither=Image.Dither.NONE))
    pages[0].save(path, compression="group4", save_all=True, append_images=pages[1:], dpi=(204, 196))


def _photo(path: Path) -> None:
    """Draw a notice that lies on a table, seen a little from the side, by a camera that was held upright."""
    paper = Image.new("RGBA", (1000, 1240), (247, 243, 230, 255))
    _write(paper, NOTICE, left=90, top=110, size=40)
    sheet = Image.new("RGBA", (1200, 1500), (0, 0, 0, 0))
    sheet.paste(Image.new("RGBA", paper.size, (0, 0, 0, 90)), (116, 142))  # its shadow
    sheet.paste(paper, (100, 130))
    corners = (-40, 0, 15, 1490, 1190, 1510, 1225, 20)  # upper left, lower left, lower right, upper right
    seen = sheet.transform(sheet.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    photo = _table_top(seen.size)
    photo.paste(seen, mask=seen)
    light = Image.linear_gradient("L").resize(photo.size).point(partial(_dimmed, least=200))
    photo = Image.composite(photo, Image.new("RGB", photo.size), light)
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn it a quarter to the right to see it upright
    photo.transpose(Image.Transpose.ROTATE_90).save(path, quality=78, exif=exif)


def _table_top(size: tuple[int, int]) -> Image.Image:
    """Draw brown boards with a grain: from integers alone, so that it is the same everywhere."""
    top = Image.new("RGB", size)
    draw = ImageDraw.Draw(top)
    for x in range(0, size[0], 3):
        shade = (x * 7919 // 3) % 23 + (12 if (x // 240) % 2 else 0) - (40 if x % 240 == 0 else 0)
        draw.rectangle((x, 0, x + 2, size[1]), fill=(112 + shade, 78 + shade, 50 + shade))
    return top


def _dimmed(level: int, *, least: int) -> int:
    return least + level * (255 - least) // 255


def _write(image: Image.Image, text: str, *, left: int, top: int, size: int) -> None:
    """Write lines in Pillow's own font; "|" alone on a line leaves half a line free."""
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=size)
    for line in text.splitlines():
        if line.strip() == "|":
            top += size
            continue
        draw.text((left, top), line.strip(), font=font, fill=(25 if image.mode == "L" else (35, 32, 40)))
        top += size * 8 // 5


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
