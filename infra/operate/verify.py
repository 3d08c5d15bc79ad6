"""A walk over an output bucket: every document read again, and what is in flight or lost its owner told.

One document is in memory at a time, of its pages a handful. What looks wrong is looked at once more when
somebody has published meanwhile: a document may be verified while it is made.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bucketscribe import layout, manuscript, records
from bucketscribe.errors import UnreadableJob
from bucketscribe.fan_out import ignored_because
from bucketscribe.model import ObjectInfo, ObjectRef, StoredObject, Upload
from bucketscribe.settings import Settings
from infra.operate import checks
from infra.operate.checks import Record
from infra.operate.findings import Finding, Note, Problem
from infra.operate.shelf import Shelf

DOCUMENTS = "documents/"
_RECORD, _TEXT = ".json", ".md"

# Looks at a document that is being published while it is verified.
_LOOKS = 3

# An event may be on its way for so long before its source counts as unanswered.
_YOUNG = timedelta(minutes=15)

# A late delivery may leave a note when its document is closed; the sweep deletes it after twenty minutes.
_NOTE_STAYS = timedelta(hours=1)

# What is no problem while a job is in flight: text and record are written one after the other.
_WHILE_PUBLISHING = frozenset(
    {
        *(Problem.TEXT_SHA256, Problem.TEXT_GENERATION, Problem.TEXT_MISSING, Problem.SPANS, Problem.MARKERS),
        *(Problem.PAGE_SHA256, Problem.TEXT_UNREADABLE, Problem.RECORD_MISSING),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The input side: where documents were dropped, and which of them are taken in."""

    shelf: Shelf
    bucket: str
    settings: Settings


