"""The outside as the deeds see it: one small Protocol for each thing that is not ours.

The walls (`storage`, `publisher`, `lightonocr_client`, `render_pool`) implement them, the tests' fakes
likewise; both pass the same contract tests. All coroutines; nothing here blocks the loop.
"""

from collections.abc import AsyncIterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bucketscribe.model import (
    DocumentFacts,
    Message,
    ObjectInfo,
    PageImage,
    PageText,
    Profile,
    StoredObject,
)


class Bucket(Protocol):
    """Objects by name. Every method may raise StorageUnavailable; absence is None, never an error."""

    @property
    def name(self) -> str: ...

    async def look(self, name: str) -> ObjectInfo | None:
        """Read the live version's metadata."""

    async def read(self, name: str) -> StoredObject | None:
        """Read the live version with its metadata, both of one generation."""

    async def body(self, name: str, generation: int) -> bytes | None:
        """Read just that generation's bytes, in one request; None when it is not there (any more)."""

    async def write(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Write when the live generation is `if_generation` (0: when there is none); return the new one.

        Raises WriteConflict when it is another one: nothing was changed.
        """

    async def upload(
        self,
        name: str,
        parts: AsyncIterable[bytes],
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Write what the parts make together, as `write` does, without ever holding all of it.

        The object stands when all has come, or not at all: what the parts raise is raised, and nothing was
        changed.
        """

    async def delete(self, name: str, *, if_generation: int | None = None) -> None:
        """Delete the live version if it is the given one; deleting what is gone already is no error."""

    async def names(self, prefix: str, *, start: str = "", end: str = "") -> list[str]:
        """List names in order, from `start` on (included) up to `end` (excluded; "" for no end)."""

    async def infos(self, prefix: str) -> list[ObjectInfo]:
        """List objects with their custom metadata, in order of their names."""

    async def download(self, name: str, generation: int, path: Path) -> bool:
        """Write just that generation's bytes to `path`; False when it is not there (any more)."""


class Topic(Protocol):
    """Where messages go."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all; return when every one is stored. Raises PublishFailed if any was not."""


class Reader(Protocol):
    """The OCR service."""

    async def extract_text(
        self, image: bytes, *, profile: Profile, read_timeout_seconds: float, temperature: float | None = None
    ) -> PageText:
        """Read one PNG or JPEG. Raises LightOnOCRError and nothing else."""

    async def health(self) -> bool:
        """Tell whether the service answers; never raises."""


class Renderer(Protocol):
    """Documents opened and drawn, out of harm's way."""

    async def inspect(self, path: Path) -> DocumentFacts:
        """Tell kind and number of pages. Raises DocumentError."""

    async def page(self, path: Path, page: int, longest_edge_px: int) -> PageImage:
        """Draw one page (from 1). Raises RenderError."""

    async def text_layer(self, path: Path, page: int) -> str:
        """Extract the PDF's own text of one page (from 1), "" when there is none. Raises RenderError."""


class Clock(Protocol):
    """Time, so that a simulator can run the deeds on a virtual one."""

    def now(self) -> datetime:
        """Aware UTC time of day, for records."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for budgets."""

    async def sleep(self, seconds: float) -> None: ...
