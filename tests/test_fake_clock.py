"""The tests' clock keeps the order that real time would have."""

import asyncio
from datetime import timedelta

from tests.fakes.clock import EPOCH, FakeClock


def test_a_sleep_takes_no_time_and_the_clock_says_it_did() -> None:
    clock = FakeClock()
    asyncio.run(clock.sleep(3600))
    assert clock.monotonic() == 3600
    assert clock.now() == EPOCH + timedelta(hours=1)
    assert clock.sleeps == [3600]


def test_sleepers_side_by_side_wake_in_the_order_of_their_times() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic()))

    async def side_by_side() -> None:
        await asyncio.gather(sleeper("long", 10), sleeper("short", 4, 4, 4), sleeper("twin", 10))

    asyncio.run(side_by_side())
    assert woken == [("short", 4), ("short", 8), ("long", 10), ("twin", 10), ("short", 12)]


def test_a_sleeper_who_is_cancelled_holds_nobody_up() -> None:
    clock = FakeClock()

    async def scenario() -> None:
        cancelled = asyncio.create_task(clock.sleep(1))
        patient = asyncio.create_task(clock.sleep(5))
        await asyncio.sleep(0)
        cancelled.cancel()
        await patient

    asyncio.run(scenario())
    assert clock.monotonic() == 5
