"""Every document that the house makes verifies, and every kind of corruption is found by its name."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bucketscribe import layout, records
from bucketscribe.errors import DocumentCorrupt, PageRenderCrashed
from bucketscribe.model import ObjectRef, PageNote, PageRecord, PageStatus
from infra.operate.findings import Finding, Note, Problem
from infra.operate.verify import Sources, Verification
from infra.operate.verifying import _settings
from tests.fakes.shelf import FakeShelf
from tests.house import House, asynchronous, build_house, story

RECORD, TEXT = layout.document_record("a.pdf"), layout.document_text("a.pdf")


async def verify(house: House, prefix: str = "", *, with_input: bool = True) -> list[Finding]:
    shelf = FakeShelf(house.outbox)
    sources = Sources(shelf=FakeShelf(house.inbox), bucket="in", settings=_settings())
    verification = Verification(
        shelf=shelf,
        prefix=prefix,
        now=house.clock.now(),
        old_after=timedelta(days=7),
        sources=sources if with_input else None,
    )
    return [finding async for finding in verification.run()]


async def codes(house: House, prefix: str = "", *, with_input: bool = True) -> set[str]:
    return {finding.code.value for finding in await verify(house, prefix, with_input=with_input)}


async def a_document(house: House) -> ObjectRef:
    """Make a document with a page of every kind but one."""
    house.renderer.failing[1] = PageRenderCrashed("page 1 crashed its process")
    house.renderer.blank.add(2)
    upload = house.drop("a.pdf", 4)
    await house.settle()
    return upload.source


# What is as it should be.


@story
async def test_what_the_house_makes_verifies(house: House) -> None:
    await a_document(house)
    house.drop("x/b.pdf", 1)
    house.drop("empty.pdf", data=b"")
    house.drop("a placeholder/", data=b"")
    house.drop("n" * 1000, 1)
    house.post = [letter for letter in house.post if letter.content.source.name[0] != "n"]  # type: ignore[union-attr]
    await house.take_in(house.event("n" * 1000))
    house.inbox.drop("n" * 1000)
    house.inbox.drop("a placeholder/")
    await house.settle()
    house.inbox.put("a placeholder/", b"")
    house.inbox.put("gcloud/tmp/parallel_composite_uploads/part", b"part")
    assert await verify(house) == []


@story
async def test_a_document_that_could_not_be_opened_verifies(house: House) -> None:
    house.renderer.cannot_open = DocumentCorrupt("this file is damaged")
    house.drop("a.pdf", 3)
    await house.settle()
    assert await verify(house) == []


@story
async def test_a_name_too_long_to_answer_counts_as_answered_under_rejected(house: House) -> None:
    upload = house.drop("n" * 1000, 1)
    house.post.clear()
    house.clock.advance(86_400)
    assert await codes(house) == {"source_unanswered"}
    await house.take_in(upload)
    assert await codes(house) == set()


@pytest.mark.parametrize("prefix", ["documents/a.pdf", "documents/a.pdf.md", "documents/a.pdf.json"])
@story
async def test_one_document_is_verified_alone(house: House, prefix: str) -> None:
    await a_document(house)
    house.drop("a.pdf.b.pdf", 1)
    await house.settle()
    house.outbox.drop("documents/a.pdf.b.pdf.md")
    verification = Verification(
        shelf=FakeShelf(house.outbox), prefix=prefix, now=house.clock.now(), old_after=timedelta(days=7)
    )
    assert [finding async for finding in verification.run()] == []
    assert verification.counted == {"documents": 1, "pages": 4}
    house.outbox.put("documents/a.pdf.b.pdf.md", b"")
    house.outbox.drop("documents/a.pdf.b.pdf.json")
    house.outbox.drop("documents/a.pdf.b.pdf.md")


@story
async def test_a_page_that_a_lifecycle_rule_took_is_only_noted(house: House) -> None:
    source = await a_document(house)
    house.outbox.drop(layout.page(source, 3))
    assert [(finding.code, finding.page) for finding in await verify(house)] == [(Note.PAGE_GONE, 3)]


@story
async def test_a_page_that_was_made_better_since_is_only_noted(house: House) -> None:
    source = await a_document(house)
    metadata = records.page_metadata(PageRecord(page=1, status=PageStatus.OK))
    house.outbox.put(layout.page(source, 1), b"read at last\n", metadata=metadata)
    assert [(finding.code, finding.page) for finding in await verify(house)] == [(Note.PAGE_REPLACED, 1)]


@story
async def test_a_document_in_flight_is_noted_not_missed(house: House) -> None:
    await house.take_in(house.drop("a.pdf", 3))
    house.clock.advance(86_400)
    assert await codes(house) == {"in_flight"}


@story
async def test_an_upload_of_this_minute_is_noted_not_missed(house: House) -> None:
    house.drop("a.pdf", 3)
    assert await codes(house) == {"just_uploaded"}


@story
async def test_between_text_and_record_a_document_in_flight_is_being_published(house: House) -> None:
    source = await a_document(house)
    await house.take_in(house.drop("a.pdf", 2))
    other = ObjectRef(bucket="in", name="a.pdf", generation=source.generation + 1)
    metadata = {"bucketscribe-source-generation": str(other.generation)}
    before = house.outbox.get(TEXT)
    assert before
    house.outbox.put(TEXT, b"the newer version's", metadata=metadata)
    found = await codes(house)
    house.outbox.put(TEXT, before.data, metadata=before.info.metadata)
    assert "publishing" in found
    assert not found & {"text_sha256", "text_generation", "spans", "markers", "page_sha256"}


# Every corruption by its name.


def changed_record(change: Callable[[dict[str, Any]], object]) -> Callable[[House, ObjectRef], None]:
    def corrupt(house: House, _: ObjectRef) -> None:
        record = house.record()
        change(record)
        rewrite(house, RECORD, json.dumps(record).encode())

    return corrupt


def changed_text(change: Callable[[str], str]) -> Callable[[House, ObjectRef], None]:
    return lambda house, _: rewrite(house, TEXT, change(house.text()).encode())


def rewrite(house: House, name: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
    stored = house.outbox.get(name)
    assert stored
    house.outbox.put(name, data, metadata=stored.info.metadata if metadata is None else metadata)


def other_metadata(name: str, key: str, value: str) -> Callable[[House, ObjectRef], None]:
    def corrupt(house: House, _: ObjectRef) -> None:
        stored = house.outbox.get(name)
        assert stored
        rewrite(house, name, stored.data, {**stored.info.metadata, f"bucketscribe-{key}": value})

    return corrupt


def other_page(body: bytes, status: PageStatus | None) -> Callable[[House, ObjectRef], None]:
    def corrupt(house: House, source: ObjectRef) -> None:
        metadata = records.page_metadata(PageRecord(page=3, status=status)) if status else {}
        house.outbox.put(layout.page(source, 3), body, metadata=metadata)

    return corrupt


def same_page_otherwise(data: bytes | None, status: PageStatus | None) -> Callable[[House, ObjectRef], None]:
    """Change an object without a new generation, as rot or a bug in a server might."""

    def corrupt(house: House, source: ObjectRef) -> None:
        name = layout.page(source, 3)
        stored = house.outbox.get(name)
        assert stored
        metadata = (
            records.page_metadata(PageRecord(page=3, status=status)) if status else stored.info.metadata
        )
        generation = house.outbox.put(name, stored.data if data is None else data, metadata=metadata)
        record = house.record()
        record["pages"][2]["object_generation"] = str(generation)
        rewrite(house, RECORD, json.dumps(record).encode())

    return corrupt


def left_behind(name: Callable[[ObjectRef], str], data: bytes) -> Callable[[House, ObjectRef], None]:
    return lambda house, source: void(house.outbox.put(name(source), data))


def void(_: object) -> None:
    return


def old_note(house: House, source: ObjectRef) -> None:
    house.outbox.put(layout.note(source, 2), records.encode_note(PageNote(page=2)))
    house.clock.advance(3600)


def old_job(house: House, source: ObjectRef) -> None:
    house.outbox.put(layout.job(source), _job(house, source))
    house.clock.advance(8 * 86_400)


def _job(house: House, source: ObjectRef) -> bytes:
    at = house.clock.now().isoformat()
    upload = {
        "source": {"bucket": "in", "name": source.name, "generation": source.generation},
        "size": 1,
        "content_type": "",
        "crc32c": "",
        "uploaded_at": at,
    }
    profile = {
        "name": "p",
        "model": "m",
        "revision": "r",
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 1,
        "longest_edge_px": 28,
    }
    job = {"upload": upload, "state": "published", "profile": profile, "received_at": at, "pages": 4}
    return json.dumps(job).encode()


def unanswered(house: House, _: ObjectRef) -> None:
    house.inbox.put("lost.pdf", b"lost")
    house.clock.advance(86_400)


def outdated(house: House, _: ObjectRef) -> None:
    house.inbox.put("a.pdf", b"newer")
    house.clock.advance(86_400)


def raised(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["counts"].update({key: record["counts"][key] + 1})


CORRUPTIONS: dict[str, tuple[Callable[[House, ObjectRef], None], Problem]] = {
    "no record": (lambda house, _: house.outbox.drop(RECORD), Problem.RECORD_MISSING),
    "no JSON": (lambda house, _: rewrite(house, RECORD, b"{"), Problem.RECORD_UNREADABLE),
    "no UTF-8": (lambda house, _: rewrite(house, RECORD, b"\xff\xfe\xff"), Problem.RECORD_UNREADABLE),
    "a list": (lambda house, _: rewrite(house, RECORD, b"[]"), Problem.RECORD_UNREADABLE),
    "no engine": (changed_record(lambda record: record.pop("engine")), Problem.RECORD_SCHEMA),
    "ink above 1": (changed_record(lambda record: record["pages"][0].update(ink=2)), Problem.RECORD_SCHEMA),
    "another uri": (
        changed_record(lambda record: record["source"].update(uri="gs://in/b.pdf")),
        Problem.RECORD_NAMES,
    ),
    "another text": (
        changed_record(lambda record: record["text"].update(object="documents/b.pdf.md")),
        Problem.RECORD_NAMES,
    ),
    "another page's object": (
        changed_record(lambda record: record["pages"][0].update(object=record["pages"][1]["object"])),
        Problem.RECORD_NAMES,
    ),
    "a page more": (changed_record(raised("pages")), Problem.ACCOUNTING),
    "an ok more": (changed_record(raised("ok")), Problem.ACCOUNTING),
    "a page missing": (changed_record(lambda record: record["pages"].pop(1)), Problem.ACCOUNTING),
    "a page twice": (
        changed_record(lambda record: record["pages"][1].update(page=1)),
        Problem.ACCOUNTING,
    ),
    "called complete": (changed_record(lambda record: record.update(status="complete")), Problem.STATUS),
    "called failed": (changed_record(lambda record: record.update(status="failed")), Problem.STATUS),
    "errors forgotten": (changed_record(lambda record: record["errors"].clear()), Problem.ERRORS),
    "an error of another page": (
        changed_record(lambda record: record["errors"][0].update(page=2)),
        Problem.ERRORS,
    ),
    "record's status in metadata": (other_metadata(RECORD, "status", "complete"), Problem.METADATA),
    "record's generation in metadata": (other_metadata(RECORD, "source-generation", "1"), Problem.METADATA),
    "record's pages in metadata": (other_metadata(RECORD, "pages", "5"), Problem.METADATA),
    "text's failed in metadata": (other_metadata(TEXT, "failed", "0"), Problem.METADATA),
    "no text": (lambda house, _: house.outbox.drop(TEXT), Problem.TEXT_MISSING),
    "text no UTF-8": (lambda house, _: rewrite(house, TEXT, b"\xff"), Problem.TEXT_UNREADABLE),
    "a letter in the text": (
        changed_text(lambda text: text.replace("a.pdf 3", "a.pdf 8")),
        Problem.TEXT_SHA256,
    ),
    "a page's letter": (changed_text(lambda text: text.replace("a.pdf 3", "a.pdf 8")), Problem.PAGE_SHA256),
    "text of another version": (other_metadata(TEXT, "source-generation", "7"), Problem.TEXT_GENERATION),
    "text cut off": (changed_text(lambda text: text[:-3]), Problem.SPANS),
    "text goes on": (changed_text(lambda text: text + "more\n"), Problem.SPANS),
    "a span moved": (
        changed_record(lambda record: record["pages"][2].update(span=[0, 5])),
        Problem.SPANS,
    ),
    "a marker says otherwise": (
        changed_text(lambda text: text.replace('page 2 of 4 status="blank"', 'page 2 of 4 status="ok"')),
        Problem.SPANS,
    ),
    "a marker lost": (changed_text(lambda text: text.replace("<!-- page 3", "<!-- pag3 3")), Problem.MARKERS),
    "a marker forged": (
        changed_text(lambda text: text.replace("a.pdf 3", "<!-- page 3 of 4 -->\nx")),
        Problem.MARKERS,
    ),
    "a page's hash": (
        changed_record(lambda record: record["pages"][2].update(sha256="0" * 64)),
        Problem.PAGE_SHA256,
    ),
    "rot in a page": (same_page_otherwise(b"rot", None), Problem.PAGE_BODY),
    "a page's own record": (same_page_otherwise(None, PageStatus.BLANK), Problem.PAGE_STRANGE),
    "a stranger's page": (other_page(b"mine", None), Problem.PAGE_STRANGE),
    "a page made worse": (other_page(b"", PageStatus.FAILED), Problem.PAGE_WORSE),
    "a source dropped": (unanswered, Problem.SOURCE_UNANSWERED),
    "a newer source dropped": (outdated, Problem.SOURCE_UNANSWERED),
    "an old job": (old_job, Problem.JOB_OLD),
    "a job of a stranger": (left_behind(layout.job, b"mine"), Problem.JOB_UNREADABLE),
    "a note left": (
        old_note,
        Problem.NOTE_WITHOUT_JOB,
    ),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
@asynchronous
async def test_a_corruption_is_found_by_its_name(tmp_path: Path, corruption: str) -> None:
    house = build_house(tmp_path)
    source = await a_document(house)
    corrupt, expected = CORRUPTIONS[corruption]
    corrupt(house, source)
    assert expected.value in await codes(house)


@story
async def test_a_note_that_a_late_delivery_has_just_left_is_no_problem(house: House) -> None:
    """The sweep will delete it."""
    source = await a_document(house)
    house.outbox.put(layout.note(source, 2), records.encode_note(PageNote(page=2)))
    assert await codes(house) == set()
    house.outbox.drop(layout.note(source, 2))


def test_every_problem_has_its_corruption() -> None:
    assert {problem for _, problem in CORRUPTIONS.values()} == set(Problem)


@story
async def test_a_document_published_while_it_is_verified_is_looked_at_again(house: House) -> None:
    await a_document(house)
    good = house.outbox.get(TEXT)
    assert good
    rewrite(house, TEXT, b"half-way")
    shelf = FakeShelf(house.outbox)
    read = shelf.read

    async def published_meanwhile(name: str) -> Any:
        stored = await read(name)
        if name == TEXT and stored and stored.data == b"half-way":
            rewrite(house, TEXT, good.data)
        return stored

    shelf.read = published_meanwhile  # type: ignore[method-assign]
    verification = Verification(shelf=shelf, prefix="", now=house.clock.now(), old_after=timedelta(days=7))
    assert [finding async for finding in verification.run()] == []
