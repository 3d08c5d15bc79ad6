"""The wall to Cloud Storage: the only room that imports its client.

The client blocks, so every call runs on threads of this room's own. What comes back is one of our values,
absence, WriteConflict or StorageUnavailable; no foreign error passes. Names and record formats are not
known here.
"""

import asyncio
import base64
import http.client
import re
from collections.abc import AsyncIterable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar
from urllib.parse import quote

import google_crc32c
import requests
import urllib3
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage import exceptions as media
from google.cloud.storage.fileio import SlidingBuffer
from google.cloud.storage.retry import DEFAULT_RETRY

from bucketscribe.errors import StorageUnavailable, WriteConflict
from bucketscribe.model import ObjectInfo, StoredObject
from bucketscribe.storage_session import StorageSession

P = ParamSpec("P")
T = TypeVar("T")

# The client gives up after 120 s by default, which is too much of a page's 540. A call is tried again while
# less than 60 s have passed; connecting may take 10 s, and no answer may pause for longer than 30.
TIMEOUT_SECONDS = (10, 30)
RETRY = DEFAULT_RETRY.with_timeout(60)

# A read is two requests; each time somebody replaces the object between them it starts again.
READS = 5

# Objects that one request lists: Cloud Storage's page.
SOME = 1000

# An object up to this size is written in one request, as the client does it; a longer one that comes in parts
# needs one to begin and one for each of these. It must be a multiple of 256 KiB.
CHUNK_BYTES = 8 * 1024 * 1024

# Everything the client may raise, and what the reader of the log can do about it; the first match counts.
# Each becomes StorageUnavailable: a missing permission too, because it must never mark a page as failed.
FOREIGN_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (api.Forbidden, "grant this identity roles/storage.objectViewer (input) or objectUser (output) on it"),
    (api.Unauthorized, "look whether this identity's credentials are valid"),
    (api.NotFound, "look whether the bucket exists and is named right in the settings"),
    (api.TooManyRequests, "it will be tried again; one object takes one write a second"),
    (api.GoogleAPIError, "it will be tried again"),
    (auth.GoogleAuthError, "look whether this identity's credentials can be had"),
    (media.DataCorruption, "the checksum was wrong; it will be tried again"),
    (media.InvalidResponse, "it will be tried again"),
    (requests.RequestException, "it will be tried again"),
    (urllib3.exceptions.HTTPError, "it will be tried again"),
    (http.client.HTTPException, "it will be tried again"),
    (ConnectionError, "it will be tried again"),
    (TimeoutError, "it will be tried again"),
)
_FOREIGN = tuple(kind for kind, _ in FOREIGN_ERRORS)

# A listing asks for just what is used: at 10,000 pages the other fields are nine tenths of the bytes.
_NAME_FIELDS = "items(name),nextPageToken"
_LOOK_FIELDS = "name,generation,size,updated,contentType,crc32c,metadata"
_INFO_FIELDS = f"items({_LOOK_FIELDS}),nextPageToken"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageClient:
    """Google's client with as many threads as it has connections. One serves all buckets."""

    google: storage.Client
    executor: ThreadPoolExecutor

    def close(self) -> None:
        """Let go of threads and connections; calls under way are still answered."""
        self.executor.shutdown(wait=True)
        self.google.close()


def make_client(connections: int = 64) -> StorageClient:
    """Build the client for `connections` calls at once.

    asyncio's own executor has 6 threads on 2 vCPU, and the client's own session keeps 10 connections and
    throws every further one away after use (https://github.com/googleapis/python-storage/issues/253, seen
    2026-11). Raises StorageUnavailable when there are no credentials, or no project beside them.
    """
    try:
        client = storage.Client()
    except (auth.GoogleAuthError, OSError) as error:
        raise StorageUnavailable(f"opening Cloud Storage: {error}") from error
    # There is a parameter for it, which would want the credentials that only the client finds.
    client._http_internal = StorageSession(
        client._credentials, client._connection.API_BASE_URL, connections=connections
    )
    # Else the client asks for the bucket itself, in the background: once, which our identities may not, and
    # after every 404, which is what most looks get. There is no other switch but the environment
    # (https://github.com/googleapis/google-cloud-python/pull/18203, 2026-11).
    client._bucket_metadata_cache = None
    return StorageClient(
        google=client, executor=ThreadPoolExecutor(connections, thread_name_prefix="storage")
    )


