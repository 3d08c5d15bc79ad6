"""Whether anything was lost: every document held against its nature and against what the front did to it."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Set
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
    """Knows the outbox, what the front gave, and which (name, generation) a finished event came for."""

    outbox: Path
    given: Given
    announced: Set[tuple[str, int]]

    def judge(self, dropped: list[Dropped]) -> Verdict:
        """Look at every document and at what is left in flight."""
        verdict = Verdict()
        for each in dropped:
            verdict.wrong += [f"{each.source}: {sentence}" for sentence in self._document(each, verdict)]
        verdict.wrong += [f"{path.relative_to(self.outbox)} is left" for path in in_flight(self.outbox)]
        return verdict

    def _document(self, dropped: Dropped, verdict: Verdict) -> Iterator[str]:
        body = record(self.outbox, dropped.source)
        if body is None:
            yield "no record of this version"
            return
        verdict.documents[body["status"]] += 1
        if (dropped.source.name, dropped.source.generation) not in self.announced:
            yield "no finished event"
        codes = [error["code"] for error in body["errors"]]
        version, is_deleted = dropped.document.newest, dropped.document.is_deleted
        if not body["pages"]:
            allowed = {version.code} | ({_SOURCE_GONE} if is_deleted else set())
            verdict.codes.update(codes)
            if len(codes) != 1 or codes[0] not in allowed:
                yield f"failed with {codes}, expected one of {allowed}"
            return
        if len(body["pages"]) != len(version.pages):
            yield f"{len(body['pages'])} pages, expected {len(version.pages)}"
            return
        for page, told in zip(version.pages, body["pages"], strict=True):
            verdict.pages[told["status"]] += 1
            if told["error"]:
                verdict.codes[told["error"]["code"]] += 1
            fault = self._page(dropped, page, told)
            if fault:
                yield f"page {told['page']}: {fault}"

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
            return (
                None if all(word in text for word in page.words) else f"{page.words} do not stand in {text!r}"
            )
        image = image_of(dropped.document.newest, told["page"])
        given = self.given.of(image)
        return None if may_fail(code, given) else f"{status} ({code}), and it was given {dict(given)}"


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
