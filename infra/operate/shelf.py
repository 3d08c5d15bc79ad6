"""Where the objects are: a bucket of Cloud Storage, or a folder of plain files such as the laptop's outbox.

Both only read. A folder's files keep what a bucket says of its objects in an extended attribute, as the
laptop's bucket server wrote it; a copy of the folder may have lost it, and macOS does not show it to Python.
Then generation is 0 and there is no metadata: what hangs on them cannot be checked.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bucketscribe import storage
from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import ObjectInfo, StoredObject
from bucketscribe.storage import CloudBucket, StorageClient
from infra.local.errors import CannotRun

SCHEME = "gs://"

_DOCUMENTS = "documents"
_ATTRIBUTE = "user.metadata"


class Shelf(Protocol):
    """Objects to be read. Every method may raise StorageUnavailable; absence is None."""

    async def look(self, name: str) -> ObjectInfo | None: ...

    async def read(self, name: str) -> StoredObject | None: ...

    def listing(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Stream what begins so, each once, never all of it in memory."""


class BucketShelf:
    """A bucket, read through the wall."""

    def __init__(self, bucket: CloudBucket) -> None:
        self._bucket = bucket

    async def look(self, name: str) -> ObjectInfo | None:
        return await self._bucket.look(name)

    async def read(self, name: str) -> StoredObject | None:
        return await self._bucket.read(name)

    async def listing(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Take one request for every 999 objects: each begins with the last one's last."""
        last = ""
        while True:
            page = await self._bucket.some(prefix, start=last)
            for info in page:
                if info.name != last:
                    yield info
            if len(page) < storage.SOME:
                return
            last = page[-1].name


class FolderShelf:
    """A folder, with an object's name as its path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def look(self, name: str) -> ObjectInfo | None:
        return await asyncio.to_thread(self._look, name)

    async def read(self, name: str) -> StoredObject | None:
        return await asyncio.to_thread(self._read, name)

    async def listing(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Walk only the folders that the prefix allows; one folder's names are in memory at once."""
        base = self._folder / prefix.rpartition("/")[0]
        names = self._names(base)
        while (name := await asyncio.to_thread(next, names, None)) is not None:
            info = self._look(name) if name.startswith(prefix) else None
            if info:
                yield info

    def _names(self, base: Path) -> Iterator[str]:
        for folder, folders, files in os.walk(base):
            folders.sort()
            for file in sorted(files):
                yield Path(folder, file).relative_to(self._folder).as_posix()

    def _look(self, name: str) -> ObjectInfo | None:
        path = self._path(name)
        return file_info(name, path) if path else None

    def _read(self, name: str) -> StoredObject | None:
        path = self._path(name)
        try:
            return StoredObject(info=file_info(name, path), data=path.read_bytes()) if path else None
        except FileNotFoundError:
            return None

    def _path(self, name: str) -> Path | None:
        """Give an object's file; None where there is none, or where its name leads out of the folder."""
        path = self._folder / name
        try:
            return path if path.is_file() and ".." not in path.parts else None
        except OSError:  # a name that no file here can have
            return None


def open_shelf(place: str) -> tuple[Shelf, str]:
    """Open an output: gs://BUCKET[/PREFIX] or FOLDER[/documents/PREFIX]; give shelf and prefix.

    An empty folder is one without results, whatever stands above it. Raises CannotRun when there is no such
    folder.
    """
    if place.startswith(SCHEME):
        name, _, prefix = place.removeprefix(SCHEME).partition("/")
        if not name:
            raise CannotRun(f"{place} names no bucket: gs://BUCKET, or gs://BUCKET/documents/PREFIX")
        return BucketShelf(storage.open_bucket(name, client=make_client())), prefix
    folder = _folder(place)
    if _is_empty(folder):
        return FolderShelf(folder), ""
    for documents in (folder, *folder.parents):
        if documents.name == _DOCUMENTS and documents.is_dir() and not (folder / _DOCUMENTS).is_dir():
            prefix = folder.relative_to(documents.parent).as_posix()
            return FolderShelf(documents.parent), prefix + "/" * folder.is_dir()
    return _opened(folder, place), ""


def open_sources(place: str) -> Shelf:
    """Open the whole of an input: gs://BUCKET or FOLDER, whatever it is called.

    Raises CannotRun when there is no such folder, or when a prefix is named.
    """
    if not place.startswith(SCHEME):
        return _opened(_folder(place), place)
    shelf, prefix = open_shelf(place)
    if prefix:
        raise CannotRun(f"{place}: name the whole bucket; OUTPUT's prefix says which part of it is meant")
    return shelf


def make_client() -> StorageClient:
    """Build the client with the operator's credentials. Raises CannotRun when there are none."""
    try:
        return storage.make_client()
    except StorageUnavailable as error:
        raise CannotRun(f"{error}; run `gcloud auth application-default login`") from error


def _folder(place: str) -> Path:
    return Path(place).expanduser().absolute()


def _opened(folder: Path, place: str) -> FolderShelf:
    if not folder.is_dir():
        raise CannotRun(f"there is no folder {place}")
    return FolderShelf(folder)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and next(folder.iterdir(), None) is None


def file_info(name: str, path: Path) -> ObjectInfo:
    """Say of a file what a bucket says of its object, as far as that can be had."""
    facts = path.stat()
    kept = _kept(path)
    return ObjectInfo(
        name=name,
        generation=int(kept.get("Generation") or 0),
        size=facts.st_size,
        updated_at=datetime.fromtimestamp(facts.st_mtime, UTC),
        content_type=kept.get("ContentType") or "",
        crc32c=kept.get("Crc32c") or "",
        metadata=kept.get("Metadata") or {},
    )


def _kept(path: Path) -> dict[str, Any]:
    """Read what the bucket server has kept beside the file; nothing when it cannot be had."""
    read = getattr(os, "getxattr", None)
    try:
        kept = json.loads(read(path, _ATTRIBUTE)) if read else {}
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
