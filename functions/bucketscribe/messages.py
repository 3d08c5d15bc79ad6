"""Messages from and to the outside: events and push envelopes become values, tasks become messages.

What cannot be understood is a JunkMessage; what only a newer version can understand is a NewerMessage.
Nothing here decides what then happens.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from bucketscribe import layout
from bucketscribe.errors import JunkMessage, NewerMessage
from bucketscribe.model import (
    Delivery,
    DocumentRecord,
    Lane,
    Message,
    ObjectRef,
    PageTask,
    Upload,
)

FINALIZED = "google.cloud.storage.object.v1.finalized"
DELETED = "google.cloud.storage.object.v1.deleted"
PAGE_TASK_SCHEMA = "bucketscribe.page-task/1"
FINISHED_SCHEMA = "bucketscribe.finished/1"

_PAGES_LIMIT = 99_999
_TRACE_LIMIT = 256
_SCHEMA = re.compile(r"bucketscribe\.page-task/([1-9][0-9]{0,8})")

# Characters of a decoder's complaint that are repeated: it may quote what it could not take.
_COMPLAINT_LIMIT = 200

T = TypeVar("T")

_Name = Annotated[str, Meta(min_length=1)]
_Generation = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_Moment = Annotated[datetime, Meta(tz=True)]


class _StorageObject(msgspec.Struct, rename="camel", kw_only=True):
    """The event's data as Cloud Storage sends it: numbers are strings there."""

    bucket: _Name
    name: _Name
    generation: _Generation
    size: Annotated[int, Meta(ge=0)] = 0
    content_type: str = ""
    crc32c: str = ""
    time_created: _Moment


class _PushMessage(msgspec.Struct, rename="camel", kw_only=True):
    data: str = ""
    message_id: str = ""
    publish_time: _Moment | None = None


class _Push(msgspec.Struct, rename="camel", kw_only=True):
    message: _PushMessage
    delivery_attempt: Annotated[int, Meta(ge=0)] | None = None


class _Source(msgspec.Struct, kw_only=True):
    bucket: _Name
    name: _Name
    generation: _Generation


class _Task(msgspec.Struct, kw_only=True):
    source: _Source
    page: Annotated[int, Meta(ge=1, le=_PAGES_LIMIT)]
    pages: Annotated[int, Meta(le=_PAGES_LIMIT)]
    lane: Lane
    profile: Annotated[str, Meta(min_length=1, max_length=256)]
    edition: Annotated[int, Meta(ge=0, le=2**31)] = 0
    trace: Annotated[str, Meta(max_length=_TRACE_LIMIT)] = ""
    sent_at: _Moment | None = None
    again: bool = False


def read_upload(data: object, *, trace: str = "") -> Upload:
    """Decode a finalized or deleted event's data. Raises JunkMessage."""
    found = _convert(data, _StorageObject, "storage event")
    try:
        (found.bucket + found.name + found.content_type + found.crc32c).encode()
    except UnicodeEncodeError as error:
        raise JunkMessage("the storage event holds characters that UTF-8 cannot carry") from error
    source = ObjectRef(bucket=found.bucket, name=found.name, generation=found.generation)
    return Upload(
        source=source,
        size=found.size,
        content_type=found.content_type,
        crc32c=found.crc32c,
        uploaded_at=found.time_created,
        trace=trace.encode("ascii", "replace").decode()[:_TRACE_LIMIT],
    )


def read_push(body: bytes) -> Delivery:
    """Decode a push envelope that carries a page task. Raises JunkMessage or NewerMessage."""
    push = _decode(body, _Push, "push envelope")
    try:
        data = base64.b64decode(push.message.data, validate=True)
    except ValueError as error:
        raise JunkMessage("the push envelope's data is no base64") from error
    return Delivery(
        task=_task(data),
        message_id=push.message.message_id,
        attempt=push.delivery_attempt or None,
        published_at=push.message.publish_time,
    )


def task_message(task: PageTask) -> Message:
    """Encode a page task; the lane stands in an attribute too, for filters and people."""
    body = {
        "schema": PAGE_TASK_SCHEMA,
        "source": {
            "bucket": task.source.bucket,
            "name": task.source.name,
            "generation": str(task.source.generation),
        },
        "page": task.page,
        "pages": task.pages,
        "lane": task.lane.value,
        "profile": task.profile,
        "edition": task.edition,
        "trace": task.trace,
        "sent_at": task.sent_at.isoformat() if task.sent_at else None,
        "again": task.again,
    }
    return Message(data=_json(body), attributes={"lane": task.lane.value, "schema": PAGE_TASK_SCHEMA})


def finished_message(
    record: DocumentRecord, counts: Mapping[str, int], text: str, record_name: str
) -> Message:
    """Encode the finished event; `text` and `record_name` are the names of the two published objects."""
    source = record.job.source
    body = {
        "schema": FINISHED_SCHEMA,
        "source": {"uri": f"gs://{source.bucket}/{source.name}", "generation": str(source.generation)},
        "status": record.status.value,
        "counts": dict(counts),
        "text": text,
        "record": record_name,
    }
    attributes = {
        "status": record.status.value,
        "bucket": source.bucket,
        "name": source.name,
        "generation": str(source.generation),
        "pages": str(counts["pages"]),
        "failed": str(counts["failed"]),
    }
    return Message(data=_json(body), attributes=attributes)


def _task(data: bytes) -> PageTask:
    envelope = _decode(data, dict[str, Any], "page task")
    schema = _SCHEMA.fullmatch(str(envelope.get("schema")))
    if not schema:
        raise JunkMessage("the message is no page task: its schema is not bucketscribe.page-task")
    if int(schema[1]) > 1:
        raise NewerMessage(f"the page task has schema version {schema[1]}, this worker knows 1")
    task = _convert(envelope, _Task, "page task")
    if task.page > task.pages:
        raise JunkMessage(f"the page task's numbers are out of range: page {task.page} of {task.pages}")
    if len(task.source.name.encode()) > layout.LONGEST_SOURCE_NAME_BYTES:
        raise JunkMessage("the page task's source has a name too long for any object of ours")
    return PageTask(
        source=ObjectRef(bucket=task.source.bucket, name=task.source.name, generation=task.source.generation),
        page=task.page,
        pages=task.pages,
        lane=task.lane,
        profile=task.profile,
        edition=task.edition,
        trace=task.trace,
        sent_at=task.sent_at,
        again=task.again,
    )


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JunkMessage(f"the {what} cannot be decoded ({type(error).__name__})") from error


def _convert(data: object, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(data, kind, strict=False)
    except msgspec.ValidationError as error:
        raise JunkMessage(f"the {what} is not of its form: {str(error)[:_COMPLAINT_LIMIT]}") from error


def _json(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
