"""Verdicts: what is no reading of a page, and, as much, what is one although it looks odd."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketscribe import quality
from bucketscribe.model import PageImage, PageText

EMPTY_TABLE = (
    "<table>"
    + ("<tr>" + "<td></td>" * 12 + "</tr>\n") * 45
    + "<tr><td>Total</td>"
    + "<td></td>" * 11
    + "</tr></table>"
)

# Texts as a faithful reader gives them of pages that do exist.
GOOD = {
    "a line": "Invoice 17\n",
    "one character": "7",
    "a long table with many empty cells": EMPTY_TABLE,
    "a Markdown table with many empty rows": "| a | b |\n|---|---|\n" + "| | |\n" * 45,
    "a ruled sheet of one column": "| |\n|---|\n" + "| |\n" * 55,
    "a table of contents": "\n".join(f"Chapter {n} {'.' * 60} {n * 3}" for n in range(1, 41)),
    "a table of contents with equal lines": "......... 12\n" * 40,
    "a table of contents that ends in dots": "\n".join(f"Chapter {n} {'. ' * 60}" for n in range(1, 41)),
    "a form": "\n".join(f"{name}: {'_' * 90}" for name in ("Name", "Street", "Town", "Date", "Signature")),
    "a form that ends in one long line": "Signature: " + "_" * 180,
    "a letter with a ruled foot": "Dear Sir,\n\n" + "-" * 200,
    "lines to write on": ("_" * 100 + "\n") * 5,
    "a row of boxes": "Place of birth " + "☐ " * 60,
    "bullets": "".join(f"- item {n}\n" for n in range(80)),
    "equal bullets": "- yes\n" * 50,
    "short rows that repeat": "| 0.00 | 0.00 |\n" * 50,
    "a column of N/A": "N/A\n" * 60,
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 20,
    "a chorus": "Row, row, row your boat,\nGently down the stream.\n" * 12,
    "math": "$$\\sum_{i=0}^{n} x_i$$\n" * 20,
    "the page's own words": "This page intentionally left blank\n",
    "a saying": "There is no text without subtext. Exhibit A, 3 May 1921.\n",
    "a witness": "There are no text messages on the phone, the witness said.\n",
    "an empty page in a story": "The page is empty. The ink has run out.\n",
    "the page's own words, full": "THIS PAGE IS INTENTIONALLY LEFT BLANK.",
    "a warning": "There is no lifeguard on duty.",
    "talk of content in a longer page": "There is no content in this section.\n"
    + "It was moved to chapter 4. " * 30,
}

LOOPS = {
    "a dot": "." * 4000,
    "a word": "the " * 1000,
    "a line": "Total: 0.00 EUR\n" * 200,
    "a cell": "<table><tr>" + "<td></td>" * 800,
    "a row": "<table>" + "<tr><td>0</td><td>0</td><td>0</td></tr>\n" * 200,
    "a sentence": "The quick brown fox jumps over the lazy dog and is glad of it. " * 200,
    "after a good beginning": "Chapter one. It was a dark and stormy night.\n" + "la " * 500,
    "cut off in the middle": "abcdefghij" * 300 + "abcd",
    "before trailing blanks": "loop " * 500 + "\n\n  \n",
    "Japanese": "あ" * 3000,
}

BLANK_TALK = [
    "There is no content in the provided image to transcribe.",
    "There is no visible text in the image.",
    "There are no readable content elements here.",
    "**There is no text in this image.**",
    "The image is blank.",
    "The provided image appears to be completely blank.",
    "The page is empty.",
]


def answer(markdown: str, finish_reason: str = "stop") -> PageText:
    return PageText(
        markdown=markdown, finish_reason=finish_reason, prompt_tokens=2157, completion_tokens=4096, model="m"
    )


def code(markdown: str, finish_reason: str = "stop") -> str | None:
    found = quality.fault(answer(markdown, finish_reason))
    return found.code if found else None


@pytest.mark.parametrize("name", GOOD)
def test_a_good_reading_may_stand(name):
    assert code(GOOD[name]) is None


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_a_loop_is_a_loop_whether_cut_off_or_not(name, finish_reason):
    assert code(LOOPS[name], finish_reason) == "model_loop"


def test_what_the_server_calls_a_loop_is_one():
    assert code("It was a dark night. It was", "repetition") == "model_loop"


def test_a_dense_page_that_is_cut_off_is_truncated_and_no_loop():
    text = "".join(f"{n} items of kind {n * 7}, " for n in range(600))
    assert code(text, "length") == "model_truncated"


def test_a_cut_off_answer_never_stands_however_good_it_looks():
    for text in GOOD.values():
        assert code(text, "length") in {"model_truncated", "model_loop"}


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t\u3000"])
def test_an_answer_of_nothing_is_empty(text):
    assert code(text) == "model_empty"


@pytest.mark.parametrize("text", BLANK_TALK)
def test_talk_of_an_empty_page_is_no_reading(text):
    assert code(text) == "blank_talk"


@settings(derandomize=True, deadline=None)
@given(st.text(min_size=1, max_size=60), st.integers(0, 200), st.text(max_size=50))
def test_a_loop_is_found_wherever_it_is_cut_off(unit, offset, before):
    if unit.strip():
        text = before + unit * (2000 // len(unit) + 62)
        assert quality.is_loop(text[: len(text) - offset % len(unit)])


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=500))
def test_a_short_text_is_no_loop(text):
    assert not quality.is_loop(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 7999 + "b",
        "b" + "a" * 7999,
        "ab" * 3999 + "c",
        "a" * 4000 + "b" + "a" * 3999,
        ("a" * 39 + "b") * 199 + "c" * 40,
        (" " * 39 + "x") * 58 + " " * 5000 + "y",
        ("a" * 20 + "b" + "a" * 19) * 59 + "!",
        "\n" * 8000,
        "a " * 2_000_000 + "b",
    ],
    ids=range(9),
)
def test_a_hostile_text_is_judged_in_no_time(text):
    started = time.process_time()
    quality.fault(answer(text))
    assert time.process_time() - started < 0.1


def page(ink: float) -> PageImage:
    return PageImage(data=b"", media_type="image/png", width=1092, height=1540, ink=ink)


def test_a_page_with_a_line_of_words_is_not_faint():
    assert not quality.is_faint(page(0.001))
    assert quality.is_faint(page(0.0001))
    assert quality.is_faint(page(0.0))


def test_only_nothing_read_confirms_that_a_faint_page_holds_nothing():
    assert {"model_empty", "blank_talk"} == quality.NOTHING_READ
