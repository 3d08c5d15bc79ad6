"""The laptop cloud itself: which programs it is made of, and how they are started.

The same functions as on Google Cloud, each door served by functions-framework as Cloud Run does; only
addresses differ, and the functions' own settings carry those (`wiring`).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from infra.local import bucket_server, emulator, subscriptions, wiring
from infra.local.broker import Broker
from infra.local.emulator import Emulator, Installed
from infra.local.errors import CannotRun
from infra.local.journal import Received
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET, Premises
from infra.local.processes import Program
from infra.local.supervisor import Supervisor
from infra.local.wiring import Ports

_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaptopCloud:
    """The cloud while it runs. `finished` gets the events of documents that have ended."""

    ports: Ports
    finished: "asyncio.Queue[Received]"

    @property
    def upload_door(self) -> str:
        return wiring.url(self.ports.on_upload)

    @property
    def sweep_door(self) -> str:
        return wiring.url(self.ports.sweep)


@asynccontextmanager
async def running(
    premises: Premises,
    ocr_url: str | None,
    supervisor: Supervisor,
    on_refusal: Callable[[str], None],
    googles: Installed | None = None,
) -> AsyncIterator[LaptopCloud]:
    """Start everything and yield when all of it answers. Raises CannotRun.

    Without an `ocr_url` the stand-in reads; without `googles` (Google's emulator) our own broker pushes,
    which tells `on_refusal` of every delivery that a door refused. Programs end with the supervisor.
    """
    bucket_server.prepare(premises.buckets, (INPUT_BUCKET, OUTPUT_BUCKET))
    ports = wiring.free_ports()
    clean = wiring.clean_environment(os.environ, premises.scratch)
    wired = wiring.wire(clean, ports, ocr_url)
    pages_at_gpu = wiring.check(wired).pages_at_gpu
    broker: subscriptions.PubSub = Broker(wiring.PROJECT, on_refusal)
    if googles:
        broker = _emulator(googles, ports, clean, premises, supervisor)
    finished = subscriptions.subscribe(broker, subscriptions.of(ports, pages_at_gpu))
    try:
        wired["PUBSUB_EMULATOR_HOST"] = await broker.start()
        async with httpx.AsyncClient(trust_env=False, timeout=2.0) as http:
            programs = [server_of_buckets(ports, premises, clean)]
            programs += doors(ports, wired, http)
            if ocr_url is None:
                programs.append(stand_in(ports, clean, http))
            else:
                await _require_server(ocr_url)
            await start(programs, supervisor)
        yield LaptopCloud(ports=ports, finished=finished)
    finally:
        await broker.stop()


async def start(programs: Sequence[Program], supervisor: Supervisor) -> None:
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


def _emulator(
    googles: Installed,
    ports: Ports,
    environment: Mapping[str, str],
    premises: Premises,
    supervisor: Supervisor,
) -> Emulator:
    program = Program(
        name="pubsub",
        command=googles.command(ports.emulator),
        environment=environment,
        folder=premises.scratch,
        is_ready=lambda: emulator.is_ready(ports.emulator),
    )
    return Emulator(wiring.PROJECT, ports.emulator, partial(supervisor.start, program))


def server_of_buckets(ports: Ports, premises: Premises, environment: Mapping[str, str]) -> Program:
    return Program(
        name="buckets",
        command=tuple(bucket_server.command(premises.buckets, ports.buckets)),
        environment=environment,
        folder=_REPOSITORY,
        is_ready=lambda: bucket_server.is_ready(ports.buckets),
    )


def stand_in(ports: Ports, environment: Mapping[str, str], http: httpx.AsyncClient) -> Program:
    module = (sys.executable, "-m", "gpu_service.stand_in")
    return Program(
        name="stand_in",
        command=(*module, "--port", str(ports.stand_in), "--readers", str(wiring.readers())),
        environment=environment,
        folder=_REPOSITORY,
        is_ready=_answers(http, f"{wiring.url(ports.stand_in)}/health", only_success=True),
    )


def doors(ports: Ports, wired: Mapping[str, str], http: httpx.AsyncClient) -> list[Program]:
    """Describe all four, as `wired` sets them up."""
    by_name = {
        "on_upload": ports.on_upload,
        "on_page_task": ports.on_page_task,
        "on_dead_letter": ports.on_dead_letter,
        "sweep": ports.sweep,
    }
    return [_door(name, port, wired, http) for name, port in by_name.items()]


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
