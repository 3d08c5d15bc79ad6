"""A finished document put before its readers: text, then record, each by generation match.

The record is the commit. What stands is looked at before the books are read, and written over by generation
match: so a finisher never undoes what another has made of a later reading, and of two versions the newer one
stands in the end, whatever the order of their finishing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from bucketscribe import layout, records
from bucketscribe.errors import PageReplaced, Superseded, WriteConflict
from bucketscribe.manuscript import Manuscript
from bucketscribe.messages import finished_message
from bucketscribe.model import DocumentRecord, Message, ObjectInfo, ObjectRef
from bucketscribe.ports import Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The two published objects as somebody saw them; None where there is none yet."""

    text: ObjectInfo | None
    record: ObjectInfo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of the two: as it was seen, and how it is written over the generation seen."""

    seen: ObjectInfo | None
    write: Callable[[int], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edition:
    """A document as it is published: its account, its text, and what both objects say of themselves."""

    record: DocumentRecord
    manuscript: Manuscript
    metadata: Mapping[str, str]
    bucket: Bucket

    async def write_text(self, if_generation: int) -> None:
        async with aclosing(self.manuscript.parts()) as parts:
            await self.bucket.upload(
                layout.document_text(self.record.job.source.name),
                parts,
                content_type=records.MARKDOWN,
                metadata=self.metadata,
                if_generation=if_generation,
            )

    async def write_record(self, if_generation: int) -> None:
        name = self.record.job.source.name
        account = await self.manuscript.account()
        data = await asyncio.to_thread(
            records.encode_document, self.record, layout.document_text(name), account.sha256, account.entries
        )
        await self.bucket.write(
            layout.document_record(name),
            data,
            content_type=records.JSON,
            metadata=records.record_metadata(self.metadata, account.sha256),
            if_generation=if_generation,
        )


async def look(source: ObjectRef, bucket: Bucket) -> Standing:
    """See what stands under a document's name, of whatever version. Two requests."""
    return Standing(
        text=await bucket.look(layout.document_text(source.name)),
        record=await bucket.look(layout.document_record(source.name)),
    )


async def publish(
    record: DocumentRecord,
    *,
    standing: Standing,
    input_bucket: Bucket,
    output_bucket: Bucket,
) -> None:
    """Write documents/NAME.md and documents/NAME.json; what stands already is left, and no page read for it.

    `standing` was seen before the ledger was read. Raises WriteConflict when somebody has published another
    reading of the same version since, or replaced a page: then the ledger is to be read again. Raises
    Superseded when a newer version of the source is live or published, StorageUnavailable.
    """
    source = record.job.source
    manuscript = Manuscript(record, output_bucket)
    metadata = records.text_metadata(record, await manuscript.reading())
    edition = _Edition(record=record, manuscript=manuscript, metadata=metadata, bucket=output_bucket)
    while True:
        await _refuse_if_superseded(source, standing, input_bucket)
        try:
            for part in _parts(edition, standing):
                if not records.is_same_publication(part.seen, metadata):
                    await part.write(part.seen.generation if part.seen else 0)
        except PageReplaced:
            raise
        except WriteConflict:
            seen, standing = standing, await look(source, output_bucket)
            if _has_other_reading(source, seen, standing, metadata):
                raise
        else:
            return


def event(record: DocumentRecord) -> Message:
    """Make the finished event of a published document."""
    name = record.job.source.name
    return finished_message(
        record, records.counts(record), layout.document_text(name), layout.document_record(name)
    )


async def _refuse_if_superseded(source: ObjectRef, standing: Standing, input_bucket: Bucket) -> None:
    if any(
        records.published_generation(info) > source.generation for info in (standing.text, standing.record)
    ):
        raise Superseded(f"a newer version than {source} is published already")
    live = await input_bucket.look(source.name)
    if live and live.generation != source.generation:
        raise Superseded(f"a newer version than {source} is in the input bucket")


def _parts(edition: _Edition, standing: Standing) -> tuple[_Part, _Part]:
    """Give text and record in the order in which they are written: the record tells of a text that stands."""
    return (
        _Part(seen=standing.text, write=edition.write_text),
        _Part(seen=standing.record, write=edition.write_record),
    )


def _has_other_reading(
    source: ObjectRef, before: Standing, now: Standing, metadata: Mapping[str, str]
) -> bool:
    """Tell whether somebody else wrote this very version in between, and not as `metadata` says it."""
    pairs = ((before.text, now.text), (before.record, now.record))
    return any(
        new is not None
        and (old is None or old.generation != new.generation)
        and records.published_generation(new) == source.generation
        and not records.is_same_publication(new, metadata)
        for old, new in pairs
    )
