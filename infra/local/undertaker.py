"""Ends what a killed supervisor leaves behind. Runs as a process of its own, with the standard library only.

The supervisor writes `+GROUP` for a process group it starts and `-GROUP` for one that is gone. When the
pipe closes, because the supervisor has stopped or was killed, every group still on the list is killed:
servers, their workers and the workers' workers alike. It inherits the run's lock, which is thereby free
only when all of them are gone. Works wherever there are process groups, not only on Linux.
"""

import os
import signal
import sys
from collections.abc import Iterable


def bury(lines: Iterable[str]) -> None:
    """Follow the list to its end, then kill the groups that are still on it."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except (
            ProcessLookupError,
            PermissionError,
        ):  # gone already; PermissionError: macOS says so of zombies
            continue


def main() -> None:
    """Outlive the terminal's signals; only the pipe's end counts."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    bury(sys.stdin)


if __name__ == "__main__":
    main()
