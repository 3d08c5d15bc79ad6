"""One program of the laptop cloud as a running process: started, found ready, stopped with all its kin.

Each runs in a session of its own: the terminal's Ctrl-C reaches only the supervisor, and one signal to the
group reaches a server's workers and their workers. Who is restarted when is `supervisor`'s affair.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.local.errors import CannotRun

# A server that does not answer by then never will.
READY_WITHIN_SECONDS = 30.0
# Between SIGTERM and SIGKILL. Short: whatever is lost on the way, the next delivery would mend.
GRACE_SECONDS = 0.5

_HEALTH_PAUSE_SECONDS = 0.05
_SHOWN_LOG_LINES = 12

# The child waits for a line before it becomes the program. The line comes when the undertaker knows of it;
# if the supervisor is killed before, the pipe ends and the child goes too.
_GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. `environment` is the whole of it; `is_ready` asks the program itself, without raising."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    is_ready: Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A program's process, leader of its own group; its output goes to the end of `log`."""

    program: Program
    process: asyncio.subprocess.Process
    log: Path

    @property
    def group(self) -> int:
        return self.process.pid


async def start(program: Program, log: Path, announce: Callable[[int], None]) -> Running:
    """Start the program once `announce` has taken note of its group. Raises CannotRun."""
    try:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *_GATE,
                *program.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=program.environment,
                cwd=program.folder,
                start_new_session=True,
            )
    except OSError as error:
        raise CannotRun(f"{program.name} cannot be started: {error}") from error
    announce(process.pid)
    assert process.stdin  # noqa: S101 - a pipe was asked for
    process.stdin.write(b"go\n")
    process.stdin.close()
    return Running(program=program, process=process, log=log)


async def wait_until_ready(running: Running) -> None:
    """Ask until the program answers. Raises CannotRun with the end of its log if it dies or never does."""
    death = asyncio.create_task(running.process.wait())
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            while not death.done() and not await running.program.is_ready():  # noqa: ASYNC110 - it cannot tell us
                await asyncio.sleep(_HEALTH_PAUSE_SECONDS)
    except TimeoutError as error:
        raise CannotRun(_story(running, f"did not answer within {READY_WITHIN_SECONDS:.0f} s")) from error
    finally:
        death.cancel()
    if running.process.returncode is not None:
        raise CannotRun(_story(running, f"ended while starting ({ending(running)})"))


async def stop(running: Running, grace_seconds: float = GRACE_SECONDS) -> None:
    """Ask the whole group to end; kill what has not within the grace."""
    _signal(running.group, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(grace_seconds):
            await running.process.wait()
    kill(running)
    await running.process.wait()


def kill(running: Running) -> None:
    """Kill the whole group, also when its leader has gone already and left others behind."""
    _signal(running.group, signal.SIGKILL)


def ending(running: Running) -> str:
    """Say how the process ended: "exit code 1" or "signal SIGKILL"."""
    code = running.process.returncode
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone; macOS says PermissionError of zombies
        os.killpg(group, number)


def _story(running: Running, what: str) -> str:
    lines = running.log.read_text(errors="replace").splitlines()[-_SHOWN_LOG_LINES:]
    said = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
    return f"{running.program.name} {what}. The last it said:\n{said}\n  The whole log: {running.log}"
