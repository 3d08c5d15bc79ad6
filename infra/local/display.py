"""What people see: bars while documents are read, a table and the reasons when all is over.

On a terminal the bars move; anywhere else there are neither bars nor colours, but a line for every document
as it ends. Documents' names come from strangers: control characters in them are shown, not sent.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bucketscribe.model import DocumentStatus, PageStatus
from infra.local.progress import Document, Outcome, Progress, Trouble

_REFRESH_PER_SECOND = 5
_BAR_WIDTH = 24
_NAME_WIDTH = 36
# Lines around the bars: the total, restarts, what was printed before.
_OTHER_LINES = 4
_SHOWN_TROUBLES = 5
# A refusal now and then is daily business, the fifth may be a server that is not there.
_TOLD_REFUSALS = frozenset(5 * 10**power for power in range(9))
_MINUTE = 60

_STYLES = {DocumentStatus.COMPLETE: "green", DocumentStatus.PARTIAL: "yellow", DocumentStatus.FAILED: "red"}


class Display:
    """Shows one run on a console; `outbox` is the folder as the user wrote it."""

    def __init__(self, console: Console, outbox: Path) -> None:
        self._console = console
        self._outbox = outbox
        self._restarts: Counter[str] = Counter()
        self._refused = 0
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """Print a line, above the bars if there are any."""
        self._console.print(Text(text), soft_wrap=True)

    def open(self, progress: Progress) -> None:
        """Begin to show how far the documents are; without a terminal there is nothing to begin."""
        if self._console.is_terminal:
            now = asyncio.get_running_loop().time
            self._live = Live(
                get_renderable=lambda: self._bars(list(progress.documents.values()), now()),
                console=self._console,
                refresh_per_second=_REFRESH_PER_SECOND,
                transient=True,
            )
            self._live.start()

    def close(self) -> None:
        """Take the bars away."""
        if self._live:
            self._live.stop()
            self._live = None

    def restarted(self, name: str, ending: str) -> None:
        """Tell of a program that has died."""
        self._restarts[name] += 1
        self.say(f"{name} ended ({ending}) and is started again ({self._restarts[name]}×)")

    def refused(self, answer: str, *, logs: Path) -> None:
        """Tell of deliveries that were refused, at the fifth and ever more rarely: something may be wrong."""
        self._refused += 1
        if self._refused in _TOLD_REFUSALS:
            self.say(
                f"{self._refused} deliveries of pages were refused so far (the last one: {answer}) and are "
                f"made again; {logs / 'on_page_task.log'} says why"
            )

    def not_closed(self, name: str) -> None:
        """Tell of a document that has its record, but whose job did not go: that is a fault of ours."""
        self.say(f"{printable(name)}: finished, but its job did not close")

    def finished(self, outcome: Outcome) -> None:
        """Tell of a document that has ended; on a terminal its bar and the table do."""
        if not self._live:
            self.say(f"{_line(outcome)} -> {self._where(outcome)}")

    def summarize(self, outcomes: Sequence[Outcome], unfinished: int, *, stand_in: bool) -> None:
        """Print how all ended, each reason on a line, and where the Markdown lies."""
        if self._console.is_terminal and outcomes:
            self._console.print(self._table(outcomes))
        for outcome in outcomes:
            for line in reasons(outcome):
                self.say(line)
        if unfinished:
            self.say(f"{unfinished} {_plural(unfinished, 'document')} not finished")
        if any(outcome.text for outcome in outcomes):
            self.say(f"The Markdown lies in {self._outbox / 'documents'}{'/'}")
        if stand_in and any(outcome.model for outcome in outcomes):
            self.say(
                "The pages were read by the laptop's stand-in (Tesseract), not by LightOnOCR; "
                "--ocr-url asks a real server."
            )

    def _where(self, outcome: Outcome) -> str:
        return printable(str(self._outbox / outcome.text)) if outcome.text else "(nothing)"

    def _bars(self, documents: Sequence[Document], now: float) -> RenderableType:
        """Draw the documents that fit, unfinished ones first in line, and the sum of all."""
        room = max(1, self._console.height - _OTHER_LINES)
        shown = documents
        if len(documents) > room:
            shown = [document for document in documents if not document.outcome][:room]
        grid = Table.grid(padding=(0, 2))
        for document in shown:
            grid.add_row(*_row(document, now))
        return Group(grid, Text(_total(documents, now), style="bold"))

    def _table(self, outcomes: Sequence[Outcome]) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("Document", "Status"):
            table.add_column(heading, overflow="fold")
        for heading in ("Pages", "Blank", "Failed", "Seconds"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("Markdown", overflow="fold")
        for outcome in outcomes:
            table.add_row(
                Text(printable(outcome.name)),
                Text(outcome.status.value, style=_STYLES[outcome.status]),
                str(outcome.counts.get("pages", 0)),
                str(outcome.count(PageStatus.BLANK)),
                str(outcome.count(PageStatus.FAILED)),
                f"{outcome.seconds:.1f}",
                Text(self._where(outcome)),
            )
        return table


def reasons(outcome: Outcome) -> list[str]:
    """Say why a document is not complete, a line a reason; of many, the first few and how many more."""
    if outcome.status is DocumentStatus.COMPLETE:
        return []
    lines = [_reason(outcome, trouble) for trouble in outcome.errors[:_SHOWN_TROUBLES]]
    more = len(outcome.errors) - len(lines)
    if more > 0:
        lines.append(f"{printable(outcome.name)}: and {more} more; all of them stand in {outcome.record}")
    return lines or [f"{printable(outcome.name)}: {outcome.status.value}"]


def printable(text: str) -> str:
    """Replace what a terminal would obey instead of showing."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _reason(outcome: Outcome, trouble: Trouble) -> str:
    page = f" page {trouble.page}:" if trouble.page else ""
    message = " ".join(printable(part) for part in trouble.message.split())
    return f"{printable(outcome.name)}:{page} {trouble.code}: {message}"


