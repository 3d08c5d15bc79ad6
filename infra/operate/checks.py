"""What must hold of a published document, as pure functions over values: nothing is fetched here.

The schema says what a record looks like, the contract (README, "What comes out") what it must agree with: its
own numbers, its metadata, its text, its pages.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import msgspec

from bucketscribe import layout, ledger, markdown, records
from bucketscribe.model import ObjectRef, PageRecord, PageStatus, StoredObject
from infra.operate.findings import Finding, Note, Problem

# Of a schema's many complaints about one record these are shown.
_SHOWN_COMPLAINTS = 5


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    uri: str
    generation: int
    size: int


@dataclass(frozen=True, kw_only=True)
class RecordText:
    object: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RecordPage:
    page: int
    status: PageStatus
    object: str
    object_generation: int
    edition: int
    span: tuple[int, int]
    sha256: str
    flags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RecordError:
    page: int | None
    code: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is checked of documents/NAME.json; the schema checks the rest."""

    status: str
    source: RecordSource
    text: RecordText
    counts: Mapping[str, int]
    pages: tuple[RecordPage, ...]
    errors: tuple[RecordError, ...]


def read_record(name: str, stored: StoredObject) -> tuple[Record | None, list[Finding]]:
    """Decode a record and hold it to its schema; None when nothing more can be said of it."""
    try:
        body = json.loads(stored.data)
    except ValueError as error:
        return None, [_problem(Problem.RECORD_UNREADABLE, name, f"the record is no JSON: {error}")]
    found = [_problem(Problem.RECORD_SCHEMA, name, complaint) for complaint in _complaints(body)]
    try:
        return msgspec.convert(body, Record, strict=False), found
    except msgspec.ValidationError as error:
        return None, [*found, _problem(Problem.RECORD_UNREADABLE, name, f"the record is none: {error}")]


def check_record(name: str, record: Record, metadata: Mapping[str, str] | None) -> Iterator[Finding]:
    """Hold a record to itself and to its object's metadata, where that can be had."""
    ended = Counter(page.status.value for page in record.pages)
    expected = {status.value: ended[status.value] for status in PageStatus} | {"pages": len(record.pages)}
    if dict(record.counts) != expected:
        message = f"counts says {dict(record.counts)}, its pages say {expected}"
        yield _problem(Problem.ACCOUNTING, name, message)
    if [page.page for page in record.pages] != list(range(1, len(record.pages) + 1)):
        yield _problem(Problem.ACCOUNTING, name, "its pages are not numbered from 1 without a gap")
    if record.status != _status(record):
        yield _problem(
            Problem.STATUS, name, f"its status is {record.status}, its pages say {_status(record)}"
        )
    yield from _errors(name, record)
    yield from _names(name, record)
    yield from _metadata(name, "record", record, metadata)
    if metadata is not None:
        yield from _repeated(name, "record", metadata, {"bucketscribe-text-sha256": record.text.sha256})


def _metadata(name: str, which: str, record: Record, metadata: Mapping[str, str] | None) -> Iterator[Finding]:
    """Hold the key fields that an object repeats to the record."""
    if metadata is None:
        return
    expected = {
        "bucketscribe-status": record.status,
        "bucketscribe-source-generation": str(record.source.generation),
        "bucketscribe-pages": str(len(record.pages)),
        "bucketscribe-failed": str(_failed(record)),
    }
    yield from _repeated(name, which, metadata, expected)


def _repeated(
    name: str, which: str, metadata: Mapping[str, str], expected: Mapping[str, str]
) -> Iterator[Finding]:
    for key, value in expected.items():
        if metadata.get(key) != value:
            message = f"the {which}'s metadata has {key}={metadata.get(key)!r}, the record says {value!r}"
            yield _problem(Problem.METADATA, name, message)


def check_text(
    name: str, record: Record, stored: StoredObject, metadata: Mapping[str, str] | None
) -> Iterator[Finding]:
    """Hold the text to its record: hash, spans, markers, pages, source generation, metadata."""
    if _sha256(stored.data) != record.text.sha256:
        yield _problem(Problem.TEXT_SHA256, name, "the text is not the one whose SHA-256 the record has")
    generation = records.published_generation(stored.info)
    if generation and generation != record.source.generation:
        message = f"the text is of source generation {generation}, the record of {record.source.generation}"
        yield _problem(Problem.TEXT_GENERATION, name, message)
    yield from _metadata(name, "text", record, metadata)
    try:
        text = stored.data.decode()
    except UnicodeDecodeError as error:
        yield _problem(Problem.TEXT_UNREADABLE, name, f"the text is no UTF-8: {error.reason}")
        return
    yield from _check_pages_of_text(name, record, text)


