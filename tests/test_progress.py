"""Progress as a consumer sees it: what lies in a real output bucket, and the finished events."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bucketscribe import layout, records
from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import DocumentStatus, ObjectRef, PageRecord, PageStatus
from infra.local import progress as progress_room
from infra.local.bucket_client import BucketClient
from infra.local.progress import Document, Outcome, Progress, Trouble
from tests.fakes.bucket_server import serving_buckets
from tests.fakes.receiver import until

SOURCE = ObjectRef(bucket="inbox", name="x/a b.pdf", generation=1795475653198039)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving_buckets(tmp_path / "buckets", "outbox") as port:
        yield port


def put(port: int, name: str, data: bytes, metadata: dict[str, str] | None = None) -> None:
    about = json.dumps({"name": name, "metadata": metadata or {}})
    body = f"--cut\r\ncontent-type: application/json\r\n\r\n{about}\r\n--cut\r\n\r\n".encode()
    answer = httpx.post(
        f"http://127.0.0.1:{port}/upload/storage/v1/b/outbox/o",
        params={"uploadType": "multipart"},
        content=body + data + b"\r\n--cut--\r\n",
        headers={"content-type": "multipart/related; boundary=cut"},
        trust_env=False,
    )
    answer.raise_for_status()


def put_page(port: int, number: int, status: PageStatus) -> None:
    record = PageRecord(page=number, status=status)
    put(port, layout.page(SOURCE, number), b"text", records.page_metadata(record))


def document_record(generation: int, status: str = "partial") -> bytes:
    body = {
        "status": status,
        "source": {"generation": str(generation)},
        "text": {"object": layout.document_text(SOURCE.name)},
        "engine": {"model": "stand-in"},
        "counts": {"pages": 2, "ok": 1, "blank": 0, "text_layer": 0, "low_quality": 0, "failed": 1},
        "errors": [{"page": 2, "code": "model_rejected", "message": "no", "attempts": 1}],
    }
    return json.dumps(body).encode()


JOB = """{"upload":{"source":{"bucket":"inbox","name":"x/a b.pdf","generation":1795475653198039},"size":1,
"content_type":"","crc32c":"","uploaded_at":"2026-11-23T00:00:00Z"},"state":"planned","profile":{"name":"p",
"model":"m","revision":"r","temperature":0.2,"top_p":0.9,"max_tokens":1,"longest_edge_px":1540},
"received_at":"2026-11-23T00:00:00Z","pages":3}"""


def test_pages_are_counted_by_the_job_and_followed_as_they_end(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_room, "_PAUSE_SECONDS", 0.01)

    async def scenario() -> Document:
        async with BucketClient("outbox", port) as bucket:
            progress = Progress(bucket, lambda _: None)
            progress.track(SOURCE)
            document = progress.documents[SOURCE.name]
            following = asyncio.create_task(progress.follow())
            await asyncio.to_thread(put, port, layout.job(SOURCE), JOB.encode())
            await until(lambda: document.pages == 3)
            await asyncio.to_thread(put_page, port, 1, PageStatus.OK)
            await asyncio.to_thread(put_page, port, 3, PageStatus.BLANK)
            await until(lambda: len(document.ended) == 2)
            following.cancel()
            return document

    assert asyncio.run(scenario()).statuses == {PageStatus.OK: 1, PageStatus.BLANK: 1}


def finishing(port: int, *sources: ObjectRef) -> tuple[list[Outcome], Progress]:
    """Track and close sources, in that order; return what was told."""

    async def run() -> tuple[list[Outcome], Progress]:
        told: list[Outcome] = []
        async with BucketClient("outbox", port) as bucket:
            progress = Progress(bucket, told.append)
            for source in sources:
                progress.track(source)
            for source in sources:
                await progress.close(source)
                await progress.close(source)
            return told, progress

    return asyncio.run(run())


def test_a_finished_document_is_told_once_by_its_record(port: int) -> None:
    put(port, layout.document_record(SOURCE.name), document_record(SOURCE.generation))
    told, progress = finishing(port, SOURCE)
    (outcome,) = told
    assert outcome.status is DocumentStatus.PARTIAL
    assert outcome.count(PageStatus.FAILED) == 1
    assert outcome.text == "documents/x/a b.pdf.md"
    assert outcome.errors == (Trouble(page=2, code="model_rejected", message="no"),)
    assert progress.unfinished() == []


def test_an_older_version_is_superseded_and_only_the_newest_counts(port: int) -> None:
    newer = ObjectRef(bucket="inbox", name=SOURCE.name, generation=SOURCE.generation + 1)
    put(port, layout.document_record(SOURCE.name), document_record(newer.generation, "complete"))
    told, _ = finishing(port, SOURCE, newer, SOURCE)
    assert [(each.generation, each.status) for each in told] == [(newer.generation, DocumentStatus.COMPLETE)]


def test_a_record_of_another_version_does_not_end_a_document(port: int) -> None:
    put(port, layout.document_record(SOURCE.name), document_record(SOURCE.generation - 1))
    told, progress = finishing(port, SOURCE)
    assert told == []
    assert [each.source for each in progress.unfinished()] == [SOURCE]


def test_waiting_ends_when_the_last_document_has(port: int) -> None:
    async def scenario() -> list[Outcome]:
        told: list[Outcome] = []
        async with BucketClient("outbox", port) as bucket:
            progress = Progress(bucket, told.append)
            progress.track(SOURCE)
            waiting = asyncio.create_task(progress.all_finished())
            lost = ObjectRef(bucket="inbox", name="lost.pdf", generation=0)
            await progress.give_up(lost, Trouble(page=None, code="upload_failed", message="no disk"))
            assert not waiting.done()
            await asyncio.to_thread(
                put, port, layout.document_record(SOURCE.name), document_record(SOURCE.generation)
            )
            await progress.close(SOURCE)
            await asyncio.wait_for(waiting, 10)
            return told

    assert [each.name for each in asyncio.run(scenario())] == ["lost.pdf", SOURCE.name]


def test_a_job_that_cannot_be_looked_for_is_looked_for_again(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket server breaks off when an object is deleted while it is read: as a job is, in the end."""
    monkeypatch.setattr(progress_room, "_PAUSE_SECONDS", 0.01)
    put(port, layout.document_record(SOURCE.name), document_record(SOURCE.generation))

    class Breaking(BucketClient):
        looks = 0

        async def read(self, name: str) -> bytes | None:
            if name.startswith("jobs/"):
                self.looks += 1
                if self.looks == 1:
                    raise StorageUnavailable("the bucket server did not answer")
            return await super().read(name)

    async def scenario() -> tuple[list[str], int]:
        async with Breaking("outbox", port) as bucket:
            progress = Progress(bucket, lambda _: None)
            progress.track(SOURCE)
            await progress.close(SOURCE)
            return await progress.all_closed(), bucket.looks

    assert asyncio.run(scenario()) == ([], 2)
