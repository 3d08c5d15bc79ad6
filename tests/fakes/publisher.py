"""Somebody who publishes to a broker by the bare protocol, and the subscriptions that tests begin with."""

import base64
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc.aio
from google.pubsub_v1.types import PublishRequest, PublishResponse, PubsubMessage

from infra.local.broker import Broker, PushSubscription

# Publishes messages of these data to a topic, all with the same attributes; returns their ids.
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


@asynccontextmanager
async def publishing(address: str, project: str = "laptop") -> AsyncIterator[Publish]:
    """Yield what publishes to a project's topics at the broker that is, or will be, at this address."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/google.pubsub.v1.Publisher/Publish",
            request_serializer=PublishRequest.serialize,
            response_deserializer=PublishResponse.deserialize,
        )

        async def publish(topic: str, *data: bytes, **attributes: str) -> list[str]:
            messages = [PubsubMessage(data=each, attributes=attributes) for each in data]
            request = PublishRequest(topic=f"projects/{project}/topics/{topic}", messages=messages)
            answer = await call(request, wait_for_ready=True)
            return list(answer.message_ids)

        yield publish


@asynccontextmanager
async def started(*topics: str, **options: Any) -> AsyncIterator[tuple[Broker, Publish]]:
    """Start a broker of project `laptop`; yield it with what publishes to its topics."""
    broker = Broker("laptop", **options)
    for topic in topics:
        broker.add_topic(topic)
    try:
        async with publishing(await broker.start()) as publish:
            yield broker, publish
    finally:
        await broker.stop()


def data_of(envelope: dict[str, Any]) -> bytes:
    return base64.b64decode(envelope["message"]["data"], validate=True)
