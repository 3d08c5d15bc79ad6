"""What a check has to say: a problem, or a note on something that looks like one and is none."""

from dataclasses import dataclass
from enum import StrEnum


class Problem(StrEnum):
    """What is wrong; each is named in the README."""

    RECORD_MISSING = "record_missing"
    RECORD_UNREADABLE = "record_unreadable"
    RECORD_SCHEMA = "record_schema"
    RECORD_NAMES = "record_names"
    ACCOUNTING = "accounting"
    STATUS = "status"
    ERRORS = "errors"
    METADATA = "metadata"
    TEXT_MISSING = "text_missing"
    TEXT_UNREADABLE = "text_unreadable"
    TEXT_SHA256 = "text_sha256"
    TEXT_GENERATION = "text_generation"
    SPANS = "spans"
    MARKERS = "markers"
    PAGE_SHA256 = "page_sha256"
    PAGE_BODY = "page_body"
    PAGE_WORSE = "page_worse"
    PAGE_STRANGE = "page_strange"
    SOURCE_UNANSWERED = "source_unanswered"
    JOB_OLD = "job_old"
    JOB_UNREADABLE = "job_unreadable"
    NOTE_WITHOUT_JOB = "note_without_job"


class Note(StrEnum):
    """What is as it should be, though it looks otherwise at first."""

    PAGE_REPLACED = "page_replaced"
    PAGE_GONE = "page_gone"
    PUBLISHING = "publishing"
    IN_FLIGHT = "in_flight"
    JUST_UPLOADED = "just_uploaded"
    WITHOUT_METADATA = "without_metadata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. `subject` is the document's name, or that of the object concerned."""

    code: Problem | Note
    subject: str
    message: str
    page: int | None = None

    @property
    def is_problem(self) -> bool:
        return isinstance(self.code, Problem)
