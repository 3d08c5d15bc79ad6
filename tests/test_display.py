import asyncio
import io
from pathlib import Path

from rich.console import Console

from bucketscribe.model import DocumentStatus, ObjectRef, PageStatus
from infra.local.bucket_client import BucketClient
from infra.local.display import Display, printable, reasons
from infra.local.progress import Outcome, Progress, Trouble

OUTBOX = Path("out dir")


def outcome(name: str, status: DocumentStatus, *troubles: Trouble, failed: int = 0) -> Outcome:
    return Outcome(
        name=name,
        generation=1,
        status=status,
        counts={"pages": 12, "ok": 11 - failed, "blank": 1, "failed": failed},
        text=f"documents/{name}.md",
        record=f"documents/{name}.json",
        model="stand-in",
        errors=troubles,
        seconds=3.25,
    )


def shown(*outcomes: Outcome, terminal: bool, unfinished: int = 0, stand_in: bool = True) -> str:
    """Show outcomes as they come, then the summary, on a console 100 wide."""
    paper = io.StringIO()
    console = Console(file=paper, force_terminal=terminal, width=100, height=12, color_system=None)
    display = Display(console, OUTBOX)

    async def run() -> None:
        async with BucketClient("outbox", 1) as bucket:
            progress = Progress(bucket, display.finished)
            for number in range(unfinished):
                progress.track(ObjectRef(bucket="inbox", name=f"{number}.pdf", generation=1))
            display.open(progress)
            for each in outcomes:
                display.finished(each)
            display.close()

    asyncio.run(run())
    display.summarize(outcomes, unfinished, stand_in=stand_in)
    return paper.getvalue()


FINE = outcome("a.pdf", DocumentStatus.COMPLETE)
TROUBLED = outcome(
    "b.pdf", DocumentStatus.PARTIAL, Trouble(page=7, code="model_loop", message="round\nand round"), failed=1
)


def test_without_a_terminal_there_is_a_plain_line_for_every_document() -> None:
    text = shown(FINE, TROUBLED, terminal=False)
    assert text.splitlines() == [
        "a.pdf: complete, 12 pages, 1 blank, 3.2 s -> out dir/documents/a.pdf.md",
        "b.pdf: partial, 12 pages, 1 blank, 1 failed, 3.2 s -> out dir/documents/b.pdf.md",
        "b.pdf: page 7: model_loop: round and round",
        "The Markdown lies in out dir/documents/",
        "The pages were read by the laptop's stand-in (Tesseract), not by LightOnOCR; "
        "--ocr-url asks a real server.",
    ]


def test_on_a_terminal_there_are_bars_that_fit_then_a_table() -> None:
    text = shown(FINE, TROUBLED, terminal=True, unfinished=40)
    assert "0 of 40 documents" in text
    assert "7.pdf" in text
    assert "8.pdf" not in text
    assert "Document" in text
    assert "partial" in text
    assert "40 documents not finished" in text


def test_with_a_real_server_nothing_is_said_of_a_stand_in() -> None:
    assert "stand-in" not in shown(FINE, terminal=False, stand_in=False)


def test_reasons_are_a_line_each_and_of_many_the_first_few() -> None:
    troubles = [Trouble(page=page, code="model_rejected", message="no") for page in range(1, 10)]
    lines = reasons(outcome("c.pdf", DocumentStatus.PARTIAL, *troubles, failed=9))
    assert lines[0] == "c.pdf: page 1: model_rejected: no"
    assert lines[-1] == "c.pdf: and 4 more; all of them stand in documents/c.pdf.json"
    assert len(lines) == 6
    whole = Trouble(page=None, code="document_encrypted", message="It wants a password.")
    assert reasons(outcome("d.pdf", DocumentStatus.FAILED, whole)) == [
        "d.pdf: document_encrypted: It wants a password."
    ]
    assert reasons(FINE) == []


def test_a_name_cannot_give_orders_to_the_terminal() -> None:
    assert printable("scän [1]\x1b[2J\n.pdf") == "scän [1]\\x1b[2J\\n.pdf"
    text = shown(outcome("[bold]\x1b]0;x\x07.pdf", DocumentStatus.COMPLETE), terminal=False)
    assert "\x1b" not in text
    assert "[bold]" in text


def test_counts_of_what_is_not_told_are_nought() -> None:
    assert Outcome(name="a", generation=1, status=DocumentStatus.FAILED).count(PageStatus.OK) == 0
