"""The laptop's Pub/Sub: takes what Google's unmodified client publishes, and pushes it as Pub/Sub does.

Topics and subscriptions live in this process; a topic must be there before it is published to, and what is
published before a subscription is there passes it by. Everything is in memory, unless there is a journal:
without one, whoever stops the broker loses what was not delivered yet. Tokens, filters, ordering and the
slow start of real push are left out.
"""

import asyncio
import base64
import itertools
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
import httpx
from google.pubsub_v1.types import PublishRequest, PublishResponse

from infra.local.journal import Journal, NoJournal, Received

# https://cloud.google.com/pubsub/docs/push#receive_push (2026-11)
ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})

_SERVICE = "google.pubsub.v1.Publisher"
_LARGEST_REQUEST_BYTES = 10_000_000
_CONNECT_SECONDS = 10.0
# gunicorn closes idle connections after 2 s: one that is reused just then would look like a refusal.
_KEEP_ALIVE_SECONDS = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSubscription:
    """Who gets a topic's messages, and how often. `concurrency` counts pushes under way at once.

    `max_delivery_attempts` and `dead_letter_topic` come together or not at all.
    """

    name: str
    topic: str
    endpoint: str
    concurrency: int
    ack_deadline_seconds: float = 600.0
    minimum_backoff_seconds: float = 10.0
    maximum_backoff_seconds: float = 400.0
    max_delivery_attempts: int | None = None
    dead_letter_topic: str | None = None

    def backoff_seconds(self, attempt: int) -> float:
        """Return how long to wait after the given attempt (from 1) has failed."""
        doublings = min(attempt - 1, 32)
        return min(self.minimum_backoff_seconds * 2.0**doublings, self.maximum_backoff_seconds)


def once() -> Sequence[float]:
    """Deliver a message without copies."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A delivery to be made. A copy is pushed once, whatever is answered: the message itself goes its way."""

    message: Received
    attempt: int
    is_copy: bool = False


@dataclass(slots=True, kw_only=True)
class _Subscription:
    spec: PushSubscription
    due: "asyncio.Queue[_Due]" = field(default_factory=asyncio.Queue)
    backlog: int = 0


@dataclass(slots=True, kw_only=True)
class _Topic:
    subscriptions: list[_Subscription] = field(default_factory=list)
    listeners: "list[asyncio.Queue[Received]]" = field(default_factory=list)


