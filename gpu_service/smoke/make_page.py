"""Draws page.png, the page that smoke.sh has read: `.venv/bin/python gpu_service/smoke/make_page.py`.

It goes the way a document's page goes: a PDF, drawn by the project's own renderer at the profile's size. The
text is an invention; words.txt holds what must be found in a reading of it.
"""

import sys
import tempfile
from pathlib import Path

from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.platypus import Paragraph, SimpleDocTemplate

from bucketscribe.model import Encoding, PageImage
from bucketscribe.render import Limits, draw
from bucketscribe.settings import PROFILES

FOLDER = Path(__file__).parent
TITLE = "The harbour bell"
PARAGRAPHS = (
    "Every evening at seven the keeper of Skerry Point rings the harbour bell three times. The fishing boats"
    " answer with their lanterns, one after another, until the whole bay is lit.",
    "In winter the path to the bell is covered with ice. Then the keeper carries a bucket of sand and a"
    " wooden ladder, and the walk takes forty minutes instead of ten.",
    "Nobody remembers who hung the bell there. The oldest log book only says that it was already old.",
)


def make(folder: Path) -> PageImage:
    """Draw the page by way of a PDF in `folder`."""
    path = folder / "page.pdf"
    styles = getSampleStyleSheet()
    text = styles["BodyText"].clone("text", fontName="Times-Roman", fontSize=13, leading=18, spaceAfter=12)
    story = [Paragraph(TITLE, styles["Title"]), *(Paragraph(each, text) for each in PARAGRAPHS)]
    SimpleDocTemplate(str(path), pagesize=A4, invariant=1).build(story)
    edge = PROFILES["lightonocr-2-1b"].longest_edge_px
    limits = Limits(max_pages=1, max_pixels=10_000_000)
    return draw(path, 1, longest_edge_px=edge, encoding=Encoding.PNG, limits=limits)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = make(Path(folder))
    (FOLDER / "page.png").write_bytes(image.data)
    sys.stdout.write(f"page.png: {image.width} x {image.height} px, {len(image.data)} bytes\n")


if __name__ == "__main__":
    main()
