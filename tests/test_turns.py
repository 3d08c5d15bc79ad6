"""Whose turn it is: no place is lost or doubled, whoever gives up and whenever."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketscribe.errors import OutOfTime
from bucketscribe.model import Lane
from bucketscribe.turns import Rank, Turns

PROPERTY = settings(derandomize=True, deadline=None, max_examples=60)

LONG = 3600.0

visits = st.tuples(
    st.sampled_from(Rank),
    st.integers(0, 5),  # rounds of the loop before coming
    st.integers(0, 5),  # rounds inside
    st.none() | st.integers(0, 12),  # the round in which it is cancelled
    st.sampled_from([LONG, LONG, LONG, 0.0]),
)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def rounds(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


class Visitors:
    """Who takes turns: `came` has names in the order of their turns, `inside` those there now."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.came: list[object] = []
        self.inside: set[object] = set()
        self.most = 0
        self.doors: dict[object, asyncio.Event] = {}

    def start(self, name: object, rank: Rank, timeout_seconds: float = LONG) -> "asyncio.Task[None]":
        self.doors[name] = asyncio.Event()
        return asyncio.create_task(self._visit(name, rank, timeout_seconds))

    async def _visit(self, name: object, rank: Rank, timeout_seconds: float) -> None:
        async with self.turns.place(rank, timeout_seconds=timeout_seconds):
            self.came.append(name)
            self.inside.add(name)
            self.most = max(self.most, len(self.inside))
            try:
                await self.doors[name].wait()
            finally:
                self.inside.discard(name)

    async def let_out(self, name: object) -> None:
        self.doors[name].set()
        await rounds(6)


async def fill(turns: Turns, places: int) -> Visitors:
    """Check that just so many places are free, by taking them; they are given back."""
    visitors = Visitors(turns)
    tasks = [visitors.start(number, Rank.BULK) for number in range(places + 1)]
    await rounds(6)
    assert len(visitors.inside) == places
    for number in range(places + 1):
        await visitors.let_out(number)
    await asyncio.gather(*tasks)
    return visitors


@PROPERTY
@given(st.integers(1, 3), st.lists(visits, max_size=15))
def test_no_place_is_ever_lost_or_doubled(places, plan):
    async def scene() -> None:
        turns = Turns(places=places, waiting=100)
        inside = most = 0

        async def visit(rank: Rank, before: int, stay: int, timeout_seconds: float) -> None:
            nonlocal inside, most
            await rounds(before)
            async with turns.place(rank, timeout_seconds=timeout_seconds):
                inside += 1
                most = max(most, inside)
                try:
                    await rounds(stay)
                finally:
                    inside -= 1

        tasks = [asyncio.create_task(visit(rank, *when, limit)) for rank, *when, _, limit in plan]
        for number in range(13):
            for task, (*_, cancelled_at, _) in zip(tasks, plan, strict=True):
                if cancelled_at == number:
                    task.cancel()
            await asyncio.sleep(0)
        for task in tasks:
            with suppress(asyncio.CancelledError, OutOfTime):
                await task
        assert most <= places
        assert inside == 0
        assert not any(turns._queues.values())
        await fill(turns, places)

    run(scene())


def test_again_goes_first_then_express_then_bulk_and_each_in_order_of_coming():
    async def scene() -> None:
        visitors = Visitors(Turns(places=1, waiting=100))
        names = [("first", Rank.BULK)]
        names += [
            (f"{rank.name}{number}", rank)
            for number in (1, 2)
            for rank in (Rank.BULK, Rank.EXPRESS, Rank.AGAIN)
        ]
        tasks = []
        for name, rank in names:
            tasks.append(visitors.start(name, rank))
            await rounds(2)
        while visitors.inside:
            await visitors.let_out(visitors.came[-1])
        assert visitors.came == ["first", "AGAIN1", "AGAIN2", "EXPRESS1", "EXPRESS2", "BULK1", "BULK2"]
        assert visitors.most == 1
        await asyncio.gather(*tasks)

    run(scene())


def test_each_lane_has_its_rank():
    assert Rank.of(Lane.EXPRESS) is Rank.EXPRESS
    assert Rank.of(Lane.BULK) is Rank.BULK


def test_a_cancelled_waiter_leaves_its_turn_to_the_next():
    async def scene() -> None:
        visitors = Visitors(Turns(places=1, waiting=100))
        tasks = [visitors.start(name, Rank.BULK) for name in "abc"]
        await rounds(3)
        tasks[1].cancel()
        await visitors.let_out("a")
        assert visitors.came == ["a", "c"]
        await visitors.let_out("c")
        await asyncio.gather(*tasks, return_exceptions=True)
        await fill(visitors.turns, 1)

    run(scene())


