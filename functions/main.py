"""The doors and nothing else: wiring, and error -> HTTP status, once.

Served by functions-framework, on Cloud Run and on a laptop alike; each deploy names another door. The
collaborators are built once, on first use, in the process that serves.
"""

import functools
import gc
import os
import random
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import functions_framework.aio
from cloudevents.http import CloudEvent
from starlette.requests import Request
from starlette.responses import Response

from bucketscribe import publisher, rejects, storage
from bucketscribe.clock import SystemClock
from bucketscribe.document_cache import DocumentCache
from bucketscribe.drawing import Drawing
from bucketscribe.errors import (
    BucketscribeError,
    CloudError,
    JunkMessage,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelTimeout,
    NewerMessage,
    OutOfTime,
    SettingsError,
)
from bucketscribe.fan_out import FanOut, fan_out
from bucketscribe.finish import Finisher
from bucketscribe.forget import forget
from bucketscribe.give_up import GiveUp, give_up
from bucketscribe.identity import identity_for
from bucketscribe.lightonocr_client import LightOnOCRClient
from bucketscribe.logs import Severity, log
from bucketscribe.messages import DELETED, FINALIZED, read_push, read_upload
from bucketscribe.model import Delivery
from bucketscribe.ports import Bucket, Topic
from bucketscribe.render import Limits
from bucketscribe.render_pool import RenderPool
from bucketscribe.resume import Resume, resume
from bucketscribe.settings import PROFILES, Settings
from bucketscribe.transcribe import Transcriber, transcribe
from bucketscribe.turns import Places, Turns

MIB = 1024 * 1024

# What another try can mend is refused; all else is made durable by the deeds and acknowledged.
STATUSES: tuple[tuple[type[BucketscribeError], int], ...] = (
    (NewerMessage, 503),
    (OutOfTime, 503),
    (LightOnOCRError, 503),
    (CloudError, 503),
)
UNKNOWN = 500

# What passes by itself; all else that is refused waits for somebody to mend it, and is logged as an error.
PASSING = (NewerMessage, OutOfTime, ModelBusy, ModelCold, ModelTimeout, CloudError)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Every collaborator of this process, built from the settings."""

    fan_out: FanOut
    transcriber: Transcriber
    give_up: GiveUp
    resume: Resume
    finisher: Finisher


@functools.cache
def house() -> House:
    """Build the collaborators, once. Raises SettingsError."""
    built = build(Settings.from_environment(os.environ))
    gc.freeze()  # what is there by now stays: looking through it again takes 0.1 s, and nobody is served
    return built


def build(settings: Settings) -> House:
    """Wire the house. Raises SettingsError when the OCR service's URL would carry a token in the clear."""
    topics = publisher.make_client()
    open_topic = functools.partial(publisher.open_topic, settings.project, client=topics)
    finisher = _finisher(settings, open_topic(settings.finished_topic))
    lanes = {"express": open_topic(settings.express_topic), "bulk": open_topic(settings.bulk_topic)}
    drawing = _drawing(settings, finisher.input_bucket)
    reader = LightOnOCRClient(
        settings.ocr_url, auth=identity_for(settings.ocr_url), connections=settings.pages_at_gpu
    )
    fanning_out = FanOut(
        settings=settings,
        finisher=finisher,
        cache=drawing.cache,
        renderer=drawing.renderer,
        reader=reader,
        **lanes,
    )
    giving_up = GiveUp(settings=settings, finisher=finisher, **lanes)
    return House(
        finisher=finisher,
        fan_out=fanning_out,
        transcriber=Transcriber(
            settings=settings,
            profiles=PROFILES,
            finisher=finisher,
            drawing=drawing,
            reader=reader,
            turns=Turns(places=settings.pages_at_gpu, waiting=settings.pages_waiting),
            clock=finisher.clock,
            chance=random.Random(),  # noqa: S311 - spreads pauses, guards nothing
        ),
        give_up=giving_up,
        resume=Resume(fan_out=fanning_out, give_up=giving_up),
    )


def _finisher(settings: Settings, finished: Topic) -> Finisher:
    client = storage.make_client()
    return Finisher(
        input_bucket=storage.open_bucket(settings.input_bucket, client=client),
        output_bucket=storage.open_bucket(settings.output_bucket, client=client),
        finished=finished,
        clock=SystemClock(),
        retention=settings.retention,
    )


