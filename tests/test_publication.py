"""A finished document put before its readers: of two versions the newer one stands in the end, always."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from bucketscribe import layout, ledger
from bucketscribe.errors import StorageUnavailable
from bucketscribe.finish import End
from bucketscribe.model import PageRecord, PageStatus, PageTask
from tests.fakes.line import seeded
from tests.house import House, asynchronous, build_house, story, words


async def two_versions(house: House) -> tuple[list[PageTask], list[PageTask]]:
    """Have an old version read up to its last page, and a new one likewise; the tasks left are returned."""
    left = []
    for title in ("old", "new"):
        upload = house.drop("a.pdf", 2, title=title)
        await house.take_in(upload)
        first, last = house.tasks()
        if title == "old":
            await house.read(first)
        left.append([last] if title == "old" else [first, last])
    house.post.clear()
    return left[0], left[1]


@story
async def test_text_and_record_carry_the_key_fields(house: House) -> None:
    upload = house.drop("a.pdf", 2)
    await house.settle()
    for name in (layout.document_text("a.pdf"), layout.document_record("a.pdf")):
        stored = house.outbox.get(name)
        assert stored
        assert stored.info.metadata["bucketscribe-status"] == "complete"
        assert stored.info.metadata["bucketscribe-source-generation"] == str(upload.source.generation)
        assert stored.info.metadata["bucketscribe-pages"] == "2"
        assert stored.info.metadata["bucketscribe-failed"] == "0"


@story
async def test_the_text_is_written_before_the_record_that_commits_it(house: House) -> None:
    house.drop()
    await house.settle()
    writes = [name for verb, name in house.line.log if verb == "write" and name.startswith("documents/")]
    assert writes == ["documents/a.pdf.md", "documents/a.pdf.json"]


@story
async def test_publishing_what_stands_already_changes_nothing(house: House) -> None:
    """The tail is done again with a job that is still there, as when it broke off before its end."""
    await house.take_in(house.drop("a.pdf", 1))
    house.post.clear()
    (task,) = house.tasks()
    job = house.outbox.get(layout.job(task.source))
    assert job
    await house.read(task)
    before = [house.outbox.get(name) for name in house.outbox.listing]
    house.outbox.put(layout.job(task.source), job.data)
    house.clock.advance(60.0)
    assert await house.read(task, attempt=2) is End.FINISHED
    assert [house.outbox.get(name) for name in house.outbox.listing] == before
    assert len(house.finished.messages) == 2


@story
async def test_no_page_is_read_again_for_what_stands_and_once_more_for_a_record_that_was_never_written(
    house: House,
) -> None:
    await house.take_in(house.drop("a.pdf", 2))
    house.post.clear()
    first, last = house.tasks()
    await house.read(first)
    job = house.outbox.get(layout.job(last.source))
    assert job
    await house.read(last)
    assert house.outbox.requests["body"] == 2
    house.outbox.put(layout.job(last.source), job.data)
    await house.read(last, attempt=2)
    assert house.outbox.requests["body"] == 2
    text = house.outbox.get("documents/a.pdf.md")
    house.outbox.drop("documents/a.pdf.json")
    house.outbox.put(layout.job(last.source), job.data)
    await house.read(last, attempt=3)
    assert house.outbox.requests["body"] == 4
    assert house.outbox.get("documents/a.pdf.md") == text


@story
async def test_a_page_that_is_replaced_while_the_text_is_written_has_all_of_it_written_anew(
    house: House,
) -> None:
    await house.take_in(house.drop("a.pdf", 3))
    house.post.clear()
    *others, last = house.tasks()
    for each in others:
        await house.read(each)
    better = PageRecord(page=2, status=PageStatus.OK, edition=1)
    bucket = house.outbox
    house.line.meanwhile(
        "body", "pages/", lambda: ledger.write(bucket, last.source, better, "another reading\n")
    )
    assert await house.read(last) is End.FINISHED
    assert words(house.text()) == ["a.pdf 1", "another reading", "a.pdf 3"]
    house.assert_published_as_it_stands()


@story
async def test_a_new_upload_replaces_a_published_document(house: House) -> None:
    house.drop("a.pdf", 3, title="old")
    await house.settle()
    house.drop("a.pdf", 1, title="new")
    await house.settle()
    assert words(house.text()) == ["new 1"]


@story
async def test_a_new_version_that_fails_leaves_nothing_of_the_old_one_standing(house: House) -> None:
    house.drop("a.pdf", 3, title="old")
    await house.settle()
    house.drop("a.pdf", data=b"")
    await house.settle()
    assert house.record()["status"] == "failed"
    assert "old" not in house.text()


@story
async def test_an_old_version_does_not_publish_once_a_new_one_is_live(house: House) -> None:
    old, new = await two_versions(house)
    assert await house.read(old[0]) is End.SUPERSEDED
    assert "documents/a.pdf.json" not in house.outbox.listing
    assert layout.job(old[0].source) not in house.outbox.listing
    assert [await house.read(each) for each in new] == [End.WAITING, End.FINISHED]
    assert words(house.text()) == ["new 1", "new 2"]


@story
async def test_an_old_version_does_not_publish_over_a_newer_one_that_is_deleted_since(house: House) -> None:
    old, new = await two_versions(house)
    for each in new:
        await house.read(each)
    house.inbox.drop("a.pdf")
    assert await house.read(old[0]) is not End.FINISHED
    assert house.record()["source"]["generation"] == str(new[0].source.generation)
    house.assert_nothing_in_flight()


@story
async def test_an_old_versions_failure_never_overwrites_the_new_ones_text(house: House) -> None:
    """The old version cannot be opened any more; its event comes late, after the new one is done."""
    old = house.drop("a.pdf", data=b"")
    house.post.clear()
    house.drop("a.pdf", 1, title="new")
    await house.settle()
    house.repeat(old)
    await house.settle()
    assert words(house.text()) == ["new 1"]


@asynchronous
async def _finish_old_with(house: House, at: int, meanwhile: Callable[[House], Awaitable[object]]) -> bool:
    """Let the old version's last page be read, and do something just before its request number `at`."""
    upload = house.drop("a.pdf", 2, title="old")
    await house.take_in(upload)
    first, last = house.tasks()
    await house.read(first)
    start = house.line.requests
    house.post.clear()
    met = False

    def at_request(_verb: str, _name: str) -> Awaitable[object] | None:
        nonlocal met
        if met or house.line.requests < start + at:
            return None
        met = True
        return meanwhile(house)

    house.line.at = at_request
    house.repeat(last)
    await house.settle(width=1)
    return met