def open_bucket(name: str, *, client: StorageClient) -> "CloudBucket":
    """Name a bucket; nothing is asked of the server, so a missing one shows at the first write."""
    return CloudBucket(name, client)


class CloudBucket:
    """`ports.Bucket` over Cloud Storage."""

    def __init__(self, name: str, client: StorageClient) -> None:
        self._name = name
        self._client = client
        self._bucket = client.google.bucket(name)

    @property
    def name(self) -> str:
        return self._name

    async def look(self, name: str) -> ObjectInfo | None:
        """Take one request."""
        return await self._run(f"looking at {self._url(name)}", self._look, name)

    async def read(self, name: str) -> StoredObject | None:
        """Take two requests: only the first one's answer documents custom metadata."""
        return await self._run(f"reading {self._url(name)}", self._read, name)

    async def body(self, name: str, generation: int) -> bytes | None:
        """Take one request: what is wanted beside the bytes is known from a listing."""
        return await self._run(f"reading {self._url(name)}#{generation}", self._body, name, generation)

    async def write(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Take one request up to 8 MiB, with a checksum that the server verifies.

        Raises ValueError when metadata is not ASCII: it travels in headers, where other bytes get lost.
        """
        upload = self._to_write(name, content_type, if_generation, metadata)
        return await self._run(f"writing {self._url(name)}", self._write, upload, data)

    async def upload(
        self,
        name: str,
        parts: AsyncIterable[bytes],
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Take one request up to 8 MiB; beyond, one to begin and one for every 8 MiB. Hold two of these.

        The generation is judged with the last request, if not before. An upload that breaks off is left to
        itself: nobody sees any of it, and Cloud Storage forgets it after a week.
        """
        upload = self._to_write(name, content_type, if_generation, metadata)
        what = f"writing {self._url(name)}"
        stream = _Stream()
        async for part in parts:
            stream.add(part)
            while len(stream.buffer) > CHUNK_BYTES:
                await self._run(what, self._send, upload, stream)
        return await self._run(what, self._end, upload, stream)

    async def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Leave a generation alone that is not the given one."""
        await self._run(f"deleting {self._url(name)}", self._delete, name, if_generation)

    async def names(self, prefix: str, *, start: str = "", end: str = "") -> list[str]:
        """Take one request for every 1,000 names."""
        listing = partial(self._list, _name, _NAME_FIELDS, prefix, start=start, end=end)
        return await self._run(f"listing {self._url(prefix)}", listing)

    async def infos(self, prefix: str) -> list[ObjectInfo]:
        """Take one request for every 1,000 objects."""
        listing = partial(self._list, _listed, _INFO_FIELDS, prefix)
        return await self._run(f"listing {self._url(prefix)}", listing)

    async def some(self, prefix: str, *, start: str = "") -> list[ObjectInfo]:
        """List up to SOME objects in order, from `start` on (included), in one request."""
        listing = partial(self._list, _listed, _INFO_FIELDS, prefix, start=start, most=SOME)
        return await self._run(f"listing {self._url(prefix)}", listing)

    async def download(self, name: str, generation: int, path: Path) -> bool:
        """Stream the stored bytes, unpacking nothing; leave no part of a file behind when it fails."""
        what = f"downloading {self._url(name)}#{generation}"
        return await self._run(what, self._download, name, generation, path)

    def _to_write(
        self, name: str, content_type: str, if_generation: int, metadata: Mapping[str, str] | None
    ) -> "_Upload":
        for text in (part for pair in (metadata or {}).items() for part in pair):
            if not text.isascii():
                raise ValueError(f"metadata of {self._url(name)} must be ASCII, not {text[:80]!r}")
        return _Upload(
            name=name,
            content_type=content_type,
            metadata=dict(metadata or {}),
            if_generation=if_generation,
            retry=_CountingRetry(),
        )

    def _url(self, name: str) -> str:
        return f"gs://{self._name}/{name}"

    async def _run(self, what: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call on a thread of ours and translate what it raises."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._client.executor, partial(call, *args, **kwargs))
        except _FOREIGN as error:
            raise _translated(what, error) from error

    def _look(self, name: str) -> ObjectInfo | None:
        """Ask the JSON API through the client's own session: most calls are this one, and most answers that
        there is nothing, which the client takes longer to say than to ask.
        """
        google = self._client.google
        path = f"/b/{quote(self._name, safe='')}/o/{quote(name, safe='')}"
        url = google._connection.build_api_url(path, {"projection": "noAcl", "fields": _LOOK_FIELDS})

        def ask() -> requests.Response:
            answer: requests.Response = google._http.request("GET", url, timeout=TIMEOUT_SECONDS)
            if not answer.ok and answer.status_code != HTTPStatus.NOT_FOUND:
                raise api.from_http_response(answer)  # type: ignore[no-untyped-call]
            return answer

        answer = RETRY(ask)()
        return _info(answer.json()) if answer.ok else None

    def _read(self, name: str) -> StoredObject | None:
        for _ in range(READS):
            info = self._look(name)
            if info is None:
                return None
            data = self._body(name, info.generation)
            if data is not None:
                return StoredObject(info=info, data=data)
        raise StorageUnavailable(
            f"reading {self._url(name)}: it was replaced {READS} times meanwhile; it will be tried again"
        )

    def _body(self, name: str, generation: int) -> bytes | None:
        buffer = BytesIO()
        return buffer.getvalue() if self._fetch(name, generation, buffer) else None

    def _fetch(self, name: str, generation: int, file: BinaryIO) -> bool:
        blob = self._bucket.blob(name, generation=generation)
        try:
            # Raw, so that sizes and checksums are those of the metadata, and nothing swells on the way.
            blob.download_to_file(
                file, raw_download=True, checksum="crc32c", timeout=TIMEOUT_SECONDS, retry=RETRY
            )
        except api.NotFound:
            return False
        return True

    def _download(self, name: str, generation: int, path: Path) -> bool:
        complete = False
        try:
            with path.open("wb") as file:
                complete = self._fetch(name, generation, file)
        finally:
            if not complete:
                path.unlink(missing_ok=True)
        return complete

    def _write(self, upload: "_Upload", data: bytes) -> int:
        blob = self._blob(upload)
        try:
            blob.upload_from_string(
                data,
                content_type=upload.content_type,
                if_generation_match=upload.if_generation,
                checksum="crc32c",
                timeout=TIMEOUT_SECONDS,
                retry=upload.retry,
            )
        except api.PreconditionFailed as error:
            return self._judge_conflict(upload, len(data), google_crc32c.value(data), error)
        return int(blob.generation)

    def _end(self, upload: "_Upload", stream: "_Stream") -> int:
        if stream.resumable is None:
            return self._write(upload, stream.buffer.read())
        while (generation := self._send(upload, stream)) is None:
            pass
        return generation

    def _send(self, upload: "_Upload", stream: "_Stream") -> int | None:
        """Send a chunk, after beginning the upload if it is the first; return the generation if the last."""
        try:
            if stream.resumable is None:
                stream.resumable, stream.transport = self._begin(upload, stream.buffer)
            return stream.send()
        except media.InvalidResponse as error:
            if error.response.status_code == http.client.PRECONDITION_FAILED:
                return self._judge_conflict(upload, stream.size, stream.checksum, error)
            answer: Exception = api.from_http_response(error.response)  # type: ignore[no-untyped-call]
            raise answer from error

    def _begin(self, upload: "_Upload", buffer: SlidingBuffer) -> tuple[Any, Any]:
        """Begin a resumable upload, by what lies beneath the client's own ways: one of them wants all bytes
        at once, the other (`BlobWriter`, 2026-11) ends an upload half-way when it is merely forgotten.
        """
        begun: tuple[Any, Any] = self._blob(upload)._initiate_resumable_upload(
            self._client.google,
            buffer,
            upload.content_type,
            None,
            chunk_size=CHUNK_BYTES,
            if_generation_match=upload.if_generation,
            checksum="crc32c",
            timeout=TIMEOUT_SECONDS,
            retry=upload.retry,
        )
        return begun

    def _blob(self, upload: "_Upload") -> storage.Blob:
        blob = self._bucket.blob(upload.name)
        blob.metadata = upload.metadata
        return blob

    def _judge_conflict(self, upload: "_Upload", size: int, checksum: int, error: Exception) -> int:
        """Tell the generation of our own object, which may be what is in the way after a retry: its answer
        was lost. Raises WriteConflict when it is somebody else's.
        """
        live = self._look(upload.name) if upload.retry.failures else None
        if live is not None and upload.matches(live, size, checksum):
            return live.generation
        raise WriteConflict(
            f"writing {self._url(upload.name)}: its live generation is not {upload.if_generation} (412); "
            "somebody else wrote first, read it again"
        ) from error

    def _delete(self, name: str, if_generation: int | None) -> None:
        try:
            self._bucket.delete_blob(
                name, if_generation_match=if_generation, timeout=TIMEOUT_SECONDS, retry=RETRY
            )
        except (api.NotFound, api.PreconditionFailed):
            return

    def _list(
        self,
        value: Callable[[storage.Blob], T],
        wanted: str,
        prefix: str,
        *,
        start: str = "",
        end: str = "",
        most: int | None = None,
    ) -> list[T]:
        """Make a value of each object as it comes: the client's own weigh several times as much."""
        listing = self._client.google.list_blobs(
            self._bucket,
            prefix=prefix or None,
            start_offset=start or None,
            end_offset=end or None,
            max_results=most,
            fields=wanted,
            timeout=TIMEOUT_SECONDS,
            retry=RETRY,
        )
        return [value(blob) for blob in listing]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Upload:
    """An object to be written, but for its bytes."""

    name: str
    content_type: str
    metadata: dict[str, str]
    if_generation: int
    retry: "_CountingRetry"

    def matches(self, live: ObjectInfo, size: int, checksum: int) -> bool:
        """Tell whether an object is what this upload makes of bytes of this size and checksum."""
        crc32c = base64.b64encode(checksum.to_bytes(4, "big")).decode("ascii")
        return live.crc32c == crc32c and live.size == size and live.metadata == self.metadata


class _Stream:
    """An upload in chunks: what is still to be sent, and size and checksum of all that came."""

    def __init__(self) -> None:
        self.buffer = SlidingBuffer()
        self.size = 0
        self.checksum = 0
        self.resumable: Any = None
        self.transport: Any = None

    def add(self, part: bytes) -> None:
        self.buffer.write(part)
        self.size += len(part)
        self.checksum = google_crc32c.extend(self.checksum, part)

    def send(self) -> int | None:
        """Send one chunk, the last one if no more than that is left; return what was made by the last."""
        kept = self.resumable.bytes_uploaded
        response = self.resumable.transmit_next_chunk(self.transport, timeout=TIMEOUT_SECONDS)
        if self.resumable.finished:
            return int(response.json()["generation"])
        if self.resumable.bytes_uploaded <= kept:
            raise ConnectionError("the server has kept nothing of a chunk")
        # The server may have kept less than it was sent: the rest is sent again.
        self.buffer.seek(self.resumable.bytes_uploaded)
        self.buffer.flush()
        return None


class _CountingRetry:
    """Tries again as RETRY does, and remembers whether it had to."""

    def __init__(self) -> None:
        self.failures = 0

    def __call__(self, call: Callable[P, T]) -> Callable[P, T]:
        retried: Callable[P, T] = RETRY(call, on_error=self._note)
        return retried

    def _note(self, _error: Exception) -> None:
        self.failures += 1


def _name(blob: storage.Blob) -> str:
    name: str = blob.name
    return name


def _listed(blob: storage.Blob) -> ObjectInfo:
    return _info(blob._properties)


def _info(resource: Mapping[str, Any]) -> ObjectInfo:
    """Read an object resource of the JSON API."""
    return ObjectInfo(
        name=resource["name"],
        generation=int(resource["generation"]),
        size=int(resource["size"]),
        updated_at=datetime.fromisoformat(resource["updated"]),
        content_type=resource.get("contentType", ""),
        crc32c=resource.get("crc32c", ""),
        metadata=dict(resource.get("metadata", {})),
    )


def _translated(what: str, error: BaseException) -> StorageUnavailable:
    advice = next(text for kind, text in FOREIGN_ERRORS if isinstance(error, kind))
    # The address of a resumable upload opens it to anybody: queries stay out of messages.
    answer = re.sub(r"\?\S*", "?…", str(error))[:500]
    return StorageUnavailable(f"{what}: {type(error).__name__}: {answer}; {advice}")
