"""A page task becomes a page object.

Look before work; wait for a turn; fetch and draw; look once more; ask the model; end the page in the
ledger; see whether the document is done. Only what another try can mend leaves here as an error.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bucketscribe import finish, ledger, markdown, quality
from bucketscribe.asking import Answer, Asking
from bucketscribe.budget import Budget
from bucketscribe.drawing import Drawing
from bucketscribe.errors import (
    CloudError,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelUnavailable,
    NewerMessage,
    OutOfTime,
    RenderError,
    SourceGone,
    Superseded,
)
from bucketscribe.finish import End, Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.model import (
    Delivery,
    PageFault,
    PageImage,
    PageRecord,
    PageStatus,
    PageText,
    Profile,
)
from bucketscribe.ports import Clock, Reader
from bucketscribe.reopen import make_way
from bucketscribe.settings import Settings
from bucketscribe.turns import Rank, Turns

# The longest pause between two askings of a service that is busy or starting, before chance spreads it.
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcriber:
    """What transcribing needs. `chance` spreads the pauses of pages that were refused together."""

    settings: Settings
    profiles: Mapping[str, Profile]
    finisher: Finisher
    drawing: Drawing
    reader: Reader
    turns: Turns
    clock: Clock
    chance: random.Random


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a page ended, and the body of its object."""

    record: PageRecord
    body: str


async def transcribe(delivery: Delivery, house: Transcriber) -> End:
    """End one page, once, and finish the document if it was the last.

    Raises JunkMessage for another bucket's page; NewerMessage, OutOfTime, LightOnOCRError or CloudError when
    another delivery may help.
    """
    task = delivery.task
    house.finisher.refuse_strangers(task.source)
    profile = house.profiles.get(task.profile)
    if profile is None:
        raise NewerMessage(f"this worker does not know profile {task.profile!r}: a newer one will")
    budget = Budget(
        house.clock,
        seconds=house.settings.page_seconds,
        reserve_seconds=house.settings.call_reserve_seconds,
    )
    flight = (task.source, task.page)
    async with house.turns.flight(flight, timeout_seconds=budget.waitable()):
        reading = _Reading(delivery, profile, budget, house)
        standing = await reading.standing()
        if standing is None:
            if await finish.erase_if_forgotten(task.source, house.finisher, once=True):
                return End.CLOSED
            try:
                ended = await reading.end()
            except Superseded as superseded:
                await finish.close(task.source, house.finisher)
                log(Severity.INFO, "document superseded", source=str(task.source), reason=str(superseded))
                return End.SUPERSEDED
            standing = await _write(delivery, ended, house) if ended else None
    return await finish.check_page(task, standing, house.finisher)


async def _write(delivery: Delivery, ended: _Ended, house: Transcriber) -> PageRecord:
    """Write the page into the ledger; return the record that stands there then."""
    started = house.clock.monotonic()
    record = ended.record
    source, bucket = delivery.task.source, house.finisher.output_bucket
    standing = await ledger.write(
        bucket, source, record, ended.body, before_late=lambda: make_way(source, record.page, bucket)
    )
    log(
        Severity.WARNING if record.status is PageStatus.FAILED else Severity.INFO,
        "page ended",
        source=str(source),
        page=record.page,
        status=record.status.value,
        code=record.error.code if record.error else None,
        attempt=delivery.attempt,
        calls=record.attempts,
        seconds={**record.seconds, "write": round(house.clock.monotonic() - started, 3)},
        trace=delivery.task.trace or None,
    )
    return standing


