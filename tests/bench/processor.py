"""Processor time, user and system, of this process and of others, who are read from /proc: Linux only."""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the command's closing bracket (proc_pid_stat(5)).
_PARENT, _SESSION, _TIMES = 1, 3, slice(11, 15)


def own_seconds() -> float:
    """Tell what this process has used so far."""
    return time.process_time()


def seconds_with_children() -> float:
    """Tell what this process and its children have used so far, those that have ended too; to the microsecond
    but for what threads of the others did that have ended.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = sum(_thread_seconds(process) for process, fields in _others() if fields[_PARENT] == os.getpid())
    return own_seconds() + ended.ru_utime + ended.ru_stime + alive


def session_seconds(leader: int) -> float:
    """Tell what all processes of a session have used so far, those that ended and were waited for too; to the
    hundredth of a second each.
    """
    times = [fields[_TIMES] for _, fields in _others() if fields[_SESSION] == leader]
    return sum(map(sum, times)) / _TICKS_A_SECOND


def cores() -> list[int]:
    """List the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def _others() -> Iterator[tuple[Path, list[int]]]:
    """Yield the machine's processes, and the numbers that stand in their stat files."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, *numbers = (process / "stat").read_text().rpartition(")")[2].split()
            yield process, [ord(state), *map(int, numbers)]


def _thread_seconds(process: Path) -> float:
    nanoseconds = 0
    with contextlib.suppress(OSError):
        for thread in process.glob("task/*/schedstat"):
            nanoseconds += int(thread.read_text().split()[0])
    return nanoseconds / 1e9
