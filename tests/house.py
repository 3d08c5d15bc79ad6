"""A whole house in memory, with fakes for what is not ours, and the posts that bring it its work.

Deliveries are made as Pub/Sub and Eventarc make them: at least once, in any order, again after every
refusal, to the dead letters after `tries`. Whatever a test did, its books are checked when it ends.
"""

import asyncio
import base64
import functools
import hashlib
import inspect
import json
import random
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jsonschema

import bucketscribe
from bucketscribe import layout, markdown
from bucketscribe.document_cache import DocumentCache
from bucketscribe.drawing import Drawing
from bucketscribe.errors import BucketscribeError
from bucketscribe.fan_out import FannedOut, FanOut, fan_out
from bucketscribe.finish import End, Finisher
from bucketscribe.give_up import GaveUp, GiveUp, give_up
from bucketscribe.messages import read_push, task_message
from bucketscribe.model import Delivery, Lane, Message, ObjectRef, PageStatus, PageTask, Upload
from bucketscribe.resume import Resume, Swept, resume
from bucketscribe.settings import PROFILES, Settings
from bucketscribe.transcribe import Transcriber, transcribe
from bucketscribe.turns import Places, Turns
from tests.fakes.bucket import FakeBucket
from tests.fakes.clock import FakeClock
from tests.fakes.line import BucketOverLine, InstanceDied, Line, TopicOverLine, seeded
from tests.fakes.renderer import FakeRenderer, paper
from tests.fakes.scribe import FakeScribe
from tests.fakes.topic import FakeTopic

P = ParamSpec("P")
T = TypeVar("T")

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((Path(bucketscribe.__file__).parent / "schemas" / "document-1.json").read_text())
)

