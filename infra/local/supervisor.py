"""Keeps the laptop cloud's programs running: starts them, restarts the dead, stops all of them.

What is run, and with which environment, stands in `cloud`; one process in `processes`.
"""

import asyncio
import logging
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local import processes, undertaker
from infra.local.errors import CannotRun
from infra.local.processes import Program, Running

# Cloud Run too starts a dead container again at once, then ever later.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# Who has lasted this long is forgiven earlier deaths.
FORGIVEN_AFTER_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Supervisor:
    """An async context: what is started inside is gone, with all its kin, when the context ends.

    Gone too when this very process is killed: the undertaker sees to that. `restarts` counts by name.
    `on_restart` is told the name of the program and how it had ended; who dies again and again waits up to
    `longest_pause_seconds` for the next start.
    """

    def __init__(
        self,
        logs: Path,
        on_restart: Callable[[str, str], None],
        lock_descriptor: int | None = None,
        *,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self.restarts: Counter[str] = Counter()
        self._logs = logs
        self._on_restart = on_restart
        self._lock_descriptor = lock_descriptor
        self._longest_pause_seconds = longest_pause_seconds
        self._running: dict[str, Running] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._undertaker: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._undertaker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-IS",
            str(undertaker.__file__),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=() if self._lock_descriptor is None else (self._lock_descriptor,),
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(processes.stop(running) for running in self._running.values()))
        if self._undertaker and self._undertaker.stdin:
            self._undertaker.stdin.close()
            await self._undertaker.wait()

    async def start(self, program: Program) -> None:
        """Start a program and keep it running; return when it is ready. Raises CannotRun."""
        running = await self._spawn(program)
        await processes.wait_until_ready(running)
        self._keepers.append(asyncio.create_task(self._keep(running)))

    def kill(self, name: str) -> bool:
        """Kill a program with all its kin; it is started again like any that died. False: it is not there."""
        running = self._running.get(name)
        if running:
            processes.kill(running)
        return running is not None

    async def _spawn(self, program: Program) -> Running:
        running = await processes.start(program, self._logs / f"{program.name}.log", self._announce)
        self._running[program.name] = running
        return running

    async def _keep(self, running: Running) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = loop.time()
            await running.process.wait()
            self._clear_away(running)
            if loop.time() - started > FORGIVEN_AFTER_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._longest_pause_seconds)
            running = await self._spawn_again(running.program)

    async def _spawn_again(self, program: Program) -> Running:
        while True:
            try:
                return await self._spawn(program)
            except CannotRun as error:  # no memory for one more process, say
                _log.warning("%s", error)
                await asyncio.sleep(LONGEST_PAUSE_SECONDS)

    def _clear_away(self, dead: Running) -> None:
        """End what the dead leader left behind: its workers would hold the port."""
        processes.kill(dead)
        self._running.pop(dead.program.name, None)
        self._tell_undertaker(f"-{dead.group}")
        name, ending = dead.program.name, processes.ending(dead)
        self.restarts[name] += 1
        _log.warning("%s ended (%s) and is started again", name, ending)
        self._on_restart(name, ending)

    def _announce(self, group: int) -> None:
        self._tell_undertaker(f"+{group}")

    def _tell_undertaker(self, line: str) -> None:
        if self._undertaker and self._undertaker.stdin:
            self._undertaker.stdin.write(f"{line}\n".encode())
