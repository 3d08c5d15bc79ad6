"""Turns an upload into the CloudEvent that Eventarc would send, and sends it until a door has taken it.

The bucket server's own notifications are Pub/Sub messages and come out of order; listing the input bucket
is simple and misses nothing: what was not seen before in this generation is new.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from urllib.parse import quote

import httpx

from bucketscribe.errors import StorageUnavailable
from bucketscribe.messages import FINALIZED
from infra.local.bucket_client import BucketClient, Listed

# Each listing reads the whole bucket, so a full one is asked more slowly: at most a tenth of the time.
_PAUSE_SECONDS = 0.15
_REST_FACTOR = 9

# on_upload runs at most this many at once; on Cloud Run instances would be added.
_CONCURRENCY = 8
# An event-driven function's longest life on Google Cloud (google-cloud.md: 540 s).
_TIMEOUT = httpx.Timeout(540.0, connect=2.0)
# gunicorn closes idle connections after 2 s; one that is used just then would look like a refusal.
_LIMITS = httpx.Limits(keepalive_expiry=1.0)
_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 10.0

# What a storage event carries of an object; the server's own listing adds more.
_FIELDS = frozenset(
    {
        "kind",
        "id",
        "selfLink",
        "name",
        "bucket",
        "generation",
        "metageneration",
        "contentType",
        "timeCreated",
        "updated",
        "storageClass",
        "timeStorageClassUpdated",
        "size",
        "md5Hash",
        "mediaLink",
        "contentEncoding",
        "metadata",
        "crc32c",
        "etag",
    }
)
# CloudEvents' HTTP binding wants all but printable ASCII percent-encoded, and of that space, quote, percent.
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')

_log = logging.getLogger(__name__)


class UploadEvents:
    """The bridge between the input bucket and the door `on_upload` at the URL `door`.

    `on_seen` is told of every new object before its event goes out.
    """

    def __init__(self, bucket: BucketClient, door: str, on_seen: Callable[[Listed], None]) -> None:
        self._bucket = bucket
        self._door = door
        self._on_seen = on_seen
        self._seen: dict[str, int] = {}
        self._places = asyncio.Semaphore(_CONCURRENCY)

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        client = httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS, trust_env=False)
        async with client as http, asyncio.TaskGroup() as sending:
            while True:
                started = loop.time()
                for new in await self._new_objects():
                    self._on_seen(new)
                    sending.create_task(self._send(http, new))
                await asyncio.sleep(max(_PAUSE_SECONDS, _REST_FACTOR * (loop.time() - started)))

    async def _new_objects(self) -> list[Listed]:
        try:
            listed = await self._bucket.objects()
        except StorageUnavailable as error:
            _log.warning("the input bucket cannot be listed: %s", error)
            return []
        new = [each for each in listed if self._seen.get(each.name) != each.generation]
        self._seen = {each.name: each.generation for each in listed}
        return new

    async def _send(self, http: httpx.AsyncClient, new: Listed) -> None:
        pause = _FIRST_RETRY_SECONDS
        while not await self._delivered(http, new):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)

    async def _delivered(self, http: httpx.AsyncClient, new: Listed) -> bool:
        async with self._places:
            try:
                answer = await http.post(self._door, content=body(new), headers=headers(new))
            except httpx.HTTPError as error:
                _log.warning("the event for %r was not taken: %r", new.name, error)
                return False
        if not answer.is_success:
            _log.warning("the event for %r was answered %s", new.name, answer.status_code)
        return answer.is_success


def headers(new: Listed) -> dict[str, str]:
    """Build the event's attributes in binary mode; the id stays the same over all tries."""
    resource = new.resource
    return {
        "ce-id": str(new.generation),
        "ce-source": f"//storage.googleapis.com/projects/_/buckets/{resource['bucket']}",
        "ce-type": FINALIZED,
        "ce-specversion": "1.0",
        "ce-subject": quote(f"objects/{new.name}", safe=_HEADER_SAFE),
        "ce-time": resource["timeCreated"],
        "ce-bucket": resource["bucket"],
        "content-type": "application/json",
    }


def body(new: Listed) -> bytes:
    """Encode the object as the event's data; sizes and generations are strings, as Cloud Storage has them."""
    data = {key: value for key, value in new.resource.items() if key in _FIELDS}
    numbers = {key: str(data[key]) for key in ("generation", "metageneration", "size") if key in data}
    return json.dumps(data | numbers).encode()
