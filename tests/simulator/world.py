"""One run: people act, the weather passes, the post delivers, the sweep goes round, until all is at rest."""

import asyncio
import contextlib
import json
import random
from collections.abc import Coroutine, Iterator
from contextvars import Context
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bucketscribe import layout, records
from bucketscribe.errors import BucketscribeError
from bucketscribe.messages import DELETED, FINALIZED
from bucketscribe.model import Message, ObjectRef, Retention, StoredObject
from bucketscribe.redo import Wish, redo
from tests.fakes.bucket import FakeBucket
from tests.fakes.clock import EPOCH
from tests.fakes.line import InstanceDied, seeded
from tests.fakes.renderer import paper
from tests.simulator import invariants, plan
from tests.simulator.instances import INSTANCE, Instance, Service, adopt, context_of, doors_open, event
from tests.simulator.loop import StandsStill, VirtualLoop
from tests.simulator.machines import DocumentFate, PageFate, Shelf, document_fate, page_fate
from tests.simulator.plan import Act, Deed, Fate, Mood
from tests.simulator.post import JUNK, Letter, Post
from tests.simulator.watch import Version, Watch

SWEEP_SECONDS = 600.0
_CHANGES = frozenset({"write", "delete", "publish"})
_NOWHERE = ObjectRef(bucket="in", name="", generation=0)


class WatchedBucket(FakeBucket):
    """A bucket whose changes are facts."""

    def __init__(self, name: str, world: "World") -> None:
        super().__init__(name)
        self._watch = world.watch
        self.now = world.now

    def put(self, name: str, data: bytes, **more: Any) -> int:
        before = self.get(name)
        generation = super().put(name, data, **more)
        if self.name == "out":
            self._watch.written(before, self.get(name))
        return generation

    def drop(self, name: str) -> None:
        super().drop(name)
        self._watch.note("bucket", f"{name} is deleted")

    async def download(self, name: str, generation: int, path: Path) -> bool:
        stored = self.get(name)
        if stored is None or stored.info.generation != generation:
            return False
        self._watch.fetched(name, generation)
        Shelf.files[path] = stored.data.decode()
        return True


