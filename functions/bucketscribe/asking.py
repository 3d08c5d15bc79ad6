"""Asking the model for one page until an answer may stand, within the calls that the page has.

An answer that was no good, or never came, costs one of the page's calls, over all deliveries: what was used
up is kept in a note beside the job whenever a delivery ends without ending the page, and the next one goes
on from there. A service that is busy, cold or away costs nothing here.
"""

from dataclasses import dataclass, replace

from bucketscribe import notes, quality
from bucketscribe.budget import Budget
from bucketscribe.errors import ModelRejected, ModelTimeout, OutOfTime, WriteConflict
from bucketscribe.model import ObjectRef, PageFault, PageImage, PageNote, PageText, Profile
from bucketscribe.ports import Bucket, Reader
from bucketscribe.settings import Settings

# Answers that another plain try would only repeat: the request itself is refused, the page is too dense.
_FINAL = frozenset({"model_rejected", "model_truncated"})

# For a note that says all calls are used up and not what for, which none of ours does.
_NO_CALL_LEFT = PageFault(code="model_empty", message="the page had no model call left")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of it: a text that may stand, when `fault` is None; else what the model last said, if it said
    anything, and what was wrong with it.
    """

    text: PageText | None
    fault: PageFault | None


def is_spent(note: PageNote, settings: Settings) -> bool:
    """Tell whether a page has used up its model calls, or those of them that may time out."""
    return note.calls >= settings.model_calls or note.timeouts >= settings.model_timeouts


class Asking:
    """One page's conversation with the model, over as many deliveries as it takes."""

    def __init__(
        self, source: ObjectRef, page: int, *, bucket: Bucket, settings: Settings, edition: int = 0
    ) -> None:
        self._source = source
        self._bucket = bucket
        self._settings = settings
        self._kept = notes.blank(page, edition)
        self._note = self._kept.note
        self._recalled = False

    @property
    def calls(self) -> int:
        """Tell how many model calls the page has used, as far as this delivery knows."""
        return self._note.calls

    async def recall(self) -> None:
        """Read the note that an earlier delivery may have left; of another edition only its place counts."""
        kept = await notes.read(self._source, self._note.page, self._note.edition, self._bucket)
        spent = self._spent()
        self._recalled = True
        self._kept = kept
        self._note = replace(
            kept.note,
            calls=kept.note.calls + spent.calls,
            timeouts=kept.note.timeouts + spent.timeouts,
            fault=spent.fault or kept.note.fault,
        )

    async def remember(self) -> None:
        """Keep what this delivery used up, if it did; beside what somebody else has kept meanwhile."""
        while self._note != self._kept.note and not self._kept.is_outdated:
            try:
                await notes.write(self._source, self._note, self._kept.generation, self._bucket)
            except WriteConflict:
                await self.recall()
            else:
                return

    async def ask(self, image: PageImage, reader: Reader, profile: Profile, budget: Budget) -> Answer:
        """Ask once, and plainly once more if the answer is no good and time is left.

        A first delivery may be of a copy, parked or resumed, of a task that has used up calls: before it asks
        a second time it looks. Raises OutOfTime, and the reader's errors that another delivery may mend.
        """
        text = None
        while not is_spent(self._note, self._settings):
            if budget.waitable() < 0:
                raise OutOfTime("no time is left for a model call in this delivery")
            text, fault = await self._call(image, reader, profile, budget)
            if fault is None:
                return Answer(text=text, fault=None)
            self._note = replace(self._note, fault=fault)
            if fault.code in _FINAL or (quality.is_faint(image) and fault.code in quality.NOTHING_READ):
                break
            if not self._recalled:
                await self.recall()
        return Answer(text=text, fault=self._note.fault or _NO_CALL_LEFT)

    async def _call(
        self, image: PageImage, reader: Reader, profile: Profile, budget: Budget
    ) -> tuple[PageText | None, PageFault | None]:
        """Make one call and judge it; what it cost is in the note, whatever comes of it."""
        calls = self._note.calls + 1
        try:
            text = await reader.extract_text(image.data, profile=profile, read_timeout_seconds=budget.left())
        except ModelRejected as error:
            self._note = replace(self._note, calls=calls)
            return None, PageFault(code=error.code, message=str(error))
        except ModelTimeout as error:
            fault = PageFault(code=error.code, message=str(error))
            self._note = replace(self._note, calls=calls, timeouts=self._note.timeouts + 1, fault=fault)
            if not is_spent(self._note, self._settings):
                raise
            return None, fault
        self._note = replace(self._note, calls=calls)
        return text, quality.fault(text)

    def _spent(self) -> PageNote:
        """Tell what this delivery has used up beyond what was kept."""
        kept = self._kept.note
        return PageNote(
            page=self._note.page,
            edition=self._note.edition,
            calls=self._note.calls - kept.calls,
            timeouts=self._note.timeouts - kept.timeouts,
            fault=self._note.fault if self._note.fault != kept.fault else None,
        )
