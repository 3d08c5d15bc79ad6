"""Object names in the output bucket; the only room that joins a `/` into a name.

What reads a prefix back is strict: `page_of` takes just what `page` makes, so that an object called
`a.pdf/7/00001.md` by a stranger can never be mistaken for page 1 of `a.pdf`. `job_of` likewise.
"""

import re

from bucketscribe.model import ObjectRef

# Cloud Storage's limit for an object's name in bytes of UTF-8 (cloud.google.com/storage/quotas).
NAME_LIMIT_BYTES = 1024

# Room that our longest name needs beside the source's own: figures/NAME/GENERATION/00001-999.png, where a
# generation has at most 20 digits. Notes need the most of those written today.
LONGEST_SOURCE_NAME_BYTES = NAME_LIMIT_BYTES - len("figures//12345678901234567890/00001-999.png")

JOBS_PREFIX = "jobs/"
NOTES_PREFIX = "notes/"

_PAGE_FILE = re.compile(r"([0-9]{5})\.md")

_NOTE_FILE = re.compile(r"(.+)/([1-9][0-9]{0,19})/[0-9]{5}\.json", re.DOTALL)

_PAGE_OF_VERSION = re.compile(r"([1-9][0-9]{0,19})/[0-9]{5}\.md")

_JOB_FILE = re.compile(r"(.+)/([1-9][0-9]{0,19})\.json", re.DOTALL)


def document_text(name: str) -> str:
    return f"documents/{name}.md"


def document_record(name: str) -> str:
    return f"documents/{name}.json"


def pages_prefix(source: ObjectRef) -> str:
    return f"pages/{source.name}/{source.generation}/"


def page(source: ObjectRef, number: int) -> str:
    return f"{pages_prefix(source)}{number:05d}.md"


def page_of(source: ObjectRef, object_name: str) -> int | None:
    """Tell which page of this source an object is; None when it is none of ours."""
    prefix = pages_prefix(source)
    match = _PAGE_FILE.fullmatch(object_name.removeprefix(prefix)) if object_name.startswith(prefix) else None
    return int(match[1]) or None if match else None


def jobs_prefix(name: str) -> str:
    """Give what the jobs of all versions of a source begin with, among others' whose names go on so."""
    return f"{JOBS_PREFIX}{name}/"


def versions_prefix(name: str) -> str:
    return f"pages/{name}/"


def version_of(name: str, object_name: str) -> int | None:
    """Tell which generation of a source an object is a page of; None when it is none of ours."""
    prefix = versions_prefix(name)
    own = object_name.startswith(prefix)
    match = _PAGE_OF_VERSION.fullmatch(object_name.removeprefix(prefix)) if own else None
    return int(match[1]) if match else None


def job(source: ObjectRef) -> str:
    return f"{jobs_prefix(source.name)}{source.generation}.json"


def job_of(bucket: str, object_name: str) -> ObjectRef | None:
    """Tell which source in `bucket` an object is the job of; None when it is none of ours."""
    return _source_of(bucket, object_name, JOBS_PREFIX, _JOB_FILE)


def notes_prefix(source: ObjectRef) -> str:
    return f"{NOTES_PREFIX}{source.name}/{source.generation}/"


def note(source: ObjectRef, number: int) -> str:
    return f"{notes_prefix(source)}{number:05d}.json"


def erasure(source: ObjectRef) -> str:
    """Give the mark of a source that was erased; it stands among the notes, as if on page 0."""
    return note(source, 0)


def note_of(bucket: str, object_name: str) -> ObjectRef | None:
    """Tell which source in `bucket` an object is a note on; None when it is none of ours."""
    return _source_of(bucket, object_name, NOTES_PREFIX, _NOTE_FILE)


def rejected(sha256: str) -> str:
    return f"rejected/{sha256}.json"


def _source_of(bucket: str, object_name: str, prefix: str, form: re.Pattern[str]) -> ObjectRef | None:
    match = form.fullmatch(object_name.removeprefix(prefix)) if object_name.startswith(prefix) else None
    if not match or len(match[1].encode()) > LONGEST_SOURCE_NAME_BYTES:
        return None
    return ObjectRef(bucket=bucket, name=match[1], generation=int(match[2]))
