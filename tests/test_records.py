"""What is written can be read back, fits where it stands, and adds up."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import bucketscribe
from bucketscribe import layout, records
from bucketscribe.errors import UnreadableJob
from bucketscribe.model import (
    DocumentRecord,
    DocumentStatus,
    Job,
    JobState,
    Kind,
    ObjectInfo,
    ObjectRef,
    PageFault,
    PageNote,
    PageRecord,
    PageStatus,
    Profile,
    StoredPage,
    Upload,
)

PROPERTY = settings(derandomize=True, deadline=None)

SCHEMA = json.loads((Path(bucketscribe.__file__).parent / "schemas" / "document-1.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())

WRITTEN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)

TEXT_SHA256, PAGE_SHA256 = "7e" * 32, "9a" * 32

# The longest of each kind that others decide, in characters that take the most bytes.
OWL = "\U0001f989"

words = st.text(st.characters(codec="utf-8"), max_size=20)
wild_characters = st.one_of(st.characters(codec=None), st.sampled_from('\ud800\udfff\x00\x7f\n"\\🦉é'))
wild = st.lists(wild_characters, max_size=20).map("".join) | st.lists(
    wild_characters, min_size=33, max_size=80
).map("".join)
codes = st.sampled_from(["model_loop", "model_truncated", "page_render_timeout", "attempts_exhausted"])
moments = st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - aware by timezones
small = st.integers(0, 10**6)
seconds = st.floats(0, 1e5).map(lambda value: round(value, 3))
faults = st.builds(PageFault, code=codes, message=words)
wild_faults = st.builds(PageFault, code=codes, message=wild)
object_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
sources = st.builds(ObjectRef, bucket=object_names, name=object_names, generation=st.integers(1, 2**63 - 1))
uploads = st.builds(Upload, source=sources, size=small, content_type=words, crc32c=words, uploaded_at=moments)
profiles = st.builds(
    Profile,
    name=words,
    model=words,
    revision=words,
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    max_tokens=st.integers(1, 10**5),
    longest_edge_px=st.integers(1, 4096),
    prompt=st.none() | words,
)
jobs = st.builds(
    Job,
    upload=uploads,
    state=st.sampled_from(JobState),
    profile=profiles,
    received_at=moments,
    kind=st.none() | st.sampled_from(Kind),
    pages=st.none() | st.integers(1, 99_999),
    planned_at=st.none() | moments,
    resumed_at=st.lists(moments, max_size=3).map(tuple),
).filter(lambda job: job.pages or job.state is JobState.RECEIVED)


def page_records(text=words, message=faults):
    return st.builds(
        PageRecord,
        page=st.integers(1, 99_999),
        status=st.sampled_from(PageStatus),
        edition=st.integers(0, 99),
        label=st.none() | text,
        width_px=st.none() | st.integers(1, 4096),
        height_px=st.none() | st.integers(1, 4096),
        rotation=st.sampled_from([0, 90, 180, 270]),
        ink=st.none() | st.floats(0, 1).map(lambda value: round(value, 6)),
        attempts=st.integers(0, 9),
        model=st.none() | text,
        finish_reason=st.none() | text,
        prompt_tokens=small,
        completion_tokens=small,
        seconds=st.dictionaries(st.sampled_from(["wait", "fetch", "render", "ocr"]), seconds),
        flags=st.lists(codes, max_size=3, unique=True).map(tuple),
        error=st.none() | message,
    )


@st.composite
def documents(draw):
    job = draw(jobs)
    drawn = draw(st.lists(st.tuples(page_records(wild, wild_faults), st.integers(1, 2**63 - 1)), max_size=5))
    pages = tuple(
        StoredPage(
            record=replace(record, page=number),
            object_name=layout.page(job.source, number),
            object_generation=generation,
            written_at=WRITTEN,
        )
        for number, (record, generation) in enumerate(drawn, 1)
    )
    return DocumentRecord(
        job=job,
        status=draw(st.sampled_from(DocumentStatus)),
        pages=pages,
        finished_at=draw(moments),
        fault=draw(st.none() | wild_faults),
    )


NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def a_record(*statuses: PageStatus) -> DocumentRecord:
    source = ObjectRef(bucket="in", name="x/a.pdf", generation=17)
    profile = Profile(
        name="p", model="m", revision="r", temperature=0.2, top_p=0.9, max_tokens=4096, longest_edge_px=1540
    )
    upload = Upload(source=source, size=9, content_type="application/pdf", crc32c="AAAAAA==", uploaded_at=NOW)
    job = Job(upload=upload, state=JobState.PUBLISHED, profile=profile, received_at=NOW, pages=len(statuses))
    pages = tuple(
        StoredPage(
            record=PageRecord(
                page=number,
                status=status,
                attempts=2,
                model="m",
                error=PageFault(code="model_loop", message="it loops")
                if status is PageStatus.FAILED
                else None,
            ),
            object_name=layout.page(source, number),
            object_generation=number,
            written_at=WRITTEN,
        )
        for number, status in enumerate(statuses, 1)
    )
    return DocumentRecord(job=job, status=DocumentStatus.COMPLETE, pages=pages, finished_at=NOW)


def encode(record: DocumentRecord) -> bytes:
    entries = [records.encode_entry(page, (page.record.page, 99), PAGE_SHA256) for page in record.pages]
    return records.encode_document(record, "documents/a.md", TEXT_SHA256, entries)


def encoded(record: DocumentRecord) -> dict[str, object]:
    return json.loads(encode(record))


@PROPERTY
@given(jobs)
def test_a_job_comes_back_as_it_went(job):
    assert records.decode_job(records.encode_job(job)) == job


@PROPERTY
@given(
    st.builds(PageNote, page=st.integers(1, 99_999), calls=small, timeouts=small, fault=st.none() | faults)
)
def test_a_note_comes_back_as_it_went(note):
    assert records.decode_note(records.encode_note(note)) == note


@PROPERTY
@given(wild)
def test_a_note_can_hold_whatever_a_server_said(message):
    note = PageNote(page=1, calls=1, fault=PageFault(code="model_rejected", message=message))
    assert records.decode_note(records.encode_note(note)).calls == 1


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"[]", b"\xff", b'{"page": "x"}'])
def test_what_is_no_job_says_so_and_what_is_no_note_is_none(data):
    with pytest.raises(UnreadableJob):
        records.decode_job(data)
    assert records.decode_note(data) is None


@PROPERTY
@given(page_records())
def test_a_page_record_comes_back_as_it_went(record):
    assert records.page_record(records.page_metadata(record)) == record


@PROPERTY
@given(
    page_records(wild, st.builds(PageFault, code=codes, message=wild)),
    st.integers(0, 9999),
)
@example(
    PageRecord(page=1, status=PageStatus.FAILED, error=PageFault(code="model_rejected", message=OWL)), 9999
)
def test_a_page_record_always_fits_and_still_says_what_matters(record, times):
    if record.error:
        record = replace(record, error=replace(record.error, message=record.error.message * times))
    metadata = records.page_metadata(record)
    assert all(text.isascii() and len(text) <= records.METADATA_LIMIT_BYTES for text in metadata.values())
    found = records.page_record(metadata)
    assert found
    assert (found.page, found.status, found.edition) == (record.page, record.status, record.edition)
    assert (found.error and found.error.code) == (record.error and record.error.code)
    assert found.seconds == record.seconds


def test_words_of_any_length_from_others_fit_without_a_fault():
    record = PageRecord(
        page=99_999,
        status=PageStatus.LOW_QUALITY,
        label=OWL * 9999,
        model=OWL * 9999,
        finish_reason=OWL * 9999,
        width_px=1540,
        height_px=1540,
        ink=0.123456,
        seconds={"wait": 1234.567, "fetch": 1234.567, "render": 1234.567, "ocr": 1234.567},
        flags=("page_render_timeout", "blank_talk"),
        error=PageFault(code="attempts_exhausted", message=OWL),
    )
    assert records.page_record(records.page_metadata(record))


def test_as_much_of_a_long_message_is_kept_as_fits():
    fault = PageFault(code="model_rejected", message="no " * 5000)
    metadata = records.page_metadata(PageRecord(page=1, status=PageStatus.FAILED, error=fault))
    assert len(metadata["bucketscribe-page"]) > records.METADATA_LIMIT_BYTES - 20


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"bucketscribe-page": ""},
        {"bucketscribe-page": "{}"},
        {"bucketscribe-page": "null"},
        {"page": "1"},
    ],
)
def test_an_object_that_is_no_page_has_no_record(metadata):
    assert records.page_record(metadata) is None


@PROPERTY
@given(documents())
def test_every_document_record_is_valid_by_the_shipped_schema(record):
    body = encoded(record)
    VALIDATOR.validate(body)


@PROPERTY
@given(documents())
def test_counts_add_up_always(record):
    counts = encoded(record)["counts"]
    assert counts == records.counts(record)
    assert counts["pages"] == len(record.pages)
    assert sum(counts[status] for status in PageStatus) == counts["pages"]


def test_a_record_says_what_became_of_its_pages():
    record = a_record(PageStatus.OK, PageStatus.FAILED, PageStatus.BLANK)
    body = encoded(record)
    assert body["counts"] == {"pages": 3, "ok": 1, "blank": 1, "text_layer": 0, "low_quality": 0, "failed": 1}
    assert body["errors"] == [{"page": 2, "code": "model_loop", "message": "it loops", "attempts": 2}]
    assert body["text"] == {"object": "documents/a.md", "sha256": TEXT_SHA256}
    assert body["source"]["uri"] == "gs://in/x/a.pdf"
    assert body["source"]["generation"] == "17"
    assert [(page["page"], page["span"], page["sha256"]) for page in body["pages"]] == [
        (number, [number, 99], PAGE_SHA256) for number in (1, 2, 3)
    ]


@PROPERTY
@given(documents())
def test_a_record_of_pages_encoded_one_by_one_looks_as_if_it_were_encoded_whole(record):
    data = encode(record)
    assert data.decode() == json.dumps(json.loads(data), ensure_ascii=False, indent=1) + "\n"


def test_a_document_that_could_not_be_opened_says_why_and_has_no_pages():
    fault = PageFault(code="document_corrupt", message="it is no PDF")
    body = encoded(replace(a_record(), status=DocumentStatus.FAILED, fault=fault))
    VALIDATOR.validate(body)
    assert body["pages"] == []
    assert body["errors"] == [
        {"page": None, "code": "document_corrupt", "message": "it is no PDF", "attempts": 0}
    ]


def test_a_revision_stands_only_beside_the_model_it_belongs_to():
    record = a_record(PageStatus.OK)
    assert encoded(record)["engine"]["revision"] == "r"
    stranger = replace(record.pages[0], record=replace(record.pages[0].record, model="stand-in"))
    engine = encoded(replace(record, pages=(stranger,)))["engine"]
    assert (engine["model"], engine["revision"]) == ("stand-in", None)


def test_entries_must_be_one_a_page():
    with pytest.raises(ValueError, match="0 entries for 1 pages"):
        records.encode_document(a_record(PageStatus.OK), "documents/a.md", "", [])


def published(metadata: dict[str, str]) -> ObjectInfo:
    return ObjectInfo(name="documents/a.md", generation=1, size=1, updated_at=WRITTEN, metadata=metadata)


def test_published_objects_carry_the_key_fields():
    metadata = records.text_metadata(a_record(PageStatus.OK, PageStatus.FAILED), "pages' hash")
    assert metadata == {
        "bucketscribe-status": "complete",
        "bucketscribe-source-generation": "17",
        "bucketscribe-pages": "2",
        "bucketscribe-failed": "1",
        "bucketscribe-reading": "pages' hash",
    }
    assert records.record_metadata(metadata, TEXT_SHA256) == metadata | {
        "bucketscribe-text-sha256": TEXT_SHA256
    }
    assert records.published_generation(published(metadata)) == 17


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", " 17", "1_7", "٣", "²", "9" * 5000])
def test_a_stranger_in_our_place_was_made_of_no_generation(text):
    assert records.published_generation(published({"bucketscribe-source-generation": text})) == 0


def test_what_does_not_stand_was_made_of_no_generation():
    assert records.published_generation(None) == 0
    assert records.published_generation(published({})) == 0


def test_a_publication_is_the_same_only_with_the_same_source_reading_and_status():
    metadata = records.text_metadata(a_record(PageStatus.OK), "pages' hash")
    assert records.is_same_publication(published(metadata), metadata)
    assert not records.is_same_publication(None, metadata)
    assert not records.is_same_publication(published({}), metadata)
    for key in ("status", "source-generation", "reading"):
        other = metadata | {f"bucketscribe-{key}": "other"}
        assert not records.is_same_publication(published(other), metadata)
