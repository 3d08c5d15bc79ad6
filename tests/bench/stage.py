"""What doors are measured on: each served by functions-framework, in processes whose processor time is read;
around it a bucket server, a broker and a GPU that answers at once, whose is not.
"""

import asyncio
import base64
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bucketscribe import jobs, layout
from bucketscribe.messages import task_message
from bucketscribe.model import Job, JobState, Kind, Lane, ObjectRef, PageTask, Upload
from bucketscribe.settings import PROFILES
from bucketscribe.storage import CloudBucket, make_client, open_bucket
from infra.local import bucket_server, wiring
from infra.local.broker import Broker
from tests.bench import processor
from tests.fakes.bucket_server import free_port, serving_buckets

ROOT = Path(__file__).parents[2]
PROFILE = PROFILES["lightonocr-2-1b"]
_AT_ONCE = 16
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What some pages took: seconds by the clock, and of the processor."""

    pages: int
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The surroundings, ready; doors are opened on it."""

    folder: Path
    gpu_url: str
    buckets_port: int
    broker: str
    inbox: CloudBucket
    outbox: CloudBucket


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Stage]:
    """Start bucket server, broker and GPU."""
    broker = Broker(wiring.PROJECT)
    for topic in (wiring.EXPRESS_TOPIC, wiring.BULK_TOPIC, wiring.FINISHED_TOPIC):
        broker.add_topic(topic)
    async with AsyncExitStack() as stack:
        serving = serving_buckets(folder / "buckets", "in", "out")
        port = await asyncio.to_thread(stack.enter_context, serving)  # it waits on a loop of its own
        stack.push_async_callback(broker.stop)
        broker_address = await broker.start()
        gpu_port = free_port()
        await stack.enter_async_context(_process("-m", "tests.bench.gpu", str(gpu_port)))
        await _answering(f"{wiring.url(gpu_port)}/health")
        os.environ["STORAGE_EMULATOR_HOST"] = bucket_server.url(port)
        client = make_client()
        stack.callback(client.close)
        yield Stage(
            folder=folder,
            gpu_url=wiring.url(gpu_port),
            buckets_port=port,
            broker=broker_address,
            inbox=open_bucket("in", client=client),
            outbox=open_bucket("out", client=client),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A door, open; its process leads a session of its own."""

    stage: Stage
    url: str
    leader: int

    async def read(self, name: str, path: Path, pages: int) -> Cost:
        """Have a document read, page by page as Pub/Sub pushes them; tell what that cost the door."""
        tasks = await self.planned(name, await asyncio.to_thread(path.read_bytes), pages)
        before, begun = processor.session_seconds(self.leader), asyncio.get_running_loop().time()
        await _push_all(self.url, tasks)
        seconds = asyncio.get_running_loop().time() - begun
        spent = processor.session_seconds(self.leader) - before
        finished = await self.stage.outbox.look(layout.document_record(name))
        if finished is None or finished.metadata["bucketscribe-status"] != "complete":
            raise RuntimeError(f"{name} was not read: look at {self.stage.folder}")
        return Cost(pages=pages, seconds=seconds, processor_seconds=spent)

    async def planned(self, name: str, data: bytes, pages: int) -> list[PageTask]:
        """Put a document and its job where on_upload would leave them."""
        inbox, now = self.stage.inbox, datetime.now(UTC)
        generation = await inbox.write(name, data, content_type="application/pdf", if_generation=0)
        source = ObjectRef(bucket="in", name=name, generation=generation)
        upload = Upload(
            source=source, size=len(data), content_type="application/pdf", crc32c="", uploaded_at=now
        )
        job = Job(
            upload=upload,
            state=JobState.PLANNED,
            profile=PROFILE,
            received_at=now,
            kind=Kind.PDF,
            pages=pages,
            planned_at=now,
        )
        await jobs.write(job, 0, self.stage.outbox)
        return [
            PageTask(source=source, page=page, pages=pages, lane=Lane.BULK, profile=PROFILE.name)
            for page in range(1, pages + 1)
        ]


@asynccontextmanager
async def open_door(
    stage: Stage,
    cores: Sequence[int],
    *,
    target: str = "on_page_task",
    source: Path = ROOT / "functions" / "main.py",
) -> AsyncIterator[Door]:
    """Serve a door on these cores, as on Cloud Run."""
    port = free_port()
    scratch = stage.folder / f"door-{port}"
    scratch.mkdir()
    clean = wiring.clean_environment(os.environ, scratch)
    environment = clean | {
        "STORAGE_EMULATOR_HOST": bucket_server.url(stage.buckets_port),
        "PUBSUB_EMULATOR_HOST": stage.broker,
        "GOOGLE_CLOUD_PROJECT": wiring.PROJECT,
        "BUCKETSCRIBE_PROJECT": wiring.PROJECT,
        "BUCKETSCRIBE_INPUT_BUCKET": "in",
        "BUCKETSCRIBE_OUTPUT_BUCKET": "out",
        "BUCKETSCRIBE_OCR_URL": stage.gpu_url,
        "FUNCTION_TARGET": target,
        "FUNCTION_SOURCE": str(source),
        "PYTHONPATH": f"{ROOT / 'functions'}:{ROOT}",
        "HOST": wiring.HOST,
        "PORT": str(port),
    }
    command = ("-m", "functions_framework")
    async with _process(*command, environment=environment, cores=cores, log=scratch / "log") as leader:
        await _answering(f"{wiring.url(port)}/robots.txt")
        yield Door(stage=stage, url=wiring.url(port), leader=leader)


def pushed(task: PageTask) -> dict[str, object]:
    """Wrap a task up as Pub/Sub pushes it."""
    data = base64.b64encode(task_message(task).data).decode()
    return {"message": {"data": data, "messageId": str(task.page)}, "deliveryAttempt": 1}


async def _push_all(url: str, tasks: Sequence[PageTask]) -> None:
    """Push all tasks, `_AT_ONCE` at a time. Raises httpx.HTTPStatusError for the first that is refused."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def push(client: httpx.AsyncClient, task: PageTask) -> None:
        async with places:
            (await client.post(url, json=pushed(task))).raise_for_status()

    async with httpx.AsyncClient(timeout=600.0, trust_env=False) as client, asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(push(client, task))


@asynccontextmanager
async def _process(
    *arguments: str,
    environment: dict[str, str] | None = None,
    cores: Sequence[int] = (),
    log: Path | None = None,
) -> AsyncIterator[int]:
    """Run Python in a session of its own, on these cores if any are named; yield its process id."""
    taskset = ("taskset", "-c", ",".join(map(str, cores))) if cores else ()
    with (log or Path(os.devnull)).open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *taskset,
            sys.executable,
            *arguments,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            process.terminate()
        await process.wait()


async def _answering(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            try:
                await client.get(url)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
            else:
                return
