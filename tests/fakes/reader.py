"""An OCR service in memory, with moods.

reader = FakeReader(busy, busy, reads("# Page"))     # one mood a call; the last one stays
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bucketscribe.errors import AuthDenied, ModelBusy, ModelCold, ModelRejected, ModelTimeout
from bucketscribe.model import PageText, Profile
from bucketscribe.settings import PROFILES

Mood = Callable[["Call"], PageText]

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, as the reader was asked."""

    image: bytes
    profile: Profile
    read_timeout_seconds: float
    temperature: float | None


def reads(markdown: str, *, finish_reason: str = "stop") -> Mood:
    """Answer every page with this text."""

    def mood(call: Call) -> PageText:
        return PageText(
            markdown=markdown,
            finish_reason=finish_reason,
            prompt_tokens=2160,
            completion_tokens=len(markdown) // 4 + 1,
            model=call.profile.model,
        )

    return mood


def reads_with(text_of: Callable[[bytes], str]) -> Mood:
    """Answer with what `text_of` makes of the image."""
    return lambda call: reads(text_of(call.image))(call)


def busy(_: Call) -> PageText:
    raise ModelBusy("HTTP 429, no place is free")


def cold(_: Call) -> PageText:
    raise ModelCold("HTTP 502, no instance answers yet")


def denies(_: Call) -> PageText:
    raise AuthDenied("HTTP 403, the caller is not let in")


def times_out(_: Call) -> PageText:
    raise ModelTimeout("ReadTimeout, no answer within the read timeout")


def rejects(_: Call) -> PageText:
    raise ModelRejected("HTTP 400, the server has read the request and refuses it")


cut_short = reads("| a | b |\n|---|---|\n| 1 |", finish_reason="length")
looping = reads("of the of the of the", finish_reason="repetition")
looping_unseen = reads("# A page\n\n" + "of the " * 200, finish_reason="length")
empty = reads("")
blank_talk = reads("There is no content in the provided image.")


class FakeReader:
    """`ports.Reader` in memory: a mood a call, the last one stays; `calls` holds what was asked.

    While `gate` is not set, calls wait in the model; `most_at_once` tells how many ever did together.
    """

    def __init__(self, *moods: Mood) -> None:
        self._moods = list(moods) or [reads("A page of text.")]
        self.calls: list[Call] = []
        self.is_well = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.most_at_once = 0
        self._at_once = 0

    async def extract_text(
        self,
        image: bytes,
        *,
        profile: Profile = PROFILES["lightonocr-2-1b"],
        read_timeout_seconds: float = 300.0,
        temperature: float | None = None,
    ) -> PageText:
        if not image.startswith(_MAGIC):
            raise ModelRejected(f"{len(image)} bytes that are neither PNG nor JPEG")
        call = Call(
            image=image, profile=profile, read_timeout_seconds=read_timeout_seconds, temperature=temperature
        )
        self.calls.append(call)
        mood = self._moods.pop(0) if len(self._moods) > 1 else self._moods[0]
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.gate.wait()
            return mood(call)
        finally:
            self._at_once -= 1

    async def health(self) -> bool:
        return self.is_well
