"""What every broker of the laptop cloud keeps to: our own, and Google's emulator where it is installed.

The tests say what Pub/Sub does. What the emulator cannot do is marked so, and the mark fails once it can.
"""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.pubsub_v1.types import PushConfig, Subscription

from infra.local import emulator
from infra.local.broker import Broker
from infra.local.emulator import Emulator
from infra.local.processes import Program
from infra.local.subscriptions import PubSub
from infra.local.supervisor import Supervisor
from tests.fakes.emulator import missing, needs_emulator, running_emulator
from tests.fakes.loopback import free_port
from tests.fakes.publisher import MORTAL, PUSH, Publish, data_of, publishing
from tests.fakes.receiver import Receiver, until

ROOT = Path(__file__).parent.parent

# A message that was refused with others comes again beside them; so long after it, all of them have.
SETTLED_SECONDS = 1.0

_projects = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A broker that knows the topics `page-tasks` and `page-tasks-dead` and has not been started."""

    project: str
    broker: PubSub

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Publish]:
        """Start the broker; yield what publishes to a topic and returns the messages' ids."""
        try:
            async with publishing(await self.broker.start(), self.project) as publish:
                yield publish
        finally:
            await self.broker.stop()


@pytest.fixture(scope="module")
def emulator_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if missing():
        pytest.skip(missing())
    with running_emulator(tmp_path_factory.mktemp("emulator") / "log") as port:
        yield port


async def is_up() -> None:
    """Launch what is running already."""


Scenario = Callable[[Stage], Coroutine[Any, Any, None]]
Play = Callable[[Scenario], None]


@pytest.fixture(params=["ours", "googles"])
def play(request: pytest.FixtureRequest) -> Play:
    """Run a scenario on a fresh broker."""
    port = request.getfixturevalue("emulator_port") if request.param == "googles" else 0

    def run(scenario: Scenario) -> None:
        async def on_stage() -> None:
            project = f"project-{next(_projects)}"
            broker: PubSub = Emulator(project, port, is_up) if port else Broker(project)
            for topic in ("page-tasks", "page-tasks-dead"):
                broker.add_topic(topic)
            await scenario(Stage(project=project, broker=broker))

        asyncio.run(on_stage())

    return run


def googles(lack: str, *others: str) -> pytest.MarkDecorator:
    """Mark what Google's emulator does not do as Pub/Sub does; `lack` is its line in the README."""
    fails = pytest.mark.xfail(reason=lack, raises=AssertionError, strict=True)
    return pytest.mark.parametrize("play", [*others, pytest.param("googles", marks=fails)], indirect=True)


async def acknowledging(stage: Stage, *statuses: int) -> set[int]:
    """Answer one message with each status; tell which ones did not bring theirs again."""

    def answer(envelope: dict[str, Any]) -> int:
        return int(data_of(envelope))

    async with Receiver(answer) as receiver:
        stage.broker.subscribe(replace(PUSH, endpoint=receiver.url))
        async with stage.started() as publish:
            ids = await publish("page-tasks", *(b"%d" % status for status in statuses))
            await receiver.received(len(statuses))
            [last] = await publish("page-tasks", b"503")
            seen = [each["message"]["messageId"] for each in receiver.envelopes]
            assert set(ids) <= set(seen)
            await until(lambda: pushes(receiver)[last] > 1)
            await asyncio.sleep(SETTLED_SECONDS)
    return {status for status, each in zip(statuses, ids, strict=True) if pushes(receiver)[each] == 1}


def pushes(receiver: Receiver) -> Counter[str]:
    return Counter(each["message"]["messageId"] for each in receiver.envelopes)


