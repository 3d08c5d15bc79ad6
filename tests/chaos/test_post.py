"""The broker with a journal: what it has answered for outlives it, attempts included."""

import asyncio
import subprocess
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from infra.local.broker import PushSubscription
from tests.chaos import post
from tests.chaos.city import ROOT
from tests.chaos.journal import SqliteJournal
from tests.fakes.loopback import free_port
from tests.fakes.publisher import MORTAL, PUSH, data_of, publishing, started
from tests.fakes.receiver import Receiver, until

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_what_was_not_acknowledged_comes_again_from_the_next_broker_with_its_next_attempt(path: Path) -> None:
    async def scenario() -> None:
        spec = replace(MORTAL, minimum_backoff_seconds=60.0, maximum_backoff_seconds=60.0)
        topics = ("page-tasks", "page-tasks-dead")
        with SqliteJournal(path) as journal:
            async with (
                started(*topics, journal=journal) as (broker, publish),
                Receiver(lambda _: 503) as refusing,
            ):
                broker.subscribe(replace(spec, endpoint=refusing.url))
                await publish("page-tasks", b"\x00task", lane="bulk")
                [before] = await refusing.received(1)
        with SqliteJournal(path) as journal:
            async with started(*topics, journal=journal) as (broker, _), Receiver() as receiver:
                broker.subscribe(replace(spec, endpoint=receiver.url))
                [after] = await receiver.received(1)
                await until(lambda: broker.backlog("page-tasks-push") == 0)
        assert after == before | {"deliveryAttempt": 2}
        assert data_of(after) == b"\x00task"

    run(scenario())


def test_what_was_acknowledged_comes_no_more(path: Path) -> None:
    async def scenario() -> None:
        with SqliteJournal(path) as journal:
            async with started("page-tasks", journal=journal) as (broker, publish), Receiver() as receiver:
                broker.subscribe(replace(PUSH, endpoint=receiver.url))
                await publish("page-tasks", *(b"%d" % number for number in range(50)))
                await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert list(journal.left("page-tasks-push")) == []
            assert journal.owed().total() == 0
            assert journal.counted()["deliveries"] == 50

    run(scenario())


def test_each_subscription_is_owed_its_own(path: Path) -> None:
    async def scenario() -> None:
        with SqliteJournal(path) as journal:
            async with (
                started("page-tasks", journal=journal) as (broker, publish),
                Receiver() as taking,
                Receiver(lambda _: 503) as refusing,
            ):
                broker.subscribe(replace(PUSH, name="taking", endpoint=taking.url))
                broker.subscribe(replace(PUSH, name="refusing", endpoint=refusing.url))
                await publish("page-tasks", b"task")
                await until(lambda: broker.backlog("taking") == 0)
                await refusing.received(1)
            assert dict(journal.owed()) == {"refusing": 1}

    run(scenario())


def test_dead_lettering_goes_on_over_restarts(path: Path) -> None:
    async def scenario() -> None:
        async with Receiver(lambda _: 500) as refusing, Receiver() as undertaker:
            slow = replace(MORTAL, minimum_backoff_seconds=60.0, maximum_backoff_seconds=60.0)
            for attempt in range(1, 6):
                with SqliteJournal(path) as journal:
                    topics = ("page-tasks", "page-tasks-dead")
                    async with started(*topics, journal=journal) as (broker, publish):
                        broker.subscribe(replace(slow, endpoint=refusing.url))
                        dead = replace(PUSH, name="dead", topic="page-tasks-dead", endpoint=undertaker.url)
                        broker.subscribe(dead)
                        if attempt == 1:
                            await publish("page-tasks", b"task")
                        await refusing.received(attempt)
                        if attempt == 5:
                            await undertaker.received(1)
                            await until(lambda: journal.owed().total() == 0)
            assert [each["deliveryAttempt"] for each in refusing.envelopes] == [1, 2, 3, 4, 5]
            [letter] = undertaker.envelopes
            assert letter["message"]["attributes"]["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"

    run(scenario())


@contextmanager
def living(port: int, path: Path, spec: PushSubscription) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the program; it is killed at the end, if it was not before."""
    with subprocess.Popen(post.command(port, str(path), 1, [spec]), cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_killed_program_has_lost_nothing_that_it_answered_for(path: Path) -> None:
    async def scenario() -> None:
        port = free_port()
        tasks = [b"%d" % number for number in range(200)]
        async with Receiver() as receiver:
            with living(port, path, replace(PUSH, endpoint=f"http://127.0.0.1:{free_port()}")) as first:
                async with publishing(f"127.0.0.1:{port}") as publish:
                    await publish("page-tasks", *tasks)
                first.kill()
                first.wait()
            with living(port, path, replace(PUSH, endpoint=receiver.url)):
                await until(lambda: {data_of(each) for each in receiver.envelopes} == set(tasks))

    run(scenario())