class _Reading:
    """One delivery's work on one page: what it has so far, and how long the stages took."""

    def __init__(self, delivery: Delivery, profile: Profile, budget: Budget, house: Transcriber) -> None:
        self._delivery = delivery
        self._task = delivery.task
        self._profile = profile
        self._budget = budget
        self._house = house
        self._asking = Asking(
            self._task.source,
            self._task.page,
            edition=self._task.edition,
            bucket=house.finisher.output_bucket,
            settings=house.settings,
        )
        self._seen: PageImage | None = None
        self._seconds: dict[str, float] = {}

    async def standing(self) -> PageRecord | None:
        """Tell how this page has ended already, in this edition or a later one; None while it has not."""
        return await ledger.ended(self._house.finisher.output_bucket, self._task)

    async def end(self) -> _Ended | None:
        """Bring the page to its end; None when somebody else did so meanwhile."""
        if self._delivery.attempt != 1 or self._task.again:
            await self._asking.recall()
        try:
            return await self._turn_after_turn()
        except RenderError as error:
            return await self._without_image(error)
        except SourceGone as error:
            return self._failed(PageFault(code=error.code, message=str(error)))
        except (OutOfTime, LightOnOCRError, CloudError):
            await self._asking.remember()
            raise

    async def _turn_after_turn(self) -> _Ended | None:
        """Ask whenever the turn comes, until the service takes the page or no time is left for a call."""
        clock, turns = self._house.clock, self._house.turns
        rank, pauses = self._house.drawing.rank(self._task), self._pauses()
        while True:
            started = clock.monotonic()
            async with turns.place(rank, timeout_seconds=self._budget.waitable()):
                self._spend("wait", clock.monotonic() - started)
                try:
                    return await self._in_turn()
                except (ModelBusy, ModelCold):
                    pause = next(pauses)
                    if self._budget.waitable() < pause:
                        raise
            self._spend("wait", pause)
            await clock.sleep(pause)
            rank = Rank.AGAIN

    def _pauses(self) -> Iterator[float]:
        """Yield seconds without end: 1, 2, 4 and so on up to half a minute, each spread by half."""
        pause = 1.0
        while True:
            yield pause * (0.5 + self._house.chance.random())
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _in_turn(self) -> _Ended | None:
        """Draw and ask. The image lives no longer than the place is held: drawing again is cheap, and so an
        instance never holds more images than it has places.
        """
        image = await self._house.drawing.draw(
            self._task,
            self._profile.longest_edge_px,
            budget=self._budget,
            clock=self._house.clock.monotonic,
            spend=self._spend,
        )
        self._seen = replace(image, data=b"")
        if image.blank:
            return self._ended(PageStatus.BLANK)
        if await self.standing():
            return None
        answer = await self._ask(image)
        if answer.text and not answer.fault:
            body = await asyncio.to_thread(markdown.clean, answer.text.markdown)
            return self._ended(PageStatus.OK, body, text=answer.text)
        fault = answer.fault
        if fault and fault.code in quality.NOTHING_READ and quality.is_faint(image):
            return self._ended(PageStatus.BLANK, text=answer.text, flags=(fault.code,))
        return self._failed(fault, answer.text)

    async def _ask(self, image: PageImage) -> Answer:
        started = self._house.clock.monotonic()
        stage = "ocr"
        try:
            return await self._asking.ask(image, self._house.reader, self._profile, self._budget)
        except ModelUnavailable:
            stage = "wait"
            raise
        finally:
            self._spend(stage, self._house.clock.monotonic() - started)

    async def _without_image(self, error: RenderError) -> _Ended:
        """Take the PDF's own text for a page that cannot be drawn, else end it failed."""
        try:
            text = await self._house.drawing.text_layer(self._task, budget=self._budget)
        except (RenderError, SourceGone):
            text = ""
        body = await asyncio.to_thread(markdown.clean, text)
        if body:
            return self._ended(PageStatus.TEXT_LAYER, body, flags=(error.code,))
        return self._failed(PageFault(code=error.code, message=str(error)))

    def _failed(self, fault: PageFault | None, text: PageText | None = None) -> _Ended:
        fault = fault or PageFault(code="model_empty", message="the page had no model call left")
        body = markdown.failed_body(self._task.page, fault.code)
        return self._ended(PageStatus.FAILED, body, text=text, fault=fault)

    def _ended(
        self,
        status: PageStatus,
        body: str = "",
        *,
        text: PageText | None = None,
        flags: tuple[str, ...] = (),
        fault: PageFault | None = None,
    ) -> _Ended:
        seen = self._seen
        record = PageRecord(
            page=self._task.page,
            status=status,
            edition=self._task.edition,
            label=seen.label if seen else None,
            width_px=seen.width if seen else None,
            height_px=seen.height if seen else None,
            rotation=seen.rotation if seen else 0,
            ink=round(seen.ink, 6) if seen else None,
            attempts=self._asking.calls,
            model=text.model if text else None,
            finish_reason=text.finish_reason if text else None,
            prompt_tokens=text.prompt_tokens if text else 0,
            completion_tokens=text.completion_tokens if text else 0,
            seconds={stage: round(spent, 3) for stage, spent in self._seconds.items()},
            flags=flags,
            error=fault,
        )
        return _Ended(record=record, body=body)

    def _spend(self, stage: str, seconds: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