def _line(outcome: Outcome) -> str:
    pages = outcome.counts.get("pages", 0)
    parts = [f"{pages} {_plural(pages, 'page')}"]
    parts += [
        f"{outcome.count(status)} {status.value}"
        for status in (PageStatus.BLANK, PageStatus.FAILED)
        if outcome.count(status)
    ]
    return f"{printable(outcome.name)}: {outcome.status.value}, {', '.join(parts)}, {outcome.seconds:.1f} s"


def _row(document: Document, now: float) -> list[RenderableType]:
    pages, done = document.pages, len(document.ended)
    if document.outcome:
        done = pages or 0
    bar = ProgressBar(total=pages or 1, completed=done, width=_BAR_WIDTH)
    name = Text(printable(document.source.name), overflow="ellipsis", no_wrap=True)
    name.truncate(_NAME_WIDTH, overflow="ellipsis")
    if document.outcome:
        status = document.outcome.status
        bar = ProgressBar(total=1, completed=1, width=_BAR_WIDTH, finished_style=_STYLES[status])
        return [name, bar, f"{done} {_plural(done, 'page')}", _marks(document), Text(status.value), ""]
    if pages is None:
        return [name, bar, "waiting", "", "", ""]
    rate, left = _pace(done, pages, now - document.since)
    return [name, bar, f"{done} of {pages}", _marks(document), rate, left]


def _marks(document: Document) -> str:
    count: Callable[[PageStatus], int] = (
        document.outcome.count if document.outcome else document.statuses.__getitem__
    )
    blank, failed = count(PageStatus.BLANK), count(PageStatus.FAILED)
    return ", ".join(f"{number} {word}" for number, word in ((blank, "blank"), (failed, "failed")) if number)


def _total(documents: Sequence[Document], now: float) -> str:
    if not documents:
        return "no documents yet"
    ended = [document for document in documents if document.outcome]
    done = sum((document.pages or 0) if document.outcome else len(document.ended) for document in documents)
    known = sum(document.pages or 0 for document in documents)
    parts = [f"{len(ended)} of {len(documents)} documents", f"{done} of {known} pages"]
    open_documents = [document for document in documents if not document.outcome]
    if open_documents:
        begun = min(document.since for document in open_documents)
        recent = sum(len(document.ended) for document in open_documents)
        counted = all(document.pages is not None for document in open_documents)
        rate, left = _pace(recent, recent + known - done, now - begun)
        parts += [rate, left if counted else ""]
    return " · ".join(part for part in parts if part)


def _pace(done: int, pages: int, seconds: float) -> tuple[str, str]:
    """Say how fast and how long yet, as far as that can be told."""
    if not done or seconds <= 0:
        return "", ""
    rate = done / seconds
    left = round((pages - done) / rate)
    return f"{rate:.1f} pages/s", f"{left // _MINUTE}:{left % _MINUTE:02d} left"


def _plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"
