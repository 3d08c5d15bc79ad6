"""The doors as functions-framework serves them, with Google's clients, a bucket server and a broker."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from functions_framework.aio import create_asgi_app

from bucketscribe import jobs
from bucketscribe.messages import read_upload
from bucketscribe.model import Job, JobState
from bucketscribe.settings import PROFILES
from bucketscribe.storage import CloudBucket, make_client, open_bucket
from infra.local import bucket_server
from infra.local.broker import Broker
from tests.fakes.bucket_server import serving_buckets
from tests.fakes.loopback import free_port

ROOT = Path(__file__).parent.parent
DOORS = ROOT / "functions" / "main.py"


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bucket server on an empty folder, and the environment that leads there."""
    with serving_buckets(tmp_path / "buckets", "in", "out") as port:
        settings = {
            "STORAGE_EMULATOR_HOST": bucket_server.url(port),
            "BUCKETSCRIBE_PROJECT": "test",
            "BUCKETSCRIBE_INPUT_BUCKET": "in",
            "BUCKETSCRIBE_OUTPUT_BUCKET": "out",
            "BUCKETSCRIBE_OCR_URL": f"http://127.0.0.1:{free_port()}",
            "BUCKETSCRIBE_PAGE_SECONDS": "6",
            "BUCKETSCRIBE_CALL_RESERVE_SECONDS": "2",
            "FUNCTION_TARGET": "",
            "TMPDIR": str(tmp_path),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield


@asynccontextmanager
async def door(target: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """One door, served in this process, with a broker behind it."""
    broker = Broker("test")
    for topic in ("page-tasks-express", "page-tasks-bulk", "documents-finished"):
        broker.add_topic(topic)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", await broker.start())
    app = create_asgi_app(target, str(DOORS))
    transport = httpx.ASGITransport(app=app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            yield client
    finally:
        await broker.stop()


@asynccontextmanager
async def bucket(name: str) -> AsyncIterator[CloudBucket]:
    client = make_client()
    try:
        yield open_bucket(name, client=client)
    finally:
        client.close()


def push(task: object, attempt: int = 1) -> dict[str, object]:
    data = task if isinstance(task, bytes) else json.dumps(task).encode()
    return {
        "message": {"data": base64.b64encode(data).decode(), "messageId": "1"},
        "subscription": "projects/test/subscriptions/s",
        "deliveryAttempt": attempt,
    }


def task(name: str = "a.pdf", generation: str = "7", **changes: object) -> dict[str, object]:
    fields = {
        "schema": "bucketscribe.page-task/1",
        "source": {"bucket": "in", "name": name, "generation": generation},
        "page": 1,
        "pages": 1,
        "lane": "express",
        "profile": "lightonocr-2-1b",
    }
    return fields | changes


def event_headers(event_type: str = "google.cloud.storage.object.v1.finalized") -> dict[str, str]:
    return {
        "ce-id": "1",
        "ce-specversion": "1.0",
        "ce-type": event_type,
        "ce-source": "//storage.googleapis.com/projects/_/buckets/in",
        "ce-subject": "objects/a",
        "content-type": "application/json",
    }


def event(name: str, generation: int, size: int, bucket_name: str = "in") -> dict[str, str]:
    return {
        "bucket": bucket_name,
        "name": name,
        "generation": str(generation),
        "size": str(size),
        "contentType": "application/pdf",
        "crc32c": "AAAAAA==",
        "timeCreated": "2026-11-23T10:00:00.123Z",
    }


async def put(name: str, data: bytes) -> int:
    async with bucket("in") as inbox:
        return await inbox.write(name, data, content_type="application/pdf", if_generation=0)


async def outbox(prefix: str = "") -> dict[str, bytes]:
    async with bucket("out") as out:
        found = {name: await out.read(name) for name in await out.names(prefix)}
    return {name: stored.data for name, stored in found.items() if stored}


@pytest.mark.usefixtures("buckets")
class TestPageTaskDoor:
    def test_junk_is_kept_under_rejected_and_acknowledged(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            async with door("on_page_task", monkeypatch) as client:
                for body in (b"", b"{", b"[]", json.dumps(push(b"nonsense")).encode()):
                    assert (await client.post("/", content=body)).status_code == 204
            kept = await outbox("rejected/")
            assert len(kept) == 4
            assert all(json.loads(entry)["code"] == "junk_message" for entry in kept.values())

        asyncio.run(run())

    def test_a_task_of_a_newer_schema_is_refused_for_a_newer_worker(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            async with door("on_page_task", monkeypatch) as client:
                newer = push(task(schema="bucketscribe.page-task/2"))
                assert (await client.post("/", json=newer)).status_code == 503
                unknown_profile = push(task(profile="lightonocr-9"))
                assert (await client.post("/", json=unknown_profile)).status_code == 503
            assert await outbox() == {}

        asyncio.run(run())

    def test_a_model_that_is_away_refuses_the_page_and_fails_nothing(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        async def run() -> None:
            sample = (ROOT / "samples" / "documents" / "table.pdf").read_bytes()
            generation = await put("a.pdf", sample)
            async with door("on_page_task", monkeypatch) as client:
                answer = await client.post("/", json=push(task(generation=str(generation))))
                assert answer.status_code == 503
            assert await outbox() == {}

        asyncio.run(run())
        (line,) = map(json.loads, capsys.readouterr().out.splitlines())
        assert (line["severity"], line["code"], line["page"], line["attempt"]) == (
            "WARNING",
            "model_busy",
            1,
            1,
        )
        assert line["source"].startswith("gs://in/a.pdf#")

    def test_a_task_of_a_deleted_source_ends_its_page(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            async with door("on_page_task", monkeypatch) as client:
                assert (await client.post("/", json=push(task()))).status_code == 204
            assert await outbox() == {
                "pages/a.pdf/7/00001.md": b"> [page 1 could not be read: source_gone]\n"
            }

        asyncio.run(run())


@pytest.mark.usefixtures("buckets")
class TestUploadDoor:
    def test_an_object_that_is_no_document_gets_an_answer(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            generation = await put("notes.txt", b"just some text")
            async with door("on_upload", monkeypatch) as client:
                body = event("notes.txt", generation, 14)
                answer = await client.post("/", json=body, headers=event_headers())
                assert answer.status_code == 200
            left = await outbox()
            assert sorted(left) == ["documents/notes.txt.json", "documents/notes.txt.md"]
            record = json.loads(left["documents/notes.txt.json"])
            assert (record["status"], record["errors"][0]["code"]) == ("failed", "unsupported_type")

        asyncio.run(run())

    def test_another_buckets_event_is_kept_under_rejected(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            async with door("on_upload", monkeypatch) as client:
                body = event("a.pdf", 7, 1, bucket_name="elsewhere")
                assert (await client.post("/", json=body, headers=event_headers())).status_code == 200
            assert [name.split("/")[0] for name in await outbox()] == ["rejected"]

        asyncio.run(run())

    def test_an_event_that_cannot_be_served_now_is_a_500_for_eventarc(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            sample = (ROOT / "samples" / "documents" / "table.pdf").read_bytes()
            generation = await put("a.pdf", sample)
            monkeypatch.setenv("BUCKETSCRIBE_EXPRESS_TOPIC", "no-such-topic")
            async with door("on_upload", monkeypatch) as client:
                body = event("a.pdf", generation, len(sample))
                assert (await client.post("/", json=body, headers=event_headers())).status_code == 500
            job = json.loads((await outbox())[f"jobs/a.pdf/{generation}.json"])
            assert job["state"] == "planned"

        asyncio.run(run())


@pytest.mark.usefixtures("buckets")
def test_a_dead_letter_of_a_finished_document_is_acknowledged(monkeypatch: pytest.MonkeyPatch):
    async def run() -> None:
        async with door("on_dead_letter", monkeypatch) as client:
            assert (await client.post("/", json=push(task()))).status_code == 204
        assert await outbox() == {}

    asyncio.run(run())


@pytest.mark.usefixtures("buckets")
class TestSweepDoor:
    def test_a_document_whose_event_was_lost_is_fanned_out_whatever_the_call_says(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        async def run() -> None:
            sample = (ROOT / "samples" / "documents" / "table.pdf").read_bytes()
            generation = await put("a.pdf", sample)
            await leave_job("a.pdf", generation, len(sample))
            async with door("sweep", monkeypatch) as client:
                for body in (b"", b"{", b"\xff"):
                    assert (await client.post("/", content=body)).status_code == 204
            job = json.loads((await outbox())[f"jobs/a.pdf/{generation}.json"])
            assert (job["state"], job["pages"], len(job["resumed_at"])) == ("published", 1, 1)

        asyncio.run(run())
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        swept = [line for line in lines if line["message"] == "jobs swept"]
        assert [(line.get("resumed"), line.get("moving")) for line in swept] == [
            (1, None),
            (None, 1),
            (None, 1),
        ]

    def test_storage_that_is_away_is_a_503(self, monkeypatch: pytest.MonkeyPatch):
        async def run() -> None:
            monkeypatch.setenv("BUCKETSCRIBE_OUTPUT_BUCKET", "no-such-bucket")
            async with door("sweep", monkeypatch) as client:
                assert (await client.post("/")).status_code == 503

        asyncio.run(run())


async def leave_job(name: str, generation: int, size: int) -> None:
    """Leave the job of an event function that died an hour ago."""
    upload = read_upload(event(name, generation, size))
    job = Job(
        upload=upload,
        state=JobState.RECEIVED,
        profile=PROFILES["lightonocr-2-1b"],
        received_at=datetime.now(UTC) - timedelta(hours=1),
    )
    async with bucket("out") as out:
        await jobs.write(job, 0, out)


def test_a_door_refuses_to_start_with_wrong_settings_and_names_them_all():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BUCKETSCRIBE_")}
    started = subprocess.run(
        [str(Path(sys.executable).parent / "functions-framework"), "--target", "on_page_task"],
        cwd=DOORS.parent,
        env=environment | {"PORT": str(free_port()), "BUCKETSCRIBE_PAGES_AT_GPU": "many"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode not in (0, -signal.SIGTERM)
    for name in ("PROJECT", "INPUT_BUCKET", "OUTPUT_BUCKET", "OCR_URL", "PAGES_AT_GPU"):
        assert f"BUCKETSCRIBE_{name}" in started.stderr
    assert "Traceback" not in started.stderr