def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on():
    async def scene() -> None:
        visitors = Visitors(Turns(places=1, waiting=100))
        tasks = [visitors.start(name, Rank.BULK) for name in "abc"]
        await rounds(3)
        visitors.turns._pass_on()  # b's turn has come, and b has not run yet
        tasks[1].cancel()
        await rounds(4)
        assert visitors.came == ["a", "c"]
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(scene())


def test_a_turn_that_does_not_come_in_time_says_so():
    async def scene() -> None:
        visitors = Visitors(Turns(places=1, waiting=100))
        holder = visitors.start("a", Rank.BULK)
        await rounds(2)
        for seconds in (0.0, -5.0, 0.01):
            with pytest.raises(OutOfTime, match="no place"):
                async with visitors.turns.place(Rank.AGAIN, timeout_seconds=seconds):
                    raise AssertionError("two are inside")
        await visitors.let_out("a")
        await holder
        await fill(visitors.turns, 1)

    run(scene())


def test_a_free_place_is_taken_even_without_time():
    async def scene() -> None:
        async with Turns(places=1, waiting=1).place(Rank.BULK, timeout_seconds=-1):
            pass

    run(scene())


def test_those_who_gave_up_leave_nothing_behind():
    async def scene() -> None:
        turns = Turns(places=1, waiting=100)
        visitors = Visitors(turns)
        holder = visitors.start("holder", Rank.BULK)
        await rounds(2)
        for _ in range(20):
            crowd = [visitors.start(number, Rank.BULK) for number in range(50)]
            await rounds(2)
            for task in crowd:
                task.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
        assert sum(len(queue) for queue in turns._queues.values()) == 0
        await visitors.let_out("holder")
        await holder

    run(scene())


def test_an_error_inside_gives_the_place_back():
    async def scene() -> None:
        turns = Turns(places=1, waiting=100)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with turns.place(Rank.BULK, timeout_seconds=0):
                    raise ZeroDivisionError
        await fill(turns, 1)

    run(scene())


@PROPERTY
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 4), st.none() | st.integers(0, 9))
    )
)
def test_a_page_is_in_one_flight_at_a_time_and_the_house_empties(plan):
    async def scene() -> None:
        turns = Turns(places=1, waiting=100)
        flying: list[str] = []

        async def fly(page: str, before: int, stay: int) -> None:
            await rounds(before)
            async with turns.flight(page, timeout_seconds=LONG):
                assert page not in flying
                flying.append(page)
                try:
                    await rounds(stay)
                finally:
                    flying.remove(page)

        tasks = [asyncio.create_task(fly(page, before, stay)) for page, before, stay, _ in plan]
        for number in range(10):
            for task, (*_, cancelled_at) in zip(tasks, plan, strict=True):
                if cancelled_at == number:
                    task.cancel()
            await asyncio.sleep(0)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        assert not turns._flights
        assert turns._inside == 0

    run(scene())


def test_a_second_delivery_waits_for_the_first():
    async def scene() -> None:
        turns = Turns(places=1, waiting=100)
        ended = []

        async def fly(name: str) -> None:
            async with turns.flight("page", timeout_seconds=LONG):
                await rounds(3)
                ended.append(name)

        await asyncio.gather(fly("first"), fly("second"), fly("third"))
        assert ended == ["first", "second", "third"]

    run(scene())


def test_a_flight_that_lasts_runs_the_second_delivery_out_of_time():
    async def scene() -> None:
        turns = Turns(places=1, waiting=100)
        async with turns.flight("page", timeout_seconds=LONG):
            with pytest.raises(OutOfTime, match="in flight"):
                async with turns.flight("page", timeout_seconds=0.01):
                    raise AssertionError("two flights")
            async with turns.flight("another page", timeout_seconds=0):
                pass
        assert not turns._flights

    run(scene())


def test_a_full_house_takes_nobody_in_and_forgets_who_came():
    async def scene() -> None:
        turns = Turns(places=1, waiting=2)
        async with turns.flight("a", timeout_seconds=LONG), turns.flight("b", timeout_seconds=LONG):
            for page in ("a", "c"):
                with pytest.raises(OutOfTime, match="2 pages are inside"):
                    async with turns.flight(page, timeout_seconds=LONG):
                        raise AssertionError("three inside")
        async with turns.flight("c", timeout_seconds=LONG):
            pass
        assert not turns._flights

    run(scene())
