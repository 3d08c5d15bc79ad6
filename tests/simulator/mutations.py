"""Each protection broken on purpose, from outside, to see that the simulator misses it.

A mutation that no seed within its bound catches would mean that its protection is not tested.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from bucketscribe import (
    completion,
    fan_out,
    finish,
    give_up,
    jobs,
    ledger,
    patience,
    publication,
    strays,
    transcribe,
)
from bucketscribe import records as record_keeping
from bucketscribe.asking import Asking
from bucketscribe.errors import WriteConflict
from bucketscribe.model import Job, JobState
from bucketscribe.resume import _Sweep as Sweep
from bucketscribe.turns import Turns
from tests.fakes.line import BucketOverLine
from tests.simulator.instances import main
from tests.simulator.world import World

Break = Callable[[], AbstractContextManager[Any]]

# Seeds tried before a mutation counts as not caught.
BOUND = 500


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A protection taken away by `broken`."""

    what: str
    broken: Break
    bound: int = BOUND


@dataclass(frozen=True, kw_only=True)
class Caught:
    """By which invariant, and by which seed first."""

    invariant: str
    seed: int


def hunt(mutation: Mutation) -> Caught | None:
    """Run seeds until one of them misses what was taken away."""
    with mutation.broken():
        for seed in range(mutation.bound):
            world = World(seed)
            world.watch.is_hasty = True
            with contextlib.suppress(asyncio.CancelledError):
                world.run()
            if world.watch.violations:
                return Caught(invariant=world.watch.violations[0][0], seed=seed)
    return None


def _of(module: Any, name: str, make: Callable[[Any], Any]) -> Break:
    """Replace a function by one made from it."""
    return lambda: patch.object(module, name, make(getattr(module, name)))


def _nothing(result: object = None) -> Callable[[Any], Any]:
    async def nothing(*_: Any, **__: Any) -> object:
        return result

    return lambda _real: nothing


def _blind_write(real: Any) -> Any:
    async def write(self: Any, name: str, data: bytes, **more: Any) -> int:
        more["if_generation"] = self._bucket._generation(name)
        return await real(self, name, data, **more)

    return write


@contextlib.contextmanager
def _pages_without_precondition() -> Iterator[None]:
    """Write a page whatever stands there, at the moment of writing."""

    async def write(bucket: Any, source: Any, record: Any, body: str, **_: Any) -> Any:
        name, kind = ledger.layout.page(source, record.page), record_keeping.MARKDOWN
        metadata = record_keeping.page_metadata(record)
        while True:
            info = await bucket.look(name)
            with contextlib.suppress(WriteConflict):
                await bucket.write(
                    name,
                    body.encode(),
                    content_type=kind,
                    metadata=metadata,
                    if_generation=info.generation if info else 0,
                )
                return record

    with patch.object(ledger, "write", write):
        yield


def _acknowledge_early(_real: Any) -> Any:
    async def answered(deed: Any, message: bytes, about: Any) -> Any:
        async def later() -> None:
            with contextlib.suppress(Exception):
                await main._do(deed, message, about)

        _answered.append(asyncio.create_task(later()))
        return SimpleNamespace(status_code=204)

    return answered


_answered: list[Any] = []


def _record_first(real: Any) -> Any:
    return lambda *given: real(*given)[::-1]


@contextlib.contextmanager
def _event_before_commit() -> Iterator[None]:
    real = publication.publish

    async def publish(record: Any, *given: Any, **more: Any) -> None:
        await _topic[0].publish([publication.event(record)])
        await real(record, *given, **more)

    real_finish = finish._publish

    async def outer(record: Any, standing: Any, finisher: Any) -> Any:
        _topic[:] = [finisher.finished]
        return await real_finish(record, standing, finisher)

    with patch.object(publication, "publish", publish), patch.object(finish, "_publish", outer):
        yield


_topic: list[Any] = []


def _close_before_event(real: Any) -> Any:
    async def outer(record: Any, standing: Any, finisher: Any) -> Any:
        async def publish(messages: Any) -> None:
            await finish.close(record.job.source, finisher)
            await finisher.finished.publish(messages)

        return await real(record, standing, replace(finisher, finished=SimpleNamespace(publish=publish)))

    return outer


def _no_event(real: Any) -> Any:
    async def outer(record: Any, standing: Any, finisher: Any) -> Any:
        mute = SimpleNamespace(publish=_nothing()(None))
        return await real(record, standing, replace(finisher, finished=mute))

    return outer


def _always_better(_real: Any) -> Any:
    return lambda _new, _standing: True


def _ack_what_is_refused(_real: Any) -> Any:
    return lambda _error: 204


@contextlib.contextmanager
def _restless_sweep() -> Iterator[None]:
    none = (timedelta(0),) * 1000
    with (
        patch.object(patience, "PUBLISHED_PAUSES", none),
        patch.object(patience, "UNPUBLISHED_PAUSES", none),
        patch.object(patience, "RESUMES", 1000),
    ):
        yield


