"""An event loop without a machine below it: time jumps to the next timer, order is drawn from the seed."""

import asyncio
import heapq
import random
from collections.abc import Callable
from contextvars import Context
from typing import Any

# A thread's work takes so long at the most, in virtual seconds.
_THREAD_SECONDS = 0.02


# Steps after which something is going round in circles, unless more are allowed; an ordinary run takes some
# thousands.
_PATIENCE_STEPS = 2_000_000


class StandsStill(Exception):
    """Somebody waits for what will never come, or runs in circles."""


class NumberedTask(asyncio.Task):  # type: ignore[type-arg]
    """A task that hashes by its number: sets of tasks are walked in the same order in every replay."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """`asyncio.sleep`, `asyncio.timeout` and `loop.time` on virtual time, threads' work in place.

    What is ready at once runs in an order of chance; when there is `enough`, nothing runs any more. `born` is
    told of every task and of its context.
    """

    def __init__(self, chance: random.Random, *, patience_steps: int = _PATIENCE_STEPS) -> None:
        super().__init__()
        self._chance = chance
        self._patience_steps = patience_steps
        self._seconds = 0.0
        self._tasks_made = 0
        self.steps = 0
        self.enough = False
        self.at_work: Callable[[], object] = lambda: None
        self.born: Callable[[NumberedTask, Context | None], object] = lambda _task, _context: None
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._seconds

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> Any:
        """Run a blocking call in place, a moment later; `at_work` is told before."""
        self.at_work()
        future = self.create_future()
        self.call_later(self._chance.uniform(0.0, _THREAD_SECONDS), _do, future, func, args)
        return future

    def _make_task(self, _loop: object, coro: Any, context: Context | None = None, **more: Any) -> Any:
        task = NumberedTask.__new__(NumberedTask)
        self._tasks_made += 1
        task.number = self._tasks_made
        task.__init__(coro, loop=self, context=context, **more)
        self.born(task, context)
        return task

    def _run_once(self) -> None:
        ready = self._ready
        self._take_due()
        self.steps += len(ready)
        if self.enough:
            raise StandsStill("enough was seen")
        if self.steps > self._patience_steps:
            raise StandsStill(f"after {self.steps} steps there is no end")
        batch = [handle for handle in ready if not handle._cancelled]
        ready.clear()
        if len(batch) > 1:
            self._chance.shuffle(batch)
        for handle in batch:
            if not handle._cancelled:
                handle._run()

    def _take_due(self) -> None:
        """Let time jump when nothing is ready, and take the timers that have come."""
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not self._ready and not self._stopping:
            if not scheduled:
                raise StandsStill("nothing is ready and no timer runs")
            self._seconds = max(self._seconds, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._seconds:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            self._ready.append(handle)


def _do(future: "asyncio.Future[Any]", func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.cancelled():
        return
    try:
        result = func(*args)
    except Exception as error:  # noqa: BLE001 - whoever waits gets it, as from a thread
        future.set_exception(error)
    else:
        future.set_result(result)
