"""How far every document is, as its job and its pages in the output bucket tell, and how it ended, as its
record does once the finished event has come.

Seen from outside, as any consumer would: nothing in the functions reports to here.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bucketscribe import layout, records
from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import DocumentStatus, ObjectRef, PageStatus
from infra.local.bucket_client import BucketClient

# A look at a document lists its pages; the more that costs, the rarer: at most a tenth of the time.
_PAUSE_SECONDS = 0.25
_REST_FACTOR = 9
_RETRY_SECONDS = 0.5
# Between a document's finished event and the end of its job lie a few requests.
_CLOSING_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a page (or, without one, the document) failed: a code of the failure table and a sentence."""

    page: int | None
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a document ended. `text` and `record` are objects in the output bucket, None if it never came so
    far; `seconds` from its upload to its finished event.
    """

    name: str
    generation: int
    status: DocumentStatus
    counts: Mapping[str, int] = field(default_factory=dict)
    text: str | None = None
    record: str | None = None
    model: str = ""
    errors: tuple[Trouble, ...] = ()
    seconds: float = 0.0

    def count(self, status: PageStatus) -> int:
        return self.counts.get(status.value, 0)


@dataclass(slots=True, kw_only=True)
class Document:
    """A document as it stands now. `pages` is None until they are counted; `since` is loop time."""

    source: ObjectRef
    since: float
    pages: int | None = None
    ended: dict[int, PageStatus] = field(default_factory=dict)
    outcome: Outcome | None = None

    @property
    def statuses(self) -> Counter[PageStatus]:
        """Count the pages that have ended, by how."""
        return Counter(self.ended.values())


class Progress:
    """All documents of this run, by name, in the order they came. `on_finished` is told every outcome."""

    def __init__(self, bucket: BucketClient, on_finished: Callable[[Outcome], None]) -> None:
        self.documents: dict[str, Document] = {}
        self._bucket = bucket
        self._on_finished = on_finished
        self._changed = asyncio.Condition()

    def track(self, source: ObjectRef) -> None:
        """Follow a version of a document; an older version that is still in flight is superseded by it."""
        known = self.documents.get(source.name)
        if known is None or known.source.generation < source.generation:
            now = asyncio.get_running_loop().time()
            self.documents[source.name] = Document(source=source, since=now)

    def unfinished(self) -> list[Document]:
        return [document for document in self.documents.values() if document.outcome is None]

    async def all_finished(self) -> None:
        """Wait until every tracked document has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.unfinished())

    async def all_closed(self) -> list[str]:
        """Wait until every finished document's job has gone too, which happens after the event; name those
        whose job stands on for longer than it should.
        """
        deadline = asyncio.get_running_loop().time() + _CLOSING_SECONDS
        left = [document.source for document in self.documents.values() if document.outcome]
        while left:
            left = [source for source in left if await self._job_stands(source)]
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(_PAUSE_SECONDS if left else 0)
        return [source.name for source in left]

    async def follow(self) -> None:
        """Look at the unfinished documents again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            for document in self.unfinished():
                try:
                    await self._look_at(document)
                except StorageUnavailable as error:
                    _log.warning("no progress to be seen: %s", error)
            await asyncio.sleep(max(_PAUSE_SECONDS, _REST_FACTOR * (loop.time() - started)))

    async def close(self, source: ObjectRef) -> None:
        """Take in that a document has finished; what is not followed (any more) is left alone."""
        document = self.documents.get(source.name)
        if not document or document.source.generation != source.generation or document.outcome:
            return
        body = await self._record(source)
        if body is not None:
            await self._end(document, _outcome(source, body, _age(document)))

    async def give_up(self, source: ObjectRef, trouble: Trouble) -> None:
        """End a document that never reached the bucket."""
        self.track(source)
        outcome = Outcome(
            name=source.name, generation=source.generation, status=DocumentStatus.FAILED, errors=(trouble,)
        )
        await self._end(self.documents[source.name], outcome)

    async def _end(self, document: Document, outcome: Outcome) -> None:
        document.outcome = outcome
        document.pages = sum(outcome.count(status) for status in PageStatus)
        self._on_finished(outcome)
        async with self._changed:
            self._changed.notify_all()

    async def _record(self, source: ObjectRef) -> Mapping[str, Any] | None:
        """Read the document's record; None when a newer version has replaced it already."""
        while True:
            try:
                data = await self._bucket.read(layout.document_record(source.name))
            except StorageUnavailable as error:
                _log.warning("the record of %r cannot be read yet: %s", source.name, error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            body: Mapping[str, Any] | None = json.loads(data) if data else None
            return body if body and int(body["source"]["generation"]) == source.generation else None

    async def _job_stands(self, source: ObjectRef) -> bool:
        """Look for a document's job; one that cannot be read, as when it is deleted just then, stands yet."""
        try:
            return await self._bucket.read(layout.job(source)) is not None
        except StorageUnavailable as error:
            _log.warning("the job of %r cannot be looked for: %s", source.name, error)
            return True

    async def _look_at(self, document: Document) -> None:
        if document.pages is None:
            job = await self._bucket.read(layout.job(document.source))
            document.pages = records.decode_job(job).pages if job else None
        if document.pages is not None:
            listed = await self._bucket.objects(layout.pages_prefix(document.source))
            pages = ((layout.page_of(document.source, each.name), each.metadata) for each in listed)
            document.ended = dict(_statuses(pages))


def _statuses(pages: Iterable[tuple[int | None, Mapping[str, str]]]) -> Iterable[tuple[int, PageStatus]]:
    for number, metadata in pages:
        record = records.page_record(metadata)
        if number and record:
            yield number, record.status


def _outcome(source: ObjectRef, body: Mapping[str, Any], seconds: float) -> Outcome:
    """Decode the parts of a document record (contract: bucketscribe.document/1) that are shown here."""
    return Outcome(
        name=source.name,
        generation=source.generation,
        status=DocumentStatus(body["status"]),
        counts=body["counts"],
        text=body["text"]["object"],
        record=layout.document_record(source.name),
        model=body["engine"]["model"],
        errors=tuple(
            Trouble(page=each["page"], code=each["code"], message=each["message"]) for each in body["errors"]
        ),
        seconds=seconds,
    )


def _age(document: Document) -> float:
    return asyncio.get_running_loop().time() - document.since
