"""Jobs, notes and records to and from the bytes and metadata that stand in the output bucket.

Jobs, notes and page records are ours alone and are encoded field by field as the values stand in `model`.
The document record is a published contract: `bucketscribe.document/1`, additive only, described by
`schemas/document-1.json` beside this file.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from bucketscribe import __version__
from bucketscribe.errors import UnreadableJob
from bucketscribe.model import (
    DocumentRecord,
    Job,
    JobState,
    ObjectInfo,
    PageFault,
    PageNote,
    PageRecord,
    PageStatus,
    StoredPage,
)

SCHEMA = "bucketscribe.document/1"
JSON = "application/json; charset=utf-8"
MARKDOWN = "text/markdown; charset=utf-8"

# Cloud Storage takes 8 KiB of custom metadata; a quarter leaves room for keys and for other people's, and
# fits into the one file-system block (about 3 KiB of it) that the laptop's bucket server has for an object's.
METADATA_LIMIT_BYTES = 2048

# What of a page record others decide beside its fault's message: the PDF's label, the server's words.
# In characters of up to 12 bytes each; with these and no message any record of ours fits.
_LABEL_LIMIT = 32
_MODEL_LIMIT = 64
_REASON_LIMIT = 20

_PAGE_KEY = "bucketscribe-page"
_GENERATION_KEY = "bucketscribe-source-generation"
_TEXT_KEY = "bucketscribe-text-sha256"
_STATUS_KEY = "bucketscribe-status"
_READING_KEY = "bucketscribe-reading"

_PAGES_LIMIT = 99_999

# What decoding raises over anything that was not encoded here.
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)

# A string cannot hold this: its quotes would be escaped.
_NO_PAGES = b'"pages": []'

_GENERATION = re.compile(r"[0-9]{1,20}")


def encode_job(job: Job) -> bytes:
    return msgspec.json.encode(job)


def decode_job(data: bytes) -> Job:
    """Decode what encode_job made. Raises UnreadableJob on anything else: nobody else writes there."""
    try:
        job = msgspec.json.decode(data, type=Job)
    except _UNREADABLE as error:
        raise UnreadableJob(f"the job cannot be decoded ({type(error).__name__}): delete it") from error
    moments = (job.received_at, job.upload.uploaded_at, job.planned_at or job.received_at, *job.resumed_at)
    if any(moment.tzinfo is None for moment in moments) or not 0 < (job.pages or 1) <= _PAGES_LIMIT:
        raise UnreadableJob("the job has times without a zone, or pages out of range: delete it")
    if job.pages is None and job.state not in (JobState.RECEIVED, JobState.REDO):
        raise UnreadableJob(
            f"the job is {job.state.value}, but does not say how many pages it has: delete it"
        )
    return job


def encode_note(note: PageNote) -> bytes:
    return _utf8(msgspec.to_builtins(note))


def decode_note(data: bytes) -> PageNote | None:
    """Decode what encode_note made; None for anything else, which must not keep a page from its end."""
    try:
        note = msgspec.json.decode(data, type=PageNote)
    except _UNREADABLE:
        return None
    if note.parked_at and note.parked_at.tzinfo is None:
        return None
    return note if note.page > 0 and note.calls >= 0 and note.timeouts >= 0 else None


def page_metadata(record: PageRecord) -> dict[str, str]:
    """Encode a page record as object metadata: ASCII JSON, its fault's message cut until all fits."""
    record = _bounded(record)
    text = _ascii(record)
    while len(text) > METADATA_LIMIT_BYTES:
        record = _shortened(record, len(text) - METADATA_LIMIT_BYTES)
        text = _ascii(record)
    return {_PAGE_KEY: text}


def page_record(metadata: Mapping[str, str]) -> PageRecord | None:
    """Decode a page object's metadata; None when the object does not carry a page record."""
    text = metadata.get(_PAGE_KEY)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=PageRecord)
    except _UNREADABLE:
        return None


def counts(record: DocumentRecord) -> dict[str, int]:
    """Count pages by how they ended; ok + blank + text_layer + low_quality + failed = pages, always."""
    ended = Counter(page.record.status for page in record.pages)
    return {"pages": len(record.pages)} | {status.value: ended[status] for status in PageStatus}


def text_metadata(record: DocumentRecord, reading: str) -> dict[str, str]:
    """Give the key fields that both published objects carry, for consumers that filter without reading, and
    what they were made of.
    """
    ended = counts(record)
    return {
        _STATUS_KEY: record.status.value,
        _GENERATION_KEY: str(record.job.source.generation),
        "bucketscribe-pages": str(ended["pages"]),
        "bucketscribe-failed": str(ended[PageStatus.FAILED.value]),
        _READING_KEY: reading,
    }


def record_metadata(text_metadata: Mapping[str, str], sha256: str) -> dict[str, str]:
    """Give the record's metadata: the text's, and its hash, which nobody knows while it is written."""
    return {**text_metadata, _TEXT_KEY: sha256}


def published_generation(info: ObjectInfo | None) -> int:
    """Tell which source generation a published object was made of; 0 when it does not stand or say."""
    text = info.metadata.get(_GENERATION_KEY, "") if info else ""
    return int(text) if _GENERATION.fullmatch(text) else 0


def is_same_publication(info: ObjectInfo | None, metadata: Mapping[str, str]) -> bool:
    """Tell whether a published object already says what `metadata` would: same source, reading and status."""
    keys = (_GENERATION_KEY, _READING_KEY, _STATUS_KEY)
    return info is not None and all(info.metadata.get(key) == metadata[key] for key in keys)


