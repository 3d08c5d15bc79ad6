import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from infra.local.errors import CannotRun
from infra.local.processes import Program
from infra.local.supervisor import Supervisor

# Says by a file that it is up, then sleeps; with "deaf" it ignores SIGTERM, with "kin" it has a deaf child.
SERVER = """
import os, pathlib, signal, subprocess, sys, time
mode, ready = sys.argv[1], pathlib.Path(sys.argv[2])
if mode == "dies":
    print("no such table: pages"); sys.exit(3)
if mode in ("deaf", "child"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "kin":
    child = subprocess.Popen([sys.executable, __file__, "child", str(ready.with_suffix(".child"))])
    while not ready.with_suffix(".child").exists(): time.sleep(0.01)
with ready.with_suffix(".pids").open("a") as pids:
    print(os.getpid(), file=pids)
ready.with_suffix(".new").write_text(str(os.getpid()))
ready.with_suffix(".new").rename(ready)
time.sleep(600)
"""


async def never() -> bool:
    return False


def exists(path: Path) -> Callable[[], Awaitable[bool]]:
    async def ask() -> bool:
        return path.exists()  # noqa: ASYNC240 - a moment

    return ask


def program(folder: Path, mode: str, name: str = "server") -> Program:
    script = folder / "server.py"
    script.write_text(SERVER)
    ready = folder / f"{name}.ready"
    return Program(
        name=name,
        command=(sys.executable, str(script), mode, str(ready)),
        environment=dict(os.environ),
        folder=folder,
        is_ready=exists(ready),
    )


def supervisor(folder: Path, deaths: "asyncio.Queue[tuple[str, str]] | None" = None) -> Supervisor:
    told = deaths or asyncio.Queue()
    return Supervisor(folder, lambda name, ending: told.put_nowait((name, ending)))


def pid_in(path: Path) -> int:
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    """A zombie whose parent has gone is dead, whether or not anybody has collected it."""
    listed = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(listed.stdout.strip()) and not listed.stdout.strip().startswith("Z")


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_what_was_started_is_gone_when_the_context_ends(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with supervisor(tmp_path) as running:
            await running.start(program(tmp_path, "plain"))
            return pid_in(tmp_path / "server.ready")

    assert not is_alive(asyncio.run(scenario()))


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with supervisor(tmp_path) as running:
            await running.start(program(tmp_path, "deaf"))
            return pid_in(tmp_path / "server.ready")

    started = time.monotonic()
    assert not is_alive(asyncio.run(scenario()))
    assert time.monotonic() - started < 8


def test_a_workers_worker_that_ignores_sigterm_is_killed_too(tmp_path: Path) -> None:
    async def scenario() -> int:
        async with supervisor(tmp_path) as running:
            await running.start(program(tmp_path, "kin"))
            return pid_in(tmp_path / "server.child")

    child = asyncio.run(scenario())
    wait_until(lambda: not is_alive(child))


def test_a_process_that_dies_while_starting_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with supervisor(tmp_path) as running:
            await running.start(program(tmp_path, "plain", "other"))
            await running.start(program(tmp_path, "dies"))

    with pytest.raises(CannotRun) as caught:
        asyncio.run(scenario())
    assert "server ended while starting (exit code 3)" in str(caught.value)
    assert "no such table: pages" in str(caught.value)
    assert str(tmp_path / "server.log") in str(caught.value)
    assert not is_alive(pid_in(tmp_path / "other.ready"))


def test_a_process_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.processes.READY_WITHIN_SECONDS", 0.2)
    silent = Program(
        name="silent", command=("/bin/sleep", "600"), environment={}, folder=tmp_path, is_ready=never
    )

    async def scenario() -> None:
        async with supervisor(tmp_path) as running:
            await running.start(silent)

    with pytest.raises(CannotRun, match="silent did not answer"):
        asyncio.run(scenario())


def test_a_program_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    missing = Program(
        name="missing",
        command=(str(tmp_path / "no-such-program"),),
        environment={},
        folder=tmp_path,
        is_ready=never,
    )

    async def scenario() -> None:
        async with supervisor(tmp_path) as running:
            await running.start(missing)

    with pytest.raises(CannotRun, match=r"missing ended while starting[^$]*no-such-program"):
        asyncio.run(scenario())


def test_a_process_that_dies_later_is_started_again_and_counted(tmp_path: Path) -> None:
    async def scenario() -> None:
        deaths: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        async with supervisor(tmp_path, deaths) as running:
            await running.start(program(tmp_path, "plain"))
            ready = tmp_path / "server.ready"
            for count in (1, 2):
                victim = pid_in(ready)
                ready.unlink()
                os.kill(victim, signal.SIGKILL)
                assert await asyncio.wait_for(deaths.get(), 10) == ("server", "signal SIGKILL")
                assert running.restarts["server"] == count
                await asyncio.to_thread(wait_until, ready.exists)
                assert pid_in(ready) != victim

    asyncio.run(scenario())
    pids = [int(line) for line in (tmp_path / "server.pids").read_text().splitlines()]
    assert len(pids) == 3
    assert not any(is_alive(pid) for pid in pids)


def test_a_program_can_be_killed_by_name_with_its_kin_and_is_started_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        deaths: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        async with supervisor(tmp_path, deaths) as running:
            await running.start(program(tmp_path, "kin"))
            ready = tmp_path / "server.ready"
            victims = [pid_in(ready), pid_in(tmp_path / "server.child")]
            ready.unlink()
            assert running.kill("server")
            assert not running.kill("nobody")
            assert await asyncio.wait_for(deaths.get(), 10) == ("server", "signal SIGKILL")
            await asyncio.to_thread(wait_until, ready.exists)
            assert not any(is_alive(victim) for victim in victims)

    asyncio.run(scenario())


def test_what_a_dead_leader_leaves_behind_is_cleared_away_before_it_is_started_again(tmp_path: Path) -> None:
    async def scenario() -> int:
        deaths: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        async with supervisor(tmp_path, deaths) as running:
            await running.start(program(tmp_path, "kin"))
            child = pid_in(tmp_path / "server.child")
            os.kill(pid_in(tmp_path / "server.ready"), signal.SIGKILL)
            await asyncio.wait_for(deaths.get(), 10)
            await asyncio.to_thread(wait_until, lambda: not is_alive(child))
            return child

    asyncio.run(scenario())


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_supervisor import program, supervisor

async def main():
    folder = Path({folder!r})
    async with supervisor(folder) as running:
        await running.start(program(folder, "kin"))
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_killed_supervisor_takes_everything_with_it(tmp_path: Path) -> None:
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(here.parent / "functions")]
    script = KILLED.format(paths=paths, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "up\n"
        left = [pid_in(tmp_path / "server.ready"), pid_in(tmp_path / "server.child")]
        running.kill()
    try:
        wait_until(lambda: not any(is_alive(pid) for pid in left))
    finally:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
