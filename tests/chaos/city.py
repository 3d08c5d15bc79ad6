"""The laptop cloud as chaos needs it: the broker and a front before the stand-in as programs of their own,
and pauses so short that a run has time for the worst.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from infra.local import bucket_server, cloud, wiring
from infra.local.broker import PushSubscription
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET, Premises
from infra.local.processes import Program
from infra.local.supervisor import Supervisor
from infra.local.wiring import Ports
from tests.chaos import front, post
from tests.fakes.bucket_server import free_port

ROOT = Path(__file__).parents[2]

FINISHED_SUBSCRIPTION = "finished-push"

# Everything dies but the bucket server, which is not made for it: it renames an object into its place before
# it gives it its metadata, and one killed in between can list its bucket no more.
# How often each dies, against the others.
MORTALS = {
    "on_page_task": 4,
    "on_upload": 2,
    "post": 2,
    "on_dead_letter": 1,
    "sweep": 1,
    "front": 1,
    "stand_in": 1,
}

# A page's time: an answer that hangs takes all of it. Two thirds of what is at the model wait for a core.
_SETTINGS = {
    "BUCKETSCRIBE_PAGE_SECONDS": "14",
    "BUCKETSCRIBE_CALL_RESERVE_SECONDS": "7",
    "BUCKETSCRIBE_ACK_DEADLINE_SECONDS": "30",
    "BUCKETSCRIBE_PAGES_AT_GPU": "6",
}
_ACK_DEADLINE_SECONDS = 30.0
_MINIMUM_BACKOFF_SECONDS = 0.5
_MAXIMUM_BACKOFF_SECONDS = 4.0
# The fewest that Pub/Sub allows: pages reach the dead letters, and come back.
_MAX_DELIVERY_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What is drawn: from which seed, and which share of the model's answers fails."""

    seed: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """The cloud while it runs."""

    ports: Ports
    premises: Premises


def journal(premises: Premises) -> Path:
    """Say where the broker keeps its journal."""
    return premises.root / "journal.sqlite"


def account(premises: Premises) -> Path:
    """Say where the front writes what it did."""
    return premises.root / "account"


@asynccontextmanager
async def running(
    premises: Premises, weather: Weather, supervisor: Supervisor, finished: str
) -> AsyncIterator[City]:
    """Start everything and yield when all of it answers. `finished` is pushed the finished events.

    Raises CannotRun.
    """
    premises.scratch.mkdir()
    bucket_server.prepare(premises.buckets, (INPUT_BUCKET, OUTPUT_BUCKET))
    city = City(ports=wiring.free_ports(), premises=premises)
    ports, post_port, front_port = city.ports, free_port(), free_port()
    clean = wiring.clean_environment(os.environ, premises.scratch) | _SETTINGS
    wired = wiring.wire(clean, ports, f"{wiring.HOST}:{post_port}", wiring.url(front_port))
    specs = _subscriptions(ports, wiring.check(wired).pages_at_gpu, finished)
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
        programs = [
            cloud.server_of_buckets(ports, premises, clean),
            cloud.stand_in(ports, clean, http),
            _program(
                "post", post.command(post_port, journal(premises), weather.seed, specs), clean, post_port
            ),
            _program(
                "front",
                front.command(
                    front_port, wiring.url(ports.stand_in), weather.share, weather.seed, account(premises)
                ),
                clean,
                front_port,
            ),
            *cloud.doors(ports, wired, http),
        ]
        await cloud.start(programs, supervisor)
        yield city


def _subscriptions(ports: Ports, pages_at_gpu: int, finished: str) -> list[PushSubscription]:
    specs = [
        replace(
            spec,
            ack_deadline_seconds=_ACK_DEADLINE_SECONDS,
            minimum_backoff_seconds=_MINIMUM_BACKOFF_SECONDS,
            maximum_backoff_seconds=_MAXIMUM_BACKOFF_SECONDS,
            max_delivery_attempts=spec.max_delivery_attempts and _MAX_DELIVERY_ATTEMPTS,
        )
        for spec in cloud.subscriptions(ports, pages_at_gpu)
    ]
    told = replace(specs[-1], name=FINISHED_SUBSCRIPTION, topic=wiring.FINISHED_TOPIC, endpoint=finished)
    return [*specs, told]


def _program(name: str, command: list[str], environment: dict[str, str], port: int) -> Program:
    return Program(
        name=name,
        command=tuple(command),
        environment=environment | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "functions")))},
        folder=ROOT,
        is_ready=lambda: _listens(port),
    )


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(wiring.HOST, port)
    except OSError:
        return False
    writer.close()
    return True