def test_a_push_carries_the_real_wrapped_envelope(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with Receiver() as receiver:
            stage.broker.subscribe(replace(PUSH, endpoint=receiver.url))
            async with stage.started() as publish:
                [message_id] = await publish("page-tasks", b"\x00task", lane="bulk")
                [envelope] = await receiver.received(1)
        message = envelope["message"]
        assert envelope.keys() == {"message", "subscription"}
        assert envelope["subscription"] == f"projects/{stage.project}/subscriptions/page-tasks-push"
        assert data_of(envelope) == b"\x00task"
        assert message["attributes"] == {"lane": "bulk"}
        assert message["messageId"] == message["message_id"] == message_id
        assert message["publishTime"] == message["publish_time"]
        assert message["publishTime"].endswith("Z")
        assert datetime.fromisoformat(message["publishTime"]).tzinfo is not None

    play(scenario)


def test_success_acknowledges_and_any_other_answer_brings_the_message_again(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        found = await acknowledging(stage, 200, 201, 204, 302, 400, 429, 500, 503)
        assert found == {200, 201, 204}

    play(scenario)


@googles("does not take 202 for an acknowledgement", "ours")
def test_202_acknowledges(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        assert await acknowledging(stage, 202) == {202}

    play(scenario)


@googles("takes 203 for an acknowledgement", "ours")
def test_203_does_not_acknowledge(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        assert await acknowledging(stage, 203) == set()

    play(scenario)


def test_a_message_that_is_not_answered_before_the_deadline_comes_again(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        answers = iter([None, 204])
        async with Receiver(lambda _: next(answers)) as receiver:
            stage.broker.subscribe(replace(PUSH, endpoint=receiver.url, ack_deadline_seconds=1.0))
            async with stage.started() as publish:
                [message_id] = await publish("page-tasks", b"task")
                await receiver.received(2)
        assert pushes(receiver) == {message_id: 2}

    play(scenario)


def test_a_receiver_that_hangs_up_gets_the_message_again(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        port = free_port()
        stage.broker.subscribe(replace(PUSH, endpoint=f"http://127.0.0.1:{port}/push"))
        async with stage.started() as publish:
            async with Receiver(lambda _: None, port=port) as first:
                await publish("page-tasks", b"task")
                await first.received(1)
            async with Receiver(port=port) as second:
                [again] = await second.received(1)
        assert data_of(again) == b"task"

    play(scenario)


@googles("tries again after a second, however long the retry policy's least pause is", "ours")
def test_the_first_pause_is_no_shorter_than_the_policy_says(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        pushed: list[float] = []

        def refuse(_: object) -> int:
            pushed.append(time.monotonic())
            return 503

        async with Receiver(refuse) as receiver:
            policy = replace(PUSH, minimum_backoff_seconds=1.5, maximum_backoff_seconds=1.5)
            stage.broker.subscribe(replace(policy, endpoint=receiver.url))
            async with stage.started() as publish:
                await publish("page-tasks", b"task")
                await receiver.received(2)
        assert pushed[1] - pushed[0] >= 1.5

    play(scenario)


def test_after_its_last_attempt_a_message_goes_to_the_dead_letter_topic(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with Receiver(lambda _: 500) as refusing, Receiver() as undertaker:
            stage.broker.subscribe(replace(MORTAL, endpoint=refusing.url))
            dead = replace(
                PUSH, name="page-tasks-dead-push", topic="page-tasks-dead", endpoint=undertaker.url
            )
            stage.broker.subscribe(dead)
            async with stage.started() as publish:
                [message_id] = await publish("page-tasks", b"task", lane="bulk")
                [letter] = await undertaker.received(1)
        assert pushes(refusing) == {message_id: 5}
        assert data_of(letter) == b"task"
        assert letter["message"]["messageId"] != message_id
        assert letter["message"]["attributes"] == {
            "lane": "bulk",
            "CloudPubSubDeadLetterSourceDeliveryCount": "5",
            "CloudPubSubDeadLetterSourceSubscription": "page-tasks-push",
            "CloudPubSubDeadLetterSourceSubscriptionProject": stage.project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": refusing.envelopes[0]["message"]["publishTime"],
        }

    play(scenario)


@googles("tells no `deliveryAttempt`", "ours")
def test_the_delivery_attempt_is_told_with_a_dead_letter_policy(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        answers = iter([503, 204])
        async with Receiver(lambda _: next(answers)) as receiver:
            stage.broker.subscribe(replace(MORTAL, endpoint=receiver.url))
            async with stage.started() as publish:
                await publish("page-tasks", b"task")
                await receiver.received(2)
        assert [each.get("deliveryAttempt") for each in receiver.envelopes] == [1, 2]

    play(scenario)


@googles("pushes two messages of a subscription at a time", "ours")
def test_as_many_pushes_are_under_way_as_the_subscription_allows(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with Receiver() as receiver:
            receiver.gate.clear()
            stage.broker.subscribe(replace(PUSH, endpoint=receiver.url, concurrency=7))
            async with stage.started() as publish:
                await publish("page-tasks", *(b"%d" % number for number in range(50)))
                await receiver.received(2)
                await asyncio.sleep(SETTLED_SECONDS)
                receiver.gate.set()
                await receiver.received(50)
        assert receiver.most_at_once == 7

    play(scenario)


def test_a_refused_message_holds_nobody_else_up(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with Receiver(lambda envelope: 503 if data_of(envelope) == b"bad" else 204) as receiver:
            slow = replace(PUSH, minimum_backoff_seconds=600.0, maximum_backoff_seconds=600.0)
            stage.broker.subscribe(replace(slow, endpoint=receiver.url, concurrency=1))
            async with stage.started() as publish:
                await publish("page-tasks", b"bad", b"one", b"two")
                await receiver.received(3)
        assert {data_of(each) for each in receiver.envelopes} == {b"bad", b"one", b"two"}

    play(scenario)


def test_every_subscription_and_every_listener_gets_its_own_copy(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with Receiver() as one, Receiver() as two:
            for name, receiver in (("one", one), ("two", two)):
                stage.broker.subscribe(replace(PUSH, name=f"push-{name}", endpoint=receiver.url))
            listeners = [stage.broker.listen("page-tasks") for _ in range(2)]
            async with stage.started() as publish:
                [message_id] = await publish("page-tasks", b"event", status="complete")
                heard = [await asyncio.wait_for(listener.get(), 20) for listener in listeners]
                pushed = await one.received(1) + await two.received(1)
        assert [data_of(each) for each in pushed] == [b"event"] * 2
        for each in heard:
            assert (each.message_id, each.data) == (message_id, b"event")
            assert dict(each.attributes) == {"status": "complete"}
            assert each.published_at.tzinfo is not None

    play(scenario)


def test_an_unknown_topic_is_not_found(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.started() as publish:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await publish("nowhere", b"task")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    play(scenario)


def test_every_message_of_a_crowd_is_pushed_exactly_once(play: Play) -> None:
    async def scenario(stage: Stage) -> None:
        tasks = [b"%d" % number for number in range(500)]
        async with Receiver() as receiver:
            stage.broker.subscribe(replace(PUSH, endpoint=receiver.url))
            async with stage.started() as publish:
                await publish("page-tasks", *tasks)
                await receiver.received(len(tasks))
        assert Counter(data_of(each) for each in receiver.envelopes) == Counter(tasks)

    play(scenario)


async def subscribe(port: int, subscription: Subscription) -> None:
    """Make a subscription of a kind that the laptop cloud has no use for."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        create = channel.unary_unary(
            "/google.pubsub.v1.Subscriber/CreateSubscription",
            request_serializer=Subscription.serialize,
            response_deserializer=Subscription.deserialize,
        )
        await create(subscription)


@googles("sends no `Authorization` header")
def test_a_push_carries_the_token_that_the_subscription_asks_for(play: Play, emulator_port: int) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.started() as publish, Receiver() as receiver:
            project = f"projects/{stage.project}"
            account = PushConfig.OidcToken(service_account_email="push@laptop.iam.gserviceaccount.com")
            config = PushConfig(push_endpoint=receiver.url, oidc_token=account)
            name, topic = f"{project}/subscriptions/push", f"{project}/topics/page-tasks"
            await subscribe(emulator_port, Subscription(name=name, topic=topic, push_config=config))
            await publish("page-tasks", b"task")
            await receiver.received(1)
        assert "authorization: bearer " in receiver.heads[0]

    play(scenario)


@googles("ignores filters")
def test_a_filter_lets_only_its_own_pass(play: Play, emulator_port: int) -> None:
    async def scenario(stage: Stage) -> None:
        async with stage.started() as publish, Receiver() as receiver:
            subscription = Subscription(
                name=f"projects/{stage.project}/subscriptions/push",
                topic=f"projects/{stage.project}/topics/page-tasks",
                push_config=PushConfig(push_endpoint=receiver.url),
                filter='attributes.lane = "bulk"',
            )
            await subscribe(emulator_port, subscription)
            await publish("page-tasks", b"express", lane="express")
            await publish("page-tasks", b"bulk", lane="bulk")
            await until(lambda: b"bulk" in [data_of(each) for each in receiver.envelopes])
            await asyncio.sleep(SETTLED_SECONDS)
        assert [data_of(each) for each in receiver.envelopes] == [b"bulk"]

    play(scenario)


@needs_emulator
def test_an_emulator_that_died_is_started_again_and_told_its_topics_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        port, died = free_port(), asyncio.Event()
        program = Program(
            name="pubsub",
            command=emulator.find().command(port),
            environment=dict(os.environ),
            folder=tmp_path,
            is_ready=lambda: emulator.is_ready(port),
        )
        async with Supervisor(tmp_path, lambda *_: died.set()) as supervisor:
            broker = Emulator("laptop", port, partial(supervisor.start, program))
            broker.add_topic("page-tasks")
            heard = broker.listen("page-tasks")
            async with Stage(project="laptop", broker=broker).started() as publish:
                await publish("page-tasks", b"before")
                assert (await heard.get()).data == b"before"
                os.kill(supervisor._running["pubsub"].process.pid, signal.SIGKILL)
                await died.wait()
                async with asyncio.timeout(60):
                    while heard.empty():  # what is published before it listens again passes it by
                        with suppress(grpc.aio.AioRpcError):
                            await publish("page-tasks", b"after")
                        await asyncio.sleep(0.1)
                assert heard.get_nowait().data == b"after"

    asyncio.run(scenario())


def test_the_readme_lists_what_googles_emulator_cannot_do() -> None:
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    lacks = [mark.args[1][-1].marks[0].kwargs["reason"] for mark in marks]
    chapter = (ROOT / "README.md").read_text().split("### What Google's emulator cannot do")[1]
    table = chapter.split("\n#")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    assert rows == lacks
