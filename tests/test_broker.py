"""What is our own broker's alone; what any broker keeps to stands in test_broker_contract.py."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from infra.local.broker import Broker
from tests.fakes.publisher import MORTAL, PUSH, data_of, started
from tests.fakes.receiver import Receiver, until

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def test_the_backlog_is_what_is_neither_acknowledged_nor_dead() -> None:
    async def scenario() -> None:
        topics = ("page-tasks", "page-tasks-dead")
        answers = {b"good": 204, b"bad": 500}
        async with (
            started(*topics) as (broker, publish),
            Receiver(lambda envelope: answers[data_of(envelope)]) as receiver,
        ):
            receiver.gate.clear()
            broker.subscribe(replace(MORTAL, endpoint=receiver.url))
            await publish("page-tasks", b"good", b"bad")
            assert broker.backlog("page-tasks-push") == 2
            receiver.gate.set()
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert len(receiver.envelopes) == 1 + 5

    run(scenario())


def test_the_pause_doubles_from_its_least_to_its_most() -> None:
    spec = replace(PUSH, minimum_backoff_seconds=10.0, maximum_backoff_seconds=600.0)
    pauses = [spec.backoff_seconds(attempt) for attempt in (1, 2, 3, 6, 7, 8, 100, 10_000)]
    assert pauses == [10, 20, 40, 320, 600, 600, 600, 600]


def test_a_refused_message_holds_nobody_else_up() -> None:
    async def scenario() -> None:
        async with (
            started("page-tasks") as (broker, publish),
            Receiver(lambda envelope: 503 if data_of(envelope) == b"bad" else 204) as receiver,
        ):
            slow = replace(PUSH, endpoint=receiver.url, concurrency=1, minimum_backoff_seconds=600.0)
            broker.subscribe(replace(slow, maximum_backoff_seconds=600.0))
            await publish("page-tasks", b"bad", b"one", b"two")
            await until(lambda: broker.backlog("page-tasks-push") == 1)
            assert [data_of(each) for each in receiver.envelopes] == [b"bad", b"one", b"two"]

    run(scenario())


def test_a_subscription_that_cannot_work_is_refused_by_name() -> None:
    broker = Broker("laptop")
    broker.add_topic("page-tasks")
    with pytest.raises(ValueError, match="page-tasks-push: there is no topic page-tasks-dead"):
        broker.subscribe(MORTAL)
    with pytest.raises(ValueError, match="come together"):
        broker.subscribe(replace(PUSH, max_delivery_attempts=5))
    broker.subscribe(PUSH)
    with pytest.raises(ValueError, match="one of this name"):
        broker.subscribe(PUSH)


def test_a_copy_comes_while_the_first_delivery_is_still_running() -> None:
    async def scenario() -> None:
        async with (
            started("page-tasks", copies=lambda: [0.0, 0.01]) as (broker, publish),
            Receiver() as receiver,
        ):
            receiver.gate.clear()
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            [message_id] = await publish("page-tasks", b"task")
            await receiver.received(3)
            assert broker.backlog("page-tasks-push") == 1
            assert receiver.most_at_once == 3
            assert {each["message"]["messageId"] for each in receiver.envelopes} == {message_id}
            receiver.gate.set()
            await until(lambda: broker.backlog("page-tasks-push") == 0)

    run(scenario())


def test_a_copy_comes_though_the_message_was_acknowledged() -> None:
    async def scenario() -> None:
        async with started("page-tasks", copies=lambda: [0.05]) as (broker, publish), Receiver() as receiver:
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            await publish("page-tasks", b"task")
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert len(receiver.envelopes) == 1
            await receiver.received(2)

    run(scenario())


def test_what_is_answered_to_a_copy_changes_nothing_for_the_message() -> None:
    async def scenario() -> None:
        answers = iter([204, 503, 204])
        async with (
            started("page-tasks", copies=iter([[0.05], []]).__next__) as (broker, publish),
            Receiver(lambda _: next(answers)) as receiver,
        ):
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            await publish("page-tasks", b"one")
            await receiver.received(2)
            await publish("page-tasks", b"two")
            await receiver.received(3)
            assert [data_of(each) for each in receiver.envelopes] == [b"one", b"one", b"two"]

    run(scenario())


def test_ten_thousand_messages_published_at_once_are_all_kept() -> None:
    async def scenario() -> None:
        async with started("page-tasks") as (broker, publish), Receiver() as receiver:
            receiver.gate.clear()
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            tasks = [b"%d" % number for number in range(10_000)]
            batches = (tasks[first : first + 1000] for first in range(0, 10_000, 1000))
            ids = await asyncio.gather(*(publish("page-tasks", *batch) for batch in batches))
            assert len({each for batch in ids for each in batch}) == 10_000
            assert broker.backlog("page-tasks-push") == 10_000

    run(scenario())


def test_stopping_is_quick_while_pushes_hang_and_messages_wait() -> None:
    async def scenario() -> None:
        async with Receiver(lambda _: None) as receiver:
            async with started("page-tasks") as (broker, publish):
                broker.subscribe(replace(PUSH, endpoint=receiver.url))
                await publish("page-tasks", *[b"task"] * 10)
                await receiver.received(4)
                start = time.monotonic()
            assert time.monotonic() - start < 2

    run(scenario())
