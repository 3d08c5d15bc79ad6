"""The laptop's Pub/Sub behaves as the real one's documentation says, as far as it goes."""

import asyncio
import base64
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest
from google.pubsub_v1.types import PublishRequest, PublishResponse, PubsubMessage

from infra.local.broker import Broker, PushSubscription
from tests.fakes.receiver import Receiver, until

T = TypeVar("T")

Publish = Callable[..., Coroutine[Any, Any, list[str]]]

PUSH = PushSubscription(
    name="page-tasks-push",
    topic="page-tasks",
    endpoint="http://127.0.0.1:9/",
    concurrency=4,
    minimum_backoff_seconds=0.001,
    maximum_backoff_seconds=0.01,
)
MORTAL = replace(PUSH, max_delivery_attempts=5, dead_letter_topic="page-tasks-dead")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@asynccontextmanager
async def started(*topics: str, **options: Any) -> AsyncIterator[tuple[Broker, Publish]]:
    """Start a broker of project `laptop`; yield it with a function that publishes to one of its topics."""
    broker = Broker("laptop", **options)
    for topic in topics:
        broker.add_topic(topic)
    async with grpc.aio.insecure_channel(await broker.start()) as channel:
        call = channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            request_serializer=PublishRequest.serialize,
            response_deserializer=PublishResponse.deserialize,
        )

        async def publish(topic: str, *data: bytes, **attributes: str) -> list[str]:
            messages = [PubsubMessage(data=each, attributes=attributes) for each in data]
            answer = await call(PublishRequest(topic=f"projects/laptop/topics/{topic}", messages=messages))
            return list(answer.message_ids)

        try:
            yield broker, publish
        finally:
            await broker.stop()


def data_of(envelope: dict[str, Any]) -> bytes:
    return base64.b64decode(envelope["message"]["data"], validate=True)


def test_a_push_carries_the_real_wrapped_envelope() -> None:
    async def scenario() -> None:
        async with started("page-tasks") as (broker, publish), Receiver() as receiver:
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            [message_id] = await publish("page-tasks", b"\x00task", lane="bulk")
            [envelope] = await receiver.received(1)
            message = envelope["message"]
            assert envelope.keys() == {"message", "subscription"}
            assert envelope["subscription"] == "projects/laptop/subscriptions/page-tasks-push"
            assert data_of(envelope) == b"\x00task"
            assert message["attributes"] == {"lane": "bulk"}
            assert message["messageId"] == message["message_id"] == message_id
            assert message["publishTime"] == message["publish_time"]
            assert message["publishTime"].endswith("Z")
            assert datetime.fromisoformat(message["publishTime"]).tzinfo is not None
            await until(lambda: broker.backlog("page-tasks-push") == 0)

    run(scenario())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_these_answers_acknowledge(status: int) -> None:
    async def scenario() -> None:
        async with started("page-tasks") as (broker, publish), Receiver(lambda _: status) as receiver:
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            await publish("page-tasks", b"task")
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert len(receiver.envelopes) == 1

    run(scenario())


@pytest.mark.parametrize("status", [203, 302, 400, 429, 500, 503])
def test_any_other_answer_brings_the_message_again(status: int) -> None:
    async def scenario() -> None:
        answers = iter([status, status, 204])
        async with started("page-tasks") as (broker, publish), Receiver(lambda _: next(answers)) as receiver:
            broker.subscribe(replace(PUSH, endpoint=receiver.url))
            [message_id] = await publish("page-tasks", b"task")
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert [each["message"]["messageId"] for each in receiver.envelopes] == [message_id] * 3

    run(scenario())


def test_a_message_that_is_not_answered_before_the_deadline_comes_again() -> None:
    async def scenario() -> None:
        answers = iter([None, 204])
        async with started("page-tasks") as (broker, publish), Receiver(lambda _: next(answers)) as receiver:
            broker.subscribe(replace(PUSH, endpoint=receiver.url, ack_deadline_seconds=0.05))
            await publish("page-tasks", b"task")
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert len(receiver.envelopes) == 2

    run(scenario())


def test_a_receiver_that_hangs_up_gets_the_message_again() -> None:
    async def scenario() -> None:
        async with started("page-tasks") as (broker, publish):
            async with Receiver(lambda _: None) as first:
                broker.subscribe(replace(PUSH, endpoint=first.url))
                await publish("page-tasks", b"task")
                await first.received(1)
            async with Receiver(port=first.port) as second:
                await until(lambda: broker.backlog("page-tasks-push") == 0)
                assert [data_of(each) for each in second.envelopes] == [b"task"]

    run(scenario())


