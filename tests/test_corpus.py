"""A folder of real documents, named by CORPUS_DIR, through the whole stack: every file gets an answer.

Where its folders are those of the project's corpus, every file gets the answer of its folder, too.
"""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.test_end_to_end import SCHEMA, run

CORPUS_DIR = os.environ.get("CORPUS_DIR", "")

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not CORPUS_DIR, reason="CORPUS_DIR names no folder of documents"),
]

DAMAGED = {"document_corrupt", "document_without_pages", "document_encrypted", "unsupported_type"}
# Codes that a document of a folder may end with, when it cannot be opened; none of `good` may.
DOCUMENT_CODES = {
    "good": set(),
    "hostile": DAMAGED,
    "image": {"too_large", "document_corrupt", "unsupported_type"},
}
# What a page may fail with wherever it stands: the model's own faults, over pictures without words.
READING_CODES = {"model_empty", "blank_talk", "model_loop", "model_truncated"}
DRAWING_CODES = {"page_render_failed", "page_render_crashed", "page_render_timeout"}


def documents() -> dict[str, Path]:
    """List every file below CORPUS_DIR by the name that its object gets."""
    root = Path(CORPUS_DIR)
    return {path.name: path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".tsv"}


def opens_without_a_password() -> dict[str, bool]:
    """Tell from the corpus' manifest which of its encrypted documents do."""
    manifest = Path(CORPUS_DIR) / "manifest.tsv"
    rows = csv.DictReader(manifest.read_text().splitlines(), delimiter="\t") if manifest.exists() else []
    return {
        Path(row["file"]).name: bool(row["pages"]) for row in rows if row["file"].startswith("encrypted/")
    }


def codes(record: Mapping[str, Any]) -> set[str]:
    return {error["code"] for error in record["errors"]}


def put_through(folder: Path) -> dict[str, dict[str, Any]]:
    """Give every file's record after one run; that the run itself went well is asserted here."""
    files = documents()
    ended = run("--json", *files.values(), folder=folder, timeout=1800)
    assert ended.returncode in (0, 1), ended.stderr
    assert "restarted" not in ended.stderr
    assert not [path for path in (folder / "outbox" / "jobs").rglob("*") if path.is_file()]
    finished = {line["name"]: line["status"] for line in map(json.loads, ended.stdout.splitlines())}
    read = {
        name: json.loads((folder / "outbox" / "documents" / f"{name}.json").read_text()) for name in files
    }
    assert {name: record["status"] for name, record in read.items()} == finished
    return read


def assert_books_balance(records: Mapping[str, Mapping[str, Any]]) -> None:
    for record in records.values():
        jsonschema.validate(record, SCHEMA)
        counts = record["counts"]
        assert counts["pages"] == sum(value for key, value in counts.items() if key != "pages")


def assert_encrypted_ones_open_with_the_empty_password_or_fail_by_name(
    records: Mapping[str, Mapping[str, Any]],
) -> None:
    for name, opens in opens_without_a_password().items():
        found = codes(records[name])
        assert found <= READING_CODES if opens else found == {"document_encrypted"}, name


def assert_each_ends_as_those_of_its_folder(records: Mapping[str, Mapping[str, Any]]) -> None:
    for name, path in documents().items():
        folder = path.parent.name
        if folder in DOCUMENT_CODES:
            found = codes(records[name]) - READING_CODES
            drawing = set() if folder == "good" else DRAWING_CODES
            assert found <= (drawing if records[name]["pages"] else DOCUMENT_CODES[folder]), name


def test_every_file_ends_as_a_document_with_a_status_and_the_stack_survives(tmp_path: Path) -> None:
    """One run, as it takes minutes."""
    records = put_through(tmp_path)
    assert_books_balance(records)
    assert_encrypted_ones_open_with_the_empty_password_or_fail_by_name(records)
    assert_each_ends_as_those_of_its_folder(records)
