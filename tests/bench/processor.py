"""Processor time, of this process and of others, and which cores they may use. Linux: others are read from
/proc.
"""

import os
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the command's closing bracket (proc_pid_stat(5)).
_SESSION, _TIMES = 3, slice(11, 15)


def own_seconds() -> float:
    """Tell what this process has used so far, user and system."""
    return sum(os.times()[:2])


def session_seconds(leader: int) -> float:
    """Tell what all processes of a session have used so far, those that have ended and were waited for too."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[_SESSION]) == leader:
            ticks += sum(map(int, fields[_TIMES]))
    return ticks / _TICKS_A_SECOND


def cores() -> list[int]:
    """List the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))
