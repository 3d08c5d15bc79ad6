"""What every topic keeps to: the fake one, and the wall to Pub/Sub in front of the laptop's broker."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pytest

from bucketscribe import publisher
from bucketscribe.errors import PublishFailed
from bucketscribe.model import Message
from bucketscribe.ports import Topic
from infra.local.broker import Broker
from tests.fakes.topic import FakeTopic

T = TypeVar("T")


class Place(Protocol):
    """A topic, and what has arrived there."""

    topic: Topic

    def arrived(self) -> list[Message]: ...


@dataclass(kw_only=True)
class FakePlace:
    topic: FakeTopic

    def arrived(self) -> list[Message]:
        return self.topic.messages


class LaptopPlace:
    """A broker on a thread of its own, and the wall's topic `tasks` in front of it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._broker = Broker("laptop")
        self._broker.add_topic("tasks")
        self._arrived = self._broker.listen("tasks")
        self.address = self._on_loop(self._broker.start())
        self.client = publisher.make_client()
        self.topic = publisher.open_topic("laptop", "tasks", client=self.client)

    def arrived(self) -> list[Message]:
        async def drain() -> list[Message]:
            queue = self._arrived
            received = [queue.get_nowait() for _ in range(queue.qsize())]
            return [Message(data=each.data, attributes=each.attributes) for each in received]

        return self._on_loop(drain())

    def close(self) -> None:
        self.client.close()
        self._on_loop(self._broker.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=20)


@pytest.fixture
def laptop(monkeypatch: pytest.MonkeyPatch) -> Iterator[LaptopPlace]:
    place = LaptopPlace()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", place.address)
    yield place
    place.close()


@pytest.fixture(params=["fake", "laptop"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param == "fake":
        return FakePlace(topic=FakeTopic())
    laptop: LaptopPlace = request.getfixturevalue("laptop")
    return laptop


def publish(topic: Topic, messages: Sequence[Message]) -> None:
    asyncio.run(topic.publish(messages))


def test_data_and_attributes_arrive_as_published(place: Place) -> None:
    message = Message(
        data='{"name": "Größe 文書"}\x00'.encode(),
        attributes={"name": "Größe 文書.pdf", "bucket": "in", "status": "partial", "pages": "12"},
    )
    publish(place.topic, [message])
    assert place.arrived() == [message]


def test_every_message_is_there_when_publish_returns(place: Place) -> None:
    messages = [Message(data=b"%d" % number * 100) for number in range(10_000)]
    publish(place.topic, messages)
    assert sorted(each.data for each in place.arrived()) == sorted(each.data for each in messages)


def test_nothing_to_publish_is_no_error(place: Place) -> None:
    publish(place.topic, [])
    assert place.arrived() == []


def test_publishing_twice_delivers_twice(place: Place) -> None:
    publish(place.topic, [Message(data=b"once")])
    publish(place.topic, [Message(data=b"once")])
    assert len(place.arrived()) == 2


@pytest.mark.parametrize("name", ["data", "topic", "timeout", "ordering_key"])
def test_an_attribute_may_have_any_name(place: Place, name: str) -> None:
    message = Message(data=b"task", attributes={name: "x"})
    publish(place.topic, [message])
    assert place.arrived() == [message]


def test_the_fake_fails_on_demand_and_then_publishes_nothing() -> None:
    topic = FakeTopic()
    topic.fail_next(PublishFailed("staged"))
    with pytest.raises(PublishFailed, match="staged"):
        publish(topic, [Message(data=b"lost")])
    publish(topic, [Message(data=b"kept")])
    assert [each.data for each in topic.messages] == [b"kept"]
    assert topic.calls == 2


def test_a_topic_that_is_not_there_is_publish_failed_and_says_so(laptop: LaptopPlace) -> None:
    topic = publisher.open_topic("laptop", "nowhere", client=laptop.client)
    with pytest.raises(PublishFailed, match=r"topics/nowhere, 3 of 3 left: NotFound.*topic exists"):
        publish(topic, [Message(data=b"task")] * 3)


def test_a_request_takes_a_thousand_messages_or_nine_megabytes(laptop: LaptopPlace) -> None:
    small, large = Message(data=b"small"), Message(data=bytes(2_000_000))
    sizes = [len(batch) for batch in publisher._batches([*[small] * 2500, *[large] * 6])]
    assert sizes == [1000, 1000, 504, 2]
    publish(laptop.topic, [small] * 2500)
    assert len(laptop.arrived()) == 2500


def test_topics_share_one_client_that_is_built_with_the_first_message(laptop: LaptopPlace) -> None:
    made: list[object] = []
    client = publisher.TopicClient(lambda: made.append(1) or publisher.PublisherClient(), threads=4)
    topics = [publisher.open_topic("laptop", "tasks", client=client) for _ in range(3)]
    assert made == []

    async def all_at_once() -> None:
        await asyncio.gather(*(topic.publish([Message(data=b"task")]) for topic in topics))

    asyncio.run(all_at_once())
    client.close()
    assert made == [1]
    assert len(laptop.arrived()) == 3
