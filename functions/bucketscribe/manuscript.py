"""A document's text on its way out: pages' bodies read ahead in order, joined under their markers, let go.

Held at once are READERS bodies, one part, and of each page its entry for the record. The text is never whole
in memory, nor on a disk, which on Cloud Run is memory too. So its SHA-256 is known only when the last byte
has gone by: too late for its metadata, which are given when an upload begins. To set them afterwards would
leave a text for a while that does not say what it is; to read all bodies beforehand would double the reads.
Its metadata have the `reading` instead, a hash of all that the text is made of; the SHA-256 stands in the
record, and in its metadata.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from bucketscribe import markdown, records
from bucketscribe.errors import PageReplaced, UnreadablePage
from bucketscribe.model import DocumentRecord, StoredPage
from bucketscribe.ports import Bucket

# Bodies read at once for one document, of the storage client's 64 connections.
READERS = 16

# A part is joined and hashed on a thread: large enough to be worth one, small enough to be over soon.
PART_CHARACTERS = 256 * 1024
PART_PAGES = 64

# Naming what a page is made of takes 10 us: so many are done in place, more on a thread.
FEW_PAGES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of a text that has gone by: its SHA-256, and each page's entry for the record."""

    sha256: str
    entries: tuple[bytes, ...]


class Manuscript:
    """The text that a record is about. A document that could not be opened has one sentence and no pages."""

    def __init__(self, record: DocumentRecord, bucket: Bucket) -> None:
        self._record = record
        self._bucket = bucket
        self._account: Account | None = None

    async def reading(self) -> str:
        """Hash what the text is made of, markers and page objects: what has the same reading is the same."""
        if len(self._record.pages) <= FEW_PAGES:
            return self._reading()
        return await asyncio.to_thread(self._reading)

    def _reading(self) -> str:
        count = len(self._record.pages)
        read = [
            (markdown.head(page.record, count), page.object_name, page.object_generation)
            for page in self._record.pages
        ]
        return hashlib.sha256(json.dumps(read or self._sentence()).encode()).hexdigest()

    async def parts(self) -> AsyncGenerator[bytes]:
        """Give the whole text, a part at a time; a request a page.

        Raises PageReplaced when a page is not what was listed any more, UnreadablePage when a stranger has
        written one, StorageUnavailable; the first failure ends all reading.
        """
        copy = _Copy(len(self._record.pages))
        async with aclosing(self._pass(copy)) as parts:
            async for part in parts:
                yield part
        self._account = copy.account()

    async def account(self) -> Account:
        """Tell what was found when all parts were given; go through them now if they never were."""
        if self._account is None:
            async with aclosing(self.parts()) as parts:
                async for _ in parts:
                    pass
        assert self._account  # noqa: S101 - the last part has left it
        return self._account

    async def _pass(self, copy: "_Copy") -> AsyncGenerator[bytes]:
        if not self._record.pages:
            yield copy.sentence(self._sentence())
        async with aclosing(_batches(self._record.pages, self._bucket)) as batches:
            async for batch in batches:
                yield await asyncio.to_thread(copy.pages, batch)

    def _sentence(self) -> str:
        fault = self._record.fault
        return markdown.failed_document(fault.code, fault.message) if fault else ""


class _Copy:
    """A text as far as it has gone by."""

    def __init__(self, pages: int) -> None:
        self._pages = pages
        self._position = 0
        self._sha256 = hashlib.sha256()
        self._entries: list[bytes] = []

    def sentence(self, text: str) -> bytes:
        data = text.encode()
        self._sha256.update(data)
        return data

    def pages(self, batch: Sequence[tuple[StoredPage, bytes]]) -> bytes:
        """Join these pages to what went before. Raises UnreadablePage."""
        part = bytearray()
        for page, data in batch:
            head = markdown.head(page.record, self._pages)
            start = self._position + len(head)
            self._position = start + len(_text(page, data))
            sha256 = hashlib.sha256(data).hexdigest()
            self._entries.append(records.encode_entry(page, (start, self._position), sha256))
            part += head.encode() + data
        self._sha256.update(part)
        return bytes(part)

    def account(self) -> Account:
        return Account(sha256=self._sha256.hexdigest(), entries=tuple(self._entries))


async def _batches(
    pages: Sequence[StoredPage], bucket: Bucket
) -> AsyncGenerator[list[tuple[StoredPage, bytes]]]:
    """Gather bodies until a part is worth a thread."""
    batch: list[tuple[StoredPage, bytes]] = []
    size = 0
    async with aclosing(_bodies(pages, bucket)) as bodies:
        async for page, data in bodies:
            batch.append((page, data))
            size += len(data)
            if size >= PART_CHARACTERS or len(batch) >= PART_PAGES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


async def _bodies(pages: Sequence[StoredPage], bucket: Bucket) -> AsyncGenerator[tuple[StoredPage, bytes]]:
    """Read the pages' bodies, each of the generation that was listed, in order, READERS at once."""
    ahead: deque[asyncio.Task[bytes]] = deque()
    try:
        for number, page in enumerate(pages):
            for each in pages[number + len(ahead) : number + READERS]:
                ahead.append(asyncio.create_task(_body(each, bucket)))
            yield page, await ahead.popleft()
    finally:
        for reading in ahead:
            reading.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def _body(page: StoredPage, bucket: Bucket) -> bytes:
    data = await bucket.body(page.object_name, page.object_generation)
    if data is None:
        raise PageReplaced(f"page {page.record.page} was replaced while it was read")
    return data


def _text(page: StoredPage, body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise UnreadablePage(
            f"{page.object_name} is not UTF-8: delete it, and its page is missing"
        ) from error
