"""The frozen values that travel through the house. No behaviour beyond what a value knows of itself.

Pages count from 1 everywhere; only `render` subtracts one. Times are aware UTC datetimes. Generations are
ints here and strings in JSON, as Cloud Storage writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class PageStatus(StrEnum):
    """How a page ended, best first: a later result replaces an earlier one only if it ranks better."""

    OK = "ok"
    BLANK = "blank"
    TEXT_LAYER = "text_layer"
    LOW_QUALITY = "low_quality"
    FAILED = "failed"

    @property
    def rank(self) -> int:
        """0 for the best; what is higher is worse."""
        return list(PageStatus).index(self)


class DocumentStatus(StrEnum):
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


class Kind(StrEnum):
    """What a document is by its content, whatever its name or declared type says."""

    PDF = "pdf"
    TIFF = "tiff"
    IMAGE = "image"


class Lane(StrEnum):
    """Which queue a page waits in; express goes first at the GPU."""

    EXPRESS = "express"
    BULK = "bulk"


class Encoding(StrEnum):
    """How page images are sent: auto takes a gray PNG where a page is exactly gray, else a JPEG."""

    AUTO = "auto"
    PNG = "png"
    JPEG = "jpeg"


class Retention(StrEnum):
    """What happens to the text when its source is deleted: it stays, or it goes too."""

    KEEP = "keep"
    FOLLOW = "follow"


# Flag of a page that replaced a worse ending of its own edition, after that was in the books already.
LATE = "late"

# Flag of a page that stands as it did before a redo of it failed.
REDO_FAILED = "redo_failed"


class JobState(StrEnum):
    """How far the fan-out came: written first, pages counted, every task published; or asked for again."""

    RECEIVED = "received"
    PLANNED = "planned"
    PUBLISHED = "published"
    REDO = "redo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """One version of one object; a re-upload is new work."""

    bucket: str
    name: str
    generation: int

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name}#{self.generation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What the finalized event says of a new object, before a byte of it is fetched. `trace` ties the log
    lines of all its pages together.
    """

    source: ObjectRef
    size: int
    content_type: str
    crc32c: str
    uploaded_at: datetime
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model and how it is asked. Frozen into the job: one document, one model."""

    name: str
    model: str
    revision: str
    temperature: float
    top_p: float
    max_tokens: int
    longest_edge_px: int
    prompt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redo:
    """A wish that pages be read again, all of them where `pages` is None, in an edition of their own."""

    edition: int
    pages: frozenset[int] | None
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A document in flight; written before anything is fetched, deleted when all is published."""

    upload: Upload
    state: JobState
    profile: Profile
    received_at: datetime
    kind: Kind | None = None
    pages: int | None = None
    planned_at: datetime | None = None
    resumed_at: tuple[datetime, ...] = ()
    redo: Redo | None = None

    @property
    def source(self) -> ObjectRef:
        return self.upload.source

    @property
    def begun_at(self) -> datetime:
        """Tell since when it is waited for."""
        return self.redo.asked_at if self.redo else self.received_at

    def edition_of(self, page: int) -> int:
        """Tell in which edition a page must have ended, at least, for the document to be done."""
        redo = self.redo
        return redo.edition if redo and (redo.pages is None or page in redo.pages) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTask:
    """One page to be read. `edition` rises with every redo of the document; 0 is the first. `sent_at` is when
    this task was made: of two for the same page the later one is the copy that counts. One that is sent
    `again` says so: others may have used up model calls before it.
    """

    source: ObjectRef
    page: int
    pages: int
    lane: Lane
    profile: str
    edition: int = 0
    trace: str = ""
    sent_at: datetime | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One try at a task. `attempt` counts from 1, None when Pub/Sub does not say."""

    task: PageTask
    message_id: str
    attempt: int | None
    published_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacts:
    """What opening a document tells: its kind by content and its number of pages."""

    kind: Kind
    pages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PageImage:
    """What the model sees. `width` and `height` in px, both multiples of 28; `ink` is the share of pixels,
    0 to 1, that stand out clearly from the paper; `rotation` in degrees, as applied; a `blank` page has no
    data: nothing on it differs from the paper. `label` is the PDF's own name for the page.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    ink: float
    rotation: int = 0
    blank: bool = False
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText:
    """What the model answered, as it answered it."""

    markdown: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFault:
    """Why a page failed, or what was last wrong with it: a code of the failure table and a sentence."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRecord:
    """The ledger's entry for a page; every page ends with one.

    `attempts` counts model calls over all deliveries. `seconds` has the stages wait, fetch, render and ocr
    as far as they were reached; how long the writing took stands in the log, not in what is written.
    """

    page: int
    status: PageStatus
    edition: int = 0
    label: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    rotation: int = 0
    ink: float | None = None
    attempts: int = 0
    model: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    error: PageFault | None = None

    @property
    def is_late(self) -> bool:
        """Tell whether the document may have been published without this ending."""
        return LATE in self.flags

    @property
    def has_failed_redo(self) -> bool:
        return REDO_FAILED in self.flags

    @property
    def rank(self) -> int:
        """0 for the best, within an edition; a page that only stands still ranks as the redo that failed."""
        return (PageStatus.FAILED if self.has_failed_redo else self.status).rank


@dataclass(frozen=True, slots=True, kw_only=True)
class PageNote:
    """What was tried on a difficult page in an edition, kept between deliveries. `calls` are model calls that
    the page has used up, `timeouts` those of them that ran out of time; `fault` is the page's own last one;
    `parked_at` is the `sent_at` of the task with which it was last parked.
    """

    page: int
    calls: int = 0
    timeouts: int = 0
    fault: PageFault | None = None
    edition: int = 0
    parked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPage:
    """A page as a listing of the output bucket shows it: its record, which object holds it, since when."""

    record: PageRecord
    object_name: str
    object_generation: int
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """The whole account of a document. One that could not be opened has no pages, only a `fault`."""

    job: Job
    status: DocumentStatus
    pages: tuple[StoredPage, ...]
    finished_at: datetime
    fault: PageFault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """An object's metadata. `size` in bytes, `crc32c` base64 as Cloud Storage gives it; `updated_at` is when
    this generation was written, or its metadata changed, by the server's clock.
    """

    name: str
    generation: int
    size: int
    updated_at: datetime
    content_type: str = ""
    crc32c: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object's bytes with the metadata of the very generation they were read from."""

    info: ObjectInfo
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A Pub/Sub message to be published."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
