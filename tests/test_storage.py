"""What the wall to Cloud Storage makes of trouble: a scripted server stands where the real one would."""

import asyncio
import base64
import http.client
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import google.api_core.exceptions
import google.auth.exceptions
import google.cloud.storage.exceptions
import google.cloud.storage.retry
import google_crc32c
import pytest
import requests.exceptions
import urllib3.exceptions

from bucketscribe import storage
from bucketscribe.errors import StorageUnavailable, WriteConflict
from infra.local import bucket_server
from tests.fakes.bucket_server import serving_buckets

T = TypeVar("T")

MIB = 1 << 20

# What the modules define beside the errors of a call: for other transports, the transfer manager and proxies.
NOT_OF_A_CALL = {
    google.api_core.exceptions.AsyncRestUnsupportedParameterError,
    google.cloud.storage.exceptions.InvalidPathError,
    urllib3.exceptions.ProxySchemeUnsupported,
}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with the usual 5, a crowd of connections waits for TCP to ask again

    def handle_error(self, request: object, client_address: object) -> None: ...  # callers hang up: expected


@contextmanager
def scripted_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """Serve on a free port; `answer` handles every request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        def serve(self) -> None:
            answer(self)

        do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def bucket_at(
    port: int, monkeypatch: pytest.MonkeyPatch, *, patience_seconds: float = 10.0
) -> Iterator[storage.CloudBucket]:
    """Open the bucket of a server at `port`, with a retry that hardly pauses."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket_server.url(port))
    quick = storage.RETRY.with_delay(initial=0.001, maximum=0.01).with_timeout(patience_seconds)
    monkeypatch.setattr(storage, "RETRY", quick)
    client = storage.make_client(connections=4)
    try:
        yield storage.open_bucket("bucket", client=client)
    finally:
        client.close()


def resource(generation: int) -> bytes:
    """Describe an object as Cloud Storage does."""
    updated = "2026-11-01T12:00:00.123Z"
    return json.dumps({"name": "a", "generation": str(generation), "size": "2", "updated": updated}).encode()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"{}") -> None:
    handler.rfile.read(int(handler.headers.get("content-length") or 0))
    handler.send_response(status)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def write(bucket: storage.CloudBucket, data: bytes = b"text") -> int:
    return run(bucket.write("a", data, content_type="text/plain", if_generation=0, metadata={"page": "{}"}))


async def parts(mebibytes: int) -> AsyncIterator[bytes]:
    for number in range(mebibytes):
        yield bytes([number]) * MIB


def upload(bucket: storage.CloudBucket, mebibytes: int) -> int:
    metadata = {"page": "{}"}
    return run(
        bucket.upload("a", parts(mebibytes), content_type="text/plain", if_generation=0, metadata=metadata)
    )


