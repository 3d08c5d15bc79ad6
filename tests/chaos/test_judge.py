"""The judge sees what is wrong: a loss of each kind is put into an outbox that is right otherwise."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bucketscribe import layout
from bucketscribe.model import ObjectRef
from tests import papers
from tests.chaos.account import Given
from tests.chaos.documents import Document, Nature, Page, Version
from tests.chaos.judge import Dropped, Judge, Verdict, image_of, may_fail

TEXT = Page(nature=Nature.TEXT, words=("anchor", "basket"))
VERSION = Version(data=papers.pdf(2), pages=(TEXT, Page(nature=Nature.BLANK)))
DROPPED = Dropped(
    document=Document(name="a.pdf", versions=(VERSION,), is_deleted=False),
    generations=(1_000_000_000_000_001,),
)
LOCKED = Dropped(
    document=Document(
        name="locked.pdf", versions=(Version(data=b"", code="document_encrypted"),), is_deleted=False
    ),
    generations=(1_000_000_000_000_002,),
)
GENERATION = DROPPED.generations[-1]


def page(number: int, status: str, code: str | None = None) -> dict[str, Any]:
    error = {"code": code, "message": "…"} if code else None
    return {
        "page": number,
        "status": status,
        "object": f"pages/a.pdf/{GENERATION}/{number:05}.md",
        "error": error,
        "edition": 0,
    }


def put(
    outbox: Path, dropped: Dropped, pages: list[dict[str, Any]], *codes: str, generation: int = 0
) -> None:
    """Write the record of a document, and a text for its first page."""
    record = {
        "status": "complete",
        "source": {"generation": str(generation or dropped.source.generation)},
        "pages": pages,
        "errors": [{"page": None, "code": code} for code in codes],
    }
    path = outbox / layout.document_record(dropped.source.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    text = outbox / f"pages/a.pdf/{GENERATION}/00001.md"
    text.parent.mkdir(parents=True, exist_ok=True)
    text.write_text("Anchor basket\n")


def wrong(
    outbox: Path,
    dropped: Dropped = DROPPED,
    *,
    given: Given | None = None,
    told: bool = True,
    redone: frozenset[ObjectRef] = frozenset(),
) -> str:
    announced = {(dropped.source.name, dropped.source.generation)} if told else set()
    verdict = Verdict()
    Judge(outbox=outbox, given=given or Given(), announced=announced, redone=redone, verdict=verdict).judge(
        [dropped]
    )
    return "\n".join(verdict.wrong)


RIGHT = [page(1, "ok"), page(2, "blank")]


def test_what_ended_as_it_may_is_right(tmp_path: Path) -> None:
    put(tmp_path, DROPPED, RIGHT)
    assert wrong(tmp_path) == ""
    put(tmp_path, LOCKED, [], "document_encrypted")
    assert wrong(tmp_path, LOCKED) == ""


def test_a_document_without_a_record_is_lost(tmp_path: Path) -> None:
    assert "no record of this version" in wrong(tmp_path)
    put(tmp_path, DROPPED, RIGHT, generation=GENERATION - 1)
    assert "no record of this version" in wrong(tmp_path)


def test_an_event_that_never_came_is_missed(tmp_path: Path) -> None:
    put(tmp_path, DROPPED, RIGHT)
    assert "no finished event" in wrong(tmp_path, told=False)


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ([page(1, "ok")], "1 pages, and it has 2"),
        ([page(1, "ok"), page(2, "ok")], "page 2: ok (None), and it is blank"),
        ([page(1, "blank"), page(2, "blank")], "page 1: blank (None), and it was given {}"),
        (
            [page(1, "failed", "model_loop"), page(2, "blank")],
            "page 1: failed (model_loop), and it was given {}",
        ),
        ([page(1, "failed", "attempts_exhausted"), page(2, "blank")], "attempts_exhausted"),
        ([page(1, "failed", "source_gone"), page(2, "blank")], "source_gone"),
    ],
)
def test_a_page_that_may_not_end_so_is_seen(tmp_path: Path, pages: list[dict[str, Any]], said: str) -> None:
    put(tmp_path, DROPPED, pages)
    assert said in wrong(tmp_path)


def test_a_page_may_fail_with_what_the_front_gave_it(tmp_path: Path) -> None:
    put(tmp_path, DROPPED, [page(1, "failed", "model_rejected"), page(2, "blank")])
    assert "model_rejected" in wrong(tmp_path)
    given = Given(by_page={image_of(VERSION, 1): Counter({"400": 1})})
    assert wrong(tmp_path, given=given) == ""


def test_a_page_that_was_asked_for_again_must_have_been_read_again(tmp_path: Path) -> None:
    given = Given(by_page={image_of(VERSION, 1): Counter({"400": 1})})
    first = page(1, "failed", "model_rejected")
    put(tmp_path, DROPPED, [first, page(2, "blank")])
    assert "not read again" in wrong(tmp_path, given=given, redone=frozenset({DROPPED.source}))
    put(tmp_path, DROPPED, [first | {"edition": 1}, page(2, "blank")])
    assert wrong(tmp_path, given=given, redone=frozenset({DROPPED.source})) == ""


def test_the_text_of_another_page_is_seen(tmp_path: Path) -> None:
    put(tmp_path, DROPPED, RIGHT)
    (tmp_path / f"pages/a.pdf/{GENERATION}/00001.md").write_text("Anchor pencil\n")
    assert "['basket'] do not stand in 'anchor pencil" in wrong(tmp_path)


@pytest.mark.parametrize(
    "codes", [(), ("document_corrupt",), ("source_gone",), ("document_encrypted", "document_encrypted")]
)
def test_a_document_that_was_not_opened_for_another_reason_is_seen(
    tmp_path: Path, codes: tuple[str, ...]
) -> None:
    put(tmp_path, LOCKED, [], *codes)
    assert "not opened" in wrong(tmp_path, LOCKED)


def test_what_is_left_in_flight_is_seen(tmp_path: Path) -> None:
    put(tmp_path, DROPPED, RIGHT)
    for name in (layout.job(DROPPED.source), layout.note(DROPPED.source, 1)):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        assert f"{name} is left" in wrong(tmp_path)
        path.unlink()


@pytest.mark.parametrize(
    ("code", "given", "may"),
    [
        ("model_rejected", {"413": 1}, True),
        ("model_truncated", {"length": 1}, True),
        ("model_loop", {"loop": 1}, False),
        ("model_loop", {"loop": 1, "hang": 1}, True),
        ("model_loop", {"empty": 2}, False),
        ("model_timeout", {"hang": 1, "late": 1}, True),
        ("model_timeout", {"through": 3, "503": 3}, False),
        ("model_empty", {"empty": 1, "null": 1}, True),
        ("blank_talk", {"blank talk": 2}, True),
        ("auth_denied", {"401": 5}, False),
        ("model_busy", {"503": 5}, False),
        (None, {"loop": 2}, False),
    ],
)
def test_a_page_may_fail_only_after_as_many_of_its_own_faults_as_it_takes(
    code: str | None, given: dict[str, int], may: bool
) -> None:
    assert may_fail(code, Counter(given)) is may
