"""Asks the bucket server over Cloud Storage's JSON API, for the laptop cloud's own needs: drop files in, see
what is new, follow what comes out.

The functions use google-cloud-storage; here an async client without its half second of import serves
better. Every trouble is StorageUnavailable: the server may just be starting again.
"""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx

from bucketscribe.errors import StorageUnavailable

_CHUNK_BYTES = 1 << 20
_NOT_FOUND = 404
_TIMEOUT = httpx.Timeout(30.0, connect=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object as a listing shows it; `resource` is all that the server said of it."""

    name: str
    generation: int
    metadata: Mapping[str, str]
    resource: Mapping[str, Any]


class BucketClient:
    """One bucket of the server at 127.0.0.1:`port`; an async context."""

    def __init__(self, bucket: str, port: int) -> None:
        self.bucket = bucket
        # trust_env: a proxy from the environment must not stand between us and the loopback.
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=_TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def upload(self, path: Path, name: str) -> int:
        """Stream a file into a new version of `name`; return its generation. Raises OSError for the file."""
        content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        await asyncio.to_thread(_try_to_open, path)
        response = await self._ask(
            "POST",
            f"/upload/storage/v1/b/{self.bucket}/o",
            params={"uploadType": "media", "name": name},
            content=_chunks(path),
            headers={"content-type": content_type},
        )
        if response.status_code == _NOT_FOUND:
            raise StorageUnavailable(f"the bucket {self.bucket} is not there")
        return int(response.json()["generation"])

    async def read(self, name: str) -> bytes | None:
        """Read an object; None when there is none."""
        response = await self._ask(
            "GET", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}", params={"alt": "media"}
        )
        return None if response.status_code == _NOT_FOUND else response.content

    async def objects(self, prefix: str = "") -> list[Listed]:
        """List all objects of that prefix."""
        found: list[Listed] = []
        params = {"prefix": prefix}
        while True:
            response = await self._ask("GET", f"/storage/v1/b/{self.bucket}/o", params=params)
            page = response.json()
            found.extend(_listed(item) for item in page.get("items", ()))
            if not page.get("nextPageToken"):
                return found
            params["pageToken"] = page["nextPageToken"]

    async def _ask(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            response = await self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise StorageUnavailable(f"the bucket server did not answer: {error!r}") from error
        if response.is_error and response.status_code != _NOT_FOUND:
            raise StorageUnavailable(
                f"the bucket server answered {response.status_code}: {response.text[:500]}"
            )
        return response


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(
        name=item["name"],
        generation=int(item["generation"]),
        metadata=item.get("metadata") or {},
        resource=item,
    )


def _try_to_open(path: Path) -> None:
    with path.open("rb"):
        return


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