CALLS: dict[str, Callable[[storage.CloudBucket, Path], Coroutine[Any, Any, object]]] = {
    "look": lambda bucket, path: bucket.look("a"),
    "read": lambda bucket, path: bucket.read("a"),
    "body": lambda bucket, path: bucket.body("a", 1),
    "write": lambda bucket, path: bucket.write("a", b"x", content_type="text/plain", if_generation=0),
    "upload": lambda bucket, path: bucket.upload("a", parts(9), content_type="text/plain", if_generation=0),
    "delete": lambda bucket, path: bucket.delete("a"),
    "names": lambda bucket, path: bucket.names(""),
    "infos": lambda bucket, path: bucket.infos(""),
    "download": lambda bucket, path: bucket.download("a", 1, path / "file"),
}


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_server_in_trouble_is_storage_unavailable_whatever_was_asked(
    verb: str, status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (
        scripted_server(lambda handler: reply(handler, status)) as port,
        bucket_at(port, monkeypatch, patience_seconds=0.02) as bucket,
        pytest.raises(StorageUnavailable, match=r"gs://bucket/"),
    ):
        run(CALLS[verb](bucket, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", CALLS)
def test_a_server_that_is_not_there_is_storage_unavailable(
    verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with scripted_server(lambda handler: reply(handler, 500)) as port:
        pass
    with (
        bucket_at(port, monkeypatch, patience_seconds=0.02) as bucket,
        pytest.raises(StorageUnavailable, match="tried again"),
    ):
        run(CALLS[verb](bucket, tmp_path))


def test_a_missing_permission_says_what_to_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        scripted_server(lambda handler: reply(handler, 403)) as port,
        bucket_at(port, monkeypatch) as bucket,
        pytest.raises(StorageUnavailable, match=r"grant .*objectViewer.*objectUser"),
    ):
        run(bucket.look("a"))


def test_a_missing_bucket_shows_at_the_first_write_and_listing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving_buckets(tmp_path) as port, bucket_at(port, monkeypatch) as bucket:
        with pytest.raises(StorageUnavailable, match="bucket exists"):
            write(bucket)
        with pytest.raises(StorageUnavailable, match="bucket exists"):
            run(bucket.names(""))


def test_the_address_of_an_upload_stays_out_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("content-length") or 0))
        if handler.command == "POST":
            handler.send_response(200)
            handler.send_header("location", f"http://127.0.0.1:{port}/upload?upload_id=SECRET")
            handler.send_header("content-length", "0")
            handler.end_headers()
        else:
            handler.close_connection = True

    with scripted_server(answer) as port, bucket_at(port, monkeypatch, patience_seconds=0.02) as bucket:
        with pytest.raises(StorageUnavailable) as caught:
            write(bucket, bytes(9 << 20))
        assert "SECRET" not in str(caught.value)


def forwarding(port: int, lose_answers: int, seen: list[str]) -> Callable[[BaseHTTPRequestHandler], None]:
    """Pass everything on to the server at `port`, but drop the first answers to uploads."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(handler.command, handler.path, body, dict(handler.headers))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        seen.append(handler.command)
        if handler.command == "POST" and seen.count("POST") <= lose_answers:
            handler.close_connection = True
            return
        reply_with(handler, response.status, data)

    def reply_with(handler: BaseHTTPRequestHandler, status: int, data: bytes) -> None:
        handler.send_response(status)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def test_a_412_after_a_lost_answer_is_our_own_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[str] = []
    with (
        serving_buckets(tmp_path, "bucket") as real,
        scripted_server(forwarding(real, 1, seen)) as port,
        bucket_at(port, monkeypatch) as bucket,
    ):
        generation = write(bucket)
        info = run(bucket.look("a"))
    assert info is not None
    assert info.generation == generation
    assert seen[:3] == ["POST", "POST", "GET"]


def test_a_412_after_a_lost_answer_is_a_conflict_when_somebody_else_wrote_since(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []
    with (
        serving_buckets(tmp_path, "bucket") as real,
        scripted_server(forwarding(real, 0, seen)) as port,
        bucket_at(port, monkeypatch) as bucket,
    ):
        write(bucket, b"theirs")
        with (
            scripted_server(losing_before(real)) as lossy,
            bucket_at(lossy, monkeypatch) as ours,
            pytest.raises(WriteConflict),
        ):
            write(ours, b"ours")
        stored = run(bucket.read("a"))
    assert stored is not None
    assert stored.data == b"theirs"


def losing_before(port: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Lose the first upload itself, not only its answer; pass the rest on."""
    pass_on = forwarding(port, 0, [])
    lost: list[bool] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not lost:
            lost.append(True)
            reply(handler, 503)
            return
        pass_on(handler)

    return answer


def test_a_plain_412_costs_no_second_request(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.command)
        reply(handler, 412)

    with (
        scripted_server(answer) as port,
        bucket_at(port, monkeypatch) as bucket,
        pytest.raises(WriteConflict),
    ):
        write(bucket)
    assert seen == ["POST"]


@dataclass
class UploadServer:
    """Takes uploads in chunks as Cloud Storage does. `script` has what becomes of its first requests for
    bytes: "503", "412", "lost" (done, and no answer given), "half" (a half of them kept) or "none" of them.
    """

    script: list[str] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    seen: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        self.seen.append(handler.command)
        if handler.command == "POST":
            assert "ifGenerationMatch=0" in handler.path
            self.metadata = json.loads(body)["metadata"]
            self._answer(handler, 200, ("location", f"http://{handler.headers['host']}/upload?upload_id=1"))
        elif handler.command == "GET":
            self._answer(handler, 200, body=self._object())
        else:
            self._take(handler, body, self.script.pop(0) if self.script else "")

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes, fate: str) -> None:
        if fate in ("503", "412"):
            self._answer(handler, int(fate))
            return
        if fate == "none":
            self._answer(handler, 308, ("range", f"bytes=0-{self._sum()[0] - 1}"))
            return
        span, _, total = handler.headers["content-range"].removeprefix("bytes ").partition("/")
        start = int(span.partition("-")[0]) if span != "*" else self._sum()[0]
        size = self._keep(start, body[: len(body) // 2] if fate == "half" else body)
        self.complete = total == str(size)
        if fate == "lost":
            handler.close_connection = True
        elif self.complete:
            self._answer(handler, 200, body=self._object())
        else:
            self._answer(handler, 308, ("range", f"bytes=0-{size - 1}"))

    def _keep(self, start: int, body: bytes) -> int:
        self.data[start:] = body
        return len(self.data)

    def _sum(self) -> tuple[int, int]:
        return len(self.data), google_crc32c.value(bytes(self.data))

    def _object(self) -> bytes:
        size, checksum = self._sum()
        crc32c = base64.b64encode(checksum.to_bytes(4, "big")).decode()
        found = {"name": "a", "generation": "7", "size": str(size), "crc32c": crc32c}
        return json.dumps(found | {"metadata": self.metadata, "updated": "2026-11-01T12:00:00Z"}).encode()

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, *headers: tuple[str, str], body: bytes = b"{}"
    ) -> None:
        handler.send_response(status)
        for header in (*headers, ("content-length", str(len(body)))):
            handler.send_header(*header)
        handler.end_headers()
        handler.wfile.write(body)


@pytest.mark.parametrize(
    ("mebibytes", "script", "requests"),
    [
        (9, [], 2),
        (16, [], 3),
        (40, [], 6),
        (20, ["", "503"], 4),
        (20, ["", "lost"], 4),
        (20, ["", "half"], 4),
        (20, ["half", "half", "half"], 5),
        (20, ["", "", "lost"], 4),
    ],
)
def test_chunks_arrive_whole_whatever_becomes_of_them(
    monkeypatch: pytest.MonkeyPatch, mebibytes: int, script: list[str], requests: int
) -> None:
    server = UploadServer(script=script)
    with scripted_server(server) as port, bucket_at(port, monkeypatch) as bucket:
        assert upload(bucket, mebibytes) == 7
    assert server.complete
    assert server.data == b"".join(bytes([number]) * MIB for number in range(mebibytes))
    assert server.seen == ["POST"] + ["PUT"] * requests


@pytest.mark.parametrize("script", [["412"], ["", "412"], ["", "", "412"]])
def test_a_412_at_any_chunk_is_a_conflict(monkeypatch: pytest.MonkeyPatch, script: list[str]) -> None:
    server = UploadServer(script=[*script])
    with (
        scripted_server(server) as port,
        bucket_at(port, monkeypatch) as bucket,
        pytest.raises(WriteConflict),
    ):
        upload(bucket, 20)
    assert server.seen == ["POST"] + ["PUT"] * len(script)


def test_a_server_that_keeps_nothing_of_a_chunk_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = UploadServer(script=["", *["none"] * 9])
    with (
        scripted_server(server) as port,
        bucket_at(port, monkeypatch) as bucket,
        pytest.raises(StorageUnavailable, match="kept nothing of a chunk"),
    ):
        upload(bucket, 20)
    assert server.seen == ["POST", "PUT", "PUT"]


def test_a_412_after_a_lost_answer_to_the_last_chunk_is_our_own_upload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = UploadServer(script=["", "", "lost", "412"])
    with scripted_server(server) as port, bucket_at(port, monkeypatch) as bucket:
        assert upload(bucket, 20) == 7
    assert server.seen == ["POST", "PUT", "PUT", "PUT", "PUT", "GET"]


class ForgetfulServer(UploadServer):
    """Counts and checks the bytes, and keeps none."""

    size = 0
    checksum = 0

    def _keep(self, start: int, body: bytes) -> int:
        self.size = start + len(body)
        self.checksum = google_crc32c.extend(self.checksum, body)
        return self.size

    def _sum(self) -> tuple[int, int]:
        return self.size, self.checksum


def test_an_upload_in_parts_holds_a_few_chunks_whatever_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server holds of a request is counted too: it is in this process."""
    peaks = []
    for mebibytes in (24, 96):
        with scripted_server(ForgetfulServer()) as port, bucket_at(port, monkeypatch) as bucket:
            tracemalloc.start()
            try:
                upload(bucket, mebibytes)
                peaks.append(tracemalloc.get_traced_memory()[1] / MIB)
            finally:
                tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4, peaks


def test_a_look_costs_one_request_and_nothing_in_the_background(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []
    with (
        serving_buckets(tmp_path, "bucket") as real,
        scripted_server(forwarding(real, 0, seen)) as port,
        bucket_at(port, monkeypatch) as bucket,
    ):
        for _ in range(3):
            assert run(bucket.look("absent")) is None
    assert seen == ["GET"] * 3


def test_an_object_replaced_between_its_two_requests_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if "alt=media" not in handler.path:
            looks.append(len(looks) + 1)
            reply(handler, 200, resource(looks[-1]))
        elif "generation=1" in handler.path:
            reply(handler, 404)
        else:
            reply(handler, 200, b"{}")

    with scripted_server(answer) as port, bucket_at(port, monkeypatch) as bucket:
        stored = run(bucket.read("a"))
    assert stored is not None
    assert (stored.info.generation, stored.data) == (2, b"{}")


def test_an_object_that_never_holds_still_is_storage_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        gone = "alt=media" in handler.path
        reply(handler, 404 if gone else 200, resource(1))

    with (
        scripted_server(answer) as port,
        bucket_at(port, monkeypatch) as bucket,
        pytest.raises(StorageUnavailable, match="replaced"),
    ):
        run(bucket.read("a"))


def test_a_download_with_a_wrong_checksum_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("x-goog-hash", "crc32c=AAAAAA==")
        handler.send_header("content-length", "4")
        handler.end_headers()
        handler.wfile.write(b"evil")

    with (
        scripted_server(answer) as port,
        bucket_at(port, monkeypatch) as bucket,
        pytest.raises(StorageUnavailable, match="checksum"),
    ):
        run(bucket.download("a", 1, tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


def test_sixty_four_calls_are_under_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(64, timeout=20)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        together.wait()
        reply(handler, 404)

    with scripted_server(answer) as port:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket_server.url(port))
        client = storage.make_client()
        bucket = storage.open_bucket("bucket", client=client)

        async def all_at_once() -> list[object]:
            return list(await asyncio.gather(*(bucket.look(str(number)) for number in range(64))))

        assert run(all_at_once()) == [None] * 64
        client.close()


def errors_of(module: ModuleType) -> set[type[BaseException]]:
    """List the exceptions that a module defines; warnings are none."""
    kinds = (each for each in vars(module).values() if isinstance(each, type))
    kinds = (each for each in kinds if each.__module__ == module.__name__)
    return {kind for kind in kinds if issubclass(kind, Exception) and not issubclass(kind, Warning)}


@pytest.mark.parametrize(
    "module",
    [
        google.api_core.exceptions,
        google.auth.exceptions,
        google.cloud.storage.exceptions,
        requests.exceptions,
        urllib3.exceptions,
    ],
)
def test_the_table_of_foreign_errors_leaves_none_out(module: ModuleType) -> None:
    known = tuple(kind for kind, _ in storage.FOREIGN_ERRORS)
    unknown = {kind for kind in errors_of(module) if not issubclass(kind, known)}
    assert unknown <= NOT_OF_A_CALL


def test_whatever_the_client_would_try_again_is_in_the_table() -> None:
    known = tuple(kind for kind, _ in storage.FOREIGN_ERRORS)
    retryable = google.cloud.storage.retry._RETRYABLE_TYPES
    assert all(issubclass(kind, known) for kind in retryable)