# After so many rounds of the posts something is going round in circles.
_PATIENCE_ROUNDS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Something to be delivered: an upload's event, or a page task's message; `attempt` counts from 1."""

    content: Upload | Message
    attempt: int = 1
    dead: bool = False


@dataclass(kw_only=True)
class House:
    """The house, its outside, and its post. `refusals` holds every error that sent a letter back."""

    folder: Path
    settings: Settings
    tries: int = 100
    backoff_seconds: float = 10.0
    instances: int = 0
    clock: FakeClock = field(default_factory=FakeClock)
    line: Line = field(default_factory=Line)
    inbox: FakeBucket = field(default_factory=lambda: FakeBucket("in"))
    outbox: FakeBucket = field(default_factory=lambda: FakeBucket("out"))
    express: FakeTopic = field(default_factory=FakeTopic)
    bulk: FakeTopic = field(default_factory=FakeTopic)
    finished: FakeTopic = field(default_factory=FakeTopic)
    renderer: FakeRenderer = field(default_factory=FakeRenderer)
    post: list[Letter] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    scribe: FakeScribe = field(init=False)
    fan_out: FanOut = field(init=False)
    transcriber: Transcriber = field(init=False)
    give_up: GiveUp = field(init=False)
    resume: Resume = field(init=False)

    def __post_init__(self) -> None:
        self.scribe = FakeScribe(self.clock)
        self.inbox.now = self.outbox.now = self.clock.now
        self.restart()

    def restart(self) -> None:
        """Replace the instance: what it remembered is gone, what lies in the cloud stays."""
        self.line.dead = False
        finisher = Finisher(
            input_bucket=BucketOverLine(self.inbox, self.line),
            output_bucket=BucketOverLine(self.outbox, self.line),
            finished=TopicOverLine(self.finished, self.line, "finished"),
            clock=self.clock,
            retention=self.settings.retention,
        )
        express = TopicOverLine(self.express, self.line, "express")
        bulk = TopicOverLine(self.bulk, self.line, "bulk")
        self.instances += 1
        cache = DocumentCache(
            finisher.input_bucket,
            self.folder / str(self.instances),
            limit_bytes=self.settings.cache_mib * 1024**2,
            monotonic=self.clock.monotonic,
        )
        self.fan_out = FanOut(
            settings=self.settings,
            finisher=finisher,
            cache=cache,
            renderer=self.renderer,
            reader=self.scribe,
            express=express,
            bulk=bulk,
        )
        self.transcriber = Transcriber(
            settings=self.settings,
            profiles=PROFILES,
            finisher=finisher,
            drawing=Drawing(
                input_bucket=finisher.input_bucket,
                cache=cache,
                renderer=self.renderer,
                places=Places(places=self.settings.render_workers, where="at the render processes"),
            ),
            reader=self.scribe,
            turns=Turns(places=self.settings.pages_at_gpu, waiting=self.settings.pages_waiting),
            clock=self.clock,
            chance=seeded(7),
        )
        self.give_up = GiveUp(settings=self.settings, finisher=finisher, express=express, bulk=bulk)
        self.resume = Resume(fan_out=self.fan_out, give_up=self.give_up)

    # What people do.

    def drop(
        self, name: str = "a.pdf", pages: int = 3, *, title: str = "", data: bytes | None = None
    ) -> Upload:
        """Put a document into the inbox and its event into the post; return what the event says."""
        content = paper(title or name, pages) if data is None else data
        self.inbox.put(name, content, content_type="application/pdf")
        upload = self.event(name)
        self.post.append(Letter(content=upload))
        return upload

    def event(self, name: str) -> Upload:
        """Make the event of what lies in the inbox now."""
        stored = self.inbox.get(name)
        assert stored, f"{name} is not in the inbox"
        return Upload(
            source=ObjectRef(bucket="in", name=name, generation=stored.info.generation),
            size=stored.info.size,
            content_type=stored.info.content_type,
            crc32c=stored.info.crc32c,
            uploaded_at=self.clock.now(),
        )

    def repeat(self, letter: Upload | PageTask) -> None:
        """Have the post deliver something again, as a copy of its own."""
        content = task_message(letter) if isinstance(letter, PageTask) else letter
        self.post.append(Letter(content=content))

    def bury_later(self, task: PageTask) -> None:
        """Have the post deliver a page's task to the dead letters' door."""
        self.post.append(Letter(content=task_message(task), dead=True))

    # What the doors do.

    async def take_in(self, upload: Upload) -> FannedOut:
        return await fan_out(upload, self.fan_out)

    async def read(self, task: PageTask, *, attempt: int | None = 1) -> End:
        return await transcribe(_delivery(task_message(task), attempt), self.transcriber)

    async def bury(self, task: PageTask) -> GaveUp:
        return await give_up(_delivery(task_message(task), 1), self.give_up)

    async def sweep(self) -> dict[Swept, int]:
        return dict(await resume(self.resume))

    # What the post does.

    def tasks(self) -> list[PageTask]:
        """Take all published page tasks out of the topics, to deliver them by hand."""
        taken = [
            _delivery(message, 1).task for topic in (self.express, self.bulk) for message in topic.messages
        ]
        self.express.messages.clear()
        self.bulk.messages.clear()
        return taken

    async def settle(self, *, width: int = 8, order: random.Random | None = None) -> None:
        """Deliver everything until nothing is left to deliver, `width` letters at once; then look around:
        nothing may be in flight any more, and every live document has its answer.
        """
        for _ in range(_PATIENCE_ROUNDS):
            self._collect()
            if not self.post:
                break
            if order:
                order.shuffle(self.post)
            batch, self.post = self.post[:width], self.post[width:]
            await asyncio.gather(*(self._deliver(letter) for letter in batch))
        else:
            raise AssertionError(f"the post never comes to rest; last refusal: {self.refusals[-1:]}")
        self.assert_nothing_in_flight()
        self.assert_everything_answered()
        self.assert_published_as_it_stands()

    def _collect(self) -> None:
        for topic in (self.express, self.bulk):
            self.post.extend(Letter(content=message) for message in topic.messages)
            topic.messages.clear()

    async def _deliver(self, letter: Letter) -> None:
        try:
            if isinstance(letter.content, Upload):
                await self.take_in(letter.content)
            elif letter.dead:
                await give_up(_delivery(letter.content, letter.attempt), self.give_up)
            else:
                await transcribe(_delivery(letter.content, letter.attempt), self.transcriber)
        except InstanceDied as death:
            self.refusals.append(death)
            self.restart()
            self._send_back(letter)
        except BucketscribeError as error:
            self.refusals.append(error)
            self._send_back(letter)

    def _send_back(self, letter: Letter) -> None:
        self.clock.advance(self.backoff_seconds)
        again = replace(letter, attempt=letter.attempt + 1)
        if isinstance(letter.content, Message) and not letter.dead and letter.attempt >= self.tries:
            again = Letter(content=letter.content, dead=True)
        self.post.append(again)

    # What is left behind.

    def page(self, source: ObjectRef, number: int) -> tuple[dict[str, Any], str]:
        """Give a page object's record, as it stands in the metadata, and its body."""
        stored = self.outbox.get(layout.page(source, number))
        assert stored, f"page {number} of {source} has no object"
        return json.loads(stored.info.metadata["bucketscribe-page"]), stored.data.decode()

    def record(self, name: str = "a.pdf") -> dict[str, Any]:
        stored = self.outbox.get(layout.document_record(name))
        assert stored, f"{name} has no record"
        record: dict[str, Any] = json.loads(stored.data)
        return record

    def text(self, name: str = "a.pdf") -> str:
        stored = self.outbox.get(layout.document_text(name))
        assert stored, f"{name} has no text"
        return stored.data.decode()

    def statuses(self, name: str = "a.pdf") -> list[str]:
        return [page["status"] for page in self.record(name)["pages"]]

    def in_flight(self) -> list[str]:
        return [name for name in self.outbox.listing if name.startswith(("jobs/", "notes/"))]

    def assert_nothing_in_flight(self) -> None:
        assert self.in_flight() == []

    def assert_everything_answered(self) -> None:
        """Every live object has a record, of its very generation; whoever listens was told of it."""
        for name in self.inbox.listing:
            live = self.inbox.get(name)
            assert live
            generation = str(live.info.generation)
            assert self.record(name)["source"]["generation"] == generation, f"{name}: another version stands"
            assert (name, generation) in [
                (event.attributes["name"], event.attributes["generation"]) for event in self.finished.messages
            ], f"{name}: nobody was told"

    def assert_published_as_it_stands(self) -> None:
        """Every record that has pages was made of the page objects that stand now."""
        for name in self.outbox.listing:
            if name.startswith("documents/") and name.endswith(".json"):
                for page in self.record(name.removeprefix("documents/").removesuffix(".json"))["pages"]:
                    stored = self.outbox.get(page["object"])
                    assert stored, f"{page['object']} has gone"
                    assert str(stored.info.generation) == page["object_generation"], (
                        f"{page['object']} is newer"
                    )

    def check_books(self) -> None:
        """Check every document in the outbox by the contract, and that nobody wrote into the inbox."""
        assert not {"write", "delete"} & self.inbox.requests.keys(), "the house wrote into the input bucket"
        for name in self.outbox.listing:
            if name.startswith("documents/") and name.endswith(".json"):
                self._check_document(name.removeprefix("documents/").removesuffix(".json"))

    def _check_document(self, name: str) -> None:
        record, text = self.record(name), self.text(name)
        VALIDATOR.validate(record)
        counts = record["counts"]
        assert counts["pages"] == len(record["pages"]) == sum(counts[status] for status in PageStatus)
        assert record["text"]["sha256"] == _sha256(text)
        assert record["status"] == _status(counts)
        assert {error["page"] for error in record["errors"]} == {
            page["page"] for page in record["pages"] if page["status"] == "failed"
        } or not record["pages"]
        if not record["pages"]:
            assert [error["page"] for error in record["errors"]] == [None]
            return
        self._check_pages(record, text)

    def _check_pages(self, record: Mapping[str, Any], text: str) -> None:
        assert [page["page"] for page in record["pages"]] == list(range(1, record["counts"]["pages"] + 1))
        bodies = markdown.split(text)
        for page, body in zip(record["pages"], bodies, strict=True):
            start, end = page["span"]
            assert text[start:end] == body
            assert page["sha256"] == _sha256(body)
            assert (page["error"] is not None) == (page["status"] == "failed")
            stored = self.outbox.get(page["object"])
            if stored and str(stored.info.generation) == page["object_generation"]:
                assert stored.data.decode() == body