async def _whole_new_version(house: House) -> None:
    upload = house.drop("a.pdf", 1, title="new")
    house.post.pop()
    await house.take_in(upload)
    for each in house.tasks():
        await house.read(each)


async def _new_version_not_yet_read(house: House) -> None:
    house.drop("a.pdf", 1, title="new")


async def _new_version_up_to_its_text(house: House) -> None:
    """The new version's finish breaks off between text and record; it is delivered again much later."""
    upload = house.drop("a.pdf", 1, title="new")
    house.post.pop()
    await house.take_in(upload)
    (task,) = house.tasks()
    line, house.line.at = house.line.at, None

    def die(verb: str, name: str) -> None:
        if (verb, name) == ("write", "documents/a.pdf.json"):
            house.line.at = line
            raise StorageUnavailable("broken off before the record")

    house.line.at = die
    with pytest.raises(StorageUnavailable):
        await house.read(task)
    house.line.at = line
    house.repeat(task)


@pytest.mark.parametrize(
    "meanwhile", [_whole_new_version, _new_version_not_yet_read, _new_version_up_to_its_text]
)
def test_a_new_version_at_any_moment_of_the_old_ones_end_stands_in_the_end(
    tmp_path: Path, meanwhile: Callable[[House], Awaitable[object]]
) -> None:
    for at in itertools.count(1):
        house = build_house(tmp_path)
        met = _finish_old_with(house, at, meanwhile)
        house.check_books()
        if not met:
            break
        assert words(house.text()) == ["new 1"], f"at request {at}"
        assert house.record()["counts"]["pages"] == 1
    assert at > 10


@pytest.mark.parametrize("width", [2, 4])
def test_two_versions_read_side_by_side_end_as_the_newer_one(tmp_path: Path, width: int) -> None:
    """Random interleavings of both versions' whole ways."""
    for seed in range(150):
        house = build_house(tmp_path)
        house.line.delays, house.line.chance = 6, seeded(seed)
        house.drop("a.pdf", 2, title="old")
        house.line.meanwhile("write", ("jobs/", "pages/", "documents/")[seed % 3], partial(_drop, house))
        asyncio.run(house.settle(width=width, order=seeded(seed)))
        house.check_books()
        assert words(house.text()) == ["new 1", "new 2"], f"seed {seed}"


async def _drop(house: House) -> None:
    house.drop("a.pdf", 2, title="new")
