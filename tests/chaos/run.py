"""One run: documents are dropped while programs die; then everything must have come to its end."""

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx

from infra.local import schedule, wiring
from infra.local.bucket_client import BucketClient
from infra.local.events import UploadEvents
from infra.local.logbook import Logbook
from infra.local.outbox import INPUT_BUCKET, Premises
from infra.local.supervisor import Supervisor
from tests.chaos import account, city, documents, redoing
from tests.chaos.city import City
from tests.chaos.documents import Document
from tests.chaos.journal import SqliteJournal
from tests.chaos.judge import Dropped, Judge, Verdict
from tests.chaos.options import Options
from tests.chaos.post import LATEST_COPY_SECONDS
from tests.chaos.redoing import Refused
from tests.chaos.story import Story
from tests.chaos.watch import Stalled, Watch
from tests.fakes.receiver import Receiver

_LONGEST_PAUSE_SECONDS = 1.0
_SWEEP_EVERY_SECONDS = 3.0
_DROPPED_AT_ONCE = 4


async def run(options: Options, root: Path, say: Callable[[str], None]) -> Story:
    """Run to the end and judge; everything is kept below `root`. Raises CannotRun."""
    premises = Premises(place=root / "outbox", root=root)
    premises.logs.mkdir(parents=True)
    chance = random.Random(options.seed)  # noqa: S311 - guards nothing
    story = Story(drawn=documents.draw(options.documents, chance))
    started = time.monotonic()
    with Logbook(premises.logs / "supervisor.log"):
        await _live(options, premises, story, chance, say)
    story.seconds = time.monotonic() - started
    _judge(premises, story)
    return story


async def _live(
    options: Options, premises: Premises, story: Story, chance: random.Random, say: Callable[[str], None]
) -> None:
    """Have the city stand until all has ended, or nothing moves any more."""
    quick = Supervisor(premises.logs, lambda *_: None, longest_pause_seconds=_LONGEST_PAUSE_SECONDS)
    async with (
        Receiver(envelopes=story.events) as finished,
        quick as supervisor,
        city.running(premises, options, supervisor, finished.url) as it,
    ):
        say(f"the city stands; its logs are in {premises.logs}")
        try:
            await _Run(it, supervisor, options=options, chance=chance, story=story, say=say).to_the_end()
        except* (Stalled, Refused) as group:
            story.verdict.wrong += [str(error) for error in group.exceptions]


def _judge(premises: Premises, story: Story) -> None:
    with SqliteJournal(city.journal(premises)) as journal:
        story.counted = journal.counted()
    story.given = account.read(city.account(premises))
    attributes = [envelope["message"]["attributes"] for envelope in story.events]
    announced = {(each["name"], int(each["generation"])) for each in attributes}
    Judge(
        outbox=premises.outbox,
        given=story.given,
        announced=announced,
        redone={each.source for each in story.redone},
        verdict=story.verdict,
    ).judge(story.dropped)
    story.verified = _verify(premises, story.verdict)


class _Run:
    """The parts of one run while the city stands."""

    def __init__(
        self,
        it: City,
        supervisor: Supervisor,
        *,
        options: Options,
        chance: random.Random,
        story: Story,
        say: Callable[[str], None],
    ) -> None:
        self._city = it
        self._supervisor = supervisor
        self._options = options
        self._chance = chance
        # Of its own: who dies does not hang on who is dropped when.
        self._fate = random.Random(f"{options.seed} kills")  # noqa: S311 - guards nothing
        self._story = story
        self._seen: set[tuple[str, int]] = set()
        self._places = asyncio.Semaphore(_DROPPED_AT_ONCE)
        self._watch = Watch(it.premises, story, stalled_seconds=options.stalled_seconds, say=say)

    async def to_the_end(self) -> None:
        """Drop everything and wait until it has ended. Raises Stalled, in a group."""
        door = wiring.url(self._city.ports.on_upload)
        async with (
            BucketClient(INPUT_BUCKET, self._city.ports.buckets) as bucket,
            asyncio.TaskGroup() as group,
        ):
            # Twice: every upload's event comes more than once.
            bridges = [
                UploadEvents(bucket, door, lambda new: self._seen.add((new.name, new.generation)))
                for _ in range(2)
            ]
            servants = [group.create_task(bridge.run()) for bridge in bridges]
            sweep = wiring.url(self._city.ports.sweep)
            servants.append(group.create_task(schedule.run(sweep, _SWEEP_EVERY_SECONDS)))
            if self._options.kill_seconds:
                servants.append(group.create_task(self._kill()))
            async with asyncio.TaskGroup() as dropping:
                watching = group.create_task(self._watch.until_all_has_ended())
                for document in self._story.drawn:
                    dropping.create_task(self._drop(document, bucket))
            await watching
            await self._redo()
            # Until the last copy has come, and has changed nothing.
            await self._watch.until_all_has_ended(quiet_seconds=LATEST_COPY_SECONDS)
            for servant in servants:
                servant.cancel()

    async def _kill(self) -> None:
        """Kill one program after the other, for ever."""
        mortals = self._options.mortals
        while True:
            await asyncio.sleep(self._fate.expovariate(1 / self._options.kill_seconds))
            [name] = self._fate.choices(list(mortals), list(mortals.values()))
            if self._supervisor.kill(name):
                self._story.kills[name] += 1

    async def _drop(self, document: Document, bucket: BucketClient) -> None:
        """Upload all versions; delete the document again once its event is on its way, if that is its lot."""
        await asyncio.sleep(self._chance.uniform(0, self._options.dropped_within_seconds))
        generations: list[int] = []
        for number, version in enumerate(document.versions):
            await asyncio.sleep(self._chance.uniform(0, 4) if number else 0)
            generations.append(await self._upload(document.name, version.data, bucket))
        dropped = Dropped(document=document, generations=tuple(generations))
        if document.is_deleted:
            while (document.name, generations[-1]) not in self._seen:  # noqa: ASYNC110 - a set cannot tell us
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._chance.uniform(0, 3))
            await self._delete(document.name)
        self._story.dropped.append(dropped)

    async def _redo(self) -> None:
        """Ask once more for what has failed in some documents."""
        outbox, most = self._city.premises.outbox, self._options.redone
        self._story.redone = redoing.choose(self._story.dropped, outbox, self._chance, most)
        for each in self._story.redone:
            await redoing.ask_again(each, self._city)

    async def _upload(self, name: str, data: bytes, bucket: BucketClient) -> int:
        async with self._places:
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                return await bucket.upload(Path(file.name), name)

    async def _delete(self, name: str) -> None:
        url = f"{wiring.url(self._city.ports.buckets)}/storage/v1/b/{INPUT_BUCKET}/o/{quote(name, safe='')}"
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.delete(url)).raise_for_status()


def _verify(premises: Premises, verdict: Verdict) -> str:
    """Have `bucketscribe verify` read everything again; what it finds wrong is added to the verdict."""
    command = Path(sys.executable).with_name("bucketscribe")
    done = subprocess.run(
        [command, "verify", premises.outbox, "--in", premises.inbox],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines() or ["it said nothing"]
    if done.returncode:
        verdict.wrong += [f"verify: {line}" for line in lines]
    return lines[-1]
