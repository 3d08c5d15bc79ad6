"""A finished document put before its readers: text, then record, each by generation match.

The record is the commit. What stands is looked at before the books are read, and written over by generation
match: so a finisher never undoes what another has made of a later reading, and of two versions the newer one
stands in the end, whatever the order of their finishing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bucketscribe import layout, records
from bucketscribe.errors import Superseded, WriteConflict
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
    """One of the two, as it shall be, and as it was seen."""

    name: str
    data: bytes
    content_type: str
    seen: ObjectInfo | None


async def look(source: ObjectRef, bucket: Bucket) -> Standing:
    """See what stands under a document's name, of whatever version. Two requests."""
    return Standing(
        text=await bucket.look(layout.document_text(source.name)),
        record=await bucket.look(layout.document_record(source.name)),
    )


async def publish(
    record: DocumentRecord,
    text: str,
    spans: Sequence[tuple[int, int]],
    *,
    standing: Standing,
    input_bucket: Bucket,
    output_bucket: Bucket,
) -> None:
    """Write documents/NAME.md and documents/NAME.json; writing what stands already changes nothing.

    `standing` was seen before the ledger was read. Raises WriteConflict when somebody has published another
    reading of the same version since: then the ledger is to be read again. Raises Superseded when a newer
    version of the source is live or published, StorageUnavailable.
    """
    source = record.job.source
    data, body, metadata = await asyncio.to_thread(_encode, record, text, spans)
    while True:
        await _refuse_if_superseded(source, standing, input_bucket)
        try:
            for part in _parts(source, data, body, standing):
                if not records.is_same_publication(part.seen, metadata):
                    await _replace(output_bucket, part, metadata)
        except WriteConflict:
            seen, standing = standing, await look(source, output_bucket)
            if _has_other_reading(source, seen, standing, metadata):
                raise
        else:
            return


def _encode(
    record: DocumentRecord, text: str, spans: Sequence[tuple[int, int]]
) -> tuple[bytes, bytes, dict[str, str]]:
    """Encode text, record and metadata; half a second for 10,000 pages, so not on the loop."""
    data = text.encode()
    body = records.encode_document(record, layout.document_text(record.job.source.name), data, spans)
    return data, body, records.published_metadata(record, data)


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


def _parts(source: ObjectRef, text: bytes, record: bytes, standing: Standing) -> tuple[_Part, _Part]:
    return (
        _Part(
            name=layout.document_text(source.name),
            data=text,
            content_type=records.MARKDOWN,
            seen=standing.text,
        ),
        _Part(
            name=layout.document_record(source.name),
            data=record,
            content_type=records.JSON,
            seen=standing.record,
        ),
    )


async def _replace(bucket: Bucket, part: _Part, metadata: Mapping[str, str]) -> None:
    await bucket.write(
        part.name,
        part.data,
        content_type=part.content_type,
        metadata=metadata,
        if_generation=part.seen.generation if part.seen else 0,
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
