"""A project on Google Cloud, on the running loop's time: the real deeds, and a model of everything else."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from bucketscribe.errors import BucketscribeError, ModelBusy, ModelTimeout
from bucketscribe.fan_out import fan_out
from bucketscribe.give_up import give_up
from bucketscribe.messages import read_push
from bucketscribe.model import ObjectRef, PageText, Profile, Upload
from bucketscribe.resume import INTERVAL_SECONDS, resume
from bucketscribe.transcribe import transcribe
from infra.operate import capacity
from infra.operate.deployment import Deployment, Door
from tests.bench.flow.cloud_run import CloudRun
from tests.bench.flow.house import House, Outside, build
from tests.bench.flow.l4 import L4, Refused
from tests.bench.flow.measures import SAMPLE_SECONDS, Gauge, Sample
from tests.bench.flow.pubsub import OK, Letter, Subscription, envelope
from tests.bench.flow.scenarios import Drop, Scenario, work
from tests.bench.flow.timing import Timing
from tests.fakes.bucket import FakeBucket
from tests.fakes.line import seeded
from tests.fakes.renderer import paper
from tests.fakes.scribe import answer
from tests.fakes.topic import FakeTopic

_REFUSED = 503
_HEALTH_SECONDS = 0.05
_EVENT_AGAIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """What may be otherwise: a Pub/Sub whose window never narrows, no warm-up, two copies of every task."""

    is_harsh: bool = False
    warms_up: bool = True
    sends_twice: bool = False


class Reader:
    """`ports.Reader`: the GPU service, as the client in an instance sees it."""

    def __init__(self, gpus: CloudRun[L4], timing: Timing, *, warms_up: bool) -> None:
        self._gpus = gpus
        self._timing = timing
        self._warms_up = warms_up

    async def extract_text(
        self, image: bytes, *, profile: Profile, read_timeout_seconds: float, temperature: float | None = None
    ) -> PageText:
        words = image.decode()
        try:
            async with asyncio.timeout(read_timeout_seconds):
                await self._gpus.serve(lambda l4: l4.read(work(words)))
        except TimeoutError as error:
            raise ModelTimeout("no answer came in time") from error
        except Refused as refusal:
            raise ModelBusy(str(refusal)) from refusal
        return answer(words)

    async def health(self) -> bool:
        if not self._warms_up:
            return False
        try:
            await self._gpus.serve(lambda _: self._timing.sleep(_HEALTH_SECONDS))
        except Refused:
            return False
        return True


class World:
    """Everything that runs. `live` returns when all documents are answered, or the time is over."""

    def __init__(
        self, scenario: Scenario, deployment: Deployment, folder: Path, habits: Habits, timing: Timing
    ) -> None:
        self._scenario = scenario
        self._deployment = deployment
        self.timing = timing
        self._chance = seeded(7)
        self._dropped_pages = 0
        self.gpus = self._gpu_service()
        self.inbox, self.outbox, self._finished = FakeBucket("in"), FakeBucket("out"), FakeTopic()
        self.inbox.now = self.outbox.now = self.timing.now
        self.outbox.before_write = self._written
        self.lanes = [self._lane(habits) for _ in range(2)]
        self._outside = Outside(
            timing=self.timing,
            chance=self._chance,
            inbox=self.inbox,
            outbox=self.outbox,
            express=self.lanes[0],
            bulk=self.lanes[1],
            finished=self._finished,
            reader=Reader(self.gpus, self.timing, warms_up=habits.warms_up),
            folder=folder,
        )
        self.uploads = self._function(deployment.upload)
        self.workers = self._function(deployment.worker)
        self._caretaker = self._house(0)
        self.gauge = Gauge(gpus=deployment.gpus, room=deployment.gpus * deployment.gpu_concurrency)
        self.generations: dict[str, ObjectRef] = {}

    async def live(self, *, most_seconds: float) -> None:
        """Raises whatever went wrong in the background."""
        acts = [*map(self._upload, self._scenario.drops), self._sweep(), self._fail()]
        background = [asyncio.ensure_future(act) for act in acts]
        while not self.is_over() and self.timing.monotonic() < most_seconds:
            await self.timing.sleep(SAMPLE_SECONDS)
            self._sample()
            for task in background:
                if task.done():
                    task.result()
            for trouble in (trouble for lane in self.lanes for trouble in lane.troubles):
                raise RuntimeError("the model of Pub/Sub broke") from trouble
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.gpus.close(idle_seconds=capacity.GPU.idle_seconds)
        await self.uploads.close()
        await self.workers.close()

    def is_over(self) -> bool:
        return len(self.gauge.document_ends) == len(self._scenario.drops)

    # What happens.

    async def _upload(self, drop: Drop) -> None:
        await self.timing.sleep(drop.at_seconds)
        self._dropped_pages += drop.pages
        generation = self.inbox.put(drop.name, paper(drop.name, drop.pages), content_type="application/pdf")
        stored = self.inbox.get(drop.name)
        source = ObjectRef(bucket="in", name=drop.name, generation=generation)
        upload = Upload(
            source=source,
            size=stored.info.size if stored else 0,
            content_type="application/pdf",
            crc32c="",
            uploaded_at=self.timing.now(),
        )
        await self.timing.sleep(capacity.EVENT_SECONDS)
        while True:
            try:
                await self.uploads.serve(lambda house: fan_out(upload, house.fan_out))
            except (Refused, BucketscribeError):
                await self.timing.sleep(_EVENT_AGAIN_SECONDS)
            else:
                return

    async def _push(self, letter: Letter) -> int:
        delivery = read_push(envelope(letter))
        try:
            await self.workers.serve(lambda house: transcribe(delivery, house.transcriber))
        except Refused as refusal:
            return refusal.status
        except BucketscribeError:
            return _REFUSED
        return OK

    async def _bury(self, letter: Letter) -> int:
        await give_up(read_push(envelope(letter)), self._caretaker.give_up)
        return OK

    async def _sweep(self) -> None:
        while True:
            await self.timing.sleep(INTERVAL_SECONDS)
            await resume(self._caretaker.resume)

    async def _fail(self) -> None:
        if self._scenario.away:
            at, seconds = self._scenario.away
            await self.timing.sleep(at)
            for l4 in self.gpus.fail(seconds):
                l4.die()

    # What it is made of.

    def _gpu_service(self) -> CloudRun[L4]:
        given = self._deployment
        self.l4s: list[L4] = []

        def make(_number: int) -> L4:
            self.l4s.append(L4(self.timing, seats=given.gpu_seats, queued=given.gpu_queued))
            return self.l4s[-1]

        return CloudRun(
            timing=self.timing,
            make=make,
            instances=min(given.gpus, self._scenario.quota or given.gpus),
            concurrency=given.gpu_concurrency,
            starting=capacity.GPU,
        )

    def _function(self, door: Door) -> CloudRun[House]:
        return CloudRun(
            timing=self.timing,
            make=self._house,
            instances=door.instances,
            concurrency=door.concurrency,
            starting=capacity.FUNCTION,
        )

    def _house(self, _number: int) -> House:
        return build(self._deployment.settings, self._outside)

    def _lane(self, habits: Habits) -> Subscription:
        return Subscription(
            timing=self.timing,
            chance=seeded(3),
            deployment=self._deployment,
            endpoint=self._push,
            bury=self._bury,
            is_harsh=habits.is_harsh,
            copies=1 + habits.sends_twice,
        )

    # What is seen.

    def _written(self, name: str) -> None:
        """Note when a page or a document is first written, before its write is judged."""
        ends = {"pages": self.gauge.page_ends, "documents": self.gauge.document_ends}
        kind = name.partition("/")[0]
        if kind in ends and not name.endswith(".pdf.md"):
            ends[kind].setdefault(name, self.timing.monotonic())

    def _sample(self) -> None:
        ready = self.gpus.ready()
        sample = Sample(
            at_seconds=self.timing.monotonic(),
            gpus=len(ready),
            speed=sum(l4.speed for l4 in ready),
            left=self._dropped_pages - len(self.gauge.page_ends),
            is_away=self.gpus.is_away,
        )
        self.gauge.samples.append(sample)

    def latencies(self, express_pages: int) -> tuple[list[float], list[float]]:
        """Give the seconds from the upload to every page's object, and to every short document's record."""
        drops = {drop.name: drop for drop in self._scenario.drops}
        pages = [at - drops[name.split("/")[1]].at_seconds for name, at in self.gauge.page_ends.items()]
        documents = [
            (drops[name.removeprefix("documents/").removesuffix(".json")], at)
            for name, at in self.gauge.document_ends.items()
        ]
        return pages, [at - drop.at_seconds for drop, at in documents if drop.pages <= express_pages]