def _drawing(settings: Settings, input_bucket: Bucket) -> Drawing:
    folder = Path(tempfile.mkdtemp(prefix="bucketscribe-"))
    return Drawing(
        input_bucket=input_bucket,
        cache=DocumentCache(input_bucket, folder, limit_bytes=settings.cache_mib * MIB),
        renderer=RenderPool(
            workers=settings.render_workers,
            seconds=settings.render_seconds,
            memory_mib=settings.render_mib,
            encoding=settings.image_encoding,
            limits=Limits(max_pages=settings.document_pages, max_pixels=settings.image_pixels),
        ),
        places=Places(places=settings.render_workers, where="at the render processes"),
    )


@functions_framework.aio.cloud_event
async def on_upload(event: CloudEvent) -> None:
    """Take in an uploaded object, or hear of a deleted one.

    An error here is a 500, and Eventarc sends the event again.
    """
    data = event.get_data()
    about: dict[str, object] = {}

    async def take_in() -> None:
        upload = read_upload(data, trace=str(event.get("traceparent") or event.get("id") or ""))
        about.update(source=str(upload.source), trace=upload.trace)
        if event["type"] == FINALIZED:
            await fan_out(upload, house().fan_out)
        elif event["type"] == DELETED:
            await forget(upload.source, house().finisher)
        else:
            raise JunkMessage("the event is neither of a finalized nor of a deleted object")

    try:
        await _do(take_in, repr(data).encode(), about)
    except BucketscribeError as error:
        # Without its cause: the framework prints the whole chain, and foreign errors' words with it.
        raise type(error)(str(error)) from None


@functions_framework.aio.http
async def on_page_task(request: Request) -> Response:
    """Read one page."""
    return await _answer(request, lambda delivery: transcribe(delivery, house().transcriber))


@functions_framework.aio.http
async def on_dead_letter(request: Request) -> Response:
    """End a page whose every delivery failed, or send it round once more."""
    return await _answer(request, lambda delivery: give_up(delivery, house().give_up))


@functions_framework.aio.http
async def sweep(_request: Request) -> Response:
    """Move what stopped moving. Whatever Cloud Scheduler sends with its call is not looked at."""

    async def do_it() -> None:
        await resume(house().resume)

    return await _answered(do_it, b"", {})


async def _answer(request: Request, deed: Callable[[Delivery], Awaitable[object]]) -> Response:
    """Do the deed for a pushed page task; the status says whether Pub/Sub shall send it again."""
    body = await request.body()
    about: dict[str, object] = {}

    async def do_it() -> None:
        delivery = read_push(body)
        task = delivery.task
        about.update(
            source=str(task.source), page=task.page, attempt=delivery.attempt, trace=task.trace or None
        )
        await deed(delivery)

    return await _answered(do_it, body, about)


async def _answered(
    deed: Callable[[], Awaitable[None]], message: bytes, about: Mapping[str, object]
) -> Response:
    """Do a deed as `_do` does; answer 204, or what its error says."""
    try:
        await _do(deed, message, about)
    except BucketscribeError as error:
        return Response(status_code=status_of(error))
    return Response(status_code=204)


async def _do(deed: Callable[[], Awaitable[None]], message: bytes, about: Mapping[str, object]) -> None:
    """Do a deed; set a junk message aside; log whatever else is wrong and raise it as an error of ours.

    `about` is filled in by the deed as it learns what the message is about. A foreign error's own words are
    not repeated anywhere: they may hold what stood on a page.
    """
    try:
        try:
            await deed()
        except JunkMessage as junk:
            sha256 = await rejects.keep(house().finisher.output_bucket, house().finisher.clock, message, junk)
            log(Severity.ERROR, "message rejected", code=junk.code, reason=str(junk), sha256=sha256, **about)
    except BucketscribeError as error:
        severity = Severity.WARNING if isinstance(error, PASSING) else Severity.ERROR
        log(severity, "refused, to be tried again", code=error.code, reason=str(error), **about)
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in frames]
        log(Severity.ERROR, "unknown error", error=type(error).__name__, where=where, **about)
        raise BucketscribeError(f"unknown error: {type(error).__name__}") from None


def status_of(error: BucketscribeError) -> int:
    """Tell the HTTP status that answers an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), UNKNOWN)


def check_settings() -> None:
    """Refuse to start with wrong settings, saying all that is wrong at once."""
    try:
        identity_for(Settings.from_environment(os.environ).ocr_url)
    except SettingsError as error:
        log(Severity.ERROR, "cannot start", code=error.code, reason=str(error))
        sys.exit(f"bucketscribe cannot start: {error}")


# functions-framework sets this before it loads the doors; whoever only imports them has not opened one.
if "FUNCTION_TARGET" in os.environ:
    check_settings()
