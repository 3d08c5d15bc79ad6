"""Is this text a good reading of this page? One verdict for one answer; what follows is the deed's business.

So far: cut off, looping, empty, or talk about an empty page. Agreement with the PDF's own text layer and
the ladder of better tries are not here yet.
"""

import re

from bucketscribe.model import PageFault, PageImage, PageText

# A page with less ink than this may well hold nothing to read: a speck, a fold, a scanner's edge.
# A line of ten printed words at 1540 px covers about 0.001 of a page.
FAINT_INK = 0.0005

# How often a run of characters must repeat at the end of a text to be called a loop, and how many characters
# that must come to. Empty table cells repeat legitimately; 60 rows of them on one page do not occur. Lines to
# fill in, rules and dot leaders repeat one character, but hardly 200 of them fit on a line.
_LOOP_REPEATS = 60
_LOOP_CHARACTERS = 600
_TAIL_CHARACTERS = 8000

# Faults that on a faint page only confirm that there is nothing to read.
NOTHING_READ = frozenset({"model_empty", "blank_talk"})

# What the model says of an empty page, in 40 of 40 runs under vLLM (third-party measurement, 2026). That a
# page was intentionally left blank is what such pages say themselves, in print: a right reading.
# Said of the image or the page, or said and no more: a witness may say that there is no text, too.
_BLANK_TALK = re.compile(
    r"\W*(?:there (?:is|are) no (?:visible |readable |discernible )?(?:content|text)(?: or (?:content|text))?"
    r"(?: elements?)?(?: (?:visible|present|found|here))?"
    r"(?: (?:in|on|within) (?:the|this) (?:provided |given )?(?:image|page|document|picture)\b.{0,200}|\W*)"
    r"|the (?:provided )?(?:image|page) (?:is|appears to be) (?:completely |entirely )?(?:blank|empty)"
    r"(?: and\b.{0,200}|\W*))",
    re.IGNORECASE | re.DOTALL,
)


def is_faint(image: PageImage) -> bool:
    """Tell whether the page has so little ink that an empty answer is a right one."""
    return image.ink < FAINT_INK


def fault(text: PageText) -> PageFault | None:
    """Name what is wrong with an answer; None when it may stand. Looks at the answer alone."""
    if text.finish_reason == "repetition":
        return PageFault(code="model_loop", message="the server ended the answer because it repeated itself")
    if is_loop(text.markdown):
        return PageFault(code="model_loop", message="the answer repeats itself until its end")
    if text.finish_reason == "length":
        return PageFault(
            code="model_truncated",
            message=f"the answer was cut off after {text.completion_tokens} tokens: the page is too dense",
        )
    if not text.markdown.strip():
        return PageFault(code="model_empty", message="the model answered nothing for a page with ink on it")
    if _BLANK_TALK.fullmatch(text.markdown.strip()):
        return PageFault(code="blank_talk", message="the model said that a page with ink on it is empty")
    return None


def is_loop(markdown: str) -> bool:
    """Tell whether a text ends in the same characters over and over.

    A run that repeats itself every `period` characters equals itself moved by as many; that takes a few
    milliseconds at worst, where a regular expression with a back-reference took seconds.
    """
    tail = markdown.rstrip()[-_TAIL_CHARACTERS:]
    if len(tail) < _LOOP_CHARACTERS:
        return False
    for period in range(1, len(tail) // _LOOP_REPEATS + 1):
        run = tail[-max(_LOOP_REPEATS * period, _LOOP_CHARACTERS) :]
        if run[period:] == run[:-period]:
            return True
    return False
