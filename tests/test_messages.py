"""What comes over the wire becomes a value or an error of ours, and nothing else."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketscribe import messages
from bucketscribe.errors import JunkMessage, MessageError, NewerMessage
from bucketscribe.model import (
    DocumentRecord,
    DocumentStatus,
    Job,
    JobState,
    Lane,
    ObjectRef,
    PageTask,
    Profile,
    Upload,
)

EVENTS = Path(__file__).parent / "events"
PROPERTY = settings(derandomize=True, deadline=None)

TASK = {
    "schema": "bucketscribe.page-task/1",
    "source": {"bucket": "in", "name": "x/a.pdf", "generation": "17"},
    "page": 7,
    "pages": 120,
    "lane": "bulk",
    "profile": "lightonocr-2-1b",
    "edition": 0,
    "trace": "",
    "sent_at": "2026-11-01T12:00:00+00:00",
    "again": False,
}

SOURCE = ObjectRef(bucket="in", name="x/a.pdf", generation=17)
PAGE_TASK = PageTask(
    source=SOURCE,
    page=7,
    pages=120,
    lane=Lane.BULK,
    profile="lightonocr-2-1b",
    sent_at=datetime(2026, 11, 1, 12, tzinfo=UTC),
)

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
generations = st.integers(1, 2**63 - 1)
tasks = st.integers(1, 99_999).flatmap(
    lambda pages: st.builds(
        PageTask,
        source=st.builds(ObjectRef, bucket=words, name=words, generation=generations),
        page=st.integers(1, pages),
        pages=st.just(pages),
        lane=st.sampled_from(Lane),
        profile=words,
        edition=st.integers(0, 1000),
        trace=st.text(st.characters(codec="utf-8"), max_size=40),
        sent_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        again=st.booleans(),
    )
)

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from([10**30, 10**400, -1, 0, "", "1", "1.5", "null", "NaN", "\ud800", 1e308]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*TASK, "message", "data", "x"]), inner, max_size=4),
    ),
    max_leaves=8,
)


def pushed(data: bytes | str, **envelope: object) -> bytes:
    """Wrap as Pub/Sub does; a string goes in as it is, which Pub/Sub never does."""
    text = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return json.dumps({"message": {"data": text, "messageId": "1"}, **envelope}).encode()


def pushed_task(**changes: object) -> bytes:
    return pushed(json.dumps({**TASK, **changes}).encode())


def without(body: dict[str, object], key: str) -> dict[str, object]:
    return {name: value for name, value in body.items() if name != key}


@PROPERTY
@given(tasks)
def test_a_page_task_comes_back_as_it_went(task):
    delivery = messages.read_push(pushed(messages.task_message(task).data))
    assert delivery.task == task


def test_a_page_task_is_written_as_the_contract_says():
    message = messages.task_message(PAGE_TASK)
    assert json.loads(message.data) == TASK
    assert message.attributes == {"lane": "bulk", "schema": "bucketscribe.page-task/1"}


def test_a_push_tells_which_attempt_it_is():
    delivery = messages.read_push((EVENTS / "push-with-attempt.json").read_bytes())
    assert delivery.attempt == 5
    assert delivery.message_id == "12900000000000001"
    assert delivery.published_at == datetime(2026, 11, 1, 12, 0, 3, 456000, tzinfo=UTC)
    assert delivery.task.source.name == "invoices/März 2026.pdf"
    assert (delivery.task.page, delivery.task.pages, delivery.task.lane) == (7, 120, Lane.BULK)


@pytest.mark.parametrize("name", ["push-without-attempt.json", "push-dead-lettered.json"])
def test_a_push_without_an_attempt_has_none(name):
    delivery = messages.read_push((EVENTS / name).read_bytes())
    assert delivery.attempt is None
    assert delivery.task.source.generation == 1793541600123456


@pytest.mark.parametrize("unsaid", [0, None])
def test_an_attempt_of_nought_means_that_nobody_counts(unsaid):
    assert messages.read_push(pushed(json.dumps(TASK).encode(), deliveryAttempt=unsaid)).attempt is None


def test_a_finalized_event_becomes_an_upload():
    upload = messages.read_upload(json.loads((EVENTS / "storage-finalized.json").read_text()))
    assert upload == Upload(
        source=ObjectRef(bucket="in-bucket", name="invoices/März 2026.pdf", generation=1793541600123456),
        size=352256,
        content_type="application/pdf",
        crc32c="vWQZ3g==",
        uploaded_at=datetime(2026, 11, 1, 12, 0, 0, 123000, tzinfo=UTC),
    )


def test_an_event_without_type_and_checksum_is_an_upload_all_the_same():
    data = {"bucket": "in", "name": "a", "generation": "1", "timeCreated": "2026-11-01T12:00:00Z"}
    upload = messages.read_upload(data)
    assert (upload.size, upload.content_type, upload.crc32c) == (0, "", "")


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "\ud800"},
        {"name": 7},
        {"bucket": ""},
        {"contentType": "\udfff"},
        {"generation": "0"},
        {"generation": "-1"},
        {"generation": "one"},
        {"generation": str(2**63)},
        {"generation": True},
        {"size": "-1"},
        {"size": float("nan")},
        {"timeCreated": "yesterday"},
        {"timeCreated": "2026-11-01T12:00:00"},
        {"timeCreated": None},
    ],
)
def test_a_crooked_event_is_junk(change):
    data = json.loads((EVENTS / "storage-finalized.json").read_text()) | change
    with pytest.raises(JunkMessage):
        messages.read_upload(data)


@pytest.mark.parametrize("key", ["bucket", "name", "generation", "timeCreated"])
def test_an_event_that_lacks_what_matters_is_junk(key):
    data = json.loads((EVENTS / "storage-finalized.json").read_text())
    with pytest.raises(JunkMessage):
        messages.read_upload(without(data, key))


@PROPERTY
@given(st.one_of(json_values, st.binary(max_size=20)))
def test_an_event_of_anything_is_junk_and_no_other_error(data):
    with pytest.raises(JunkMessage):
        messages.read_upload(data)


@PROPERTY
@given(st.binary(max_size=200))
def test_a_push_of_any_bytes_is_junk_and_no_other_error(body):
    with pytest.raises(JunkMessage):
        messages.read_push(body)


@PROPERTY
@given(json_values)
def test_a_push_of_any_json_is_junk_and_no_other_error(value):
    for body in (
        json.dumps(value).encode(),
        json.dumps({"message": value}).encode(),
        pushed(json.dumps(value).encode()),
    ):
        with pytest.raises(JunkMessage):
            messages.read_push(body)


@PROPERTY
@given(st.sampled_from(sorted(TASK)), json_values)
def test_a_task_with_one_field_replaced_is_read_or_refused_by_name(key, value):
    try:
        task = messages.read_push(pushed_task(**{key: value})).task
    except MessageError:
        return
    assert 1 <= task.page <= task.pages <= 99_999
    assert task.source.generation > 0
    assert task.source.name
    assert task.edition >= 0


@PROPERTY
@given(st.lists(st.characters(codec=None) | st.sampled_from("\ud800=+/-_\n é"), max_size=30).map("".join))
def test_data_that_is_no_base64_is_junk(data):
    with pytest.raises(JunkMessage):
        messages.read_push(pushed(data))


@pytest.mark.parametrize("key", ["schema", "source", "page", "pages", "lane", "profile"])
def test_a_task_that_lacks_a_field_is_junk(key):
    with pytest.raises(JunkMessage):
        messages.read_push(pushed(json.dumps(without(TASK, key)).encode()))


@pytest.mark.parametrize(
    "change",
    [
        {"page": 0},
        {"page": -1},
        {"page": 121},
        {"page": True},
        {"page": 1.5},
        {"page": float("nan")},
        {"page": float("inf")},
        {"page": 10**400},
        {"page": None},
        {"page": [1]},
        {"pages": 100_000, "page": 1},
        {"pages": 0, "page": 0},
        {"lane": "slow"},
        {"lane": "x" * 100_000},
        {"profile": ""},
        {"profile": 1},
        {"edition": -1},
        {"trace": {"a": 1}},
        {"source": None},
        {"source": "gs://in/a"},
        {"source": {"bucket": "in", "name": "", "generation": "1"}},
        {"source": {"bucket": "", "name": "a", "generation": "1"}},
        {"source": {"bucket": "in", "name": "a", "generation": "0"}},
        {"source": {"bucket": "in", "name": "a", "generation": "x"}},
        {"source": {"bucket": "in", "name": "a" * 1024, "generation": "1"}},
        {"source": {"bucket": "in", "name": "\ud800", "generation": "1"}},
        {"schema": "bucketscribe.page-task/0"},
        {"schema": "bucketscribe.page-task/-1"},
        {"schema": "bucketscribe.page-task/٢"},
        {"schema": "bucketscribe.page-task/" + "9" * 5000},
        {"schema": "bucketscribe.page-task"},
        {"schema": "bucketscribe.finished/1"},
        {"schema": None},
        {"schema": ["bucketscribe.page-task/1"]},
    ],
)
def test_a_crooked_task_is_junk(change):
    with pytest.raises(JunkMessage) as caught:
        messages.read_push(pushed_task(**change))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"message": null}',
        b'{"message": {}}',
        b'{"message": {"data": null}}',
        b'{"message": {"attributes": {"a": "b"}, "messageId": "1"}}',
        b'{"message": {"data": ""}}',
        b"[" * 200_000,
        pushed(b'{"a":' * 100_000),
        pushed(b"\xff\xfe"),
        pushed(json.dumps(TASK).encode(), deliveryAttempt=-1),
        pushed(json.dumps(TASK).encode(), deliveryAttempt="often"),
        pushed(b"e30", deliveryAttempt=1),
    ],
    ids=range(15),
)
def test_an_envelope_that_carries_no_task_is_junk(body):
    with pytest.raises(JunkMessage):
        messages.read_push(body)


@pytest.mark.parametrize("version", [2, 3, 10, 999_999_999])
def test_a_task_of_a_newer_version_is_left_to_a_newer_worker(version):
    body = pushed(json.dumps({"schema": f"bucketscribe.page-task/{version}", "other": "form"}).encode())
    with pytest.raises(NewerMessage):
        messages.read_push(body)


def test_fields_that_we_do_not_know_are_no_matter():
    source = {"bucket": "in", "name": "x/a.pdf", "generation": "17", "etag": "x"}
    body = pushed(json.dumps({**TASK, "source": source, "more": [1]}).encode(), orderingKey="", more={})
    assert messages.read_push(body).task == PAGE_TASK


def test_a_finished_event_says_what_the_contract_says():
    now = datetime(2026, 11, 1, tzinfo=UTC)
    upload = Upload(source=SOURCE, size=1, content_type="", crc32c="", uploaded_at=now)
    profile = Profile(
        name="p", model="m", revision="r", temperature=0.2, top_p=0.9, max_tokens=1, longest_edge_px=1540
    )
    job = Job(upload=upload, state=JobState.PUBLISHED, profile=profile, received_at=now)
    record = DocumentRecord(job=job, status=DocumentStatus.PARTIAL, pages=(), finished_at=now)
    counts = {"pages": 12, "ok": 9, "blank": 1, "text_layer": 1, "low_quality": 0, "failed": 1}
    message = messages.finished_message(record, counts, "documents/x/a.pdf.md", "documents/x/a.pdf.json")
    assert json.loads(message.data) == {
        "schema": "bucketscribe.finished/1",
        "source": {"uri": "gs://in/x/a.pdf", "generation": "17"},
        "status": "partial",
        "counts": counts,
        "text": "documents/x/a.pdf.md",
        "record": "documents/x/a.pdf.json",
    }
    assert message.attributes == {
        "status": "partial",
        "bucket": "in",
        "name": "x/a.pdf",
        "generation": "17",
        "pages": "12",
        "failed": "1",
    }


def test_a_redone_page_keeps_its_edition_and_trace():
    task = replace(PAGE_TASK, edition=3, trace="abc/1;o=1")
    assert messages.read_push(pushed(messages.task_message(task).data)).task == task


@pytest.mark.parametrize("trace", ["t" * 5000, "\ud800", "\N{SNOWMAN}"])
def test_whatever_trace_an_event_carries_its_tasks_can_be_read_back(trace: str) -> None:
    data = json.loads((EVENTS / "storage-finalized.json").read_text())
    upload = messages.read_upload(data, trace=trace)
    task = PageTask(source=upload.source, page=1, pages=1, lane=Lane.EXPRESS, profile="p", trace=upload.trace)
    body = base64.b64encode(messages.task_message(task).data).decode()
    push = json.dumps({"message": {"data": body, "messageId": "1"}, "subscription": "s"})
    assert messages.read_push(push.encode()).task == task
