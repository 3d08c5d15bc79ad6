"""Two versions side by side, as in every deploy: what an older one wrote is understood, whatever a newer one
has added is passed over, and what only a newer one can do is left to it.
"""

import base64
import json

import pytest

from bucketscribe import layout, records
from bucketscribe.errors import NewerMessage, UnreadableJob
from bucketscribe.finish import End
from bucketscribe.messages import read_push
from bucketscribe.model import JobState, PageNote, PageStatus, PageTask
from bucketscribe.resume import Swept
from tests.house import House, story

# As the first version wrote them.
TASK = {
    "schema": "bucketscribe.page-task/1",
    "source": {"bucket": "in", "name": "a.pdf", "generation": "7"},
    "page": 2,
    "pages": 3,
    "lane": "express",
    "profile": "lightonocr-2-1b",
}
JOB = {
    "upload": {
        "source": {"bucket": "in", "name": "a.pdf", "generation": 7},
        "size": 7,
        "content_type": "application/pdf",
        "crc32c": "",
        "uploaded_at": "2026-11-01T12:00:00Z",
        "trace": "",
    },
    "state": "published",
    "profile": {
        "name": "lightonocr-2-1b",
        "model": "lightonai/LightOnOCR-2-1B",
        "revision": "c97bd37",
        "temperature": 0.2,
        "top_p": 0.9,
        "max_tokens": 4096,
        "longest_edge_px": 1540,
        "prompt": None,
    },
    "received_at": "2026-11-01T12:00:01Z",
    "kind": "pdf",
    "pages": 3,
    "planned_at": "2026-11-01T12:00:02Z",
    "resumed_at": [],
}
NOTE = {"page": 2, "calls": 1, "timeouts": 1, "fault": {"code": "model_timeout", "message": "late"}}


def pushed(task: dict[str, object]) -> PageTask:
    data = base64.b64encode(json.dumps(task).encode()).decode()
    return read_push(json.dumps({"message": {"data": data}}).encode()).task


def test_an_older_versions_task_has_the_first_edition():
    task = pushed(TASK)
    assert (task.page, task.edition, task.trace) == (2, 0, "")


def test_what_a_newer_version_adds_to_a_task_of_this_schema_is_passed_over():
    assert pushed({**TASK, "priority": "high", "edition": 3}) == pushed({**TASK, "edition": 3})


def test_a_newer_schema_is_left_to_a_newer_worker_by_every_door_that_reads_tasks():
    with pytest.raises(NewerMessage):
        pushed({**TASK, "schema": "bucketscribe.page-task/2"})


def test_an_older_versions_job_and_note_are_read_and_what_a_newer_one_adds_is_passed_over():
    job = records.decode_job(json.dumps(JOB).encode())
    assert (job.redo, job.edition_of(2), job.begun_at) == (None, 0, job.received_at)
    assert records.decode_job(json.dumps({**JOB, "colour": "red"}).encode()) == job
    note = records.decode_note(json.dumps(NOTE).encode())
    assert (note.calls, note.edition) == (1, 0)
    assert isinstance(records.decode_note(json.dumps({**NOTE, "ladder": ["x"]}).encode()), PageNote)


def test_a_page_record_with_more_in_it_is_read():
    record = records.page_record({"bucketscribe-page": '{"page": 2, "status": "ok", "agreement": {}}'})
    assert record
    assert (record.page, record.status, record.edition) == (2, PageStatus.OK, 0)


@story
async def test_a_job_in_a_state_that_only_a_newer_version_knows_is_left_to_it(house: House) -> None:
    upload = house.drop("a.pdf", 1)
    await house.take_in(upload)
    house.post.clear()
    (task,) = house.tasks()
    name = layout.job(upload.source)
    stored = house.outbox.get(name)
    assert stored
    strange = json.dumps(json.loads(stored.data) | {"state": "translated"}).encode()
    house.outbox.put(name, strange)
    house.clock.advance(86_400)
    assert await house.sweep() == {Swept.BROKEN: 1}
    with pytest.raises(UnreadableJob):
        await house.read(task)
    kept = house.outbox.get(name)
    assert kept
    assert kept.data == strange
    house.outbox.put(name, stored.data)
    assert await house.read(task, attempt=2) is End.FINISHED


@story
async def test_a_job_of_an_older_version_goes_on(house: House) -> None:
    upload = house.drop("a.pdf", 2)
    await house.take_in(upload)
    name = layout.job(upload.source)
    stored = house.outbox.get(name)
    assert stored
    old = json.loads(stored.data)
    assert old.pop("redo", None) is None
    house.outbox.put(name, json.dumps(old).encode())
    await house.settle()
    assert house.statuses() == ["ok", "ok"]
    assert records.decode_job(json.dumps(old).encode()).state is JobState.PUBLISHED
