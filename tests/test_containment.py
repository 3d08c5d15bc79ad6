"""Page text that attacks its readers, as a CommonMark renderer shows it: with HTML let through, links not
checked, and no page able to change another.
"""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bucketscribe import markdown
from bucketscribe.containment import contain
from bucketscribe.model import PageRecord, PageStatus

PROPERTY = settings(derandomize=True, deadline=None, max_examples=400)

RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table")
RENDERER.validateLink = lambda _: True  # as the least careful reader does

TABLE_MARKUP = {"table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "colgroup", "col", "br"}
MARKDOWN_MARKUP = {
    "p",
    "h1",
    "h2",
    "em",
    "strong",
    "code",
    "pre",
    "ul",
    "ol",
    "li",
    "blockquote",
    "hr",
    "a",
    "img",
}
ATTRIBUTES = {"colspan", "rowspan", "href", "src", "alt", "title", "start", "class", "style"}

# Whatever may open something, close something, or pretend to; joined in any order with what stands between.
FRAGMENTS = (
    "```",
    "````",
    "~~~",
    "``` py",
    "```x`y",
    "   ```",
    "    ```",
    "\t```",
    "- ```",
    "> ```",
    "`",
    "``",
    "\\```",
    "~~~~ ```",
    "1. x\n   ```",
    "- x\n\n  ```",
    "- x\n\n  <table>",
    "<table>",
    "</table>",
    "<td>",
    "</td>",
    "<tr>",
    "<TABLE>",
    "<td\n\ncolspan=1>",
    "<td\nrowspan=2>",
    "<br>",
    "`</table>`",
    "    </table>",
    "> </table>",
    "\\</table>",
    "[x](<table>)",
    "<caption>",
    "</ table>",
    "<table/>",
    "[1]: https://evil.example",
    "[1]:x",
    "[Second]: javascript:alert(1)",
    "> [1]: x",
    "- [1]: x",
    "1) [1]: x",
    "[\n1\n]: x",
    "[1\\]]: x",
    "[^1]: note",
    "[1]",
    "[1][1]",
    "[x][Second]",
    "![x][1]",
    "[a]: <b>",
    "[1]\\: x",
    "![x](https://evil.example/x.png)",
    "![x](x.png)",
    "![x](//evil.example/x)",
    "![x\\](x.png)",
    "](https://evil.example/x)",
    "![`](x.png)`](https://evil.example/x)",
    "![",
    "!",
    "](",
    "[",
    "]",
    "(",
    ")",
    ":",
    "[x](javascript:alert(1))",
    "[x](\njavascript:alert(1))",
    "[x](<javascript:alert(1)>)",
    "[x]( data:text/html,x)",
    "[x](&#106;avascript:alert(1))",
    "[x](java\\script:alert(1))",
    "[x](https://example.org/a)",
    "[x](page.md)",
    "[x](a(b)javascript:x)",
    "[x](vbscript:x 'y')",
    "[[x](javascript:x)](y)",
    "<javascript:alert(1)>",
    "<https://evil.example>",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--",
    "-->",
    "<pre>",
    "<!-- page 2 of 3 -->",
    "<![CDATA[",
    "<?php",
    "<svg/onload=x>",
    "<style>",
    "<textarea>",
    "<td onclick=x>",
    "&lt;script&gt;",
    "&#60;script>",
    "\\<script>",
    "===",
    "---",
    "# x",
    "> ",
    "- ",
    "1. ",
    "| a | b |\n|---|---|",
    "\\",
    "**",
    "_",
    "*",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u200d",
    "\u1fef\u1fef\u1fef",
    "\u037e",
    "\x00",
    "\ufeff",
    "\n",
    "\n\n",
    "  \n",
    " ",
    "    ",
    "\t",
    "words",
    "Second",
    "x" * 3000,
    "$$",
    "\\[",
    "\\(",
)

pages = st.lists(
    st.lists(st.sampled_from(FRAGMENTS) | st.text("`~<>[]()!:\\ \nx", max_size=6), max_size=12).flatmap(
        lambda parts: st.sampled_from(["", "\n", "\n\n", " "]).map(lambda between: between.join(parts))
    ),
    min_size=1,
    max_size=3,
)


def assembled(*texts: str) -> tuple[str, list[str]]:
    bodies = [markdown.clean(text) for text in texts]
    records = [PageRecord(page=number, status=PageStatus.OK) for number in range(1, len(bodies) + 1)]
    pages = zip(records, bodies, strict=True)
    return "".join(markdown.head(record, len(bodies)) + body for record, body in pages), bodies


class Reader(HTMLParser):
    """What a browser would do: tags and attributes met, and tables open at each comment."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open_tables = 0
        self.comments: list[tuple[str, int]] = []
        self.others: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open_tables += tag == "table"

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.open_tables = max(0, self.open_tables - 1)

    def handle_comment(self, data: str) -> None:
        self.comments.append((data, self.open_tables))

    def handle_decl(self, decl: str) -> None:
        self.others.append(decl)

    def handle_pi(self, data: str) -> None:
        self.others.append(data)

    def unknown_decl(self, data: str) -> None:
        self.others.append(data)


def assert_harmless(reader: Reader) -> None:
    for tag, attributes in reader.tags:
        assert tag in TABLE_MARKUP | MARKDOWN_MARKUP, tag
        assert attributes.keys() <= ATTRIBUTES, attributes
        target = (attributes.get("href") or "").strip().lower()
        assert re.match(r"https?://", target) or ":" not in target.split("/")[0].split("(")[0], target
        assert re.fullmatch(r"[\w.%-]*", attributes.get("src") or ""), attributes
    assert reader.others == []


@PROPERTY
@given(pages)
@example(["```\ncode", "Second"])
@example(["<table>\n```\n\nx", "Second"])
@example(["- x\n  ```\ncode", "Second"])
@example(["- ```\n  x\n  ```", "Second"])
@example(["<table>\n\n`</table>`", "Second"])
@example(["- a\n\n  <table>\nb `</table>`", "Second"])
@example(["[1]: https://evil.example", "[1]"])
@example(["![a`](x.png)`](https://evil.example/x)"])
@example(["![a\\](x.png) b](https://evil.example/x)"])
@example(["<td\n\ncolspan=1>", "Second"])
def test_no_page_changes_another_and_nothing_in_it_runs_or_loads(texts):
    text, bodies = assembled(*texts)
    assert markdown.split(text) == bodies
    markers = markdown.MARKER.finditer(text)
    shown = [f"{marker[0]}\n{body}" for marker, body in zip(markers, bodies, strict=True)]
    alone = [RENDERER.render(page + "\n") for page in shown[:-1]] + [RENDERER.render(shown[-1])]
    together = RENDERER.render(text)
    assert together == "".join(alone)
    reader = Reader(together)
    assert_harmless(reader)
    assert [open_tables for _, open_tables in reader.comments] == [0] * len(texts)
    assert all(
        re.fullmatch(rf" page {n} of {len(texts)} .*", data) for n, (data, _) in enumerate(reader.comments, 1)
    )
    assert Reader(together).open_tables == 0


@PROPERTY
@given(pages)
def test_containing_what_is_contained_changes_nothing(texts):
    for text in texts:
        once = markdown.clean(text)
        assert markdown.clean(once) == once
        assert contain(once.rstrip("\n")) == once.rstrip("\n")


@pytest.mark.parametrize(
    "text",
    [
        "# A title\n\nWords, *more* words, `code` and [a link](https://example.org/a_(b)).",
        '<table>\n<tr><td colspan="2">1</td></tr>\n</table>',
        "Code:\n\n```py\nif a[0](b: c):\n    print('[1]: x')\n```\n\nMore.",
        "| a | b |\n|---|---|\n| 1<br>2 | [3] |",
        "- one\n- two\n\n1. three\n\n> four",
        "$f(x) = [0, 1]: x$ and $$\\begin{matrix} a \\\\ b \\end{matrix}$$",
        "A note[^1] and [see](page-2.md#top), 12:30 [sic]: yes.",
        "![image](image_1.png)",
        "~~~\n```\n~~~",
        "مرحبا بالعالم‌ و שלום 👨‍👩‍👧",
    ],
)
def test_ordinary_text_stays_as_it_is(text):
    assert markdown.clean(text) == text + "\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("```\ncode", "```\ncode\n```"),
        ("a\n```\ncode\n```", "a\n\n```\ncode\n```"),
        ("  ```\nx", "  \\```\nx"),
        ("<table><tr><td>1", "<table><tr><td>1\n\n</table>"),
        ("[1]: https://evil.example", "[1]\\: https://evil.example"),
        ("[^1]: A note.", "[^1]\\: A note."),
        ("![x](https://evil.example/x.png)", "!\\[x](https://evil.example/x.png)"),
        ("[x](javascript:alert(1))", "[x]\\(javascript:alert(1))"),
        ("[x](data:text/html,y)", "[x]\\(data:text/html,y)"),
        ("a \u202edcba", "a dcba"),
    ],
)
def test_what_loses_its_force_stays_readable(text, left):
    assert markdown.clean(text) == left + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "](" * 100_000,
        "![" * 100_000,
        "[" * 200_000,
        "> " * 100_000 + "[",
        "[\n" * 100_000,
        "```\n" * 50_001,
        "<table>" * 30_000,
        "- " * 50_000 + "[x]:",
        "[\\]" * 60_000,
        "\n[x" * 60_000,
        "1. " * 60_000,
    ],
)
def test_hostile_text_is_contained_in_one_pass(text):
    started = time.process_time()
    markdown.clean(text)
    assert time.process_time() - started < 1
