"""The processes behind a door, wired as main wires them: killed with all they remember, and replaced."""

import asyncio
import base64
import contextlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from cloudevents.http import CloudEvent

from bucketscribe.document_cache import DocumentCache
from bucketscribe.drawing import Drawing
from bucketscribe.errors import BucketscribeError
from bucketscribe.fan_out import FanOut
from bucketscribe.finish import Finisher
from bucketscribe.give_up import GiveUp
from bucketscribe.resume import Resume
from bucketscribe.settings import PROFILES
from bucketscribe.transcribe import Transcriber
from bucketscribe.turns import Places, Turns
from tests.fakes.line import BucketOverLine, InstanceDied
from tests.simulator.loop import NumberedTask
from tests.simulator.machines import Machines, Shelf
from tests.simulator.wire import LETTER, Wire, WiredTopic

if TYPE_CHECKING:
    from tests.simulator.post import Letter
    from tests.simulator.world import World

_FUNCTIONS = str(Path(__file__).parents[2] / "functions")
if _FUNCTIONS not in sys.path:
    sys.path.insert(0, _FUNCTIONS)
main = importlib.import_module("main")

# Whose code is running.
INSTANCE: ContextVar["Instance"] = ContextVar("instance")


class Instance:
    """One process: the house that main would build in it, and every task that runs there."""

    def __init__(self, world: "World", door: str, number: int) -> None:
        self.world = world
        self.door = door
        self.label = f"{door} {number}"
        self.dead = False
        self.tasks: list[NumberedTask] = []
        self.house = self._build(number)

    def _build(self, number: int) -> Any:
        settings, wire, machines = self.world.plan.settings, Wire(self), Machines(self)
        topics = {name: WiredTopic(name, wire, self) for name in ("express", "bulk", "finished")}
        lanes = {"express": topics["express"], "bulk": topics["bulk"]}
        finisher = Finisher(
            input_bucket=BucketOverLine(self.world.inbox, wire),
            output_bucket=BucketOverLine(self.world.outbox, wire),
            finished=topics["finished"],
            clock=self.world,
            retention=settings.retention,
        )
        self.cache = DocumentCache(
            finisher.input_bucket,
            Shelf(f"{self.door}-{number}"),
            limit_bytes=self.world.plan.cache_bytes,
            monotonic=self.world.monotonic,
        )
        self.places = Places(places=settings.render_workers, where="at the render processes")
        self.turns = Turns(places=settings.pages_at_gpu, waiting=settings.pages_waiting)
        fan_out = FanOut(
            settings=settings,
            finisher=finisher,
            cache=self.cache,
            renderer=machines,
            reader=machines,
            **lanes,
        )
        give_up = GiveUp(settings=settings, finisher=finisher, **lanes)
        transcriber = self._transcriber(finisher, machines)
        resume = Resume(fan_out=fan_out, give_up=give_up)
        return main.House(
            fan_out=fan_out, transcriber=transcriber, give_up=give_up, resume=resume, finisher=finisher
        )

    def _transcriber(self, finisher: Finisher, machines: Machines) -> Transcriber:
        drawing = Drawing(
            input_bucket=finisher.input_bucket, cache=self.cache, renderer=machines, places=self.places
        )
        return Transcriber(
            settings=self.world.plan.settings,
            profiles=PROFILES,
            finisher=finisher,
            drawing=drawing,
            reader=machines,
            turns=self.turns,
            clock=self.world,
            chance=self.world.chance,
        )

    def own(self, task: NumberedTask) -> None:
        self.tasks.append(task)
        if len(self.tasks) % 200 == 0:
            self.tasks = [each for each in self.tasks if not each.done()]

    def must_live(self) -> None:
        """Cut off what a dead process would still like to do."""
        if self.dead:
            raise InstanceDied(f"{self.label} is gone")

    async def die(self, why: str) -> None:
        self.kill(why)
        await asyncio.sleep(0)
        raise InstanceDied(f"{self.label} is gone")

    def kill(self, why: str) -> None:
        """End everything that runs here, at whichever await it stands."""
        if self.dead:
            return
        self.world.watch.note(self.label, f"DIES {why}")
        self.world.watch.faults["death"] += 1
        self.dead = True
        for task in self.tasks:
            if not task.done():
                task.cancel()

    def trouble(self, name: str) -> None:
        """Remember for the current delivery that a request of this name came to nothing."""
        letter = LETTER.get(None)
        if letter and name.startswith(("notes/", "pages/")):
            letter.forgets = True

    def leftovers(self) -> Iterator[str]:
        """Name what is still held when nothing is under way any more."""
        if any(not task.done() for task in self.tasks):
            yield "a task"
        if self.house.finisher.tails:
            yield "a tail"
        if any(copy.users for copy in self.cache._copies.values()):
            yield "a local copy in use"
        settings = self.world.plan.settings
        if (self.turns._free, self.places._free) != (settings.pages_at_gpu, settings.render_workers):
            yield "a place"
        if self.turns._flights or self.turns._inside:
            yield "a flight"


