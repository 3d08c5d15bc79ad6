"""Anything at all, at every place where bytes from outside become values: a value or the one error of ours,
and through the doors a status of the table. Junk is kept once, and acknowledged.
"""

import asyncio
import base64
import hashlib
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cloudevents.http import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

import main
from bucketscribe import messages, records
from bucketscribe.errors import JunkMessage, MessageError, UnreadableJob
from bucketscribe.model import Job, JobState, ObjectRef, PageNote, PageRecord, PageStatus, Upload
from bucketscribe.settings import PROFILES
from tests.house import House, build_house

PROPERTY = settings(derandomize=True, deadline=None, max_examples=200)
DOOR = settings(derandomize=True, deadline=None, max_examples=100)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SOURCE = ObjectRef(bucket="in", name="x/a.pdf", generation=17)
UPLOAD = Upload(source=SOURCE, size=1, content_type="", crc32c="", uploaded_at=NOW)
JOB = Job(
    upload=UPLOAD,
    state=JobState.PLANNED,
    profile=PROFILES["lightonocr-2-1b"],
    received_at=NOW,
    pages=3,
    planned_at=NOW,
    resumed_at=(NOW,),
)
NOTE = PageNote(page=1, calls=1, timeouts=1)
RECORD = PageRecord(page=1, status=PageStatus.OK, seconds={"ocr": 1.5}, flags=("x",))
TASK = {
    "schema": "bucketscribe.page-task/1",
    "source": {"bucket": "in", "name": "x/a.pdf", "generation": "17"},
    "page": 1,
    "pages": 2,
    "lane": "bulk",
    "profile": "lightonocr-2-1b",
}
EVENT = {
    "bucket": "in",
    "name": "x/a.pdf",
    "generation": "17",
    "size": "1",
    "timeCreated": "2026-11-01T12:00:00Z",
}
PUSH = {"message": {"data": base64.b64encode(json.dumps(TASK).encode()).decode(), "messageId": "1"}}

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [10**30, 10**400, -1, 0, "", "1", "\ud800", "2026-11-01T12:00:00", "2026-11-01T12:00:00Z"]
    ),
    st.sampled_from(["x" * 2000, "in", "planned", "pdf", "ok", "🦉" * 300, "../x", "a\nb", 1e308]),
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
deep = st.integers(1, 100_000).flatmap(
    lambda depth: st.sampled_from([b"[" * depth, b'{"a":' * depth, b'{"page":' * depth])
)


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List the ways to every part of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [way for key, part in parts for way in paths(part, (*path, key))]


def changed(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """Replace one part of a JSON value."""
    if not path:
        return new
    whole = dict(value) if isinstance(value, dict) else list(value)
    whole[path[0]] = changed(value[path[0]], path[1:], new)
    return whole


def bent(value: object) -> st.SearchStrategy[bytes]:
    """Bytes of any kind, any JSON, and our own with a part or two replaced."""
    plain = json.loads(msgspec.json.encode(value))
    once = st.tuples(st.sampled_from(paths(plain)), values).map(lambda change: changed(plain, *change))
    return st.one_of(
        st.binary(max_size=100),
        deep,
        values.map(lambda each: json.dumps(each).encode()),
        once.map(lambda each: json.dumps(each).encode()),
        st.integers(0, 200).map(lambda cut: json.dumps(plain).encode()[:cut]),
    )


@PROPERTY
@given(bent(JOB))
def test_any_bytes_are_a_sound_job_or_unreadable(data: bytes) -> None:
    try:
        job = records.decode_job(data)
    except UnreadableJob:
        return
    assert all(moment.tzinfo for moment in (job.received_at, job.upload.uploaded_at, *job.resumed_at))
    assert job.state is JobState.RECEIVED or 1 <= (job.pages or 0) <= 99_999
    assert records.decode_job(records.encode_job(job)) == job


@PROPERTY
@given(bent(NOTE))
def test_any_bytes_are_a_sound_note_or_none(data: bytes) -> None:
    note = records.decode_note(data)
    if note:
        assert note.page > 0
        assert min(note.calls, note.timeouts) >= 0
        assert records.decode_note(records.encode_note(note)) is not None


@PROPERTY
@given(bent(RECORD).map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_metadata_is_a_page_record_or_none(text: str) -> None:
    found = records.page_record({"bucketscribe-page": text})
    assert found is None or isinstance(found.status, PageStatus)


@PROPERTY
@given(bent(TASK), st.none() | values)
def test_any_push_is_a_delivery_or_a_message_error(data: bytes, attempt: object) -> None:
    body = {"message": {"data": base64.b64encode(data).decode()}, "deliveryAttempt": attempt}
    try:
        task = messages.read_push(json.dumps(body).encode()).task
    except MessageError:
        return
    assert 1 <= task.page <= task.pages <= 99_999
    again = base64.b64encode(messages.task_message(task).data).decode()
    assert messages.read_push(json.dumps({"message": {"data": again}}).encode()).task == task


@PROPERTY
@given(bent(PUSH))
def test_any_envelope_is_a_delivery_or_a_message_error(body: bytes) -> None:
    try:
        assert messages.read_push(body).task.page >= 1
    except MessageError:
        return


@PROPERTY
@given(bent(EVENT))
def test_any_event_is_an_upload_or_junk(data: bytes) -> None:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        upload = messages.read_upload(event)
    except JunkMessage:
        return
    assert upload.source.name
    assert upload.size >= 0
    assert upload.uploaded_at.tzinfo
    str(upload.source).encode()


def at_the_doors(house: House) -> main.House:
    return main.House(
        fan_out=house.fan_out,
        transcriber=house.transcriber,
        give_up=house.give_up,
        resume=house.resume,
        finisher=house.give_up.finisher,
    )


def request(body: bytes) -> Request:
    """What Starlette makes of a POST with this body."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def answered(use: Callable[[House], Any]) -> House:
    """Open the doors of a house of its own, twice over."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        house = build_house(Path(folder))
        patch.setattr(main, "house", lambda: at_the_doors(house))
        asyncio.run(use(house))
        return house


def rejected(house: House) -> list[str]:
    return [name for name in house.outbox.listing if name.startswith("rejected/")]


@DOOR
@given(
    st.one_of(
        bent(PUSH),
        bent(TASK).map(
            lambda data: json.dumps({"message": {"data": base64.b64encode(data).decode()}}).encode()
        ),
    ),
    st.sampled_from([main.on_page_task, main.on_dead_letter]),
)
def test_any_body_ends_with_a_status_of_the_table_and_junk_is_kept_once(body: bytes, door: Any) -> None:
    statuses: list[int] = []

    async def use(_: House) -> None:
        statuses.extend([(await door(request(body))).status_code for _ in range(2)])

    house = answered(use)
    kept = rejected(house)
    assert set(statuses) <= {204, 503}
    assert len(kept) <= 1
    if kept:
        assert statuses == [204, 204]
        assert kept == [f"rejected/{hashlib.sha256(body).hexdigest()}.json"]
    assert not [name for name in house.outbox.listing if name.startswith("documents/")]


@DOOR
@given(bent(EVENT), st.sampled_from([messages.FINALIZED, messages.DELETED, "other"]))
def test_any_event_is_answered_and_junk_is_kept_once(data: bytes, kind: str) -> None:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return

    async def use(_: House) -> None:
        for _ in range(2):
            await main.on_upload(CloudEvent({"type": kind, "source": "s"}, content))

    house = answered(use)
    assert len(rejected(house)) <= 1
    left = {name.split("/")[0] for name in house.outbox.listing}
    assert left <= {"documents", "rejected"}