def encode_document(
    record: DocumentRecord, text_name: str, text_sha256: str, entries: Sequence[bytes]
) -> bytes:
    """Encode documents/NAME.json, with each page's entry as `encode_entry` made it.

    The pages are encoded one by one while their bodies go by, and only set in here: as values they would take
    several times their bytes. Raises ValueError when there is not one entry a page.
    """
    if len(entries) != len(record.pages):
        raise ValueError(f"{len(entries)} entries for {len(record.pages)} pages")
    body = {
        "schema": SCHEMA,
        "status": record.status.value,
        "source": _source(record.job),
        "text": {"object": text_name, "sha256": text_sha256},
        "engine": _engine(record),
        "counts": counts(record),
        "pages": [],
        "errors": _errors(record),
        "usage": {
            "prompt_tokens": sum(page.record.prompt_tokens for page in record.pages),
            "completion_tokens": sum(page.record.completion_tokens for page in record.pages),
            "gpu_seconds": round(sum(page.record.seconds.get("ocr", 0.0) for page in record.pages), 3),
        },
        "timings": {
            "uploaded": record.job.upload.uploaded_at.isoformat(),
            "received": record.job.received_at.isoformat(),
            "planned": record.job.planned_at.isoformat() if record.job.planned_at else None,
            "finished": record.finished_at.isoformat(),
        },
    }
    before, pages, after = _indented(body).partition(_NO_PAGES)
    if entries:
        pages = b'"pages": [\n  ' + b",\n  ".join(entries) + b"\n ]"
    return before + pages + after + b"\n"


def _source(job: Job) -> dict[str, object]:
    source = job.source
    return {
        "uri": f"gs://{source.bucket}/{source.name}",
        "generation": str(source.generation),
        "size": job.upload.size,
        "content_type": job.upload.content_type,
        "crc32c": job.upload.crc32c,
    }


def _engine(record: DocumentRecord) -> dict[str, object]:
    """Name the model that answered; a revision only when that is the one the profile pins."""
    profile = record.job.profile
    model = next((page.record.model for page in record.pages if page.record.model), profile.model)
    return {
        "version": __version__,
        "model": model,
        "revision": (profile.revision or None) if model == profile.model else None,
        "profile": profile.name,
        "sampling": {
            "temperature": profile.temperature,
            "top_p": profile.top_p,
            "max_tokens": profile.max_tokens,
        },
        "longest_edge_px": profile.longest_edge_px,
    }


def encode_entry(page: StoredPage, span: tuple[int, int], sha256: str) -> bytes:
    """Encode a page's entry in the document record, indented as it stands there."""
    return _indented(_page(page, span, sha256)).replace(b"\n", b"\n  ")


def _page(page: StoredPage, span: tuple[int, int], sha256: str) -> dict[str, object]:
    record = page.record
    return {
        "page": record.page,
        "label": _cut(record.label, _LABEL_LIMIT),
        "status": record.status.value,
        "object": page.object_name,
        "object_generation": str(page.object_generation),
        "edition": record.edition,
        "span": list(span),
        "sha256": sha256,
        "width_px": record.width_px,
        "height_px": record.height_px,
        "rotation": record.rotation,
        "ink": record.ink,
        "attempts": record.attempts,
        "finish_reason": record.finish_reason,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "seconds": dict(record.seconds),
        "agreement": None,
        "flags": list(record.flags),
        "error": {"code": record.error.code, "message": record.error.message} if record.error else None,
    }


def _errors(record: DocumentRecord) -> list[dict[str, object]]:
    """List the document's own fault, then those of its failed pages."""
    own = [_fault(None, record.fault, 0)] if record.fault else []
    return own + [
        _fault(page.record.page, page.record.error, page.record.attempts)
        for page in record.pages
        if page.record.status is PageStatus.FAILED and page.record.error
    ]


def _fault(page: int | None, fault: PageFault, attempts: int) -> dict[str, object]:
    return {"page": page, "code": fault.code, "message": fault.message, "attempts": attempts}


def _indented(body: object) -> bytes:
    return msgspec.json.format(_utf8(body), indent=1)


def _utf8(body: object) -> bytes:
    """Encode as JSON; lone surrogates, which others' words may hold and UTF-8 cannot, become `?`."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _ascii(record: PageRecord) -> str:
    whole = json.loads(_utf8(msgspec.to_builtins(record)))
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":"))


def _bounded(record: PageRecord) -> PageRecord:
    return replace(
        record,
        label=_cut(record.label, _LABEL_LIMIT),
        model=_cut(record.model, _MODEL_LIMIT),
        finish_reason=_cut(record.finish_reason, _REASON_LIMIT),
    )


def _cut(text: str | None, limit: int) -> str | None:
    return None if text is None else text[:limit]


def _shortened(record: PageRecord, excess: int) -> PageRecord:
    """Cut the fault's message, the one part of a bounded record whose length others decide.

    A character takes 1 to 12 bytes in ASCII JSON, so cutting a twelfth of the excess never cuts too much.
    """
    if not record.error or not record.error.message:
        raise ValueError("a page record without a message does not fit into an object's metadata")
    keep = len(record.error.message) - max(1, excess // 12)
    fault = PageFault(code=record.error.code, message=record.error.message[: max(0, keep)])
    return replace(record, error=fault)