class Service:
    """A door and its instances, as many as are needed and no more than `count`."""

    def __init__(self, world: "World", door: str, count: int) -> None:
        self._world = world
        self._door = door
        self._made = 0
        self.instances: list[Instance | None] = [None] * count

    def knock(self, letter: "Letter") -> "asyncio.Task[int]":
        """Hand a letter to an instance; its status is the door's, a cancelled task a connection lost."""
        place = self._world.chance.randrange(len(self.instances))
        instance = self.instances[place]
        if instance is None or instance.dead:
            self._made += 1
            instance = self.instances[place] = Instance(self._world, self._door, self._made)
        context = context_of(instance)
        context.run(LETTER.set, letter)
        letter.instance = instance
        return asyncio.get_running_loop().create_task(_answer(self._door, letter), context=context)

    def living(self) -> list[Instance]:
        return [each for each in self.instances if each and not each.dead]


def context_of(instance: Instance) -> Context:
    """Make a context in which an instance's code runs."""
    context = copy_context()
    context.run(INSTANCE.set, instance)
    return context


class _Push:
    """As much of a request as the doors look at."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def body(self) -> bytes:
        return self._body


async def _answer(door: str, letter: "Letter") -> int:
    if door == "on_upload":
        try:
            await main.on_upload(letter.content)
        except BucketscribeError:
            return 500
        return 204
    response = await getattr(main, door)(_Push(letter.content if door == "sweep" else envelope(letter)))
    return int(response.status_code)


def envelope(letter: "Letter") -> bytes:
    """Give the body with which a message is pushed."""
    message = {
        "data": base64.b64encode(letter.content).decode(),
        "messageId": str(letter.number),
        "publishTime": "2026-11-01T12:00:00Z",
    }
    return json.dumps({"message": message, "deliveryAttempt": letter.attempt}).encode()


def event(kind: str, number: int, data: Mapping[str, Any]) -> CloudEvent:
    attributes = {
        "id": str(number),
        "source": "//storage.googleapis.com/simulated",
        "type": kind,
        "specversion": "1.0",
        "time": "2026-11-01T12:00:00Z",
    }
    return CloudEvent(attributes, data)


def adopt(task: NumberedTask, context: Context | None) -> None:
    """Give a new task to the instance whose code has made it; one without a context inherits ours."""
    instance = INSTANCE.get(None) if context is None else context.get(INSTANCE)
    if instance:
        instance.own(task)


@contextlib.contextmanager
def doors_open(world: "World") -> Iterator[None]:
    """Let main's doors find the house of the instance that runs them, and hear what is logged."""

    def log(severity: object, message: str, /, **fields: object) -> None:
        instance = INSTANCE.get(None)
        if not instance or not instance.dead:
            world.watch.logged(instance.label if instance else "", message, fields)

    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(main, "house", lambda: INSTANCE.get().house))
        for name, module in list(sys.modules.items()):
            ours = name == "main" or (name.startswith("bucketscribe.") and name != "bucketscribe.logs")
            if ours and hasattr(module, "log"):
                stack.enter_context(patch.object(module, "log", log))
        yield
