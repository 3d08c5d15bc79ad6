"""A deleted source and its text: kept by default, erased where the operator chose `follow`."""

from pathlib import Path

import pytest

from bucketscribe import finish, jobs, layout, patience, published
from bucketscribe.errors import JunkMessage
from bucketscribe.finish import End
from bucketscribe.forget import Forgotten, forget
from bucketscribe.model import ObjectRef, Retention
from tests.fakes.line import InstanceDied, instance_gone
from tests.house import House, asynchronous, build_house


def following(folder: Path) -> House:
    return build_house(folder, retention=Retention.FOLLOW)


def left(house: House) -> list[str]:
    """List what stands in the output bucket, but for the marks that the sweep erases by once more."""
    return [name for name in house.outbox.listing if not name.endswith("/00000.json")]


@asynchronous
async def test_by_default_the_text_of_a_deleted_source_stays(tmp_path: Path) -> None:
    house = build_house(tmp_path)
    source = house.drop().source
    await house.settle()
    before = left(house)
    house.inbox.drop("a.pdf")
    assert await forget(source, house.give_up.finisher) is Forgotten.KEPT
    assert left(house) == before


@asynchronous
async def test_where_it_follows_nothing_of_a_deleted_source_is_left(tmp_path: Path) -> None:
    house = following(tmp_path)
    source = house.drop().source
    house.drop("a.pdf.md")
    await house.settle()
    house.inbox.drop("a.pdf")
    for _ in range(2):
        assert await forget(source, house.give_up.finisher) is Forgotten.ERASED
        assert all("/a.pdf.md" in name for name in left(house))
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
    assert left(house) == []


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
    assert left(house) == []
    assert house.finished.messages == []


@asynchronous
async def test_where_it_follows_earlier_versions_go_with_the_last_one(tmp_path: Path) -> None:
    """The first version was finished, the second read half-way when the third came and went."""
    house = following(tmp_path)
    house.drop(pages=1)
    await house.settle()
    await house.take_in(house.drop(pages=2))
    await house.read(house.tasks()[0])
    last = house.drop(pages=1)
    house.inbox.drop("a.pdf")
    await forget(last.source, house.give_up.finisher)
    assert [name for name in left(house) if not name.startswith("jobs/")] == []


@asynchronous
async def test_where_it_follows_a_strangers_page_under_a_longer_name_stays(tmp_path: Path) -> None:
    house = following(tmp_path)
    house.drop("a.pdf/1/00001.md", pages=1)
    await house.settle()
    before = left(house)
    upload = house.drop(pages=1)
    house.inbox.drop("a.pdf")
    await forget(upload.source, house.give_up.finisher)
    assert left(house) == before


@asynchronous
async def test_an_event_seen_before_erases_what_its_dead_first_try_has_published_too_late(
    tmp_path: Path,
) -> None:
    house = following(tmp_path)
    upload = house.drop(data=b"")
    house.line.meanwhile("write", "documents/a.pdf.json", lambda: _gone_and_forgotten(house, upload.source))
    house.line.error = instance_gone
    with pytest.raises(InstanceDied):
        await house.take_in(upload)
    house.restart()
    assert "documents/a.pdf.json" in left(house)
    await house.take_in(upload)
    assert left(house) == []


@asynchronous
async def test_where_it_follows_a_late_task_of_a_forgotten_source_writes_no_page(tmp_path: Path) -> None:
    """Whoever wrote one might die before it is erased, and nobody would come again."""
    house = following(tmp_path)
    house.drop(pages=1)
    await house.take_in(house.post.pop().content)  # type: ignore[arg-type]
    (task,) = house.tasks()
    house.inbox.drop("a.pdf")
    await forget(task.source, house.give_up.finisher)
    house.restart()
    before = len(house.line.log)
    assert await house.read(task) is End.CLOSED
    assert "write" not in [verb for verb, _ in house.line.log[before:]]
    assert left(house) == []


