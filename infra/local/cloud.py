"""The laptop cloud itself: which programs it is made of, how they are started, and the subscriptions.

The same functions as on Google Cloud, each door served by functions-framework as Cloud Run does; only
addresses differ, and the functions' own settings carry those (`wiring`).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from infra.local import bucket_server, wiring
from infra.local.broker import Broker, PushSubscription
from infra.local.errors import CannotRun
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET, Premises
from infra.local.processes import Program
from infra.local.supervisor import Supervisor
from infra.local.wiring import Ports

_DEAD_TOPIC = "page-tasks-dead"
_REPOSITORY = Path(__file__).parents[2]

# As on Google Cloud, but for the back-off: 10 to 400 s there, where an outage may last a weekend; here
# somebody is looking at a progress bar.
_ACK_DEADLINE_SECONDS = 600.0
_MINIMUM_BACKOFF_SECONDS = 1.0
_MAXIMUM_BACKOFF_SECONDS = 10.0
_MAX_DELIVERY_ATTEMPTS = 100
# Twice what is read at once keeps a page waiting for every place; more would only wait in the worker.
_WAITING_FACTOR = 2
_LEAST_CONCURRENCY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopCloud:
    """The cloud while it runs."""

    ports: Ports
    broker: Broker

    @property
    def upload_door(self) -> str:
        return wiring.url(self.ports.on_upload)

    @property
    def sweep_door(self) -> str:
        return wiring.url(self.ports.sweep)


@asynccontextmanager
async def running(
    premises: Premises, ocr_url: str | None, supervisor: Supervisor, on_refusal: Callable[[str], None]
) -> AsyncIterator[LaptopCloud]:
    """Start everything and yield when all of it answers. Raises CannotRun.

    Without an `ocr_url` the stand-in reads. `on_refusal` is told of every delivery that a door
    refused. The programs end with the supervisor, the broker here.
    """
    bucket_server.prepare(premises.buckets, (INPUT_BUCKET, OUTPUT_BUCKET))
    ports = wiring.free_ports()
    broker = Broker(wiring.PROJECT, on_refusal)
    clean = wiring.clean_environment(os.environ, premises.scratch)
    try:
        wired = wiring.wire(clean, ports, await broker.start(), ocr_url)
        _subscribe(broker, ports, wiring.check(wired).pages_at_gpu)
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            programs = [_bucket_server(ports, premises, clean)]
            programs += [_door(name, port, wired, http) for name, port in _doors(ports).items()]
            if ocr_url is None:
                programs.append(_stand_in(ports, clean, http))
            else:
                await _require_server(ocr_url)
            await _start(programs, supervisor)
        yield LaptopCloud(ports=ports, broker=broker)
    finally:
        await broker.stop()


async def _start(programs: Sequence[Program], supervisor: Supervisor) -> None:
    """Start all in parallel; when one cannot be started the others need not be waited for."""
    try:
        async with asyncio.TaskGroup() as starting:
            for program in programs:
                starting.create_task(supervisor.start(program))
    except* CannotRun as group:
        raise CannotRun("\n".join(str(error) for error in group.exceptions)) from group


async def _require_server(ocr_url: str) -> None:
    """Any answer will do: a server that is still loading its model says 503, and pages wait for it."""
    try:
        async with httpx.AsyncClient(timeout=10.0) as http:
            await http.get(f"{ocr_url}/health")
    except httpx.HTTPError as error:
        raise CannotRun(
            f"no OCR server answers at {ocr_url} ({error!r}); start it, or mend --ocr-url"
        ) from error


def _bucket_server(ports: Ports, premises: Premises, environment: Mapping[str, str]) -> Program:
    return Program(
        name="buckets",
        command=tuple(bucket_server.command(premises.buckets, ports.buckets)),
        environment=environment,
        folder=_REPOSITORY,
        is_ready=lambda: bucket_server.is_ready(ports.buckets),
    )


def _stand_in(ports: Ports, environment: Mapping[str, str], http: httpx.AsyncClient) -> Program:
    module = (sys.executable, "-m", "gpu_service.stand_in")
    return Program(
        name="stand_in",
        command=(*module, "--port", str(ports.stand_in), "--readers", str(wiring.readers())),
        environment=environment,
        folder=_REPOSITORY,
        is_ready=_answers(http, f"{wiring.url(ports.stand_in)}/health", only_success=True),
    )


def _doors(ports: Ports) -> Mapping[str, int]:
    return {
        "on_upload": ports.on_upload,
        "on_page_task": ports.on_page_task,
        "on_dead_letter": ports.on_dead_letter,
        "sweep": ports.sweep,
    }


def _door(name: str, port: int, wired: Mapping[str, str], http: httpx.AsyncClient) -> Program:
    """Serve one door as Cloud Run does. The framework answers /robots.txt itself: the function stays idle."""
    own = {"FUNCTION_TARGET": name, "FUNCTION_SOURCE": "main.py", "HOST": wiring.HOST, "PORT": str(port)}
    return Program(
        name=name,
        command=(str(Path(sys.executable).with_name("functions-framework")),),
        environment={**wired, **own},
        folder=_REPOSITORY / "functions",
        is_ready=_answers(http, f"{wiring.url(port)}/robots.txt", only_success=False),
    )


def _answers(http: httpx.AsyncClient, url: str, *, only_success: bool) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        try:
            answer = await http.get(url)
        except httpx.HTTPError:
            return False
        return answer.is_success or not only_success

    return ask


def _subscribe(broker: Broker, ports: Ports, pages_at_gpu: int) -> None:
    topics = (wiring.EXPRESS_TOPIC, wiring.BULK_TOPIC, _DEAD_TOPIC)
    for topic in (*topics, wiring.FINISHED_TOPIC):
        broker.add_topic(topic)
    for topic in topics:
        dead = topic == _DEAD_TOPIC
        broker.subscribe(
            PushSubscription(
                name=f"{topic}-push",
                topic=topic,
                endpoint=wiring.url(ports.on_dead_letter if dead else ports.on_page_task),
                ack_deadline_seconds=_ACK_DEADLINE_SECONDS,
                minimum_backoff_seconds=_MINIMUM_BACKOFF_SECONDS,
                maximum_backoff_seconds=_MAXIMUM_BACKOFF_SECONDS,
                max_delivery_attempts=None if dead else _MAX_DELIVERY_ATTEMPTS,
                dead_letter_topic=None if dead else _DEAD_TOPIC,
                concurrency=max(_LEAST_CONCURRENCY, _WAITING_FACTOR * pages_at_gpu),
            )
        )
