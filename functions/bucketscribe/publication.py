"""A finished document put before its readers: text, then record, each by generation match.

The record is the commit. Both are read first; whoever finds that another wrote in between reads again and
repeats while its own source is the live one, so that of two versions the newer one stands in the end,
whatever the order of their finishing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bucketscribe import layout, records
from bucketscribe.errors import Superseded, WriteConflict
from bucketscribe.messages import finished_message
from bucketscribe.model import DocumentRecord, Message, ObjectInfo
from bucketscribe.ports import Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One of the two published objects."""

    name: str
    data: bytes
    content_type: str


async def publish(
    record: DocumentRecord,
    text: str,
    spans: Sequence[tuple[int, int]],
    *,
    input_bucket: Bucket,
    output_bucket: Bucket,
) -> None:
    """Write documents/NAME.md and documents/NAME.json; writing what stands already changes nothing.

    Raises Superseded when a newer version of the source is live or published, StorageUnavailable.
    """
    name = record.job.source.name
    data = text.encode()
    body = records.encode_document(record, layout.document_text(name), data, spans)
    metadata = records.published_metadata(record, data)
    parts = (
        _Part(name=layout.document_text(name), data=data, content_type=records.MARKDOWN),
        _Part(name=layout.document_record(name), data=body, content_type=records.JSON),
    )
    while True:
        standing = [await output_bucket.look(part.name) for part in parts]
        await _refuse_if_superseded(record, standing, input_bucket)
        try:
            for part, info in zip(parts, standing, strict=True):
                if not records.is_same_publication(info, metadata):
                    await _replace(output_bucket, part, info, metadata)
        except WriteConflict:
            continue
        return


def event(record: DocumentRecord) -> Message:
    """Make the finished event of a published document."""
    name = record.job.source.name
    return finished_message(
        record, records.counts(record), layout.document_text(name), layout.document_record(name)
    )


async def _refuse_if_superseded(
    record: DocumentRecord, standing: Sequence[ObjectInfo | None], input_bucket: Bucket
) -> None:
    source = record.job.source
    if any(records.published_generation(info) > source.generation for info in standing):
        raise Superseded(f"a newer version than {source} is published already")
    live = await input_bucket.look(source.name)
    if live and live.generation != source.generation:
        raise Superseded(f"a newer version than {source} is in the input bucket")


async def _replace(
    bucket: Bucket, part: _Part, standing: ObjectInfo | None, metadata: Mapping[str, str]
) -> None:
    await bucket.write(
        part.name,
        part.data,
        content_type=part.content_type,
        metadata=metadata,
        if_generation=standing.generation if standing else 0,
    )
