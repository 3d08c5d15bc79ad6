"""The model and the renderer in all their moods. Each page of each version has a fate of its own, drawn once:
what it is, how often it crashes its renderer, what the model says of it before it reads it well.
"""

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from bucketscribe.errors import (
    AuthDenied,
    DocumentCorrupt,
    DocumentEncrypted,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelRejected,
    ModelTimeout,
    PageRenderCrashed,
    PageRenderFailed,
    PageRenderTimeout,
    RenderError,
)
from bucketscribe.model import DocumentFacts, Kind, PageImage, PageText, Profile
from tests.fakes.renderer import INK, SPECK
from tests.fakes.scribe import answer
from tests.simulator.plan import Mood

if TYPE_CHECKING:
    from tests.simulator.instances import Instance

_LOOP = "the same again " * 100
_NOTHING = ("", "  \n", "There is no content in the provided image.")
_RENDER_SECONDS = 20.0


@dataclass(slots=True, kw_only=True)
class PageFate:
    """What is the matter with a page. `says` are the model's next answers; after those it reads well."""

    ink: float = INK
    undrawable: type[RenderError] | None = None
    text_layer: str = ""
    unreadable: bool = False
    says: deque[PageText | LightOnOCRError] = field(default_factory=deque)
    readings: int = 0


@dataclass(slots=True, kw_only=True)
class DocumentFate:
    """What is the matter with a document; `bomb` takes the instance down that opens it."""

    cannot_open: str = ""
    bomb: bool = False


def page_fate(words: str, chance: random.Random, trouble: float) -> PageFate:
    if chance.random() >= trouble:
        return PageFate()
    match chance.randint(0, 5):
        case 0:
            return PageFate(
                ink=chance.choice((0.0, SPECK)), says=deque([answer(chance.choice(_NOTHING))] * 9)
            )
        case 1:
            kind = chance.choice((PageRenderCrashed, PageRenderFailed, PageRenderTimeout))
            layer = chance.choice(("", f"{words} of its own"))
            return PageFate(undrawable=kind, text_layer=layer, unreadable=chance.random() < 0.2)
        case _:
            return PageFate(says=deque(_nonsense(chance) for _ in range(chance.choice((1, 1, 2, 9)))))


def document_fate(chance: random.Random, trouble: float) -> DocumentFate:
    if chance.random() >= trouble / 4:
        return DocumentFate()
    what = chance.choice(("document_corrupt", "document_encrypted", "bomb"))
    return DocumentFate(bomb=True) if what == "bomb" else DocumentFate(cannot_open=what)


def _nonsense(chance: random.Random) -> PageText | LightOnOCRError:
    match chance.randint(0, 5):
        case 0:
            return answer(_LOOP)
        case 1:
            return answer("half of it", finish_reason="length")
        case 2:
            return answer("again", finish_reason="repetition")
        case 3:
            return ModelRejected("the server says no")
        case 4:
            return ModelTimeout("no answer came in time")
        case _:
            return answer(chance.choice(_NOTHING))


class Shelf(type(Path())):  # type: ignore[misc]
    """A folder without a disk: what is put there lies in `files`."""

    files: ClassVar[dict[Path, str]] = {}

    def mkdir(self, *_: object, **__: object) -> None:
        return

    def unlink(self, missing_ok: bool = False) -> None:
        self.files.pop(self, None)


class Machines:
    """`ports.Reader` and `ports.Renderer` of one instance, over one world's model and papers."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance
        self._world = instance.world

    async def extract_text(
        self, image: bytes, *, profile: Profile, read_timeout_seconds: float, temperature: float | None = None
    ) -> PageText:
        self._instance.must_live()
        words, world = image.decode(), self._world
        await self._mood()
        call = world.watch.call(words)
        fate = world.page_fate(words)
        said = fate.says.popleft() if fate.says else None
        seconds = world.chance.uniform(1, 20) * (20 if world.mood() is Mood.SLOW else 1)
        if isinstance(said, ModelTimeout) or seconds > read_timeout_seconds:
            await asyncio.sleep(read_timeout_seconds)
            world.watch.answered(call, "model_timeout")
            raise ModelTimeout("no answer came in time")
        await asyncio.sleep(seconds)
        if isinstance(said, LightOnOCRError):
            world.watch.answered(call, said.code)
            raise said
        if said is None:
            fate.readings += 1
            said = answer(f"{words} reading {fate.readings}")
        world.watch.answered(call, "answer", said)
        return said

    async def _mood(self) -> None:
        chance, mood = self._world.chance, self._world.mood()
        await asyncio.sleep(chance.uniform(0.01, 0.5))
        if mood is Mood.BUSY and chance.random() < 0.9:
            raise ModelBusy("the service is busy (429)")
        if mood is Mood.COLD:
            await asyncio.sleep(chance.uniform(1, 10))
            raise ModelCold("no instance is there yet")
        if mood is Mood.DENIES:
            raise AuthDenied("the service does not know us (403)")

    async def health(self) -> bool:
        self._instance.must_live()
        await asyncio.sleep(self._world.chance.uniform(0.01, 5))
        return self._world.mood() is Mood.WELL

    async def inspect(self, path: Path) -> DocumentFacts:
        title, pages = await self._open(path)
        fate = self._world.document_fate(title)
        if fate.bomb:
            await self._instance.die(f"opening {title} took all memory")
        if fate.cannot_open:
            kind = DocumentCorrupt if fate.cannot_open == DocumentCorrupt.code else DocumentEncrypted
            raise kind("this file cannot be opened")
        return DocumentFacts(kind=Kind.PDF, pages=pages)

    async def page(self, path: Path, page: int, longest_edge_px: int) -> PageImage:
        title, pages = await self._open(path)
        assert 1 <= page <= pages, f"page {page} of {pages}"
        words = f"{title} {page}"
        fate = self._world.page_fate(words)
        if fate.undrawable:
            await asyncio.sleep(_RENDER_SECONDS if fate.undrawable is PageRenderTimeout else 0.1)
            raise fate.undrawable(f"page {page} could not be drawn")
        blank = fate.ink == 0.0
        data = b"" if blank else words.encode()
        return PageImage(
            data=data, media_type="image/png", width=28, height=28, ink=fate.ink, blank=blank, label=None
        )

    async def text_layer(self, path: Path, page: int) -> str:
        title, _ = await self._open(path)
        fate = self._world.page_fate(f"{title} {page}")
        if fate.unreadable:
            raise RenderError(f"the text of page {page} could not be read")
        return fate.text_layer

    async def _open(self, path: Path) -> tuple[str, int]:
        self._instance.must_live()
        title, _, pages = Shelf.files[path].partition("\n")
        await asyncio.sleep(self._world.chance.uniform(0.01, 0.5))
        return title, int(pages)
