"""Messages from and to the outside: events and push envelopes become values, tasks become messages.

What cannot be understood is a JunkMessage; what only a newer version can understand is a NewerMessage.
Nothing here decides what then happens.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

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
PAGE_TASK_SCHEMA = "bucketscribe.page-task/1"
FINISHED_SCHEMA = "bucketscribe.finished/1"

_PAGES_LIMIT = 99_999
_SCHEMA = re.compile(r"bucketscribe\.page-task/(\d+)")

T = TypeVar("T")


class _StorageObject(msgspec.Struct, rename="camel", kw_only=True):
    """The event's data as Cloud Storage sends it: numbers are strings there."""

    bucket: str
    name: str
    generation: int
    size: int = 0
    content_type: str = ""
    crc32c: str = ""
    time_created: datetime


class _PushMessage(msgspec.Struct, rename="camel", kw_only=True):
    data: str = ""
    message_id: str = ""
    publish_time: datetime | None = None


class _Push(msgspec.Struct, rename="camel", kw_only=True):
    message: _PushMessage
    delivery_attempt: int | None = None


class _Source(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    bucket: str
    name: str
    generation: int


class _Task(msgspec.Struct, kw_only=True):
    source: _Source
    page: int
    pages: int
    lane: Lane
    profile: str
    edition: int = 0
    trace: str = ""


def read_upload(data: object) -> Upload:
    """Decode a finalized event's data. Raises JunkMessage."""
    found = _convert(data, _StorageObject, "storage event")
    source = ObjectRef(bucket=found.bucket, name=found.name, generation=found.generation)
    return Upload(
        source=source,
        size=found.size,
        content_type=found.content_type,
        crc32c=found.crc32c,
        uploaded_at=found.time_created,
    )


def read_push(body: bytes) -> Delivery:
    """Decode a push envelope that carries a page task. Raises JunkMessage or NewerMessage."""
    push = _decode(body, _Push, "push envelope")
    try:
        data = base64.b64decode(push.message.data, validate=True)
    except binascii.Error as error:
        raise JunkMessage("the push envelope's data is no base64") from error
    return Delivery(
        task=_task(data),
        message_id=push.message.message_id,
        attempt=push.delivery_attempt,
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
    if not (1 <= task.page <= task.pages <= _PAGES_LIMIT and task.edition >= 0 and task.source.name):
        raise JunkMessage(f"the page task's numbers are out of range: page {task.page} of {task.pages}")
    return PageTask(
        source=ObjectRef(bucket=task.source.bucket, name=task.source.name, generation=task.source.generation),
        page=task.page,
        pages=task.pages,
        lane=task.lane,
        profile=task.profile,
        edition=task.edition,
        trace=task.trace,
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
        raise JunkMessage(f"the {what} is not of its form: {error}") from error


def _json(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
