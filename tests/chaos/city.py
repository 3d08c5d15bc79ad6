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

from infra.local import bucket_server, cloud, subscriptions, wiring
from infra.local.broker import PushSubscription
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET, Premises
from infra.local.processes import Program
from infra.local.supervisor import Supervisor
from infra.local.wiring import Ports
from tests.chaos import front, post
from tests.chaos.options import Options
from tests.fakes.loopback import free_port

ROOT = Path(__file__).parents[2]

FINISHED_SUBSCRIPTION = "finished-push"

# A page's time: an answer that hangs takes all of it. Two thirds of what is at the model wait for a core.
_SETTINGS = {
    "BUCKETSCRIBE_PAGE_SECONDS": "14",
    "BUCKETSCRIBE_CALL_RESERVE_SECONDS": "7",
    "BUCKETSCRIBE_ACK_DEADLINE_SECONDS": "30",
    "BUCKETSCRIBE_PAGES_AT_GPU": "6",
}
_ACK_DEADLINE_SECONDS = 30.0
_MINIMUM_BACKOFF_SECONDS = 1.0
_MAXIMUM_BACKOFF_SECONDS = 4.0
# The fewest that Pub/Sub allows: pages reach the dead letters, and come back.
_MAX_DELIVERY_ATTEMPTS = 5


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
    premises: Premises, options: Options, supervisor: Supervisor, finished: str
) -> AsyncIterator[City]:
    """Start everything and yield when all of it answers. `finished` is pushed the finished events.

    Raises CannotRun.
    """
    premises.scratch.mkdir()
    bucket_server.prepare(premises.buckets, (INPUT_BUCKET, OUTPUT_BUCKET))
    city = City(ports=wiring.free_ports(), premises=premises)
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
        await cloud.start(_programs(city, options, finished, http), supervisor)
        yield city


def _programs(city: City, options: Options, finished: str, http: httpx.AsyncClient) -> list[Program]:
    ports, post_port, front_port = city.ports, free_port(), free_port()
    clean = wiring.clean_environment(os.environ, city.premises.scratch) | _SETTINGS
    wired = wiring.wire(clean, ports, wiring.url(front_port))
    wired["PUBSUB_EMULATOR_HOST"] = f"{wiring.HOST}:{post_port}"
    specs = _subscriptions(ports, wiring.check(wired).pages_at_gpu, finished)
    kept = post.FORGETFUL if options.is_forgetful else str(journal(city.premises))
    before = front.command(
        front_port, wiring.url(ports.stand_in), options.share, options.seed, account(city.premises)
    )
    return [
        cloud.server_of_buckets(ports, city.premises, clean),
        cloud.stand_in(ports, clean, http),
        *cloud.doors(ports, wired, http),
        _program("post", post.command(post_port, kept, options.seed, specs), clean, post_port),
        _program("front", before, clean, front_port),
    ]


def _subscriptions(ports: Ports, pages_at_gpu: int, finished: str) -> list[PushSubscription]:
    specs = [
        replace(
            spec,
            ack_deadline_seconds=_ACK_DEADLINE_SECONDS,
            minimum_backoff_seconds=_MINIMUM_BACKOFF_SECONDS,
            maximum_backoff_seconds=_MAXIMUM_BACKOFF_SECONDS,
            max_delivery_attempts=spec.max_delivery_attempts and _MAX_DELIVERY_ATTEMPTS,
        )
        for spec in subscriptions.of(ports, pages_at_gpu)
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
