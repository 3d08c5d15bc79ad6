"""One run of `bucketscribe local`: the outbox is lent, the cloud started, files go in, results are shown.

What the words on the command line mean stands in `command`.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import DocumentStatus, ObjectRef
from infra.local import cloud, emulator, inbox, outbox, schedule, sweeping
from infra.local.bucket_client import BucketClient, Listed
from infra.local.cloud import LaptopCloud
from infra.local.display import Display
from infra.local.emulator import Installed
from infra.local.events import UploadEvents
from infra.local.inbox import Item
from infra.local.logbook import Logbook
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET, Premises
from infra.local.progress import Outcome, Progress, Trouble
from infra.local.supervisor import Supervisor

_UPLOADS_AT_ONCE = 4
_UPLOAD_TRIES = 5
_UPLOAD_PAUSE_SECONDS = 1.0
# What shells add to a signal's number to make an exit code of it.
_SIGNALLED = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for, as written on the command line."""

    files: tuple[str, ...]
    watch: Path | None
    outbox: Path
    ocr_url: str | None
    as_json: bool
    pubsub_emulator: bool


def run(options: Options) -> int:
    """Run to the end, or to a signal; return the exit code. Raises CannotRun."""
    return asyncio.run(_run(options))


async def _run(options: Options) -> int:
    """Turn the first signal into a cancellation; while everything stops, further ones change nothing."""
    work = asyncio.create_task(_Session(options).run())
    received: list[int] = []

    def stop(number: int) -> None:
        if not received:
            work.cancel()
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a nohup stays one
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    with suppress(asyncio.CancelledError):
        return await work
    return _SIGNALLED + (received[0] if received else signal.SIGINT)


