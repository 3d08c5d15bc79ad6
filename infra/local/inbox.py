"""Files on their way into the input bucket: which are meant, how objects are named, when a file is whole.

An object is named after its file. Files that share a name keep as much of their paths as sets them apart.
"""

import asyncio
import glob
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import CannotRun

# The bucket server keeps an object as a file, and writes it as .NAME.json with up to 20 digits behind it
# first; filesystems end at 255.
NAME_PART_LIMIT_BYTES = 255 - len(".") - len(".json") - 20

# A file is whole when it has not changed for so long: copies and downloads write all the time.
SETTLED_AFTER_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.25

_UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp", "~")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file, and the name its object gets."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """How a file appeared, and since when it has looked so (loop time)."""

    size: int
    changed_ns: int
    since: float


def collect(patterns: Sequence[str], outbox: Path, *, refusal: str = "nothing was started") -> list[Item]:
    """Find the files meant: paths, folders (all files below, hidden ones and the outbox apart) and globs.

    Raises CannotRun, with `refusal` and everything that is missing or cannot be read, all at once.
    """
    found: dict[Path, None] = {}
    wrong: list[str] = []
    for pattern in patterns:
        matches = _matches(pattern)
        files = [file for match in matches for file in _files(match, outbox)]
        if not files:
            wrong.append(f"{pattern}: {'there is no file in it' if matches else 'there is no such file'}")
        wrong.extend(f"{file}: it cannot be read" for file in files if not os.access(file, os.R_OK))
        found.update(dict.fromkeys(Path(os.path.abspath(file)) for file in files))  # noqa: PTH100 - not through links
    items = _named(list(found))
    wrong.extend(f"{item.path}: {fault}" for item in items if (fault := name_fault(item.name)))
    if wrong:
        raise CannotRun(f"{refusal}, because of\n" + "\n".join(f"  {line}" for line in wrong))
    return items


def make_watched(folder: Path | None) -> None:
    """Make the folder to be watched, unless there is none or it is there. Raises CannotRun."""
    if folder:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotRun(
                f"--watch {folder} cannot be used: {error.strerror}; choose another folder"
            ) from error


def name_fault(name: str) -> str | None:
    """Say what keeps a name from being an object's name here; None when nothing does."""
    try:
        longest = max(len(part.encode()) for part in name.split("/"))
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if longest > NAME_PART_LIMIT_BYTES:
        return f"its name is longer than {NAME_PART_LIMIT_BYTES} bytes; rename it"
    if "\n" in name or "\r" in name:
        return "its name has a line break in it; rename it"
    return None


def is_document(path: Path) -> bool:
    """Tell whether a file in a watched folder is meant: neither hidden nor somebody's unfinished copy."""
    return not path.name.startswith(".") and not path.name.lower().endswith(_UNFINISHED)


async def watch(folder: Path) -> AsyncIterator[Item]:
    """Yield every file of a folder once it is whole, and again when it has changed; for ever.

    Names are relative to the folder. What lies there at the start counts as new.
    """
    loop = asyncio.get_running_loop()
    looks: dict[Path, _Look] = {}
    taken: dict[Path, _Look] = {}
    while True:
        looks = _look_again(looks, await asyncio.to_thread(_look_over, folder), loop.time())
        taken = {path: look for path, look in taken.items() if path in looks}
        for path, look in looks.items():
            if taken.get(path) != look and loop.time() - look.since >= SETTLED_AFTER_SECONDS:
                taken[path] = look
                yield Item(path=path, name=path.relative_to(folder).as_posix())
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def _matches(pattern: str) -> list[Path]:
    """Take a path as it is written before it is taken for a glob: brackets occur in names."""
    path = Path(pattern).expanduser()
    if path.exists():
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 - absolute ones too


def _files(path: Path, outbox: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [
        file
        for file in sorted(_walk(path))
        if not file.resolve().is_relative_to(outbox.expanduser().resolve())
    ]


def _walk(folder: Path) -> Iterable[Path]:
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (Path(base, name) for name in files)
        yield from (path for path in paths if is_document(path) and path.is_file())


def _named(paths: Sequence[Path]) -> list[Item]:
    """Name each after its file; those that share a name by their paths from their common folder."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        by_name[path.name].append(path)
    return [Item(path=path, name=_name(path, by_name[path.name])) for path in paths]


def _name(path: Path, namesakes: Sequence[Path]) -> str:
    if len(namesakes) == 1:
        return path.name
    return path.relative_to(os.path.commonpath(namesakes)).as_posix()


def _look_over(folder: Path) -> dict[Path, tuple[int, int]]:
    """Note size and time of change of every document in the folder; what vanishes meanwhile is left out."""
    found: dict[Path, tuple[int, int]] = {}
    for path in _walk(folder):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found[path] = (status.st_size, status.st_mtime_ns)
    return found


def _look_again(
    before: dict[Path, _Look], seen: dict[Path, tuple[int, int]], now: float
) -> dict[Path, _Look]:
    looks: dict[Path, _Look] = {}
    for path, (size, changed_ns) in seen.items():
        old = before.get(path)
        same = old is not None and (old.size, old.changed_ns) == (size, changed_ns)
        looks[path] = old if old and same else _Look(size=size, changed_ns=changed_ns, since=now)
    return looks
