"""What a page costs in requests, and that it does not cost more in a longer document.

Counted at the bucket, where reading what is there counts twice and a listing once for every 1,000 names, over
a document's whole way: the event, every page, the finish.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bucketscribe import manuscript
from bucketscribe.finish import End
from bucketscribe.model import PageTask
from tests.fakes.line import seeded
from tests.house import House, build_house

SIZES = (10, 1_000, 10_000)
VERBS = ("look", "read", "body", "write", "names", "infos", "delete", "download")

# A page's own are five: a look, another before the model is asked, the write, a look at the remembered page
# (or a listing, where that one has just ended), its body at the end. A short document has fewer pages to bear
# its event and its finish.
PER_PAGE_LIMIT = {10: 6.7, 1_000: 5.1, 10_000: 5.01}


def in_order(tasks: list[PageTask]) -> list[PageTask]:
    return tasks


def in_reverse(tasks: list[PageTask]) -> list[PageTask]:
    return tasks[::-1]


def at_random(tasks: list[PageTask]) -> list[PageTask]:
    return seeded(1).sample(tasks, len(tasks))


async def live(
    house: House, pages: int, order: Callable[[list[PageTask]], list[PageTask]], width: int
) -> None:
    await house.take_in(house.drop("a.pdf", pages))
    house.post.clear()
    tasks = order(house.tasks())
    for start in range(0, pages, width):
        await asyncio.gather(*(house.read(each) for each in tasks[start : start + width]))
    house.assert_nothing_in_flight()
    house.assert_everything_answered()


def cost(house: House, pages: int) -> dict[str, float]:
    """Requests per page by verb, of both buckets together."""
    asked: Counter[str] = house.inbox.requests + house.outbox.requests
    return {verb: asked[verb] / pages for verb in VERBS} | {"total": sum(asked.values()) / pages}


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand log lines are not what is measured here."""
    monkeypatch.setattr("bucketscribe.transcribe.log", lambda *_, **__: None)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("order", [in_order, in_reverse, at_random])
@pytest.mark.parametrize("pages", SIZES)
def test_a_page_costs_the_same_in_a_document_of_any_length(
    tmp_path: Path, pages: int, order: Callable[[list[PageTask]], list[PageTask]]
) -> None:
    house = build_house(tmp_path, document_pages=10_000)
    asyncio.run(live(house, pages, order, 1))
    spent = cost(house, pages)
    assert spent["total"] <= PER_PAGE_LIMIT[pages], spent
    if order is at_random:
        house.check_books()


@pytest.mark.usefixtures("quiet")
def test_pages_side_by_side_cost_no_more_and_assembling_takes_a_bounded_share(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    house.line.delays = 3
    asyncio.run(live(house, 1_000, at_random, 96))
    spent = cost(house, 1_000)
    assert spent["total"] <= 5.5, spent
    assert house.line.busiest["body"] <= manuscript.READERS
    house.check_books()


@pytest.mark.usefixtures("quiet")
def test_a_duplicate_costs_the_same_whether_its_document_is_in_flight_or_done(tmp_path: Path) -> None:
    """All tasks come a second time after the document has ended, as after a repeated fan-out."""
    pages = 2_000
    house = build_house(tmp_path)

    async def twice() -> None:
        await house.take_in(house.drop("a.pdf", pages))
        house.post.clear()
        tasks = house.tasks()
        for each in tasks:
            await house.read(each)
        house.outbox.requests.clear()
        for each in tasks[:500]:
            assert await house.read(each, attempt=2) is End.CLOSED

    asyncio.run(twice())
    assert house.outbox.requests.total() / 500 <= 4


def test_an_instance_that_starts_anew_in_the_middle_lists_once_and_knows_again(tmp_path: Path) -> None:
    pages = 3_000
    house = build_house(tmp_path)

    async def live() -> int:
        await house.take_in(house.drop("a.pdf", pages))
        house.post.clear()
        tasks = in_reverse(house.tasks())
        for each in tasks[: pages // 2]:
            await house.read(each)
        house.restart()
        before = house.outbox.requests["names"]
        await house.read(tasks[pages // 2])
        return house.outbox.requests["names"] - before

    assert asyncio.run(live()) <= 3