class Broker:
    """One project's topics. Everything happens on the loop that `start` runs on.

    `on_refusal` is told the answer to each push that was not acknowledged. `copies` is asked once for each
    message and subscription: after how many seconds it shall be delivered besides, whether the first
    delivery has ended or not, as Pub/Sub may do at any time.
    """

    def __init__(
        self,
        project: str,
        on_refusal: Callable[[str], None] | None = None,
        *,
        journal: Journal | None = None,
        copies: Callable[[], Sequence[float]] = once,
    ) -> None:
        self._project = project
        self._on_refusal = on_refusal
        self._journal = journal or NoJournal()
        self._copies = copies
        self._topics: dict[str, _Topic] = {}
        self._subscriptions: dict[str, _Subscription] = {}
        # From the clock, so that no id comes twice over a restart.
        self._ids = itertools.count(time.time_ns())
        self._pushers: set[asyncio.Task[None]] = set()
        self._server: grpc.aio.Server | None = None
        self._running = False

    async def start(self, port: int = 0) -> str:
        """Serve on a loopback port, 0 for a free one; return the value for PUBSUB_EMULATOR_HOST."""
        size = ("grpc.max_receive_message_length", _LARGEST_REQUEST_BYTES + 100_000)
        self._server = grpc.aio.server(options=[size])
        self._server.add_generic_rpc_handlers((self._handlers(),))
        port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        for subscription in self._subscriptions.values():
            self._start_pushers(subscription)
        self._running = True
        return f"127.0.0.1:{port}"

    async def stop(self) -> None:
        """Break off pushes that are under way; only what is in a journal is still there afterwards."""
        self._running = False
        if self._server is not None:
            await self._server.stop(grace=None)
        for pusher in self._pushers:
            pusher.cancel()
        ends = await asyncio.gather(*self._pushers, return_exceptions=True)
        self._pushers.clear()
        self._server = None
        for end in ends:
            if isinstance(end, Exception):  # a bug of ours, which must not go unseen
                raise end

    def add_topic(self, name: str) -> None:
        """Make a topic, unless it is there."""
        self._topics.setdefault(name, _Topic())

    def subscribe(self, spec: PushSubscription) -> None:
        """Push what the journal has left, and what is published from now on.

        Raises ValueError when something named is not there.
        """
        missing = {spec.topic, spec.dead_letter_topic or spec.topic} - self._topics.keys()
        if missing:
            raise ValueError(f"subscription {spec.name}: there is no topic {', '.join(sorted(missing))}")
        if (spec.max_delivery_attempts is None) != (spec.dead_letter_topic is None):
            raise ValueError(f"subscription {spec.name}: attempts and dead-letter topic come together")
        if spec.name in self._subscriptions:
            raise ValueError(f"subscription {spec.name}: there is one of this name")
        subscription = _Subscription(spec=spec)
        self._subscriptions[spec.name] = subscription
        self._topics[spec.topic].subscriptions.append(subscription)
        for message, attempts in self._journal.left(spec.name):
            subscription.backlog += 1
            subscription.due.put_nowait(_Due(message=message, attempt=attempts + 1))
        if self._running:
            self._start_pushers(subscription)

    def listen(self, topic: str) -> "asyncio.Queue[Received]":
        """Return a queue that gets what is published from now on; it grows until it is emptied."""
        queue: asyncio.Queue[Received] = asyncio.Queue()
        self._topics[topic].listeners.append(queue)
        return queue

    def backlog(self, subscription_name: str) -> int:
        """Count the messages that are neither acknowledged nor dead."""
        return self._subscriptions[subscription_name].backlog

    def _handlers(self) -> Any:
        # The raw messages: proto-plus wrappers take ten times as long.
        publish = grpc.unary_unary_rpc_method_handler(
            self._publish,
            request_deserializer=PublishRequest.pb().FromString,
            response_serializer=PublishResponse.pb().SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {"Publish": publish})

    async def _publish(self, request: Any, context: Any) -> Any:
        name = request.topic.removeprefix(f"projects/{self._project}/topics/")
        topic = self._topics.get(name)
        if topic is None:
            return await context.abort(
                grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={request.topic})."
            )
        ids = [self._accept(topic, message.data, dict(message.attributes)) for message in request.messages]
        return PublishResponse.pb()(message_ids=ids)

    def _accept(self, topic: _Topic, data: bytes, attributes: Mapping[str, str]) -> str:
        message = Received(
            message_id=str(next(self._ids)), published_at=datetime.now(UTC), data=data, attributes=attributes
        )
        self._journal.taken(message, [subscription.spec.name for subscription in topic.subscriptions])
        for subscription in topic.subscriptions:
            subscription.backlog += 1
            subscription.due.put_nowait(_Due(message=message, attempt=1))
            copy = _Due(message=message, attempt=1, is_copy=True)
            for seconds in self._copies():
                asyncio.get_running_loop().call_later(seconds, subscription.due.put_nowait, copy)
        for listener in topic.listeners:
            listener.put_nowait(message)
        return message.message_id

    def _start_pushers(self, subscription: _Subscription) -> None:
        for _ in range(subscription.spec.concurrency):
            self._pushers.add(asyncio.create_task(self._push_for_ever(subscription)))

    async def _push_for_ever(self, subscription: _Subscription) -> None:
        # One connection each: a pool that 100 share looks at all of them for every request (390 pushes a
        # second, against 900 so). Endpoints are on the loopback: no proxy from the environment may see, or
        # lose, what goes there, and no certificates are loaded.
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE_SECONDS)
        async with httpx.AsyncClient(limits=limits, verify=tls, trust_env=False) as client:
            while True:
                await self._push_next(subscription, client)

    async def _push_next(self, subscription: _Subscription, client: httpx.AsyncClient) -> None:
        spec = subscription.spec
        due = await subscription.due.get()
        if due.is_copy:
            await self._push(spec, due, client)
            return
        self._journal.tried(spec.name, due.message)
        if await self._push(spec, due, client):
            self._settle(subscription, due.message)
        elif spec.max_delivery_attempts is not None and due.attempt >= spec.max_delivery_attempts:
            self._bury(spec, due)
            self._settle(subscription, due.message)
        else:
            again = replace(due, attempt=due.attempt + 1)
            loop = asyncio.get_running_loop()
            loop.call_later(spec.backoff_seconds(due.attempt), subscription.due.put_nowait, again)

    def _settle(self, subscription: _Subscription, message: Received) -> None:
        self._journal.settled(subscription.spec.name, message)
        subscription.backlog -= 1

    async def _push(self, spec: PushSubscription, due: _Due, client: httpx.AsyncClient) -> bool:
        """Push once; tell whether it was acknowledged before the deadline."""
        body = self._envelope(spec, due.message, due.attempt)
        timeout = httpx.Timeout(spec.ack_deadline_seconds, connect=_CONNECT_SECONDS)
        headers = {"content-type": "application/json"}
        try:
            # httpx's own limit starts again with every byte received; the deadline does not.
            async with asyncio.timeout(spec.ack_deadline_seconds):
                response = await client.post(spec.endpoint, content=body, headers=headers, timeout=timeout)
        except (httpx.HTTPError, TimeoutError) as error:
            answer = type(error).__name__
        else:
            if response.status_code in ACKNOWLEDGED:
                return True
            answer = str(response.status_code)
        _log.info("%s: message %s, attempt %d: %s", spec.name, due.message.message_id, due.attempt, answer)
        if self._on_refusal:
            self._on_refusal(answer)
        return False

    def _envelope(self, spec: PushSubscription, message: Received, attempt: int) -> bytes:
        """Wrap a message (https://cloud.google.com/pubsub/docs/push#properties_of_a_push_subscription)."""
        published = _rfc3339(message.published_at)
        envelope: dict[str, object] = {
            "message": {
                "attributes": dict(message.attributes),
                "data": base64.b64encode(message.data).decode("ascii"),
                "messageId": message.message_id,
                "message_id": message.message_id,
                "publishTime": published,
                "publish_time": published,
            },
            "subscription": f"projects/{self._project}/subscriptions/{spec.name}",
        }
        if spec.dead_letter_topic is not None:
            envelope["deliveryAttempt"] = attempt
        return json.dumps(envelope).encode("ascii")

    def _bury(self, spec: PushSubscription, due: _Due) -> None:
        """Forward to the dead-letter topic (https://cloud.google.com/pubsub/docs/dead-letter-topics)."""
        if spec.dead_letter_topic is None:
            return
        origin = {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(due.attempt),
            "CloudPubSubDeadLetterSourceSubscription": spec.name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": self._project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": _rfc3339(due.message.published_at),
        }
        attributes = {**due.message.attributes, **origin}
        self._accept(self._topics[spec.dead_letter_topic], due.message.data, attributes)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
