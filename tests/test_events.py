"""An upload becomes the CloudEvent that Eventarc would send; real bucket server, real HTTP."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cloudevents.http import from_http

from bucketscribe import messages
from infra.local import events
from infra.local.bucket_client import BucketClient, Listed
from infra.local.events import UploadEvents
from tests.fakes.bucket_server import serving_buckets
from tests.fakes.receiver import Receiver, until

NAME = 'x/50 % "scän" #1?.pdf'


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with serving_buckets(tmp_path / "buckets", "inbox") as port:
        yield port


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(events, "_REST_FACTOR", 0)
    monkeypatch.setattr(events, "_FIRST_RETRY_SECONDS", 0.01)


def bridged(
    port: int, receiver: Receiver, scenario: Callable[[BucketClient, list[Listed]], Awaitable[None]]
) -> None:
    """Run a scenario with the bridge at work between the input bucket and the receiver."""

    async def run() -> None:
        seen: list[Listed] = []
        async with receiver, BucketClient("inbox", port) as bucket:
            bridge = asyncio.create_task(UploadEvents(bucket, receiver.url, seen.append).run())
            try:
                await scenario(bucket, seen)
            finally:
                bridge.cancel()
                with suppress(asyncio.CancelledError):
                    await bridge

    asyncio.run(run())


def paper(tmp_path: Path, text: str = "hallo") -> Path:
    path = tmp_path / "paper.pdf"
    path.write_text(text)
    return path


def test_an_upload_is_told_as_the_functions_understand_it(port: int, tmp_path: Path) -> None:
    receiver = Receiver()
    generations: list[int] = []

    async def scenario(bucket: BucketClient, seen: list[Listed]) -> None:
        generations.append(await bucket.upload(paper(tmp_path), NAME))
        await receiver.received(1)
        assert [each.name for each in seen] == [NAME]
        headers, body = events.headers(seen[0]), events.body(seen[0])
        event = from_http(headers, body)
        assert event["type"] == messages.FINALIZED
        assert event["source"] == "//storage.googleapis.com/projects/_/buckets/inbox"
        assert event["subject"] == "objects/x/50%20%25%20%22sc%C3%A4n%22%20#1?.pdf"
        assert event["id"] == str(generations[0])
        assert all(value.isascii() and value.isprintable() for value in headers.values())

    bridged(port, receiver, scenario)
    data = receiver.envelopes[0]
    assert (data["kind"], data["size"], data["metageneration"]) == ("storage#object", "5", "1")
    assert data["generation"] == str(generations[0])
    assert "acl" not in data
    upload = messages.read_upload(data)
    assert (upload.source.name, upload.size, upload.content_type) == (NAME, 5, "application/pdf")
    assert upload.crc32c == "4VOKvw=="


def test_each_version_is_told_once_and_a_new_version_again(port: int, tmp_path: Path) -> None:
    receiver = Receiver()

    async def scenario(bucket: BucketClient, seen: list[Listed]) -> None:
        first = await bucket.upload(paper(tmp_path), "a.pdf")
        await receiver.received(1)
        second = await bucket.upload(paper(tmp_path), "a.pdf")
        await receiver.received(2)
        await bucket.upload(paper(tmp_path), "b.pdf")
        await receiver.received(3)
        assert [each.generation for each in seen][:2] == [first, second]

    bridged(port, receiver, scenario)
    assert [each["name"] for each in receiver.envelopes] == ["a.pdf", "a.pdf", "b.pdf"]


def test_a_refused_event_is_sent_until_it_is_taken(port: int, tmp_path: Path) -> None:
    answers = iter([500, 429, 302, 404])
    receiver = Receiver(answer=lambda _: next(answers, 204))

    async def scenario(bucket: BucketClient, seen: list[Listed]) -> None:
        await bucket.upload(paper(tmp_path), "a.pdf")
        await receiver.received(5)
        await bucket.upload(paper(tmp_path), "b.pdf")
        await receiver.received(6)

    bridged(port, receiver, scenario)
    assert [each["name"] for each in receiver.envelopes] == ["a.pdf"] * 5 + ["b.pdf"]


def test_a_door_that_is_not_there_yet_gets_the_event_when_it_opens(port: int, tmp_path: Path) -> None:
    async def run() -> None:
        receiver = Receiver()
        async with receiver:
            pass  # the port is known now, and nobody is there
        async with BucketClient("inbox", port) as bucket:
            seen: list[Listed] = []
            bridge = asyncio.create_task(UploadEvents(bucket, receiver.url, seen.append).run())
            await bucket.upload(paper(tmp_path), "a.pdf")
            await until(lambda: bool(seen))
            async with receiver:
                assert [each["name"] for each in await receiver.received(1)] == ["a.pdf"]
                bridge.cancel()
                with suppress(asyncio.CancelledError):
                    await bridge

    asyncio.run(run())


def test_not_more_events_than_places_are_under_way_at_once(port: int, tmp_path: Path) -> None:
    receiver = Receiver()

    async def scenario(bucket: BucketClient, seen: list[Listed]) -> None:
        receiver.gate.clear()
        for number in range(12):
            await bucket.upload(paper(tmp_path), f"{number}.pdf")
        await until(lambda: len(seen) == 12)
        await receiver.received(8)
        receiver.gate.set()
        await receiver.received(12)

    bridged(port, receiver, scenario)
    assert receiver.most_at_once == 8


def test_a_bucket_server_that_is_away_is_asked_again_and_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver()

    async def scenario(bucket: BucketClient, seen: list[Listed]) -> None:
        await until(lambda: caplog.text.count("the input bucket cannot be listed") > 2)

    with serving_buckets(tmp_path / "buckets", "inbox") as port:
        pass
    bridged(port, receiver, scenario)
    assert receiver.envelopes == []