def build_house(folder: Path, *, tries: int = 100, backoff_seconds: float = 10.0, **settings: Any) -> House:
    """Wire a house with the default settings and those given."""
    defaults: dict[str, Any] = {
        "project": "test",
        "input_bucket": "in",
        "output_bucket": "out",
        "ocr_url": "http://127.0.0.1:8000",
    }
    return House(
        folder=folder, settings=Settings(**defaults | settings), tries=tries, backoff_seconds=backoff_seconds
    )


def story(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn a test that takes a house and awaits things into one for pytest; check the books at its end."""
    parameters = list(inspect.signature(test).parameters.values())[1:]

    @functools.wraps(test)
    def told(tmp_path: Path, **given: Any) -> None:
        house = build_house(tmp_path)
        asyncio.run(test(house, **given))
        house.check_books()

    folder = inspect.Parameter("tmp_path", inspect.Parameter.KEYWORD_ONLY)
    told.__signature__ = inspect.Signature([*(p.replace(kind=p.KEYWORD_ONLY) for p in parameters), folder])  # type: ignore[attr-defined]
    return told


def asynchronous(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Turn a coroutine function into a plain one with a loop of its own."""

    @functools.wraps(test)
    def plain(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(test(*args, **kwargs))

    return plain


def task(
    source: ObjectRef, page: int, pages: int, *, lane: Lane = Lane.EXPRESS, edition: int = 0
) -> PageTask:
    """Make a page task by hand."""
    return PageTask(
        source=source, page=page, pages=pages, lane=lane, profile="lightonocr-2-1b", edition=edition
    )


def words(text: str) -> list[str]:
    """Give what a document's pages say, marker lines aside."""
    return [line for line in text.splitlines() if line and not re.match(markdown.MARKER, line)]


def _delivery(message: Message, attempt: int | None) -> Delivery:
    """Wrap a message up as Pub/Sub pushes it, and have it read as the door reads it."""
    push: dict[str, Any] = {
        "message": {
            "data": base64.b64encode(message.data).decode(),
            "attributes": dict(message.attributes),
            "messageId": "1",
            "publishTime": "2026-11-01T12:00:00Z",
        },
        "subscription": "projects/test/subscriptions/page-tasks",
    }
    if attempt is not None:
        push["deliveryAttempt"] = attempt
    return read_push(json.dumps(push).encode())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _status(counts: Mapping[str, int]) -> str:
    if counts["failed"] == counts["pages"]:
        return "failed"
    return "partial" if counts["failed"] else "complete"
