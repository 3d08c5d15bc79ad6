"""Whether anything was lost: every document held against its nature and against what the front did to it."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bucketscribe import layout, render
from bucketscribe.model import Encoding, ObjectRef
from bucketscribe.render import Limits
from bucketscribe.settings import PROFILES
from infra.local.outbox import INPUT_BUCKET
from tests.chaos import faults
from tests.chaos.account import Given
from tests.chaos.documents import Document, Nature, Page, Version

_KINDS = {**faults.FAULTS, faults.LATE.name: faults.LATE}
_SOURCE_GONE = "source_gone"
_UNDRAWN = "page_render_failed"
_LONGEST_EDGE_PX = PROFILES["lightonocr-2-1b"].longest_edge_px


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A document with the generations its versions got, the newest last."""

    document: Document
    generations: tuple[int, ...]

    @property
    def source(self) -> ObjectRef:
        return ObjectRef(bucket=INPUT_BUCKET, name=self.document.name, generation=self.generations[-1])


@dataclass(slots=True)
class Verdict:
    """What is wrong, in sentences; and what came out, by status."""

    wrong: list[str] = field(default_factory=list)
    documents: Counter[str] = field(default_factory=Counter)
    pages: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Knows the outbox, what the front gave, for which (name, generation) a finished event came, and whose
    failed pages were read again; writes into the verdict.
    """

    outbox: Path
    given: Given
    announced: Set[tuple[str, int]]
    redone: Set[ObjectRef]
    verdict: Verdict

    def judge(self, dropped: Sequence[Dropped]) -> None:
        """Look at every document and at what is left in flight."""
        for each in dropped:
            self.verdict.wrong += [f"{each.source}: {sentence}" for sentence in self._document(each)]
        self.verdict.wrong += [f"{path.relative_to(self.outbox)} is left" for path in in_flight(self.outbox)]

    def _document(self, dropped: Dropped) -> Iterator[str]:
        body = record(self.outbox, dropped.source)
        if body is None:
            yield "no record of this version"
            return
        self.verdict.documents[body["status"]] += 1
        self.verdict.codes.update(error["code"] for error in body["errors"])
        if (dropped.source.name, dropped.source.generation) not in self.announced:
            yield "no finished event"
        if body["pages"]:
            yield from self._pages(dropped, body["pages"])
        else:
            yield from _unopened(dropped.document, body["errors"])

    def _pages(self, dropped: Dropped, told: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        pages = dropped.document.newest.pages
        if len(told) != len(pages):
            yield f"{len(told)} pages, and it has {len(pages)}"
            return
        for page, each in zip(pages, told, strict=True):
            self.verdict.pages[each["status"]] += 1
            fault = self._page(dropped, page, each)
            if fault:
                yield f"page {each['page']}: {fault}"
        failed = [each for each in told if each["status"] == "failed"]
        if dropped.source in self.redone and not all(each["edition"] for each in failed):
            yield "a page that failed was not read again, though that was asked for"

    def _page(self, dropped: Dropped, page: Page, told: Mapping[str, Any]) -> str | None:
        """Say what is wrong with a page's end; None when its nature and the front's faults allow it."""
        status, code = told["status"], (told["error"] or {}).get("code")
        if dropped.document.is_deleted and code == _SOURCE_GONE:
            return None
        if page.nature is Nature.BLANK:
            return None if status == "blank" else f"{status} ({code}), and it is blank"
        if page.nature is Nature.BROKEN:
            return None if code == _UNDRAWN else f"{status} ({code}), and it cannot be drawn"
        if status == "ok":
            text = (self.outbox / told["object"]).read_text().casefold()
            absent = [word for word in page.words if word not in text]
            return f"{absent} do not stand in {text!r}" if absent else None
        image = image_of(dropped.document.newest, told["page"])
        given = self.given.of(image)
        return None if may_fail(code, given) else f"{status} ({code}), and it was given {dict(given)}"


def _unopened(document: Document, errors: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    allowed = {document.newest.code} | ({_SOURCE_GONE} if document.is_deleted else set())
    codes = [error["code"] for error in errors]
    if len(codes) != 1 or codes[0] not in allowed:
        yield f"not opened: {codes}, and it could only be for {allowed}"


def may_fail(code: str | None, given: Counter[str]) -> bool:
    """Tell whether a page may end failed with this code after these faults.

    One answer that is final is enough. Of the others it takes two that count, one of them with this code.
    """
    own = {name: number for name, number in given.items() if name in _KINDS and _KINDS[name].code}
    fitting = [_KINDS[name] for name in own if _KINDS[name].code == code]
    return any(fault.is_final for fault in fitting) or (bool(fitting) and sum(own.values()) > 1)


def image_of(version: Version, page: int) -> str:
    """Draw a page as the functions do and name it as the front does: by its image's SHA-256."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(version.data)
        file.flush()
        image = render.draw(
            Path(file.name), page, longest_edge_px=_LONGEST_EDGE_PX, encoding=Encoding.AUTO, limits=Limits()
        )
    return sha256(image.data).hexdigest()


def record(outbox: Path, source: ObjectRef) -> dict[str, Any] | None:
    """Read the record of this version; None while there is none."""
    path = outbox / layout.document_record(source.name)
    body: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return body if body and int(body["source"]["generation"]) == source.generation else None


def in_flight(outbox: Path) -> list[Path]:
    """List jobs and notes."""
    return [
        path for prefix in ("jobs", "notes") for path in (outbox / prefix).rglob("*.json") if path.is_file()
    ]
