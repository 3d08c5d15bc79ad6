"""Page text that comes from strangers, and what may be left of it."""

import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bucketscribe import markdown
from bucketscribe.model import PageRecord, PageStatus

PROPERTY = settings(derandomize=True, deadline=None)

CONTRACT = re.compile(r"^<!-- page (\d+) of (\d+)\b.*-->$", re.MULTILINE)

# What ends a line, and what `.` does not match, in JavaScript's regular expressions.
JAVASCRIPT_LINE_ENDS = re.compile("[\n\r\u2028\u2029]")

# Bare, or with attributes that say nothing but how far a cell reaches, each quote with its twin.
HARMLESS = re.compile(
    r"</?(?:table|thead|tbody|tfoot|tr|td|th|caption|colgroup|col|br)"
    r"(?:[ \t\n]+(?:colspan|rowspan)=(?:[0-9]{1,4}|\"[0-9]{1,4}\"))*[ \t\n]*/?>",
    re.IGNORECASE | re.ASCII,
)

FRAGMENTS = (
    "<script>",
    "</script >",
    "<img onerror=alert(1)>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?php",
    "</ td",
    "<TABLE onclick=x>",
    "<TABLE>",
    "<td>",
    "</td>",
    "<td",
    '<td colspan="3>',
    '<td colspan="3">',
    "<td rowspan=2 >",
    '<td colspan=2 style="x">',
    "<br/>",
    "<br",
    "<tdx>",
    "<\u0338td>",
    "<td>\u0338",
    "<",
    ">",
    "/",
    "!",
    '"',
    "<\x00script>",
    "<\ufeffimg src=x>",
    "\r",
    "\r\n",
    "\n",
    "\x85",
    "\u2028",
    "\u2029",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x00",
    "\ud800",
    "<\udfff",
    "\u202e",
    "\u2066",
    "e\u0301",
    "\u212b",
    "\u037e",
    "\u017fcript",
    "<\u017fcript>",
    " ",
    "\t",
    "\u3000",
    "a",
    "<!-- page 1 of 2 -->",
    '\n<!-- page 2 of 3 label="x" status="ok" -->\n',
    "> [page 1 could not be read: x]",
    "&lt;",
    "$x<y$",
    "a<b",
    "<<b>>",
    "\\<b>",
    "<a href='javascript:x'>",
    "<svg/onload=x>",
    "<td/onclick=x>",
)

hostile = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=30).map("".join)
# Any character at all, and those that have made trouble before more often than others.
wild = st.one_of(st.characters(codec=None), st.sampled_from('\ud800\udfff\r\x85\u2028\u202e\u0338<>"%-🦉'))
any_text = st.one_of(hostile, st.lists(wild, max_size=60).map("".join))
labels = st.none() | st.lists(wild, max_size=50).map("".join)
documents = st.lists(
    st.tuples(any_text.map(markdown.clean), labels, st.sampled_from(PageStatus)), min_size=1, max_size=12
)


def joined(pages):
    return "".join(markdown.head(record, len(pages)) + body for record, body in pages)


def records(document):
    return [
        (PageRecord(page=number, status=status, label=label), body)
        for number, (body, label, status) in enumerate(document, 1)
    ]


@PROPERTY
@given(any_text)
def test_cleaning_what_is_clean_changes_nothing(text):
    once = markdown.clean(text)
    assert markdown.clean(once) == once


@PROPERTY
@given(any_text)
def test_clean_text_is_nfc_with_plain_line_ends_and_one_at_its_end(text):
    clean = markdown.clean(text)
    assert unicodedata.is_normalized("NFC", clean)
    assert clean.encode("utf-8").decode("utf-8") == clean
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]", clean)
    assert clean == "" or (clean.endswith("\n") and not clean[:-1].endswith("\n") and clean.strip())