def _without_job(real: Any) -> Any:
    async def write(job: Any, if_generation: int, bucket: Any) -> Any:
        if job.state is JobState.RECEIVED and not if_generation:
            return jobs.OpenJob(job=job, generation=0)
        return await real(job, if_generation, bucket)

    return write


def _without_check(real: Any) -> Any:
    async def transcribe(delivery: Any, house: Any) -> Any:
        if await ledger.ended(house.finisher.output_bucket, delivery.task):
            return None
        return await real(delivery, house)

    return transcribe


def _unmarked(_real: Any) -> Any:
    async def mark(_sweep: Any, opened: Any) -> Any:
        return opened

    return mark


def _only_marked(_real: Any) -> Any:
    async def publish(opened: Any, _numbers: Any, house: Any) -> None:
        if opened.job.state is not JobState.PUBLISHED:
            await fan_out._mark_published(opened, house)

    return publish


def _blind(_data: bytes) -> None:
    return None


def _close_blindly(_real: Any) -> Any:
    async def close(opened: Any, bucket: Any) -> None:
        await bucket.delete(jobs.layout.job(opened.source))

    return close


@contextlib.contextmanager
def _closed_for_good() -> Iterator[None]:
    nothing = _nothing()(None)
    with patch.object(transcribe, "make_way", nothing), patch.object(finish, "reopen", nothing):
        yield


def _alone(_real: Any) -> Any:
    @contextlib.asynccontextmanager
    async def flight(self: Any, page: Any, *, timeout_seconds: float) -> Any:
        yield

    return flight


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        what="every write goes without a precondition", broken=_of(BucketOverLine, "write", _blind_write)
    ),
    Mutation(what="a page is written over whatever stands", broken=_pages_without_precondition),
    Mutation(what="a worse result replaces a better one", broken=_of(ledger, "is_better", _always_better)),
    Mutation(what="204 is answered before the deed ends", broken=_of(main, "_answered", _acknowledge_early)),
    Mutation(what="what was refused is acknowledged", broken=_of(main, "status_of", _ack_what_is_refused)),
    Mutation(
        what="a page that has ended is read again",
        broken=_of(ledger, "ended", _nothing(None)),
    ),
    Mutation(what="a dead letter is forgotten", broken=_of(give_up, "_park", _nothing())),
    Mutation(
        what="every copy of a dead letter is parked",
        broken=_of(give_up, "_is_copy", lambda _real: lambda *_: False),
    ),
    Mutation(
        what="a dead letter fails its page at once",
        broken=_of(give_up, "is_overdue", lambda _real: lambda *_: True),
    ),
    Mutation(what="the record is written before the text", broken=_of(publication, "_parts", _record_first)),
    Mutation(what="no event after the commit", broken=_of(finish, "_publish", _no_event)),
    Mutation(what="the event comes before the commit", broken=_event_before_commit),
    Mutation(
        what="the job is deleted before the event",
        broken=_of(finish, "_publish", _close_before_event),
    ),
    Mutation(what="a finished job stays", broken=_of(finish, "close", _nothing())),
    Mutation(what="a note without a job stays", broken=_of(strays, "clear", _nothing(0))),
    Mutation(
        what="what was written during an erasure stays",
        broken=_of(strays, "_erase_again", _nothing()),
    ),
    Mutation(
        what="nobody looks whether a newer version stands or is live",
        broken=_of(publication, "_refuse_if_superseded", _nothing()),
    ),
    Mutation(what="the sweep resumes without pauses and without end", broken=_restless_sweep),
    Mutation(what="the sweep does not say that it resumes", broken=_of(Sweep, "_mark", _unmarked)),
    Mutation(
        what="the sweep sees no job",
        broken=_of(jobs, "listing", _nothing([])),
    ),
    Mutation(what="no job is written before the fetch", broken=_of(jobs, "write", _without_job)),
    Mutation(what="an event is done without its tasks", broken=_of(fan_out, "_publish", _only_marked)),
    Mutation(what="a note is not read", broken=_of(record_keeping, "decode_note", lambda _real: _blind)),
    Mutation(what="no note is written before a 503", broken=_of(Asking, "remember", _nothing())),
    Mutation(
        what="whether a deleted source shall be forgotten is not asked",
        broken=_of(finish, "has_lost_its_source", _nothing(False)),
    ),
    Mutation(
        what="a page is missing for ever in an instance's memory",
        broken=_of(completion, "is_missing_any", _nothing(True)),
    ),
    Mutation(
        what="whether the document is done is not asked for a page that had ended",
        broken=_of(main, "transcribe", _without_check),
    ),
    Mutation(what="a redo takes what stands", broken=_of(Job, "edition_of", lambda _real: lambda *_: 0)),
    Mutation(what="a page that ended late is not published", broken=_closed_for_good, bound=1500),
    Mutation(
        what="a job is closed whoever has changed it", broken=_of(jobs, "close", _close_blindly), bound=1500
    ),
    Mutation(what="two deliveries of a page fly side by side", broken=_of(Turns, "flight", _alone)),
)