class World:
    """All there is in one run; also its clock, as `ports.Clock`."""

    def __init__(self, seed: int) -> None:
        self.chance = seeded(seed)
        self.plan = plan.draw(seed, self.chance)
        self.loop = VirtualLoop(self.chance)
        self.loop.born = adopt
        self.loop.at_work = self._at_work
        self.watch = Watch(world=self)
        self.inbox, self.outbox = WatchedBucket("in", self), WatchedBucket("out", self)
        self.services = {door: Service(self, door, self.plan.instances) for door in (*plan.DOORS, "sweep")}
        self.post = Post(self)
        self.at_rest = False
        self._underway = 0
        self._background: list[asyncio.Task[None]] = []
        self._fates: dict[str, PageFate] = {}
        self._documents: dict[str, DocumentFate] = {}

    # Time.

    def now(self) -> datetime:
        return self.moment(self.loop.time())

    def moment(self, seconds: float) -> datetime:
        """Give the time of day at a time of the loop."""
        return EPOCH + timedelta(seconds=seconds)

    def monotonic(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # The weather.

    def happens(self, chance: float, what: str = "post") -> bool:
        """Tell whether something goes wrong now; nothing does when it is calm."""
        if not chance or self.loop.time() >= self.plan.calm or self.chance.random() >= chance:
            return False
        self.watch.faults[what] += 1
        return True

    def fate(self, verb: str) -> Fate:
        self.watch.requests[verb] += 1
        now = self.loop.time()
        if any(spell.start <= now < spell.end for spell in self.plan.storage):
            self.watch.faults["storage down"] += 1
            return Fate.REFUSED
        if self.happens(self.plan.death_rate, "death at a request"):
            return self.chance.choice((Fate.DIED_BEFORE, Fate.DIED_AFTER))
        if self.breaks():
            kinds = [Fate.REFUSED, Fate.LOST]
            return self.chance.choice([*kinds, Fate.LATE] if verb in _CHANGES else kinds)
        return Fate.WELL

    def _at_work(self) -> None:
        """Let an instance die while a thread works for it, between two requests."""
        instance = INSTANCE.get(None)
        if instance and self.happens(self.plan.death_rate, "death at work"):
            instance.kill("at work")

    def breaks(self) -> bool:
        return self.happens(self.plan.fault_rate, "request")

    def latency(self) -> float:
        return self.plan.latency_seconds * self.chance.random()

    def mood(self) -> Mood:
        now = self.loop.time()
        return next((spell.mood for spell in self.plan.gpu if spell.start <= now < spell.end), Mood.WELL)

    def page_fate(self, words: str) -> PageFate:
        if words not in self._fates:
            self._fates[words] = page_fate(words, self._chance_of(words), self.plan.trouble)
        return self._fates[words]

    def document_fate(self, title: str) -> DocumentFate:
        if title not in self._documents:
            self._documents[title] = document_fate(self._chance_of(title), self.plan.trouble)
        return self._documents[title]

    def _chance_of(self, words: str) -> random.Random:
        """Give a page or document a chance of its own: its fate does not hang on who comes first."""
        return random.Random(f"{self.plan.seed} {words}")  # noqa: S311 - mixes up tests, guards nothing

    # What people do.

    async def _act(self, act: Act) -> None:
        await asyncio.sleep(act.at)
        self.watch.note("people", f"{act.deed.value} {act.name} {act.pages or ''}")
        match act.deed:
            case Deed.DROP:
                self._drop(act.name, act.pages)
            case Deed.DELETE:
                self._delete(act.name)
            case Deed.REDO:
                await self._redo(act)
            case Deed.JUNK:
                self._send_junk(act.name)
            case Deed.SWEEP:
                await self._sweep()
            case Deed.KILL:
                living = [each for service in self.services.values() for each in service.living()]
                if living:
                    self.chance.choice(living).kill("by accident")

    def _drop(self, name: str, pages: int) -> None:
        before = self.inbox.get(name)
        title = f"{name}/v{len(self.watch.versions) + 1}"
        self.inbox.put(name, paper(title, pages) if pages else b"", content_type="application/pdf")
        stored = self.inbox.get(name)
        source = ObjectRef(bucket="in", name=name, generation=stored.info.generation)
        self.watch.versions.append(Version(source=source, title=title, pages=pages))
        self._tell(FINALIZED, stored)
        if before:
            self._tell(DELETED, before)

    def _delete(self, name: str) -> None:
        stored = self.inbox.get(name)
        if stored:
            self.inbox.drop(name)
            self.watch.version(name, stored.info.generation).gone_at = self.loop.time()
            self._tell(DELETED, stored)

    async def _redo(self, act: Act) -> None:
        """Have an operator wish for pages, over a line like any other, and be content."""
        operator = Instance(self, "operator", 1)
        books = operator.house.finisher
        wish = Wish(pages=frozenset({act.pages}) if act.pages else None, poor=act.poor)
        wishing = redo(act.name, wish, books.input_bucket, books.output_bucket, self)
        task = self.loop.create_task(wishing, context=context_of(operator))
        await asyncio.wait({task})
        what = "is taken back by death" if task.cancelled() else repr(task.exception() or "taken")
        self.watch.note("people", f"redo {act.name}: {what}")
        if not task.cancelled() and not isinstance(task.exception(), BucketscribeError | InstanceDied | None):
            task.result()

    def _send_junk(self, door: str) -> None:
        event_data = {"bucket": "in", "generation": "seven"}
        content = event(FINALIZED, 0, event_data) if door == "on_upload" else b'{"schema": "a stranger\'s"}'
        self.post.send(door, content, _NOWHERE, kind=JUNK)

    def _tell(self, kind: str, stored: StoredObject) -> None:
        """Send Eventarc's event, twice at times."""
        source = ObjectRef(bucket="in", name=stored.info.name, generation=stored.info.generation)
        data = {
            "bucket": "in",
            "name": source.name,
            "generation": str(source.generation),
            "size": str(stored.info.size),
            "contentType": stored.info.content_type,
            "crc32c": stored.info.crc32c,
            "timeCreated": stored.info.updated_at.isoformat(),
        }
        for _ in range(2 if self.happens(self.plan.habits.twice) else 1):
            content = event(kind, len(self.watch.versions), data)
            self.post.send("on_upload", content, source, kind=kind.rpartition(".")[2])

    # What goes on by itself.

    def published(self, topic: str, message: Message, letter: Letter) -> None:
        if topic == "finished":
            self.watch.announced(message)
            return
        task = json.loads(message.data)
        place = task["source"]
        source = ObjectRef(bucket="in", name=place["name"], generation=int(place["generation"]))
        self.watch.published(source, task, letter)
        self.post.send("on_page_task", message.data, source, page=task["page"])

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something go on in the world, outside all instances."""

        async def counted() -> None:
            with self.busy():
                await work

        task = self.loop.create_task(counted(), context=Context())
        task.add_done_callback(lambda _: work.close())  # if the world ends before it has begun
        self._background.append(task)

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        self._underway += 1
        try:
            yield
        finally:
            self._underway -= 1

    async def _sweep(self) -> None:
        letter = Letter(number=0, door="sweep", content=b"", source=_NOWHERE, started=self.loop.time())
        self.post.tries.append(letter)
        task = self.services["sweep"].knock(letter)
        await asyncio.wait({task})
        letter.ended = self.loop.time()

    async def _live(self) -> None:
        for act in self.plan.acts:
            self.begin(self._act(act))
        while self.loop.time() < self.plan.deadline:
            await asyncio.sleep(SWEEP_SECONDS)
            self._see_failures()
            if self.in_flight():
                self.begin(self._sweep())
            elif not self._underway:
                self.at_rest = True
                return

    def _see_failures(self) -> None:
        """Let no trouble of the world's own go unseen."""
        for task in self._background:
            if task.done():
                task.result()
        self._background = [task for task in self._background if not task.done()]

    # What can be seen.

    def in_flight(self) -> list[str]:
        return [name for name in self.outbox.listing if name.startswith(("jobs/", "notes/"))]

    def newest(self) -> list[Version]:
        """Give each document's newest version."""
        return list({version.source.name: version for version in self.watch.versions}.values())

    def is_superseded(self, source: ObjectRef) -> bool:
        return any(
            each.source.name == source.name and each.source.generation > source.generation
            for each in self.watch.versions
        )

    def is_forgotten(self, name: str) -> bool:
        """Tell whether a document is deleted and nothing of it shall stay."""
        return self.plan.settings.retention is Retention.FOLLOW and self.inbox.get(name) is None

    def is_erased(self, version: Version) -> bool:
        return self.plan.settings.retention is Retention.FOLLOW and version.gone_at is not None

    def record(self, name: str) -> dict[str, Any] | None:
        stored = self.outbox.get(layout.document_record(name))
        return json.loads(stored.data) if stored else None

    def record_generation(self, name: str) -> int:
        stored = self.outbox.get(layout.document_record(name))
        return records.published_generation(stored.info if stored else None)

    def run(self) -> None:
        """Live, then look around."""
        try:
            with doors_open(self):
                self._live_and_see()
                for invariant in invariants.AT_REST:
                    self.watch.judge(invariant)
                self._end()
        finally:
            self.loop.close()
            Shelf.files.clear()

    def _live_and_see(self) -> None:
        try:
            self.loop.run_until_complete(self._live())
            self._see_failures()
        except StandsStill as error:
            self.watch.violate("everything_ends", str(error))

    def _end(self) -> None:
        """Cancel what never came to rest."""
        left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        for service in self.services.values():
            for instance in service.living():
                instance.dead = True
        for task in left:
            task.cancel()
        self.loop.steps, self.loop.enough = 0, False
        self.watch.is_hasty = False
        if left:
            with contextlib.suppress(StandsStill):  # said already, by the life before this end
                self.loop.run_until_complete(asyncio.wait(left))


def run(seed: int) -> World:
    """Run one seed."""
    world = World(seed)
    world.run()
    return world