def test_the_delivery_attempt_is_told_only_with_a_dead_letter_policy() -> None:
    async def scenario() -> None:
        topics = ("page-tasks", "page-tasks-dead")
        answers = iter([503, 204])
        async with started(*topics) as (broker, publish), Receiver(lambda _: next(answers)) as receiver:
            broker.subscribe(replace(MORTAL, endpoint=receiver.url))
            await publish("page-tasks", b"task")
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert [each["deliveryAttempt"] for each in receiver.envelopes] == [1, 2]

    run(scenario())


def test_after_its_last_attempt_a_message_goes_to_the_dead_letter_topic() -> None:
    async def scenario() -> None:
        topics = ("page-tasks", "page-tasks-dead")
        async with (
            started(*topics) as (broker, publish),
            Receiver(lambda _: 500) as refusing,
            Receiver() as undertaker,
        ):
            broker.subscribe(replace(MORTAL, endpoint=refusing.url))
            broker.subscribe(replace(PUSH, name="dead", topic="page-tasks-dead", endpoint=undertaker.url))
            [message_id] = await publish("page-tasks", b"task", lane="bulk")
            [letter] = await undertaker.received(1)
            assert [each["deliveryAttempt"] for each in refusing.envelopes] == [1, 2, 3, 4, 5]
            assert data_of(letter) == b"task"
            assert letter["message"]["messageId"] != message_id
            published = refusing.envelopes[0]["message"]["publishTime"]
            assert letter["message"]["attributes"] == {
                "lane": "bulk",
                "CloudPubSubDeadLetterSourceDeliveryCount": "5",
                "CloudPubSubDeadLetterSourceSubscription": "page-tasks-push",
                "CloudPubSubDeadLetterSourceSubscriptionProject": "laptop",
                "CloudPubSubDeadLetterSourceTopicPublishTime": published,
            }
            await until(lambda: broker.backlog("page-tasks-push") == broker.backlog("dead") == 0)

    run(scenario())


def test_the_pause_doubles_from_its_least_to_its_most() -> None:
    spec = replace(PUSH, minimum_backoff_seconds=10.0, maximum_backoff_seconds=600.0)
    pauses = [spec.backoff_seconds(attempt) for attempt in (1, 2, 3, 6, 7, 8, 100, 10_000)]
    assert pauses == [10, 20, 40, 320, 600, 600, 600, 600]


def test_no_more_pushes_are_under_way_than_the_subscription_allows() -> None:
    async def scenario() -> None:
        async with started("page-tasks") as (broker, publish), Receiver() as receiver:
            receiver.gate.clear()
            broker.subscribe(replace(PUSH, endpoint=receiver.url, concurrency=7))
            await publish("page-tasks", *(b"%d" % number for number in range(50)))
            await receiver.received(7)
            receiver.gate.set()
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert receiver.most_at_once == 7
            assert len(receiver.envelopes) == 50

    run(scenario())


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


def test_every_subscription_and_every_listener_gets_its_own_copy() -> None:
    async def scenario() -> None:
        async with started("finished") as (broker, publish), Receiver() as one, Receiver() as two:
            for number, receiver in enumerate((one, two)):
                broker.subscribe(replace(PUSH, name=f"{number}", topic="finished", endpoint=receiver.url))
            queue = broker.listen("finished")
            await publish("finished", b"event", status="complete")
            received = await queue.get()
            assert (received.data, dict(received.attributes)) == (b"event", {"status": "complete"})
            assert [data_of(each) for each in await one.received(1) + await two.received(1)] == [b"event"] * 2

    run(scenario())


def test_an_unknown_topic_is_not_found() -> None:
    async def scenario() -> None:
        async with started() as (_, publish):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await publish("nowhere", b"task")
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND

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


def test_every_message_of_a_crowd_is_pushed_exactly_once() -> None:
    async def scenario() -> None:
        async with started("page-tasks") as (broker, publish), Receiver() as receiver:
            broker.subscribe(replace(PUSH, endpoint=receiver.url, concurrency=50))
            tasks = [b"%d" % number for number in range(2000)]
            await publish("page-tasks", *tasks)
            await until(lambda: broker.backlog("page-tasks-push") == 0)
            assert Counter(data_of(each) for each in receiver.envelopes) == Counter(tasks)

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
