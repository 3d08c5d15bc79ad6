"""A folder of real documents, named by CORPUS_DIR, through the whole stack: every file gets an answer."""

import json
import os
from pathlib import Path

import jsonschema
import pytest

from tests.test_end_to_end import SCHEMA, run

CORPUS_DIR = os.environ.get("CORPUS_DIR", "")

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not CORPUS_DIR, reason="CORPUS_DIR names no folder of documents"),
]


def documents() -> dict[str, Path]:
    """List every file below CORPUS_DIR by the name that its object gets."""
    root = Path(CORPUS_DIR)
    return {path.name: path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".tsv"}


def test_every_file_ends_as_a_document_with_a_status_and_the_stack_survives(tmp_path: Path):
    files = documents()
    ended = run("--json", *files.values(), folder=tmp_path, timeout=1800)
    assert ended.returncode in (0, 1), ended.stderr
    finished = {line["name"]: line for line in map(json.loads, ended.stdout.splitlines())}
    assert sorted(finished) == sorted(files)
    for name in files:
        record = json.loads((tmp_path / "outbox" / "documents" / f"{name}.json").read_text())
        jsonschema.validate(record, SCHEMA)
        assert record["status"] == finished[name]["status"]
        counts = record["counts"]
        assert counts["pages"] == sum(value for key, value in counts.items() if key != "pages")
    assert "restarted" not in ended.stderr
    jobs = tmp_path / "outbox" / "jobs"
    assert not [path for path in jobs.rglob("*") if path.is_file()]
