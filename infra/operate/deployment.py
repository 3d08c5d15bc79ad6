"""What is deployed for a number of GPUs, as the deploy scripts derive it: `infra/gcp/numbers.sh`, as values.

They are the only place where these numbers come from; the flow simulation and `bucketscribe estimate` reckon
with what is read here.
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bucketscribe.errors import SettingsError
from bucketscribe.settings import PREFIX, Settings
from infra.local.errors import CannotRun

NUMBERS = Path(__file__).parents[1] / "gcp" / "numbers.sh"

# Settings by the names that the scripts have for them; the others are the defaults of both.
_SETTINGS = {
    "pages_at_gpu": "PAGES_AT_GPU",
    "pages_waiting": "PAGES_WAITING",
    "page_seconds": "PAGE_SECONDS",
    "call_reserve_seconds": "BUCKETSCRIBE_CALL_RESERVE_SECONDS",
    "express_pages": "BUCKETSCRIBE_EXPRESS_PAGES",
    "include": "BUCKETSCRIBE_INCLUDE",
    "ignore": "BUCKETSCRIBE_IGNORE",
    "document_mib": "BUCKETSCRIBE_DOCUMENT_MIB",
    "document_pages": "BUCKETSCRIBE_DOCUMENT_PAGES",
    "image_pixels": "BUCKETSCRIBE_IMAGE_PIXELS",
    "render_seconds": "BUCKETSCRIBE_RENDER_SECONDS",
    "ack_deadline_seconds": "ACK_DEADLINE_SECONDS",
    "render_workers": "on_page_task.RENDER_WORKERS",
    "cache_mib": "on_page_task.CACHE_MIB",
    "memory_mib": "on_page_task.MEMORY_MIB",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One function's size. `concurrency` requests in an instance, `instances` at most."""

    vcpu: int
    memory_mib: int
    concurrency: int
    instances: int

    @classmethod
    def read(cls, name: str, numbers: Mapping[str, int]) -> "Door":
        return cls(
            vcpu=numbers[f"{name}.VCPU"],
            memory_mib=numbers[f"{name}.MEMORY_MIB"],
            concurrency=numbers[f"{name}.CONCURRENCY"],
            instances=numbers[f"{name}.INSTANCES"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What stands in the cloud. `gpu_concurrency` pages in a GPU instance, of which `gpu_queued` at most are
    read or wait inside; the subscriptions' times in seconds.
    """

    gpus: int
    gpu_vcpu: int
    gpu_memory_gib: int
    gpu_concurrency: int
    gpu_seats: int
    gpu_queued: int
    upload: Door
    worker: Door
    delivery_attempts: int
    minimum_backoff_seconds: float
    maximum_backoff_seconds: float
    settings: Settings


def deployment(gpus: int | None = None, **changes: Any) -> Deployment:
    """Read what is deployed for so many GPUs; without a number for those of bucketscribe.env, or else three.

    `changes` are settings that shall differ. Raises CannotRun when the scripts refuse.
    """
    told = _told(gpus)
    numbers = {name: int(value) for name, value in told.items() if value.isdecimal()}
    return Deployment(
        gpus=numbers["GPUS"],
        gpu_vcpu=numbers["GPU_VCPU"],
        gpu_memory_gib=numbers["GPU_MEMORY_GIB"],
        gpu_concurrency=numbers["GPU_CONCURRENCY"],
        gpu_seats=numbers["MAX_NUM_SEQS"],
        gpu_queued=numbers["MAX_NUM_QUEUED_REQS"],
        upload=Door.read("on_upload", numbers),
        worker=Door.read("on_page_task", numbers),
        delivery_attempts=numbers["DELIVERY_ATTEMPTS"],
        minimum_backoff_seconds=numbers["MINIMUM_BACKOFF_SECONDS"],
        maximum_backoff_seconds=numbers["MAXIMUM_BACKOFF_SECONDS"],
        settings=_settings(told, changes),
    )


def _settings(told: Mapping[str, str], changes: Mapping[str, Any]) -> Settings:
    deployed = {PREFIX + name.upper(): told[source] for name, source in _SETTINGS.items()}
    unasked = {"PROJECT": "simulated", "INPUT_BUCKET": "in", "OUTPUT_BUCKET": "out"}
    unasked |= {"OCR_URL": "http://127.0.0.1:8000"}
    try:
        read = Settings.from_environment(deployed | {PREFIX + name: value for name, value in unasked.items()})
        return replace(read, **changes)
    except SettingsError as error:
        raise CannotRun(f"the functions would refuse these settings: {error}") from error


def _told(gpus: int | None) -> dict[str, str]:
    command = [str(NUMBERS), *([] if gpus is None else [str(gpus)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    if done.returncode:
        raise CannotRun(done.stderr.strip().removeprefix("error: "))
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}
