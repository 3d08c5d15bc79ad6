"""The books: one object a page, written once, replaced only by something better."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bucketscribe import layout, ledger, records
from bucketscribe.errors import StorageUnavailable
from bucketscribe.ledger import is_better
from bucketscribe.model import ObjectRef, PageFault, PageRecord, PageStatus
from tests.fakes.bucket import FakeBucket
from tests.house import asynchronous

SOURCE = ObjectRef(bucket="in", name="x/a.pdf", generation=7)


def ended(status: PageStatus, *, page: int = 1, edition: int = 0) -> PageRecord:
    fault = PageFault(code="model_loop", message="on and on") if status is PageStatus.FAILED else None
    return PageRecord(page=page, status=status, edition=edition, error=fault)


OK, BLANK, FAILED = (ended(status) for status in (PageStatus.OK, PageStatus.BLANK, PageStatus.FAILED))

LATE_OK = replace(OK, flags=("late",))


def body(bucket: FakeBucket, page: int = 1) -> str:
    stored = bucket.get(layout.page(SOURCE, page))
    assert stored
    return stored.data.decode()


@asynchronous
async def test_a_page_that_has_not_ended_is_absent() -> None:
    assert await ledger.look(FakeBucket(), SOURCE, 1) is None


@asynchronous
async def test_a_page_is_written_with_its_record_in_one_request() -> None:
    bucket = FakeBucket()
    assert await ledger.write(bucket, SOURCE, OK, "text\n") == OK
    assert bucket.requests == {"write": 1}
    assert body(bucket) == "text\n"
    assert await ledger.look(bucket, SOURCE, 1) == OK


@asynchronous
async def test_a_late_success_replaces_a_failure() -> None:
    bucket = FakeBucket()
    await ledger.write(bucket, SOURCE, FAILED, "> failed\n")
    assert await ledger.write(bucket, SOURCE, OK, "text\n") == LATE_OK
    assert body(bucket) == "text\n"
    assert await ledger.look(bucket, SOURCE, 1) == LATE_OK


@asynchronous
async def test_a_late_failure_never_replaces_a_success() -> None:
    bucket = FakeBucket()
    await ledger.write(bucket, SOURCE, OK, "text\n")
    assert await ledger.write(bucket, SOURCE, FAILED, "> failed\n") == OK
    assert body(bucket) == "text\n"


@asynchronous
async def test_of_two_equals_the_first_stays() -> None:
    bucket = FakeBucket()
    await ledger.write(bucket, SOURCE, OK, "first\n")
    await ledger.write(bucket, SOURCE, OK, "second\n")
    assert body(bucket) == "first\n"


@asynchronous
async def test_a_higher_edition_wins_over_a_better_one() -> None:
    bucket = FakeBucket()
    await ledger.write(bucket, SOURCE, OK, "text\n")
    redone = ended(PageStatus.LOW_QUALITY, edition=1)
    assert await ledger.write(bucket, SOURCE, redone, "poor\n") == redone
    assert await ledger.write(bucket, SOURCE, OK, "text\n") == redone
    assert body(bucket) == "poor\n"


@asynchronous
async def test_a_redo_that_fails_leaves_what_stood_in_its_own_edition() -> None:
    bucket = FakeBucket()
    await ledger.write(bucket, SOURCE, OK, "text\n")
    standing = await ledger.write(bucket, SOURCE, ended(PageStatus.FAILED, edition=1), "> failed\n")
    assert standing == replace(OK, edition=1, flags=("redo_failed",))
    assert body(bucket) == "text\n"
    again = await ledger.write(bucket, SOURCE, ended(PageStatus.FAILED, edition=1), "> failed\n")
    assert again == standing
    late = ended(PageStatus.LOW_QUALITY, edition=1)
    assert await ledger.write(bucket, SOURCE, late, "late\n") == replace(late, flags=("late",))


@asynchronous
async def test_a_redo_that_fails_replaces_a_failure() -> None:
    bucket = FakeBucket()
    await ledger.write(bucket, SOURCE, FAILED, "> failed\n")
    redone = ended(PageStatus.FAILED, edition=1)
    assert await ledger.write(bucket, SOURCE, redone, "> failed again\n") == redone
    assert body(bucket) == "> failed again\n"


@asynchronous
async def test_a_writer_who_is_overtaken_again_and_again_still_ends_right() -> None:
    bucket = FakeBucket()
    worse = [FAILED, ended(PageStatus.LOW_QUALITY), ended(PageStatus.TEXT_LAYER)]

    def overtake(name: str) -> None:
        if worse:
            bucket.put(name, b"worse\n", metadata=records.page_metadata(worse.pop(0)))

    bucket.before_write = overtake
    assert await ledger.write(bucket, SOURCE, OK, "text\n") == LATE_OK
    assert body(bucket) == "text\n"
    assert not worse


@asynchronous
async def test_a_page_that_vanishes_between_conflict_and_look_is_written_after_all() -> None:
    bucket = FakeBucket()
    name = layout.page(SOURCE, 1)
    bucket.put(name, b"x", metadata=records.page_metadata(OK))
    writes = []

    def vanish(_: str) -> None:
        writes.append(1)
        if len(writes) == 2:
            bucket.drop(name)

    await ledger.write(bucket, SOURCE, FAILED, "> failed\n")
    bucket.put(name, b"x", metadata=records.page_metadata(FAILED))
    bucket.before_write = vanish
    assert await ledger.write(bucket, SOURCE, OK, "text\n") == OK
    assert body(bucket) == "text\n"


@asynchronous
async def test_a_strangers_object_in_a_pages_place_is_no_page_and_gives_way() -> None:
    bucket = FakeBucket()
    bucket.put(layout.page(SOURCE, 1), b"not a page")
    assert await ledger.look(bucket, SOURCE, 1) is None
    assert await ledger.entries(bucket, SOURCE) == []
    await ledger.write(bucket, SOURCE, OK, "text\n")
    assert body(bucket) == "text\n"


@asynchronous
async def test_storage_trouble_is_passed_on() -> None:
    bucket = FakeBucket()
    bucket.fail_next("write", StorageUnavailable("503"))
    with pytest.raises(StorageUnavailable):
        await ledger.write(bucket, SOURCE, OK, "text\n")


@asynchronous
async def test_entries_are_the_documents_own_pages_in_order() -> None:
    bucket = FakeBucket()
    for page in (2, 10, 1):
        await ledger.write(bucket, SOURCE, ended(PageStatus.OK, page=page), f"{page}\n")
    deeper = ObjectRef(bucket="in", name="x/a.pdf/7", generation=8)
    await ledger.write(bucket, deeper, OK, "another document's\n")
    other = ObjectRef(bucket="in", name="x/a.pdf", generation=77)
    await ledger.write(bucket, other, OK, "another version's\n")
    swapped = layout.page(SOURCE, 3)
    bucket.put(swapped, b"page 4's", metadata=records.page_metadata(ended(PageStatus.OK, page=4)))
    assert [entry.record.page for entry in await ledger.entries(bucket, SOURCE)] == [1, 2, 10]


STATUSES = st.sampled_from(list(PageStatus))
RECORDS = st.builds(ended, STATUSES, edition=st.integers(0, 2))


@given(
    st.lists(RECORDS, min_size=1, max_size=6).flatmap(
        lambda all_: st.tuples(st.just(all_), st.permutations(all_))
    )
)
def test_whatever_the_order_of_writing_the_best_stands(
    orders: tuple[list[PageRecord], Iterable[PageRecord]],
) -> None:
    @asynchronous
    async def standing(order: Iterable[PageRecord]) -> tuple[int, int]:
        bucket = FakeBucket()
        for record in order:
            await ledger.write(bucket, SOURCE, record, "text\n")
        found = await ledger.look(bucket, SOURCE, 1)
        assert found
        return found.edition, found.rank

    assert standing(orders[0]) == standing(orders[1])


@given(RECORDS, RECORDS)
def test_of_two_results_at_most_one_is_better(one: PageRecord, other: PageRecord) -> None:
    assert not (is_better(one, other) and is_better(other, one))
    assert not is_better(one, one)
