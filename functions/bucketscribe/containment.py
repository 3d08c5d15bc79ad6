"""A page's Markdown kept to its page: what it opens it closes, what it says holds for nobody else.

Pages are joined into one document, and in Markdown a page could reach beyond its end: by a code fence left
open, by a table left open, by a definition of what `[1]` links to on every other page. It could also have a
reader's machine load a picture from anywhere, or run a link. Here such text loses its force and stays
readable: a backslash stands before the character that had it.

What is left, by decision: links to http and https and to places without a scheme, as links; pictures named
without a path, which lie beside the document or nowhere. How much of HTML is left is `markdown`'s business.
"""

import re

# Up to three spaces, then what opens a fenced code block (CommonMark 0.31, 4.5).
_FENCE = re.compile(r"( {0,3})(`{3,}(?=[^`]*$)|~{3,})")

# Any picture, but for one whose name has no path and no scheme, and whose words cannot hide where they end.
_PICTURE = re.compile(r"!\[(?![^\[\]\\`<>&\n]*\]\([\w.-]+\))")

# A link's target that is neither http nor https nor a plain one on the same line: no scheme, no entity, no
# escape, no bracket that could hide where it ends.
_OTHER_TARGET = re.compile(r"\](?=\((?!https?://|[^:&\\<>()\[\]\n]*\)))", re.IGNORECASE)

# A definition of a link or of a footnote at the start of a line, be it in quotes or lists.
_DEFINITION = re.compile(
    r"^([ \t]*(?:(?:>|[-+*]|[0-9]{1,9}[.)])[ \t]*)*\[(?:[^\[\]\\]|\\.){1,999}\]):", re.MULTILINE | re.DOTALL
)

# What begins a block of HTML wherever a line begins with it; the block lasts until the next blank line.
_HTML_BLOCK = re.compile(r"</?(?:table|thead|tbody|tfoot|tr|td|th|caption|colgroup|col)\b", re.IGNORECASE)
_TABLE = re.compile(r"<(/?)table\b", re.IGNORECASE)


def contain(text: str) -> str:
    """Take from a page's text, whose HTML has been cut down to table markup, what reaches beyond the page.

    Containing what is contained changes nothing.
    """
    parts = _parts(text)
    parts = [(is_code, part if is_code else _neutral(part)) for is_code, part in parts]
    missing = "</table>" * _open_tables([part for is_code, part in parts if not is_code])
    return "\n".join(part for _, part in parts) + (f"\n\n{missing}" if missing else "")


def _parts(text: str) -> list[tuple[bool, str]]:
    """Part code blocks from the rest, without the line ends between them; the last one is closed.

    A fence counts if it begins its line, and gets a blank line before it: then no list, quote or block of
    HTML can be around it, and every reader agrees that it is one. Any other is none any more.
    """
    parts: list[tuple[bool, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if fence:
            lines.append(line)
            if found and _closes(line, fence):
                parts.append((True, "\n".join(lines)))
                lines, fence = [], ""
        elif found and not found[1]:
            parts += _before_fence(lines, is_first=not parts)
            lines, fence = [line], found[2]
        else:
            lines.append(f"{found[1]}\\{line[len(found[1]) :]}" if found else line)
    if fence:
        parts.append((True, "\n".join([*lines, fence])))
    elif lines:
        parts.append((False, "\n".join(lines)))
    return parts


def _before_fence(lines: list[str], *, is_first: bool) -> list[tuple[bool, str]]:
    if not lines:
        return [] if is_first else [(False, "")]
    return [(False, "\n".join(lines if not lines[-1].strip(" \t") else [*lines, ""]))]


def _closes(line: str, fence: str) -> bool:
    mark = line.strip(" \t")
    return len(mark) >= len(fence) and not mark.strip(fence[0])


def _neutral(text: str) -> str:
    text = _PICTURE.sub(r"!\\[", text)
    text = _OTHER_TARGET.sub(r"]\\", text)
    return _DEFINITION.sub(r"\1\\:", text)


def _open_tables(parts: list[str]) -> int:
    """Count the tables that may be left open, rather too many than too few: an end counts only inside a
    block of HTML, where it is one beyond doubt; a beginning counts anywhere. One end too many is ignored by
    browsers.
    """
    count = 0
    for part in parts:
        is_html = False
        for line in part.split("\n"):
            is_html = bool(line.strip(" \t")) and (is_html or bool(_HTML_BLOCK.match(line)))
            for tag in _TABLE.finditer(line):
                if not tag[1]:
                    count += 1
                elif is_html:
                    count = max(0, count - 1)
    return count
