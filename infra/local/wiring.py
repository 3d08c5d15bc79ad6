"""How the laptop cloud's programs find each other: ports and environments.

Whatever could lead a program to a real cloud is taken out of the environment it inherits.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bucketscribe.errors import SettingsError
from bucketscribe.settings import Settings
from infra.local.errors import CannotRun
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET

HOST = "127.0.0.1"
PROJECT = "laptop"
EXPRESS_TOPIC = "page-tasks-express"
BULK_TOPIC = "page-tasks-bulk"
FINISHED_TOPIC = "documents-finished"

# What leads to a real cloud, or would make a door serve otherwise than we mean it to.
_FOREIGN = ("GOOGLE_", "GCLOUD_", "GCE_", "CLOUDSDK_", "STORAGE_", "PUBSUB_", "FUNCTION_", "GUNICORN_", "K_")
_FOREIGN_NAMES = frozenset({"HOST", "PORT", "WORKERS", "THREADS", "DEBUG", "CLOUD_RUN_TIMEOUT_SECONDS"})

# For a real server behind --ocr-url, unless BUCKETSCRIBE_PAGES_AT_GPU says otherwise: suits a llama-server,
# which reads a handful at a time.
_PAGES_AT_REAL_SERVER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Loopback ports that were free a moment ago."""

    buckets: int
    stand_in: int
    on_upload: int
    on_page_task: int
    on_dead_letter: int
    sweep: int
    emulator: int


def free_ports() -> Ports:
    """Find different ports by holding all of them at once."""
    sockets = [socket.socket() for _ in range(7)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
        numbers = [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
    return Ports(
        buckets=numbers[0],
        stand_in=numbers[1],
        on_upload=numbers[2],
        on_page_task=numbers[3],
        on_dead_letter=numbers[4],
        sweep=numbers[5],
        emulator=numbers[6],
    )


def url(port: int) -> str:
    return f"http://{HOST}:{port}"


def clean_environment(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Keep the user's environment, settings of ours included, but for what leads to a real cloud.

    `scratch` takes what programs leave in their temporary folders when they are killed.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(_FOREIGN) and name not in _FOREIGN_NAMES
    }
    direct = {
        name: ",".join(filter(None, (HOST, "localhost", kept.get(name)))) for name in ("NO_PROXY", "no_proxy")
    }
    own = {
        "CLOUDSDK_CONFIG": str(scratch / "no-gcloud"),
        "NO_GCE_CHECK": "true",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(scratch),
    }
    return kept | direct | own


def wire(clean: Mapping[str, str], ports: Ports, ocr_url: str | None) -> dict[str, str]:
    """Tell the functions where everything is but the broker; every object that is dropped in is taken in."""
    pages_at_gpu = readers() if ocr_url is None else _PAGES_AT_REAL_SERVER
    wired = {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "STORAGE_EMULATOR_HOST": url(ports.buckets),
        "BUCKETSCRIBE_PROJECT": PROJECT,
        "BUCKETSCRIBE_INPUT_BUCKET": INPUT_BUCKET,
        "BUCKETSCRIBE_OUTPUT_BUCKET": OUTPUT_BUCKET,
        "BUCKETSCRIBE_OCR_URL": ocr_url or url(ports.stand_in),
        "BUCKETSCRIBE_EXPRESS_TOPIC": EXPRESS_TOPIC,
        "BUCKETSCRIBE_BULK_TOPIC": BULK_TOPIC,
        "BUCKETSCRIBE_FINISHED_TOPIC": FINISHED_TOPIC,
        "BUCKETSCRIBE_INCLUDE": "*",
        "BUCKETSCRIBE_IGNORE": "",
    }
    return {"BUCKETSCRIBE_PAGES_AT_GPU": str(pages_at_gpu), **clean, **wired}


def check(wired: Mapping[str, str]) -> Settings:
    """Read the settings as the functions will. Raises CannotRun: better here than in every door's log."""
    try:
        return Settings.from_environment(wired)
    except SettingsError as error:
        raise CannotRun(f"--ocr-url or a BUCKETSCRIBE_… variable is not right: {error}") from error


def readers() -> int:
    """Tell how many pages the stand-in reads at once: one a core."""
    return os.cpu_count() or 1
