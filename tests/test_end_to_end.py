"""The whole system, started as a user starts it; what is asserted on is what lies in the outbox."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bucketscribe import markdown
from tests import papers
from tests.fakes.emulator import needs_emulator

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
SCHEMA = json.loads((ROOT / "functions/bucketscribe/schemas/document-1.json").read_text())
COMMAND = Path(sys.executable).parent / "bucketscribe"

# Words that Tesseract reads reliably, page by page; None for a blank page.
EXPECTED: dict[str, tuple[tuple[str, ...] | None, ...]] = {
    "table.pdf": (("Invoice 1047", "Brass polish", "1,462.80"),),
    "two-columns.pdf": (("The Lamp and the Log Books", "Volunteers", "accounted for"),),
    "blank-in-the-middle.pdf": (("Notes for Visitors",), None, ("Please bring a pencil",)),
    "form.pdf": (("Request to read a log book", "Marguerite Oakley", "green comet"),),
    "fax.tiff": (("lantern room", "Ada Wren"), ("storm glass",), ("red buoy",)),
    "photo.jpg": (("NOTICE TO KEEPERS", "feed the goat"),),
    "scanned-book.pdf": (
        ("SIEGE OF VICKSBURG",),
        ("Sibley Tent",),
        ("Grape Shot",),
        ("nine-inch",),
        ("patchwork",),
        ("Logan",),
    ),
}

pytestmark = pytest.mark.stack


def run(*words: str | Path, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `bucketscribe local` in a folder of its own, with no terminal."""
    return subprocess.run(
        [COMMAND, "local", *map(str, words)],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def record(outbox: Path, name: str) -> dict[str, Any]:
    """Read a record and hold it to its schema, the accounting rule, its text and its pages."""
    found: dict[str, Any] = json.loads((outbox / "documents" / f"{name}.json").read_text())
    jsonschema.validate(found, SCHEMA)
    counts = found["counts"]
    assert counts["pages"] == sum(value for key, value in counts.items() if key != "pages")
    text = (outbox / "documents" / f"{name}.md").read_text()
    bodies = markdown.split(text)
    assert [text[slice(*page["span"])] for page in found["pages"]] == bodies
    for page, body in zip(found["pages"], bodies, strict=True):
        assert (outbox / page["object"]).read_text() == body
    return found


@pytest.fixture(scope="module", params=["ours", pytest.param("googles", marks=needs_emulator)])
def broker(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The words that choose a broker."""
    return () if request.param == "ours" else ("--pubsub-emulator",)


@pytest.fixture(scope="module")
def outbox(broker: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outbox of one run over the samples and a few documents that end otherwise."""
    folder = tmp_path_factory.mktemp("user")
    odd = folder / "odd"
    odd.mkdir()
    (odd / "locked up.pdf").write_bytes(papers.encrypted_pdf("secret"))
    (odd / "empty.pdf").write_bytes(b"")
    (odd / "Größe & <b>.txt").write_text("no document at all")
    (odd / "中文.pdf").write_bytes(papers.cjk_pdf())
    shutil.copy(SAMPLES / "broken" / "broken.pdf", odd)
    ended = run(SAMPLES / "documents", odd, "--json", *broker, folder=folder)
    assert ended.returncode == 1, ended.stderr
    assert "did not close" not in ended.stderr
    finished = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(finished) == len(EXPECTED) + 5
    return folder / "outbox"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_becomes_markdown_that_says_what_stands_on_its_pages(outbox: Path, name: str):
    found = record(outbox, name)
    assert found["status"] == "complete"
    text = (outbox / "documents" / f"{name}.md").read_text()
    bodies = markdown.split(text)
    assert len(bodies) == len(EXPECTED[name])
    for page, body, words in zip(found["pages"], bodies, EXPECTED[name], strict=True):
        assert page["status"] == ("ok" if words else "blank")
        for word in words or ():
            assert word in " ".join(body.split())
        assert words or not body


def test_the_record_says_that_a_stand_in_has_read(outbox: Path):
    engine = record(outbox, "table.pdf")["engine"]
    assert "stand-in" in engine["model"]
    assert engine["revision"] is None


def test_a_turned_photo_is_read_upright(outbox: Path):
    page = record(outbox, "photo.jpg")["pages"][0]
    assert page["rotation"] == 90
    assert page["height_px"] > page["width_px"]


def test_labels_of_pages_stand_in_the_markers(outbox: Path):
    text = (outbox / "documents" / "blank-in-the-middle.pdf.md").read_text()
    assert '<!-- page 2 of 3 label="ii" status="blank" -->' in text


def test_blank_pages_cost_no_model_call(outbox: Path):
    assert [page["attempts"] for page in record(outbox, "blank-in-the-middle.pdf")["pages"]] == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("locked up.pdf", "document_encrypted"),
        ("broken.pdf", "document_corrupt"),
        ("empty.pdf", "empty_object"),
        ("Größe & <b>.txt", "unsupported_type"),
    ],
)
def test_a_document_that_cannot_be_opened_says_why_in_both_its_objects(outbox: Path, name: str, code: str):
    found = record(outbox, name)
    assert found["status"] == "failed"
    assert [error["code"] for error in found["errors"]] == [code]
    assert code in (outbox / "documents" / f"{name}.md").read_text()


def test_text_in_fonts_that_are_not_embedded_is_drawn_and_read(outbox: Path):
    page = record(outbox, "中文.pdf")["pages"][0]
    assert page["status"] == "ok"
    assert page["ink"] > 0


def test_nothing_is_left_in_flight(outbox: Path):
    for kind in ("jobs", "notes", "rejected"):
        assert not [path for path in (outbox / kind).rglob("*") if path.is_file()], kind


def test_a_second_run_reads_a_document_anew_and_keeps_the_others(outbox: Path, broker: tuple[str, ...]):
    before = record(outbox, "table.pdf")["source"]["generation"]
    ended = run(SAMPLES / "documents" / "table.pdf", *broker, folder=outbox.parent)
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    assert record(outbox, "table.pdf")["source"]["generation"] > before
    assert record(outbox, "fax.tiff")["status"] == "complete"


def test_the_outbox_is_a_plain_folder_afterwards(outbox: Path):
    assert outbox.is_dir()
    assert not outbox.is_symlink()


def test_the_whole_outbox_verifies(outbox: Path):
    """Comes last: whatever the runs before have left there is held to the contract."""
    words = [COMMAND, "verify", "outbox", "--in", "odd", "--json"]
    done = subprocess.run(words, cwd=outbox.parent, capture_output=True, text=True, timeout=120, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line for line in found if line.get("kind") == "problem"] == []
    assert found[-1]["verified"] == {"documents": len(EXPECTED) + 5, "pages": 16 + 1, "sources": 5}
    text = outbox / "documents" / "fax.tiff.md"
    before = text.read_text()
    text.write_text(before.replace("lantern", "lectern"))
    done = subprocess.run(
        [COMMAND, "verify", outbox / "documents" / "fax.tiff.json"],
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    text.write_text(before)
    assert done.returncode == 1
    assert "fax.tiff: text_sha256: " in done.stdout
    assert "1 document, 3 pages verified: 2 problems" in done.stdout
