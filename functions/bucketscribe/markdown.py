"""Page text as it may stand in the output: cleaned, marked, put together, and split again.

A page's text comes from strangers by way of a model. Here it becomes NFC with LF line ends, its HTML is
cut down to table markup, and nothing in it can pass for a page marker: a marker begins with `<!--`, and no
`<!` of a page survives unescaped. What else a page may not do to others is kept in by `containment`.
"""

import re
import unicodedata
from urllib.parse import quote

from bucketscribe.containment import contain
from bucketscribe.model import PageRecord

LABEL_LIMIT = 32

MARKER = re.compile(r"^<!-- page (\d+) of (\d+)\b.*-->$", re.MULTILINE)

# Every character that some reader takes for a line end; JavaScript's regular expressions know U+2028.
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]")
# Among them those that turn the order of what is shown: type in any script goes without.
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff]")
# Quotes must pair: after `<td colspan="3>` a browser would read the page's text on as attributes.
_TABLE_TAG = (
    r"</?(?:table|thead|tbody|tfoot|tr|td|th|caption|colgroup|col|br)"
    r"(?:\s+(?:colspan|rowspan)=(?:\d{1,4}|\"\d{1,4}\"))*\s*/?>"
)
_TAG_START = re.compile(rf"({_TABLE_TAG})|<(?=[a-z/!?])", re.IGNORECASE | re.ASCII)


def clean(text: str) -> str:
    """Make a page's body of a model's answer: NFC, LF, safe HTML, nothing left open; one newline at its end,
    or wholly empty.

    Cleaning what is clean changes nothing.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _CONTROLS.sub("", _LINE_ENDS.sub("\n", text))
    text = unicodedata.normalize("NFC", text)
    # A blank line within a tag would end the block of HTML that it stands in.
    text = _TAG_START.sub(lambda match: " ".join(match[1].split()) if match[1] else "&lt;", text)
    text = contain(text.strip("\n").rstrip())
    return text + "\n" if text.strip() else ""


def failed_body(page: int, code: str) -> str:
    """Write the one visible line that stands for a page that could not be read."""
    return f"> [page {page} could not be read: {code}]\n"


def failed_document(code: str, message: str) -> str:
    """Write the one sentence that stands for a document that could not be opened."""
    return clean(f"This document could not be read ({code}): {message}")


def marker(record: PageRecord, pages: int) -> str:
    """Write a page's marker line, without its newline."""
    shown = quote((record.label or "")[:LABEL_LIMIT], safe="", errors="replace")
    label = f' label="{shown}"' if shown else ""
    return f'<!-- page {record.page} of {pages}{label} status="{record.status}" -->'


def head(record: PageRecord, pages: int) -> str:
    """Write what stands before a page's body in its document: an empty line, if it is not the first page,
    and its marker. A document's text is each page's head and body, in order, and nothing else.
    """
    return ("\n" if record.page > 1 else "") + marker(record, pages) + "\n"


def split(text: str) -> list[str]:
    """Take a document's text apart into its pages' bodies again.

    A text without markers, a document's that could not be opened, has no pages.
    """
    markers = list(MARKER.finditer(text))
    ends = [*(each.start() - 1 for each in markers[1:]), len(text)]
    return [text[each.end() + 1 : end] for each, end in zip(markers, ends, strict=False)]
