"""A deleted source and its text: kept by default, erased where the operator chose `follow`."""

from pathlib import Path

import pytest

from bucketscribe.errors import JunkMessage
from bucketscribe.forget import Forgotten, forget
from bucketscribe.model import ObjectRef, Retention
from tests.house import House, asynchronous, build_house


def following(folder: Path) -> House:
    return build_house(folder, retention=Retention.FOLLOW)


@asynchronous
async def test_by_default_the_text_of_a_deleted_source_stays(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    source = house.drop().source
    await house.settle()
    before = house.outbox.listing
    house.inbox.drop("a.pdf")
    assert await forget(source, house.give_up.finisher) is Forgotten.KEPT
    assert house.outbox.listing == before


@asynchronous
async def test_where_it_follows_nothing_of_a_deleted_source_is_left(tmp_path: Path) -> None:
    house = following(tmp_path)
    source = house.drop().source
    house.drop("a.pdf.md")
    await house.settle()
    house.inbox.drop("a.pdf")
    for _ in range(2):
        assert await forget(source, house.give_up.finisher) is Forgotten.ERASED
        assert all("/a.pdf.md" in name for name in house.outbox.listing)
    assert house.statuses("a.pdf.md") == ["ok"] * 3


@asynchronous
async def test_an_overwritten_versions_text_stands_until_the_new_one_is_finished(tmp_path: Path) -> None:
    house = following(tmp_path)
    old = house.drop(title="old").source
    await house.settle()
    house.drop(title="new")
    assert await forget(old, house.give_up.finisher) is Forgotten.REPLACED
    assert "old" in house.text()
    await house.settle()
    assert "new" in house.text()


@asynchronous
@pytest.mark.parametrize("pages_read", range(4))
async def test_where_it_follows_a_source_deleted_half_way_leaves_nothing(
    tmp_path: Path, pages_read: int
) -> None:
    """The deleted event may come before or after the pages that are still being read."""
    house = following(tmp_path)
    upload = house.drop()
    await house.take_in(upload)
    house.post.clear()
    tasks = house.tasks()
    for task in tasks[:pages_read]:
        await house.read(task)
    house.inbox.drop("a.pdf")
    await forget(upload.source, house.give_up.finisher)
    for task in tasks[pages_read:]:
        await house.read(task)
    assert house.outbox.listing == []


@asynchronous
async def test_where_it_follows_a_source_deleted_while_it_is_published_leaves_nothing(tmp_path: Path) -> None:
    house = following(tmp_path)
    upload = house.drop(pages=1)
    await house.take_in(upload)
    (task,) = house.tasks()

    def delete_the_source(name: str) -> None:
        if name.startswith("documents/"):
            house.inbox.drop("a.pdf")

    house.outbox.before_write = delete_the_source
    await house.read(task)
    assert house.outbox.listing == []
    assert house.finished.messages == []


@asynchronous
async def test_another_buckets_event_is_junk(tmp_path: Path) -> None:
    house = following(tmp_path)
    with pytest.raises(JunkMessage):
        await forget(ObjectRef(bucket="elsewhere", name="a.pdf", generation=1), house.give_up.finisher)
