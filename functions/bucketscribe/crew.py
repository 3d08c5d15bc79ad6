"""Many items, few workers: how a sweep does its deeds side by side."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def do_all(items: Iterable[T], deed: Callable[[T], Awaitable[None]], workers: int) -> None:
    """Do a deed for each, in their order, so many at once. Raises the first failure when all are done."""
    left = iter(items)
    failures: list[BaseException] = []

    async def work() -> None:
        for each in left:
            doing = asyncio.ensure_future(deed(each))
            try:
                await asyncio.wait({doing})
            finally:
                doing.cancel()
            if failure := doing.exception():
                failures.append(failure)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    if failures:
        raise failures[0]