@PROPERTY
@given(any_text)
@example('<td colspan="3> x" onclick=alert(1) y>')
@example("<td colspan=3\" onclick='x'>")
@example("<td col\u017fpan=1>")
@example("<td colspan=\u0661>")
@example("<td\u00a0colspan=1>")
def test_no_tag_survives_but_plain_table_markup(text):
    left = HARMLESS.sub("\0", markdown.clean(text))
    assert not re.search(r"<[A-Za-z/!?]", left)


@pytest.mark.parametrize(
    "tag", ["<table></table>", "</TD>", "<br/>", "<br>", '<td colspan="2" rowspan=3>', "<th rowspan=2>"]
)
def test_table_markup_stays_as_it_is(tag):
    assert markdown.clean(f"{tag}b") == f"{tag}b\n"


def test_a_tag_is_put_on_one_line():
    assert markdown.clean("<th\n\nrowspan=2 >") == "<th rowspan=2 >\n"


@pytest.mark.parametrize(
    "text", ["a < b", "1<2", "$x <= y$", "|x|", "> quote", "$\\frac{a}{b}$", "<", "5 <6"]
)
def test_what_is_no_tag_stays_readable_as_it_is(text):
    assert markdown.clean(text) == text + "\n"


def test_math_that_looks_like_a_tag_is_escaped_and_still_there():
    assert markdown.clean("$x<y$ and a<b") == "$x&lt;y$ and a&lt;b\n"


@pytest.mark.parametrize("text", ["", "\n", " \r\n\t\u2028", "\x00", "\ufeff"])
def test_a_text_of_nothing_is_empty(text):
    assert markdown.clean(text) == ""


@PROPERTY
@given(documents)
def test_a_document_splits_back_into_exactly_its_pages(document):
    bodies = [body for body, _, _ in document]
    assert markdown.split(joined(records(document))) == bodies


@PROPERTY
@given(documents)
def test_the_contracts_expression_finds_each_page_once_whatever_ends_a_line(document):
    text = joined(records(document))
    expected = [(str(page), str(len(document))) for page in range(1, len(document) + 1)]
    assert CONTRACT.findall(text) == expected
    lines = JAVASCRIPT_LINE_ENDS.split(text)
    assert [found.groups() for line in lines if (found := CONTRACT.fullmatch(line))] == expected


@PROPERTY
@given(st.integers(1, 200), st.integers(0, 2**32))
def test_documents_of_any_length_split_back(pages, seed):
    bodies = [("", "<!-- page 1 of 2 -->", "x\n\ny")[(seed >> page % 32) % 3] for page in range(pages)]
    document = [(markdown.clean(body), None, PageStatus.OK) for body in bodies]
    text = joined(records(document))
    assert markdown.split(text) == [body for body, _, _ in document]
    assert text.endswith("\n")


@PROPERTY
@given(labels)
@example("\ud800")
def test_a_label_never_breaks_its_marker(label):
    line = markdown.marker(PageRecord(page=1, status=PageStatus.OK, label=label), 1)
    assert line.isascii()
    assert CONTRACT.fullmatch(line)
    assert line.count("-->") == 1
    assert line.count('"') in (2, 4)


def test_a_marker_is_written_as_the_contract_says():
    record = PageRecord(page=3, status=PageStatus.OK, label="iii")
    assert markdown.marker(record, 12) == '<!-- page 3 of 12 label="iii" status="ok" -->'


def test_a_label_is_cut_to_its_limit():
    record = PageRecord(page=1, status=PageStatus.OK, label="x" * 99)
    assert f'label="{"x" * 32}"' in markdown.marker(record, 1)


def test_a_failed_page_has_one_visible_line():
    body = markdown.failed_body(3, "model_loop")
    assert body == "> [page 3 could not be read: model_loop]\n"
    assert markdown.clean(body) == body


def test_a_text_without_markers_has_no_pages():
    assert markdown.split("This document could not be read.\n") == []


@pytest.mark.parametrize(
    "text", ["<td" + " " * 100_000, "<td colspan=1" * 20_000, "<" * 100_000, "<td " * 50_000]
)
def test_hostile_text_is_cleaned_in_one_pass(text):
    started = time.process_time()
    markdown.clean(text)
    assert time.process_time() - started < 1
