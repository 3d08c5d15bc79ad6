"""The user's outbox folder, lent to the bucket server for the time of a run.

The server keeps a bucket in a real folder <root>/<bucket> and does not follow a link there. So the user's
folder is moved under the server's root and a link left in its place; results show live under the usual
path. At the end it is moved back and is a plain folder of plain files again. Beside OUTBOX lies
`.OUTBOX.bucketscribe/`, on the same filesystem, so that a move is one rename:

    buckets/inbox, buckets/outbox   the server's root, only while a run lasts
    scratch/                        the processes' temporary folders, and where the sweep's door is; likewise
    logs/                           one file a process, of the last run
    lock                            held by the run, and by its undertaker until the last process is gone

A run can be killed between any two steps: the next one first puts back what it finds moved.
"""

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import CannotRun

INPUT_BUCKET = "inbox"
OUTPUT_BUCKET = "outbox"

# A killed run's undertaker needs a moment to end the processes; only then is the lock free.
_LOCK_PATIENCE_SECONDS = 2.0
_LOCK_PAUSE_SECONDS = 0.05

# The server writes for itself alone; what is left to the user is readable like any other file.
_FILE_MODE = 0o644
_FOLDER_MODE = 0o755

# jobs/NAME/GENERATION.json and notes/NAME/GENERATION/00007.json, with generations in microseconds.
_FLIGHT = re.compile(r"/\d{16}(/\d{5})?\.json$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Premises:
    """Where a run keeps its things. `lock_descriptor` is inherited by the undertaker."""

    place: Path
    root: Path
    lock_descriptor: int = -1

    @property
    def buckets(self) -> Path:
        return self.root / "buckets"

    @property
    def inbox(self) -> Path:
        return self.buckets / INPUT_BUCKET

    @property
    def outbox(self) -> Path:
        return self.buckets / OUTPUT_BUCKET

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def logs(self) -> Path:
        return self.root / "logs"


@contextmanager
def lent(outbox: Path) -> Iterator[Premises]:
    """Move the folder under the server's root for as long as the context lasts, then move it back.

    Input bucket and scratch are emptied before and after, the logs before. Raises CannotRun when another
    run has the folder or the filesystem does not allow the moves.
    """
    premises = premises_of(outbox)
    try:
        premises.logs.mkdir(parents=True, exist_ok=True)
        with _locked(premises) as locked:
            give_back(locked)
            _empty(locked)
            try:
                _take(locked)
                yield locked
            finally:
                for folder in (locked.inbox, locked.scratch):
                    shutil.rmtree(folder, ignore_errors=True)
                give_back(locked)
    except OSError as error:
        raise CannotRun(
            f"the outbox {outbox} cannot be used: {error.strerror or error} ({error.filename}); "
            "choose another folder with --outbox"
        ) from error


def keep_apart(outbox: Path, watched: Path | None) -> None:
    """Refuse a watched folder that holds the outbox, or lies in it: every result would be read as a document.

    Raises CannotRun.
    """
    if watched is None:
        return
    theirs, ours = watched.expanduser().resolve(), premises_of(outbox).place
    if theirs.is_relative_to(ours) or ours.is_relative_to(theirs):
        raise CannotRun(f"--watch {watched} and --outbox {outbox} must not lie within each other")


def give_back(premises: Premises) -> None:
    """Undo what a run did to the folder, whichever steps it had come to; nothing to undo is fine."""
    if premises.place.is_symlink():
        premises.place.unlink()
    if not premises.outbox.exists():
        return
    _make_readable(premises.outbox)
    _forget_flights(premises.outbox)
    if premises.place.is_dir() and not any(premises.place.iterdir()):
        premises.place.rmdir()
    if premises.place.exists():
        raise CannotRun(
            f"the results of a run lie in {premises.outbox}, but {premises.place} is there as well; "
            "move one of the two away"
        )
    premises.outbox.rename(premises.place)


def is_in_use(premises: Premises) -> bool:
    """Tell whether a run has the folder. Asked beside a run that starts, it makes that wait for a moment."""
    try:
        with (premises.root / "lock").open() as lock:
            return not _try_lock(lock.fileno())
    except FileNotFoundError:
        return False


def premises_of(outbox: Path) -> Premises:
    """Find the folder itself: through links of the user's, but not through the one a run leaves."""
    given = Path(os.path.abspath(outbox.expanduser()))  # noqa: PTH100 - resolve() would follow our own link
    place = given.parent.resolve() / given.name
    if not place.name:
        raise CannotRun(f"the outbox {outbox} cannot be used: it is the root folder; choose another one")
    premises = Premises(place=place, root=place.parent / f".{place.name}.bucketscribe")
    if place.is_symlink() and place.readlink() != _link_target(premises):
        return premises_of(place.resolve())
    return premises


def _link_target(premises: Premises) -> Path:
    return premises.outbox.relative_to(premises.place.parent)


@contextmanager
def _locked(premises: Premises) -> Iterator[Premises]:
    with (premises.root / "lock").open("w") as lock:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        while not _try_lock(lock.fileno()):
            if time.monotonic() > deadline:
                raise CannotRun(
                    f"another run is using the outbox {premises.place}; wait for its end, or choose another "
                    "folder with --outbox"
                )
            time.sleep(_LOCK_PAUSE_SECONDS)
        yield Premises(place=premises.place, root=premises.root, lock_descriptor=lock.fileno())


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _empty(premises: Premises) -> None:
    for folder in (premises.inbox, premises.scratch, premises.logs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)


def _take(premises: Premises) -> None:
    premises.place.mkdir(parents=True, exist_ok=True)
    premises.place.rename(premises.outbox)
    premises.place.symlink_to(_link_target(premises))


def _forget_flights(outbox: Path) -> None:
    """Remove jobs and notes, which stand only while a document is in flight: its tasks went with the broker.

    Folders that this leaves empty go too.
    """
    for prefix in ("jobs", "notes"):
        for base, _, files in os.walk(outbox / prefix, topdown=False):
            for name in files:
                if _FLIGHT.search(os.path.join(base, name)):  # noqa: PTH118 - plain strings: there may be many
                    Path(base, name).unlink()
            with suppress(OSError):  # not empty: something else lies there
                Path(base).rmdir()


def _make_readable(folder: Path) -> None:
    """Open up what the server closed to others; modes that somebody else chose stay as they are."""
    for base, folders, files in os.walk(folder):
        for names, closed, mode in ((folders, 0o700, _FOLDER_MODE), (files, 0o600, _FILE_MODE)):
            for name in names:
                path = Path(base, name)
                if stat.S_IMODE(path.lstat().st_mode) == closed:
                    path.chmod(mode)