def check_page(name: str, page: RecordPage, stored: StoredObject | None) -> Iterator[Finding]:
    """Hold a page object to the record's entry; one that went, or was made better since, is only noted."""
    if stored is None:
        message = f"{page.object} is gone, by a lifecycle rule or by hand"
        yield Finding(code=Note.PAGE_GONE, subject=name, page=page.page, message=message)
        return
    standing = records.page_record(stored.info.metadata)
    if stored.info.generation and standing is None:
        message = f"{page.object} carries no page record"
        yield _problem(Problem.PAGE_STRANGE, name, message, page.page)
    elif stored.info.generation in (0, page.object_generation):
        yield from _same_page(name, page, stored, standing)
    elif standing and ledger.is_better(standing, _page_record(page)):
        message = f"{page.object} was replaced since, by a better one ({standing.status})"
        yield Finding(code=Note.PAGE_REPLACED, subject=name, page=page.page, message=message)
    else:
        message = f"{page.object} was replaced since, by one that is not better"
        yield _problem(Problem.PAGE_WORSE, name, message, page.page)


def _page_record(page: RecordPage) -> PageRecord:
    return PageRecord(page=page.page, status=page.status, edition=page.edition, flags=page.flags)


def _same_page(
    name: str, page: RecordPage, stored: StoredObject, standing: PageRecord | None
) -> Iterator[Finding]:
    if _sha256(stored.data) != page.sha256:
        message = f"the body of {page.object} is not what the record has as this page's"
        yield _problem(Problem.PAGE_BODY, name, message, page.page)
    if standing and (standing.status, standing.edition) != (page.status, page.edition):
        message = f"{page.object} ended {standing.status}, the record says {page.status}"
        yield _problem(Problem.PAGE_STRANGE, name, message, page.page)


def _check_pages_of_text(name: str, record: Record, text: str) -> Iterator[Finding]:
    bodies = markdown.split(text)
    if len(bodies) != len(record.pages):
        message = f"its marker lines split the text into {len(bodies)} pages of {len(record.pages)}"
        yield _problem(Problem.MARKERS, name, message)
        bodies = []
    position = 0
    for number, page in enumerate(record.pages):
        start, end = page.span
        between, body = text[position:start], text[start:end]
        if start < position or end < start or end > len(text) or not _is_marker(between, page, record):
            message = f"between its span {list(page.span)} and the one before stands not just its marker line"
            yield _problem(Problem.SPANS, name, message, page.page)
        if bodies and bodies[number] != body:
            message = "its marker lines and its span give different texts"
            yield _problem(Problem.MARKERS, name, message, page.page)
        if _sha256(body.encode()) != page.sha256:
            yield _problem(Problem.PAGE_SHA256, name, "its span is not the text of its SHA-256", page.page)
        position = max(position, end)
    if record.pages and position != len(text):
        yield _problem(Problem.SPANS, name, f"{len(text) - position} characters stand behind the last span")


def _is_marker(between: str, page: RecordPage, record: Record) -> bool:
    """Tell whether what parts two spans is the marker of this page, with its status, and nothing else."""
    head = between.removeprefix("\n") if page.page > 1 else between
    match = markdown.MARKER.fullmatch(head.removesuffix("\n"))
    if match is None:
        return False
    numbers = (str(page.page), str(len(record.pages)))
    return match.groups() == numbers and f'status="{page.status}"' in head


def _status(record: Record) -> str:
    failed = _failed(record)
    if failed == len(record.pages):
        return "failed"
    return "partial" if failed else "complete"


def _failed(record: Record) -> int:
    return sum(page.status is PageStatus.FAILED for page in record.pages)


def _errors(name: str, record: Record) -> Iterator[Finding]:
    """Compare the list of errors with the pages that failed, or with the document that did."""
    listed = [error.page for error in record.errors]
    failed = [page.page for page in record.pages if page.status is PageStatus.FAILED]
    if listed != (failed if record.pages else [None]):
        message = f"errors is about pages {listed}, those that failed are {failed}"
        yield _problem(Problem.ERRORS, name, message)


def _names(name: str, record: Record) -> Iterator[Finding]:
    """Hold the names of source, text and pages to the name under which the record lies."""
    if not record.source.uri.endswith(f"/{name}") or record.text.object != layout.document_text(name):
        message = f"the record is of {record.source.uri} and {record.text.object}"
        yield _problem(Problem.RECORD_NAMES, name, message)
        return
    source = source_of(name, record)
    for page in record.pages:
        if page.object != layout.page(source, page.page):
            yield _problem(Problem.RECORD_NAMES, name, f"its object is {page.object}", page.page)


def source_of(name: str, record: Record) -> ObjectRef:
    """Give the source that a record names."""
    bucket = record.source.uri.removeprefix("gs://").removesuffix(f"/{name}")
    return ObjectRef(bucket=bucket, name=name, generation=record.source.generation)


@cache
def _validator() -> Any:
    schema = json.loads((files("bucketscribe") / "schemas" / "document-1.json").read_text("utf-8"))
    return jsonschema.Draft202012Validator(schema)


def _complaints(body: object) -> list[str]:
    found = sorted(_validator().iter_errors(body), key=lambda error: error.json_path)
    return [f"{error.json_path}: {error.message[:200]}" for error in found[:_SHOWN_COMPLAINTS]]


def _problem(code: Problem, subject: str, message: str, page: int | None = None) -> Finding:
    return Finding(code=code, subject=subject, message=message, page=page)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