class _Session:
    """The parts of one run, which know each other here and nowhere else."""

    def __init__(self, options: Options) -> None:
        self._options = options
        # In JSON, standard output belongs to the script; people read standard error.
        self._display = Display(Console(stderr=options.as_json, highlight=False), options.outbox)
        self._progress: Progress | None = None

    async def run(self) -> int:
        options = self._options
        outbox.keep_apart(options.outbox, options.watch)
        inbox.make_watched(options.watch)
        items = inbox.collect(options.files, options.outbox)
        googles = emulator.find() if options.pubsub_emulator else None
        try:
            with outbox.lent(options.outbox) as premises, Logbook(premises.logs / "supervisor.log"):
                await self._with_cloud(premises, items, googles)
        finally:
            self._report()
        return int(any(each.status is not DocumentStatus.COMPLETE for each in self._outcomes()))

    async def _with_cloud(self, premises: Premises, items: Sequence[Item], googles: Installed | None) -> None:
        """Start the cloud, work, and take everything down again."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        refused = partial(self._display.refused, logs=_from_here(premises.logs))
        self._display.say(f"Starting the laptop cloud; its logs are in {_from_here(premises.logs)}/")
        async with (
            Supervisor(premises.logs, self._display.restarted, premises.lock_descriptor) as supervisor,
            cloud.running(premises, self._options.ocr_url, supervisor, refused, googles) as laptop,
            BucketClient(INPUT_BUCKET, laptop.ports.buckets) as input_bucket,
            BucketClient(OUTPUT_BUCKET, laptop.ports.buckets) as output_bucket,
        ):
            sweeping.announce(premises, laptop.sweep_door)
            self._display.say(f"Ready after {loop.time() - started:.1f} s")
            self._progress = Progress(output_bucket, self._finished)
            self._display.open(self._progress)
            try:
                await self._work(laptop, input_bucket, self._progress, items)
            finally:
                self._display.close()

    async def _work(
        self, laptop: LaptopCloud, bucket: BucketClient, progress: Progress, items: Sequence[Item]
    ) -> None:
        """Drop the files in and wait for their ends; with a folder to watch, go on until cancelled."""
        events = UploadEvents(bucket, laptop.upload_door, lambda new: progress.track(_source(bucket, new)))
        uploader = Uploader(bucket, progress)
        async with asyncio.TaskGroup() as background:
            servants = [
                background.create_task(servant)
                for servant in (
                    events.run(),
                    progress.follow(),
                    _listen(laptop, progress),
                    schedule.run(laptop.sweep_door),
                )
            ]
            if self._options.watch:
                servants.append(background.create_task(self._watch(self._options.watch, uploader)))
            await asyncio.gather(*(uploader.upload(item) for item in items))
            if not self._options.watch:
                await progress.all_finished()
                for name in await progress.all_closed():
                    self._display.not_closed(name)
                for servant in servants:
                    servant.cancel()

    async def _watch(self, folder: Path, uploader: "Uploader") -> None:
        self._display.say(f"Watching {folder}/: drop documents there. Ctrl-C ends it.")
        async with asyncio.TaskGroup() as uploads:
            async for item in inbox.watch(folder):
                uploads.create_task(uploader.upload(item))

    def _finished(self, outcome: Outcome) -> None:
        self._display.finished(outcome)
        if self._options.as_json:
            _print(as_json(outcome, self._options.outbox))

    def _outcomes(self) -> list[Outcome]:
        documents = self._progress.documents.values() if self._progress else ()
        return [document.outcome for document in documents if document.outcome]

    def _report(self) -> None:
        if self._progress:
            unfinished = len(self._progress.unfinished())
            self._display.summarize(self._outcomes(), unfinished, stand_in=self._options.ocr_url is None)


class Uploader:
    """Drops files into the input bucket, a few at a time; what cannot be dropped ends as failed."""

    def __init__(self, bucket: BucketClient, progress: Progress) -> None:
        self._bucket = bucket
        self._progress = progress
        self._places = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def upload(self, item: Item) -> None:
        """Drop one file, trying again while the bucket server is away."""
        fault = inbox.name_fault(item.name)
        if fault:
            await self._give_up(item, fault)
            return
        async with self._places:
            for left in reversed(range(_UPLOAD_TRIES)):
                try:
                    generation = await self._bucket.upload(item.path, item.name)
                except FileNotFoundError:  # taken away again before its turn: then it is not meant
                    return
                except (OSError, StorageUnavailable) as error:
                    if not left or isinstance(error, OSError):
                        await self._give_up(item, str(error))
                        return
                    await asyncio.sleep(_UPLOAD_PAUSE_SECONDS)
                else:
                    self._progress.track(
                        ObjectRef(bucket=self._bucket.bucket, name=item.name, generation=generation)
                    )
                    return

    async def _give_up(self, item: Item, why: str) -> None:
        source = ObjectRef(bucket=self._bucket.bucket, name=item.name, generation=0)
        await self._progress.give_up(source, Trouble(page=None, code="upload_failed", message=why))


def as_json(outcome: Outcome, outbox: Path) -> str:
    """Encode an outcome for scripts: one line, in ASCII, paths below the outbox as the user wrote it."""
    errors = [{"page": each.page, "code": each.code, "message": each.message} for each in outcome.errors]
    line = {
        "name": outcome.name,
        "generation": str(outcome.generation),
        "status": outcome.status.value,
        "counts": dict(outcome.counts),
        "text": str(outbox / outcome.text) if outcome.text else None,
        "record": str(outbox / outcome.record) if outcome.record else None,
        "model": outcome.model,
        "errors": errors,
        "seconds": round(outcome.seconds, 3),
    }
    return json.dumps(line)


async def _listen(laptop: LaptopCloud, progress: Progress) -> None:
    """Close documents as their finished events come, as a consumer would."""
    while True:
        about = (await laptop.finished.get()).attributes
        generation = int(about["generation"])
        await progress.close(ObjectRef(bucket=about["bucket"], name=about["name"], generation=generation))


def _print(line: str) -> None:
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the script has read enough; spare Python's own complaint at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _source(bucket: BucketClient, new: Listed) -> ObjectRef:
    return ObjectRef(bucket=bucket.bucket, name=new.name, generation=new.generation)
