"""Functions run in other processes, with limits on their time and memory: pebble, and what it does not do.

Nothing here knows what the functions are for. This contains resources, not code: a process runs as we do.
"""

import asyncio
import gc
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from bucketscribe.errors import BucketscribeError

T = TypeVar("T")

# What a process may take to be there, on a machine with nothing to spare; usual is half a second.
START_SECONDS = 60.0
CLOSED = "The processes are closed: this instance is about to end. Another one will take the work."


class Processes:
    """A pool of processes that comes back when it broke, and is given no more tasks than it has processes.

    So a task that waits for its turn waits on our side, at `place`: cancelled there it costs nothing, while
    pebble would kill the process that comes to take it. Nothing is started before the first task. Of one
    event loop only.
    """

    def __init__(
        self, workers: int, *, tasks_per_process: int, memory_mib: int, begin: Callable[[], None]
    ) -> None:
        """Set what each process runs first (`begin`), after how many tasks it is replaced, and the size of
        its address space in MiB. That limit holds on Linux; macOS refuses to set one.
        """
        self.place = asyncio.Semaphore(workers)
        self._new = partial(
            ProcessPool,
            max_workers=workers,
            max_tasks=tasks_per_process,
            initializer=_begin,
            initargs=(memory_mib, begin),
            context=multiprocessing.get_context("spawn"),
        )
        self._pool: ProcessPool | None = None
        self._futures: set[ProcessFuture[Any]] = set()
        self._closed = False

    async def run(self, function: Callable[[], T], seconds: float) -> T:
        """Run in one of the processes, while holding `place`.

        Raises what the function raises; ProcessExpired when the process died; TimeoutError when it was
        stopped after `seconds`; BucketscribeError when there is no process to be had. pebble gives up its
        whole pool when a process dies that had nothing to do (the kernel takes one when memory is short):
        that is nobody's fault, so a new pool gets the task.
        """
        try:
            return await self._run_in(self._running(), function, seconds)
        except BrokenProcessPool:
            pass
        try:
            return await self._run_in(self._running(), function, seconds)
        except BrokenProcessPool as error:
            raise BucketscribeError(
                f"Processes do not start or do not answer ({error}). Please look at what they wrote to "
                "standard error, and whether their memory is too small (setting render_mib)."
            ) from error

    def close(self) -> None:
        """Stop the processes for good; who waits for one gets a BucketscribeError."""
        self._closed = True
        for future in tuple(self._futures):
            future.cancel()  # type: ignore[no-untyped-call]
        if self._pool is not None:
            _stop(self._pool)
            self._pool = None

    def _running(self) -> ProcessPool:
        if self._closed:
            raise BucketscribeError(CLOSED)
        if self._pool is None:
            # Inherited over there, where numpy would start a thread a core and reserve memory for each. It
            # looks when it is imported, which is before any of our code runs in a new process.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            self._pool = self._new()
        return self._pool

    async def _run_in(self, pool: ProcessPool, function: Callable[[], T], seconds: float) -> T:
        """Raise BrokenProcessPool when this pool is of no use any more, having put it away."""
        try:
            future = _scheduled(pool, function, seconds)
            return await self._result(future, seconds + START_SECONDS)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
                await asyncio.to_thread(_stop, pool)
            raise

    async def _result(self, future: ProcessFuture[T], seconds: float) -> T:
        """Wait for a task; whatever ends the waiting, ends the task."""
        self._futures.add(future)
        try:
            waiting = asyncio.wrap_future(future)
            await asyncio.wait({waiting}, timeout=seconds)
            if not waiting.done():
                raise BrokenProcessPool(f"no answer within {seconds:.0f} s")
            if waiting.cancelled():  # not by whoever waits here: then we would not come here
                if self._closed:
                    raise BucketscribeError(CLOSED)
                raise BrokenProcessPool("it was put away while this task waited")
            return waiting.result()
        finally:
            future.cancel()  # type: ignore[no-untyped-call]
            self._futures.discard(future)


def _scheduled(pool: ProcessPool, function: Callable[[], T], seconds: float) -> ProcessFuture[T]:
    if not pool.active:  # looking starts a new one
        raise BrokenProcessPool("one of them died while it had nothing to do")
    return pool.schedule(function, timeout=seconds)


def _stop(pool: ProcessPool) -> None:
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _begin(memory_mib: int, begin: Callable[[], None]) -> None:
    """Prepare a new process, over there, before its first task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; our parent decides
    # pebble's own handler waits for foreign code to return: a limit of 5 s was seen to take 8.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_mib * 2**20, memory_mib * 2**20))
    begin()
    gc.freeze()  # nothing of what is there by now ever goes: no need to look through it again and again


def _end_with_parent() -> None:
    """Kill this process when its parent is gone, however it went: a task may run for ever otherwise.

    The sentinel is a pipe that the parent alone holds open. (The kernel's PR_SET_PDEATHSIG would work only
    on Linux, and kill already when the thread ends that started the process.)
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)


__all__ = ["ProcessExpired", "Processes"]
