"""A model that reads what FakeRenderer drew: an image's words are its text, unless told otherwise."""

import asyncio
from collections import defaultdict, deque

from bucketscribe.errors import LightOnOCRError, ModelTimeout
from bucketscribe.model import PageText, Profile
from tests.fakes.clock import FakeClock

MODEL = "lightonai/LightOnOCR-2-1B"


def answer(markdown: str, *, finish_reason: str = "stop") -> PageText:
    """Make what the model says."""
    return PageText(
        markdown=markdown, finish_reason=finish_reason, prompt_tokens=10, completion_tokens=5, model=MODEL
    )


class FakeScribe:
    """`ports.Reader`, scripted page by page.

    `says[page]` holds a page's next answers, errors among them; after those, `always` if it is set, else the
    page's own words. A call takes `seconds[page]` of the clock's time; a ModelTimeout all that it may take.
    `asked` and `given_seconds` hold the calls made.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.says: defaultdict[int, deque[PageText | LightOnOCRError]] = defaultdict(deque)
        self.always: PageText | LightOnOCRError | None = None
        self.seconds: dict[int, float] = {}
        self.asked: list[str] = []
        self.given_seconds: list[float] = []
        self.woken = 0

    def will_say(self, page: int, *answers: PageText | LightOnOCRError) -> None:
        """Script the next answers for a page."""
        self.says[page].extend(answers)

    async def extract_text(
        self, image: bytes, *, profile: Profile, read_timeout_seconds: float, temperature: float | None = None
    ) -> PageText:
        words = image.decode()
        page = int(words.rpartition(" ")[2])
        self.asked.append(words)
        self.given_seconds.append(read_timeout_seconds)
        await asyncio.sleep(0)
        said = self.says[page].popleft() if self.says[page] else self.always or answer(words)
        late = isinstance(said, ModelTimeout)
        self._clock.advance(read_timeout_seconds if late else self.seconds.get(page, 0.0))
        if isinstance(said, LightOnOCRError):
            raise said
        return said

    async def health(self) -> bool:
        self.woken += 1
        return True