@dataclass(kw_only=True)
class Verification:
    """One verification. `prefix` is that of the source names concerned, or a document's own name."""

    shelf: Shelf
    prefix: str
    now: datetime
    old_after: timedelta
    sources: Sources | None = None
    counted: Counter[str] = field(default_factory=Counter)

    async def run(self) -> AsyncIterator[Finding]:
        """Yield all findings, document by document, then those on jobs, notes and sources."""
        self.prefix, alone = await self._scope()
        if alone:
            for finding in await self._document(self.prefix):
                yield finding
        else:
            async for finding in self._documents():
                yield finding
        for walk in (self._jobs, self._notes, self._sources):
            async for finding in walk():
                yield finding

    async def _scope(self) -> tuple[str, bool]:
        """Tell a document's name from a prefix; an object's name will do for its document's."""
        prefix = self.prefix.removeprefix(DOCUMENTS)
        for ending in ("", _RECORD, _TEXT):
            name = prefix.removesuffix(ending)
            if prefix.endswith(ending) and name and await self.shelf.look(layout.document_record(name)):
                return name, True
        return prefix, False

    async def _documents(self) -> AsyncIterator[Finding]:
        async for info in self.shelf.listing(DOCUMENTS + self.prefix):
            name = info.name.removeprefix(DOCUMENTS)
            if name.endswith(_RECORD):
                found = await self._document(name.removesuffix(_RECORD))
            elif name.endswith(_TEXT):
                found = await self._lone_text(name.removesuffix(_TEXT))
            else:
                continue
            for finding in found:
                yield finding

    async def _lone_text(self, name: str) -> Sequence[Finding]:
        if await self.shelf.look(layout.document_record(name)):
            return ()
        message = f"{layout.document_text(name)} stands without its record"
        finding = Finding(code=Problem.RECORD_MISSING, subject=name, message=message)
        return await self._unless_in_flight(name, [finding])

    async def _document(self, name: str) -> Sequence[Finding]:
        """Check a document, again while it changes under our eyes."""
        self.counted["documents"] += 1
        seen, found = None, list[Finding]()
        for _ in range(_LOOKS):
            record = await self.shelf.read(layout.document_record(name))
            text = await self.shelf.read(layout.document_text(name))
            last, seen = seen, [each.info.generation if each else None for each in (record, text)]
            if seen == last:
                break
            found = await self._checked(name, record, text)
            if not any(finding.is_problem for finding in found):
                break
        return await self._unless_in_flight(name, found)

    async def _checked(
        self, name: str, stored: StoredObject | None, text: StoredObject | None
    ) -> list[Finding]:
        if stored is None:
            return [Finding(code=Problem.RECORD_MISSING, subject=name, message="the record has gone")]
        record, found = checks.read_record(name, stored)
        if record is None:
            return found
        found += checks.check_record(name, record, _metadata(stored))
        if text is None:
            found.append(Finding(code=Problem.TEXT_MISSING, subject=name, message="the text is missing"))
        else:
            found += checks.check_text(name, record, text, _metadata(text))
        if not (stored.info.generation and (text is None or text.info.generation)):
            message = "the folder has lost its objects' metadata: what hangs on it is not checked"
            found.append(Finding(code=Note.WITHOUT_METADATA, subject=name, message=message))
        return found + await self._pages(name, record)

    async def _pages(self, name: str, record: Record) -> list[Finding]:
        source = checks.source_of(name, record)
        found = list[Finding]()
        for start in range(0, len(record.pages), manuscript.READERS):
            pages = record.pages[start : start + manuscript.READERS]
            bodies = await asyncio.gather(
                *(self.shelf.read(layout.page(source, page.page)) for page in pages)
            )
            for page, stored in zip(pages, bodies, strict=True):
                found += checks.check_page(name, page, stored)
        self.counted["pages"] += len(record.pages)
        return found

    async def _unless_in_flight(self, name: str, found: Sequence[Finding]) -> Sequence[Finding]:
        """Turn what is only the moment between text and record into one note: a job will end it."""
        concerned = [finding for finding in found if finding.code in _WHILE_PUBLISHING]
        if not concerned or not await self._in_flight(name):
            return found
        message = "it is being published: its job is in flight, and text and record are of two moments"
        note = Finding(code=Note.PUBLISHING, subject=name, message=message)
        return [*(finding for finding in found if finding not in concerned), note]

    async def _in_flight(self, name: str) -> bool:
        prefix = layout.jobs_prefix(name)
        async for info in self.shelf.listing(prefix):
            source = layout.job_of("", info.name)
            if source and source.name == name:
                return True
        return False

    async def _jobs(self) -> AsyncIterator[Finding]:
        async for info in self.shelf.listing(layout.JOBS_PREFIX + self.prefix):
            source = layout.job_of("", info.name)
            stored = await self.shelf.read(info.name) if source else None
            if source and stored:
                self.counted["jobs"] += 1
                yield self._job(source, stored)

    def _job(self, source: ObjectRef, stored: StoredObject) -> Finding:
        try:
            job = records.decode_job(stored.data)
        except UnreadableJob as error:
            return Finding(code=Problem.JOB_UNREADABLE, subject=source.name, message=str(error))
        age = self.now - job.begun_at
        message = f"{stored.info.name} is {job.state.value}, {age.days} days old"
        if age > self.old_after:
            return Finding(code=Problem.JOB_OLD, subject=source.name, message=f"{message}: it stands still")
        return Finding(code=Note.IN_FLIGHT, subject=source.name, message=message)

    async def _notes(self) -> AsyncIterator[Finding]:
        """Find old notes whose document is not in flight; those of a document come one after the other."""
        asked: tuple[ObjectRef, bool] | None = None
        async for info in self.shelf.listing(layout.NOTES_PREFIX + self.prefix):
            source = layout.note_of("", info.name)
            if source is None or self.now - info.updated_at < _NOTE_STAYS:
                continue
            if asked is None or asked[0] != source:
                asked = (source, await self.shelf.look(layout.job(source)) is not None)
            if not asked[1]:
                message = f"{info.name} stands without a job"
                yield Finding(code=Problem.NOTE_WITHOUT_JOB, subject=source.name, message=message)

    async def _sources(self) -> AsyncIterator[Finding]:
        """Look for the answer to every live object of the input bucket."""
        if self.sources is None:
            return
        async for info in self.sources.shelf.listing(self.prefix):
            if _is_taken_in(info, self.sources):
                self.counted["sources"] += 1
                finding = await self._unanswered(info, self.sources)
                if finding:
                    yield finding

    async def _unanswered(self, info: ObjectInfo, sources: Sources) -> Finding | None:
        source = ObjectRef(bucket=sources.bucket, name=info.name, generation=info.generation)
        if len(info.name.encode()) > layout.LONGEST_SOURCE_NAME_BYTES:
            answer = layout.rejected(hashlib.sha256(str(source).encode()).hexdigest())
            answered = await self.shelf.look(answer) is not None
        else:
            answered = await self._is_published(info) or bool(await self.shelf.look(layout.job(source)))
        if answered:
            return None
        if self.now - info.updated_at < _YOUNG:
            message = "dropped a moment ago, not yet taken in"
            return Finding(code=Note.JUST_UPLOADED, subject=info.name, message=message)
        message = f"generation {info.generation or 'unknown'} has neither a document nor a job in flight"
        return Finding(code=Problem.SOURCE_UNANSWERED, subject=info.name, message=message)

    async def _is_published(self, info: ObjectInfo) -> bool:
        """Compare by generation; a plain file has none, then by size."""
        stored = await self.shelf.read(layout.document_record(info.name))
        record = checks.read_record(info.name, stored)[0] if stored else None
        if record is None:
            return False
        if info.generation == 0:
            return record.source.size == info.size
        return record.source.generation >= info.generation


def _metadata(stored: StoredObject) -> Mapping[str, str] | None:
    """Give the metadata, or None where the folder has lost it."""
    return stored.info.metadata if stored.info.generation else None


def _is_taken_in(info: ObjectInfo, sources: Sources) -> bool:
    """Tell whether an object is a document; of plain files hidden ones are none."""
    if info.generation == 0 and any(part.startswith(".") for part in info.name.split("/")):
        return False
    upload = Upload(
        source=ObjectRef(bucket=sources.bucket, name=info.name, generation=info.generation),
        size=info.size,
        content_type=info.content_type,
        crc32c=info.crc32c,
        uploaded_at=info.updated_at,
    )
    return ignored_because(upload, sources.settings) is None
