"""Who is pushed what: the topics and push subscriptions of the laptop's Pub/Sub, whichever broker that is."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from infra.local import wiring
from infra.local.broker import PushSubscription
from infra.local.journal import Received
from infra.local.wiring import Ports

DEAD_TOPIC = "page-tasks-dead"

# As on Google Cloud, but for the back-off: 10 to 400 s there, where an outage may last a weekend; here
# somebody is looking at a progress bar.
_ACK_DEADLINE_SECONDS = 600.0
_MINIMUM_BACKOFF_SECONDS = 1.0
_MAXIMUM_BACKOFF_SECONDS = 10.0
_MAX_DELIVERY_ATTEMPTS = 100
# Twice what is read at once keeps a page waiting for every place; more would only wait in the worker.
_WAITING_FACTOR = 2
_LEAST_CONCURRENCY = 16


class PubSub(Protocol):
    """A broker: told its topics, subscriptions and listeners first, and then started."""

    def add_topic(self, name: str) -> None: ...

    def subscribe(self, spec: PushSubscription) -> None: ...

    def listen(self, topic: str) -> "asyncio.Queue[Received]": ...

    async def start(self) -> str: ...

    async def stop(self) -> None: ...


def of(ports: Ports, pages_at_gpu: int) -> list[PushSubscription]:
    """Describe who is pushed what, the dead letters' subscription last."""
    return [
        PushSubscription(
            name=f"{topic}-push",
            topic=topic,
            endpoint=wiring.url(ports.on_dead_letter if topic == DEAD_TOPIC else ports.on_page_task),
            ack_deadline_seconds=_ACK_DEADLINE_SECONDS,
            minimum_backoff_seconds=_MINIMUM_BACKOFF_SECONDS,
            maximum_backoff_seconds=_MAXIMUM_BACKOFF_SECONDS,
            max_delivery_attempts=None if topic == DEAD_TOPIC else _MAX_DELIVERY_ATTEMPTS,
            dead_letter_topic=None if topic == DEAD_TOPIC else DEAD_TOPIC,
            concurrency=max(_LEAST_CONCURRENCY, _WAITING_FACTOR * pages_at_gpu),
        )
        for topic in (wiring.EXPRESS_TOPIC, wiring.BULK_TOPIC, DEAD_TOPIC)
    ]


def subscribe(broker: PubSub, specs: Sequence[PushSubscription]) -> "asyncio.Queue[Received]":
    """Tell the broker who gets what; return the events of finished documents."""
    for topic in (*(spec.topic for spec in specs), wiring.FINISHED_TOPIC):
        broker.add_topic(topic)
    for spec in specs:
        broker.subscribe(spec)
    return broker.listen(wiring.FINISHED_TOPIC)
