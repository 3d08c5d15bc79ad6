"""A page task becomes a page object.

Look before work; wait for a turn; fetch and draw; look once more; ask the model; end the page in the
ledger; see whether the document is done. Only what another try can mend leaves here as an error.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bucketscribe import finish, ledger, markdown, quality
from bucketscribe.asking import Answer, Asking
from bucketscribe.budget import Budget
from bucketscribe.document_cache import DocumentCache
from bucketscribe.errors import (
    BucketscribeError,
    CloudError,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelUnavailable,
    NewerMessage,
    OutOfTime,
    RenderError,
    SourceGone,
    StorageUnavailable,
    Superseded,
)
from bucketscribe.finish import End, Finisher
from bucketscribe.logs import Severity, log
from bucketscribe.model import Delivery, PageFault, PageImage, PageRecord, PageStatus, Profile
from bucketscribe.ports import Clock, Reader, Renderer
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
    cache: DocumentCache
    renderer: Renderer
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
        if not await reading.is_done():
            try:
                ended = await reading.end()
            except Superseded as superseded:
                await finish.close(task.source, house.finisher)
                log(Severity.INFO, "document superseded", source=str(task.source), reason=str(superseded))
                return End.SUPERSEDED
            if ended:
                await _write(delivery, ended, house)
    return await finish.check(task.source, task.pages, task.page, house.finisher)


async def _write(delivery: Delivery, ended: _Ended, house: Transcriber) -> None:
    started = house.clock.monotonic()
    record = ended.record
    await ledger.write(house.finisher.output_bucket, delivery.task.source, record, ended.body)
    log(
        Severity.WARNING if record.status is PageStatus.FAILED else Severity.INFO,
        "page ended",
        source=str(delivery.task.source),
        page=record.page,
        status=record.status.value,
        code=record.error.code if record.error else None,
        attempt=delivery.attempt,
        calls=record.attempts,
        seconds={**record.seconds, "write": round(house.clock.monotonic() - started, 3)},
        trace=delivery.task.trace or None,
    )


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
            bucket=house.finisher.output_bucket,
            settings=house.settings,
        )
        self._image: PageImage | None = None
        self._seconds: dict[str, float] = {}

    async def is_done(self) -> bool:
        """Tell whether this page has ended already, in this edition or a later one."""
        found = await ledger.look(self._house.finisher.output_bucket, self._task.source, self._task.page)
        return found is not None and found.edition >= self._task.edition

    async def end(self) -> _Ended | None:
        """Bring the page to its end; None when somebody else did so meanwhile."""
        if self._delivery.attempt != 1:
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
        rank = Rank.of(self._task.lane)
        for pause in self._pauses():
            started = clock.monotonic()
            async with turns.place(rank, timeout_seconds=self._budget.waitable()):
                self._spent("wait", started)
                try:
                    return await self._in_turn()
                except (ModelBusy, ModelCold):
                    if self._budget.waitable() < pause:
                        raise
            started = clock.monotonic()
            await clock.sleep(pause)
            self._spent("wait", started)
            rank = Rank.AGAIN
        return None

    def _pauses(self) -> Iterator[float]:
        """Yield seconds without end: 1, 2, 4 and so on up to half a minute, each spread by half."""
        pause = 1.0
        while True:
            yield pause * (0.5 + self._house.chance.random())
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _in_turn(self) -> _Ended | None:
        self._image = image = self._image or await self._draw()
        if image.blank:
            return self._ended(PageStatus.BLANK)
        if await self.is_done():
            return None
        answer = await self._ask(image)
        if answer.text:
            body = await asyncio.to_thread(markdown.clean, answer.text.markdown)
            return self._ended(PageStatus.OK, body, answer=answer)
        fault = answer.fault or PageFault(code="model_empty", message="the page had no model call left")
        if quality.is_faint(image) and fault.code in quality.NOTHING_READ:
            return self._ended(PageStatus.BLANK, answer=answer, flags=(fault.code,))
        return self._failed(fault, answer)

    async def _draw(self) -> PageImage:
        started = self._house.clock.monotonic()
        async with self._house.cache.document(self._task.source) as path:
            self._spent("fetch", started)
            if path is None:
                raise await self._why_gone()
            started = self._house.clock.monotonic()
            try:
                edge = self._profile.longest_edge_px
                return await self._house.renderer.page(path, self._task.page, edge)
            finally:
                self._spent("render", started)

    async def _why_gone(self) -> BucketscribeError:
        """Tell a source that was replaced from one that was deleted, and from one that is still there."""
        source = self._task.source
        live = await self._house.finisher.input_bucket.look(source.name)
        if live is None:
            return SourceGone("the document was deleted before this page was read")
        if live.generation == source.generation:
            return StorageUnavailable(f"fetching {source} found nothing, though it is there: try again")
        return Superseded(f"a newer version than {source} is in the input bucket")

    async def _ask(self, image: PageImage) -> Answer:
        started = self._house.clock.monotonic()
        try:
            answer = await self._asking.ask(image, self._house.reader, self._profile, self._budget)
        except ModelUnavailable:
            self._spent("wait", started)
            raise
        self._spent("ocr", started)
        return answer

    async def _without_image(self, error: RenderError) -> _Ended:
        """Take the PDF's own text for a page that cannot be drawn, else end it failed."""
        try:
            body = markdown.clean(await self._text_layer())
        except RenderError:
            body = ""
        if body:
            return self._ended(PageStatus.TEXT_LAYER, body, flags=(error.code,))
        return self._failed(PageFault(code=error.code, message=str(error)))

    async def _text_layer(self) -> str:
        async with self._house.cache.document(self._task.source) as path:
            return await self._house.renderer.text_layer(path, self._task.page) if path else ""

    def _failed(self, fault: PageFault, answer: Answer | None = None) -> _Ended:
        body = markdown.failed_body(self._task.page, fault.code)
        return self._ended(PageStatus.FAILED, body, answer=answer, fault=fault)

    def _ended(
        self,
        status: PageStatus,
        body: str = "",
        *,
        answer: Answer | None = None,
        flags: tuple[str, ...] = (),
        fault: PageFault | None = None,
    ) -> _Ended:
        image, text = self._image, answer.text if answer else None
        record = PageRecord(
            page=self._task.page,
            status=status,
            edition=self._task.edition,
            label=image.label if image else None,
            width_px=image.width if image else None,
            height_px=image.height if image else None,
            rotation=image.rotation if image else 0,
            ink=round(image.ink, 6) if image else None,
            attempts=answer.calls if answer else 0,
            model=text.model if text else None,
            finish_reason=text.finish_reason if text else None,
            prompt_tokens=text.prompt_tokens if text else 0,
            completion_tokens=text.completion_tokens if text else 0,
            seconds={stage: round(spent, 3) for stage, spent in self._seconds.items()},
            flags=flags,
            error=fault,
        )
        return _Ended(record=record, body=body)

    def _spent(self, stage: str, started: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0.0) + self._house.clock.monotonic() - started
