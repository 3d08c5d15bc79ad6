"""A model that reads any image there is, and always the same."""

from bucketscribe.model import PageText, Profile
from tests.fakes.scribe import answer


class AnyReader:
    """`ports.Reader` for pages that were really drawn; `largest` is the most bytes that it was given."""

    def __init__(self) -> None:
        self.largest = 0

    async def extract_text(
        self, image: bytes, *, profile: Profile, read_timeout_seconds: float, temperature: float | None = None
    ) -> PageText:
        self.largest = max(self.largest, len(image))
        return answer("what stands there")

    async def health(self) -> bool:
        return True
