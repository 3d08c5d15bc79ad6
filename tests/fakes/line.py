"""The line between the house and the cloud: every request goes over it, and it breaks where it is told to."""

import asyncio
import inspect
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import Message, ObjectInfo, StoredObject
from bucketscribe.ports import Bucket, Topic

T = TypeVar("T")


def seeded(seed: int) -> random.Random:
    """Make chance that can be repeated."""
    return random.Random(seed)  # noqa: S311 - mixes up tests, guards nothing


class InstanceDied(Exception):
    """The process is gone in the middle of its work; no error of the house's."""


def line_down() -> Exception:
    return StorageUnavailable("the line is down")


def instance_gone() -> Exception:
    return InstanceDied("the instance is gone")


class Line:
    """Numbers the requests from 1, in the order in which they set out.

    `breaks` says which of them fail: before they have reached the other side, or when their answer is on the
    way back. `error` makes what they fail with. `delays`, when set, lets each request wait for a random
    number of rounds of the loop, so that deeds under way at once meet in ever new orders. `at` runs a
    surprise just before a request does its work. `busiest` is the most requests of a verb at once.
    `dead` is an instance that has died: it makes no more requests until another one takes its place.
    """

    def __init__(self) -> None:
        self.requests = 0
        self.log: list[tuple[str, str]] = []
        self.breaks: dict[int, str] = {}
        self.breaking_chance = 0.0
        self.chance = seeded(0)
        self.delays = 0
        self.error: Callable[[], Exception] = line_down
        self.at: Callable[[str, str], object] | None = None
        self.dead = False
        self.busiest: dict[str, int] = {}
        self._busy: dict[str, int] = {}

    def meanwhile(self, verb: str, name: str, surprise: Callable[[], Awaitable[object]]) -> None:
        """Do something once, just before the next request of this verb whose name begins so."""

        async def at(asked: str, what: str) -> None:
            if asked == verb and what.startswith(name):
                self.at = None
                await surprise()

        self.at = at

    async def carry(self, verb: str, name: str, request: Callable[[], Awaitable[T]]) -> T:
        """Make one request, or fail it."""
        if self.dead:
            raise instance_gone()
        self.requests += 1
        self.log.append((verb, name))
        broken = self.breaks.get(self.requests) or self._by_chance()
        self._busy[verb] = self._busy.get(verb, 0) + 1
        self.busiest[verb] = max(self.busiest.get(verb, 0), self._busy[verb])
        try:
            await self._delay()
            if self.at and inspect.isawaitable(surprise := self.at(verb, name)):
                await surprise
            if broken == "before":
                raise self.error()
            answer = await request()
            await self._delay()
            if broken == "after":
                raise self.error()
        except InstanceDied:
            self.dead = True
            raise
        else:
            return answer
        finally:
            self._busy[verb] -= 1

    def _by_chance(self) -> str | None:
        if self.chance.random() >= self.breaking_chance:
            return None
        return self.chance.choice(("before", "after"))

    async def _delay(self) -> None:
        if self.delays:
            for _ in range(self.chance.randint(0, self.delays)):
                await asyncio.sleep(0)


class BucketOverLine:
    """A bucket whose every request goes over the line."""

    def __init__(self, bucket: Bucket, line: Line) -> None:
        self._bucket = bucket
        self._line = line

    @property
    def name(self) -> str:
        return self._bucket.name

    async def look(self, name: str) -> ObjectInfo | None:
        return await self._line.carry("look", name, partial(self._bucket.look, name))

    async def read(self, name: str) -> StoredObject | None:
        return await self._line.carry("read", name, partial(self._bucket.read, name))

    async def body(self, name: str, generation: int) -> bytes | None:
        return await self._line.carry("body", name, partial(self._bucket.body, name, generation))

    async def write(
        self,
        name: str,
        data: bytes,
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        request = partial(
            self._bucket.write,
            name,
            data,
            content_type=content_type,
            if_generation=if_generation,
            metadata=metadata,
        )
        return await self._line.carry("write", name, request)

    async def upload(
        self,
        name: str,
        parts: AsyncIterable[bytes],
        *,
        content_type: str,
        if_generation: int,
        metadata: Mapping[str, str] | None = None,
    ) -> int:
        """Make the request when all has come: of one that breaks off before, nothing is ever seen."""
        data = b"".join([part async for part in parts])
        return await self.write(
            name, data, content_type=content_type, if_generation=if_generation, metadata=metadata
        )

    async def delete(self, name: str, *, if_generation: int | None = None) -> None:
        request = partial(self._bucket.delete, name, if_generation=if_generation)
        return await self._line.carry("delete", name, request)

    async def names(self, prefix: str, *, start: str = "", end: str = "") -> list[str]:
        return await self._line.carry(
            "names", prefix, partial(self._bucket.names, prefix, start=start, end=end)
        )

    async def infos(self, prefix: str) -> list[ObjectInfo]:
        return await self._line.carry("infos", prefix, partial(self._bucket.infos, prefix))

    async def download(self, name: str, generation: int, path: Path) -> bool:
        return await self._line.carry(
            "download", name, partial(self._bucket.download, name, generation, path)
        )


class TopicOverLine:
    """A topic whose every publish goes over the line."""

    def __init__(self, topic: Topic, line: Line, name: str) -> None:
        self._topic = topic
        self._line = line
        self._name = name

    async def publish(self, messages: Sequence[Message]) -> None:
        return await self._line.carry("publish", self._name, partial(self._topic.publish, messages))