@asynchronous
async def test_where_it_follows_the_sweep_erases_what_was_written_during_the_erasure(tmp_path: Path) -> None:
    """Its writer saw the source just before, and died before seeing that it is gone."""
    house = following(tmp_path)
    upload = house.drop(pages=2)
    await house.settle()
    late = [house.outbox.get(layout.page(upload.source, page)) for page in (1, 2)]
    house.inbox.drop("a.pdf")
    await forget(upload.source, house.give_up.finisher)
    for stored in filter(None, late):
        house.outbox.put(stored.info.name, stored.data, metadata=stored.info.metadata)
    house.clock.advance(patience.QUIET.total_seconds() - 1)
    await house.sweep()
    assert len(left(house)) == 2
    house.clock.advance(1)
    await house.sweep()
    assert house.outbox.listing == []


@asynchronous
async def test_a_mark_erases_the_deleted_versions_pages_also_when_a_newer_one_is_live(tmp_path: Path) -> None:
    house = following(tmp_path)
    upload = house.drop(pages=1)
    await house.settle()
    late = house.outbox.get(layout.page(upload.source, 1))
    assert late
    house.inbox.drop("a.pdf")
    await forget(upload.source, house.give_up.finisher)
    house.outbox.put(late.info.name, late.data, metadata=late.info.metadata)
    await house.take_in(house.drop(pages=1))
    house.post.clear()
    (task,) = house.tasks()
    await house.read(task)
    house.clock.advance(patience.QUIET.total_seconds())
    await house.sweep()
    assert house.outbox.get(late.info.name) is None
    assert house.statuses() == ["ok"]
    house.assert_nothing_in_flight()


@asynchronous
async def test_a_job_that_a_late_page_brings_back_goes_with_what_was_erased(tmp_path: Path) -> None:
    house = following(tmp_path)
    upload = house.drop(pages=2)
    await house.settle()
    record = house.outbox.get(layout.document_record("a.pdf"))
    assert record
    job = published.decode(record.data).job
    house.inbox.drop("a.pdf")
    await forget(upload.source, house.give_up.finisher)
    await jobs.write(job, 0, house.outbox)
    house.clock.advance(patience.QUIET.total_seconds())
    await house.sweep()
    assert house.outbox.listing == []
    assert house.tasks() == []


@asynchronous
async def test_late_tasks_of_a_long_document_do_not_each_delete_all_of_it(tmp_path: Path) -> None:
    house = following(tmp_path)
    await house.take_in(house.drop(pages=20))
    tasks = house.tasks()
    for task in tasks[:10]:
        await house.read(task)
    house.inbox.drop("a.pdf")
    house.restart()
    before = len(house.line.log)
    assert {await house.read(task) for task in tasks[10:]} == {End.CLOSED}
    deleted = [name for verb, name in house.line.log[before:] if verb == "delete"]
    assert len(deleted) == len(set(deleted)) == 11
    assert left(house) == []


@asynchronous
async def test_a_mark_of_erasure_is_renewed_but_not_at_every_late_task(tmp_path: Path) -> None:
    house = following(tmp_path)
    upload = house.drop(pages=1)
    house.inbox.drop("a.pdf")
    generations = set()
    for seconds in (0, 59, 3, 100):
        house.clock.advance(seconds)
        await forget(upload.source, house.give_up.finisher)
        stored = house.outbox.get(layout.erasure(upload.source))
        assert stored
        generations.add(stored.info.generation)
    assert len(generations) == 3


@asynchronous
async def test_a_mark_erases_nothing_when_the_document_was_dropped_anew(tmp_path: Path) -> None:
    house = following(tmp_path)
    upload = house.drop(pages=1)
    house.inbox.drop("a.pdf")
    await forget(upload.source, house.give_up.finisher)
    house.post.clear()
    await house.take_in(house.drop(pages=1))
    house.post.clear()
    assert [await house.read(task) for task in house.tasks()] == [End.FINISHED]
    house.clock.advance(patience.QUIET.total_seconds())
    await house.sweep()
    assert house.statuses() == ["ok"]
    house.assert_nothing_in_flight()


async def _gone_and_forgotten(house: House, source: ObjectRef) -> None:
    house.inbox.drop("a.pdf")
    await finish.close(source, house.give_up.finisher)
    house.line.breaks[house.line.requests + 1] = "before"


@asynchronous
async def test_another_buckets_event_is_junk(tmp_path: Path) -> None:
    house = following(tmp_path)
    with pytest.raises(JunkMessage):
        await forget(ObjectRef(bucket="elsewhere", name="a.pdf", generation=1), house.give_up.finisher)
