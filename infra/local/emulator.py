"""Google's Pub/Sub emulator in the place of our own broker: found, started, told who gets what.

It comes with gcloud and needs Java. What it cannot do stands in the README, and tests/test_broker_contract.py
measures it.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc.aio
import httpx
from google.api_core.exceptions import AlreadyExists, DeadlineExceeded, GoogleAPIError
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import DeadLetterPolicy, PushConfig, ReceivedMessage, RetryPolicy, Subscription

from infra.local.broker import PushSubscription
from infra.local.errors import CannotRun
from infra.local.journal import Received

_JARS = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
_HOST = "127.0.0.1"
_READY_TIMEOUT_SECONDS = 1.0
_CALL_SECONDS = 10.0
_PULLED_AT_ONCE = 100
_RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """The emulator on this machine."""

    java: str
    jar: Path

    def command(self, port: int) -> tuple[str, ...]:
        """Start the jar itself: gcloud, which could do it too, leaves it behind when it is ended."""
        return (self.java, "-jar", str(self.jar), f"--host={_HOST}", f"--port={port}")


def find() -> Installed:
    """Find the emulator beside the gcloud on PATH. Raises CannotRun, which says what to install."""
    gcloud, java = shutil.which("gcloud"), shutil.which("java")
    if not gcloud:
        raise CannotRun("--pubsub-emulator: gcloud is not on PATH; https://cloud.google.com/sdk/docs/install")
    jars = sorted(Path(gcloud).resolve().parents[1].glob(_JARS))
    if not jars:
        raise CannotRun(
            "--pubsub-emulator: this gcloud has no Pub/Sub emulator; install it: gcloud components install"
            " pubsub-emulator, or, where gcloud came with apt or dnf, as google-cloud-cli-pubsub-emulator"
        )
    if not java:
        raise CannotRun("--pubsub-emulator: the emulator needs Java, and no java is on PATH")
    return Installed(java=java, jar=jars[-1])


async def is_ready(port: int) -> bool:
    """Tell whether it serves, by a plain GET, which it answers with "Ok"; never raises."""
    try:
        async with httpx.AsyncClient(timeout=_READY_TIMEOUT_SECONDS, trust_env=False) as client:
            return (await client.get(f"http://{_HOST}:{port}/")).is_success
    except httpx.HTTPError:
        return False


class Emulator:
    """One project's topics in an emulator on `port`, which `launch` starts; used like `broker.Broker`.

    Everything is declared before `start`. The emulator keeps all in memory: when it has died and was started
    again, topics and subscriptions are made anew, and its messages are lost.
    """

    def __init__(self, project: str, port: int, launch: Callable[[], Awaitable[None]]) -> None:
        self._project = project
        self._address = f"{_HOST}:{port}"
        self._launch = launch
        self._topics: list[str] = []
        self._subscriptions: list[Subscription] = []
        self._queues: dict[str, asyncio.Queue[Received]] = {}
        self._pullers: list[asyncio.Task[None]] = []
        # No proxy from the environment may see, or lose, what goes over the loopback.
        self._channel = grpc.aio.insecure_channel(self._address, options=[("grpc.enable_http_proxy", 0)])
        self._publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=self._channel))
        self._subscriber = SubscriberAsyncClient(
            transport=SubscriberGrpcAsyncIOTransport(channel=self._channel)
        )

    def add_topic(self, name: str) -> None:
        self._topics.append(self._path("topics", name))

    def subscribe(self, spec: PushSubscription) -> None:
        """Push what is published from `start` on; how many at a time is the emulator's own choice."""
        subscription = Subscription(
            name=self._path("subscriptions", spec.name),
            topic=self._path("topics", spec.topic),
            push_config=PushConfig(push_endpoint=spec.endpoint),
            ack_deadline_seconds=round(spec.ack_deadline_seconds),
            retry_policy=RetryPolicy(
                minimum_backoff=timedelta(seconds=spec.minimum_backoff_seconds),
                maximum_backoff=timedelta(seconds=spec.maximum_backoff_seconds),
            ),
        )
        if spec.dead_letter_topic is not None:
            subscription.dead_letter_policy = DeadLetterPolicy(
                dead_letter_topic=self._path("topics", spec.dead_letter_topic),
                max_delivery_attempts=spec.max_delivery_attempts,
            )
        self._subscriptions.append(subscription)

    def listen(self, topic: str) -> "asyncio.Queue[Received]":
        """Return a queue that gets what is published from `start` on; it grows until it is emptied."""
        name = self._path("subscriptions", f"{topic}-listener-{len(self._queues)}")
        self._subscriptions.append(Subscription(name=name, topic=self._path("topics", topic)))
        queue: asyncio.Queue[Received] = asyncio.Queue()
        self._queues[name] = queue
        return queue

    async def start(self) -> str:
        """Make what was declared; return the value for PUBSUB_EMULATOR_HOST. Raises CannotRun."""
        await self._launch()
        try:
            await self._declare()
        except GoogleAPIError as error:
            raise CannotRun(f"the Pub/Sub emulator takes no subscriptions: {error}") from error
        self._pullers = [asyncio.create_task(self._pull_for_ever(name)) for name in self._queues]
        return self._address

    async def stop(self) -> None:
        """Let go of it; whoever launched it ends it."""
        for puller in self._pullers:
            puller.cancel()
        ends = await asyncio.gather(*self._pullers, return_exceptions=True)
        await self._channel.close()
        for end in ends:
            if isinstance(end, Exception):  # a bug of ours, which must not go unseen
                raise end

    def _path(self, kind: str, name: str) -> str:
        return f"projects/{self._project}/{kind}/{name}"

    async def _declare(self) -> None:
        """Make what is not there; topics first."""
        for topic in self._topics:
            await _make(self._publisher.create_topic(name=topic, timeout=_CALL_SECONDS))
        for subscription in self._subscriptions:
            await _make(self._subscriber.create_subscription(subscription, timeout=_CALL_SECONDS))

    async def _pull_for_ever(self, name: str) -> None:
        while True:
            try:
                await self._pull(name)
            except DeadlineExceeded:  # nothing came
                continue
            except GoogleAPIError as error:
                _log.info("%s: %s", name, error)
                await asyncio.sleep(_RETRY_SECONDS)
                await self._declare_again()

    async def _pull(self, name: str) -> None:
        answer = await self._subscriber.pull(
            subscription=name, max_messages=_PULLED_AT_ONCE, retry=None, timeout=_CALL_SECONDS
        )
        for each in answer.received_messages:
            self._queues[name].put_nowait(_received(each))
        if answer.received_messages:
            ids = [each.ack_id for each in answer.received_messages]
            await self._subscriber.acknowledge(subscription=name, ack_ids=ids, timeout=_CALL_SECONDS)

    async def _declare_again(self) -> None:
        try:
            await self._declare()
        except GoogleAPIError as error:  # not up yet
            _log.info("the emulator cannot be told its topics: %s", error)


async def _make(request: Awaitable[object]) -> None:
    try:
        await request
    except AlreadyExists:
        return


def _received(found: ReceivedMessage) -> Received:
    message = found.message
    return Received(
        message_id=message.message_id,
        published_at=message.publish_time,
        data=message.data,
        attributes=dict(message.attributes),
    )
