"""The line between an instance and the cloud: latency, refusals, lost answers, late writes, death."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from bucketscribe.errors import BucketscribeError, PublishFailed, StorageUnavailable
from bucketscribe.model import Message
from tests.simulator.plan import Fate

if TYPE_CHECKING:
    from tests.simulator.instances import Instance
    from tests.simulator.post import Letter

T = TypeVar("T")

# The delivery that code runs for: what tasks inherit from the request that starts them.
LETTER: ContextVar["Letter"] = ContextVar("letter")

# How much later than its caller was told of an error a request may still do its work; less than any back-off.
_LATE_SECONDS = 8.0


class Wire:
    """Carries every request of one instance, as tests.fakes.line.Line does; the weather decides its fate."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance
        self._world = instance.world

    async def carry(self, verb: str, name: str, request: Callable[[], Awaitable[T]]) -> T:
        instance, world = self._instance, self._world
        instance.must_live()
        fate = world.fate(verb)
        await asyncio.sleep(world.latency())
        if fate is Fate.DIED_BEFORE:
            await instance.die(f"before {verb} {name}")
        instance.must_live()
        if fate is Fate.REFUSED:
            raise self._error(verb, name, "was refused")
        if fate is Fate.LATE:
            world.begin(self._later(request))
            raise self._error(verb, name, "broke off")
        answer = await request()
        if fate is Fate.DIED_AFTER:
            await instance.die(f"after {verb} {name}")
        await asyncio.sleep(world.latency())
        instance.must_live()
        if fate is Fate.LOST:
            raise self._error(verb, name, "gave no answer")
        return answer

    async def _later(self, request: Callable[[], Awaitable[T]]) -> None:
        """Do the work all the same, when nobody listens any more."""
        await asyncio.sleep(self._world.chance.uniform(0.0, _LATE_SECONDS))
        with contextlib.suppress(BucketscribeError):
            await request()

    def _error(self, verb: str, name: str, what: str) -> BucketscribeError:
        self._world.watch.note(self._instance.label, f"{verb} {name} {what}")
        self._instance.trouble(name)
        kind = PublishFailed if verb == "publish" else StorageUnavailable
        return kind(f"{verb} {name} {what}")


class WiredTopic:
    """A topic over the line; when a publish fails, a part of its messages may be out all the same."""

    def __init__(self, name: str, wire: Wire, instance: "Instance") -> None:
        self._name = name
        self._wire = wire
        self._instance = instance

    async def publish(self, messages: Sequence[Message]) -> None:
        world, letter = self._instance.world, LETTER.get()
        part = list(messages)
        failing = len(part) > 1 and world.breaks()
        if failing:
            part = world.chance.sample(part, world.chance.randint(0, len(part) - 1))

        async def request() -> None:
            for message in part:
                world.published(self._name, message, letter)

        await self._wire.carry("publish", self._name, request)
        if failing:
            raise PublishFailed(f"{len(messages) - len(part)} of {len(messages)} messages were not taken")
