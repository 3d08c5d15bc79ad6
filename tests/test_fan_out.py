"""An uploaded object becomes a job and its page tasks."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bucketscribe import layout, records
from bucketscribe.errors import DocumentCorrupt, JunkMessage, PublishFailed
from bucketscribe.fan_out import BATCH_TASKS, FannedOut
from bucketscribe.finish import End
from bucketscribe.messages import task_message
from bucketscribe.model import JobState, Lane, ObjectRef, Upload
from tests.house import House, asynchronous, build_house, story, task, words


def job_state(house: House, source: ObjectRef) -> JobState | None:
    stored = house.outbox.get(layout.job(source))
    return records.decode_job(stored.data).state if stored else None


@story
async def test_an_upload_ends_as_text_with_every_page(house: House) -> None:
    house.drop("a.pdf", 3)
    await house.settle()
    assert house.record()["status"] == "complete"
    assert words(house.text()) == ["a.pdf 1", "a.pdf 2", "a.pdf 3"]


@story
async def test_the_job_is_written_before_a_byte_is_fetched(house: House) -> None:
    await house.take_in(house.drop())
    order = [(verb, name.partition("/")[0]) for verb, name in house.line.log]
    assert order.index(("write", "jobs")) < order.index(("download", "a.pdf"))


@story
async def test_a_fanned_out_job_says_so_and_every_page_has_a_task(house: House) -> None:
    upload = house.drop("a.pdf", 3)
    assert await house.take_in(upload) is FannedOut.PUBLISHED
    assert job_state(house, upload.source) is JobState.PUBLISHED
    assert [(each.page, each.pages, each.source) for each in house.tasks()] == [
        (page, 3, upload.source) for page in (1, 2, 3)
    ]


@pytest.mark.parametrize(("pages", "lane"), [(1, Lane.EXPRESS), (20, Lane.EXPRESS), (21, Lane.BULK)])
@story
async def test_short_documents_go_express(house: House, pages: int, lane: Lane) -> None:
    await house.take_in(house.drop("a.pdf", pages))
    assert {bool(house.express.messages), lane is Lane.EXPRESS} == {lane is Lane.EXPRESS}
    assert {each.lane for each in house.tasks()} == {lane}


@story
async def test_a_gpu_is_woken_while_the_document_is_opened(house: House) -> None:
    house.line.delays = 3
    await house.take_in(house.drop())
    assert house.scribe.woken == 1


@pytest.mark.parametrize(
    ("name", "data"), [("folder/", b""), ("gcloud/tmp/parallel_composite_uploads/x/y", b"part")]
)
@story
async def test_what_is_no_document_is_ignored(house: House, name: str, data: bytes) -> None:
    assert await house.take_in(house.drop(name, data=data)) is FannedOut.IGNORED
    assert house.outbox.listing == []


def test_what_matches_no_include_pattern_is_ignored(tmp_path: Path) -> None:
    house = build_house(tmp_path, include=("scans/*",))
    assert asyncio.run(house.take_in(house.drop("a.pdf"))) is FannedOut.IGNORED
    assert asyncio.run(house.take_in(house.drop("scans/a.pdf"))) is FannedOut.PUBLISHED


@story
async def test_a_folder_placeholders_name_with_bytes_in_it_is_a_document(house: House) -> None:
    house.drop("folder/", 1)
    await house.settle()
    assert house.record("folder/")["status"] == "complete"


@story
async def test_another_buckets_event_is_junk(house: House) -> None:
    upload = house.drop()
    stranger = replace(upload, source=ObjectRef(bucket="other", name="a.pdf", generation=1))
    with pytest.raises(JunkMessage):
        await house.take_in(stranger)
    assert house.outbox.listing == []


# The same event again.


@story
async def test_an_event_seen_before_does_nothing_at_every_state_of_its_document(house: House) -> None:
    upload = house.drop("a.pdf", 2)
    await house.take_in(upload)
    first, last = house.tasks()
    assert await house.take_in(upload) is FannedOut.ALREADY
    await house.read(first)
    assert await house.take_in(upload) is FannedOut.ALREADY
    assert await house.read(last) is End.FINISHED
    assert await house.take_in(upload) is FannedOut.ALREADY
    assert house.tasks() == []
    house.assert_nothing_in_flight()


@story
async def test_an_event_goes_on_where_the_first_try_died_without_opening_the_document_twice(
    house: House,
) -> None:
    upload = house.drop("a.pdf", 2)
    house.express.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    assert job_state(house, upload.source) is JobState.PLANNED
    assert await house.take_in(upload) is FannedOut.PUBLISHED
    assert house.renderer.opened == ["a.pdf"]
    assert job_state(house, upload.source) is JobState.PUBLISHED


@asynchronous
async def test_a_long_documents_tasks_go_out_a_batch_at_a_time_and_the_job_waits_for_the_last(
    tmp_path: Path,
) -> None:
    house = build_house(tmp_path)
    upload = house.drop("a.pdf", 3 * BATCH_TASKS)

    def refuse_the_second(verb: str, name: str) -> None:
        if (verb, name) == ("publish", "bulk") and house.bulk.calls == 1:
            house.bulk.fail_next(PublishFailed("no"))

    house.line.at = refuse_the_second
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    assert job_state(house, upload.source) is JobState.PLANNED
    assert len(house.bulk.messages) == BATCH_TASKS
    house.bulk.messages.clear()
    assert await house.take_in(upload) is FannedOut.PUBLISHED
    assert [each.page for each in house.tasks()] == list(range(1, 3 * BATCH_TASKS + 1))
    assert house.bulk.calls == 2 + 3


@story
async def test_two_events_side_by_side_make_one_document(house: House) -> None:
    for delays in range(10):
        house.line.delays = delays
        upload = house.drop(f"{delays}.pdf", 2)
        house.repeat(upload)
        house.repeat(upload)
        await house.settle()


@story
async def test_an_event_of_a_failed_document_finishes_a_tail_that_broke_off(house: House) -> None:
    upload = house.drop(data=b"")
    house.post.clear()
    house.finished.fail_next(PublishFailed("no"))
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    assert await house.take_in(upload) is FannedOut.FAILED
    house.assert_nothing_in_flight()
    assert len(house.finished.messages) == 1


@story
async def test_pages_done_before_the_fan_out_ends_finish_the_document(house: House) -> None:
    """The tasks are read while the event function still waits for its publishes to be confirmed."""
    upload = house.drop("a.pdf", 2)

    async def read_at_once() -> None:
        house.line.meanwhile("write", "jobs/", read_all)

    async def read_all() -> None:
        assert [await house.read(each) for each in house.tasks()] == [End.WAITING, End.FINISHED]

    house.line.meanwhile("publish", "express", read_at_once)
    assert await house.take_in(upload) is FannedOut.PUBLISHED
    house.post.clear()
    house.assert_nothing_in_flight()
    house.assert_everything_answered()


@story
async def test_a_copy_that_cannot_open_the_document_does_not_end_what_another_has_begun(house: House) -> None:
    """Both copies of an event have found the job as received; one opens the document, the other fails to."""
    upload = house.drop("a.pdf", 2)
    original = house.renderer.inspect

    async def other_first(path: Path) -> object:
        house.renderer.inspect = original  # type: ignore[method-assign]
        assert await house.take_in(upload) is FannedOut.PUBLISHED
        raise DocumentCorrupt("the process that opened it ran out of memory")

    house.renderer.inspect = other_first  # type: ignore[method-assign, assignment]
    await house.settle()
    assert house.statuses() == ["ok", "ok"]


# Sources that change.


@story
async def test_a_document_deleted_before_it_is_opened_fails_by_name(house: House) -> None:
    upload = house.drop()
    house.inbox.drop("a.pdf")
    assert await house.take_in(upload) is FannedOut.FAILED
    assert house.record()["errors"][0]["code"] == "source_gone"
    house.assert_nothing_in_flight()


@story
async def test_pages_read_before_their_document_was_deleted_survive_a_second_event(house: House) -> None:
    """The tasks are out, but the event function died before it could say so; then the source goes."""
    upload = house.drop("a.pdf", 2)
    house.post.clear()

    async def lose_the_answer() -> None:
        await _publish_all(house, upload)
        raise PublishFailed("sent, but the answer was lost")

    house.line.meanwhile("publish", "express", lose_the_answer)
    with pytest.raises(PublishFailed):
        await house.take_in(upload)
    await house.read(house.tasks()[0])
    house.inbox.drop("a.pdf")
    house.restart()
    house.repeat(upload)
    await house.settle()
    assert house.statuses() == ["ok", "failed"]
    assert house.record()["errors"][0]["code"] == "source_gone"


async def _publish_all(house: House, upload: Upload) -> None:
    await house.express.publish([task_message(task(upload.source, page, 2)) for page in (1, 2)])


@story
async def test_an_old_versions_event_closes_itself(house: House) -> None:
    old = house.drop("a.pdf", 2, title="old")
    house.drop("a.pdf", 1, title="new")
    house.post.clear()
    assert await house.take_in(old) is FannedOut.SUPERSEDED
    house.assert_nothing_in_flight()
    assert house.finished.messages == []


@story
async def test_an_empty_object_that_was_filled_since_is_no_document(house: House) -> None:
    """Some tools create an object before they write it."""
    created = house.drop(data=b"")
    house.post.clear()
    house.drop("a.pdf", 1, title="filled")
    assert await house.take_in(created) is FannedOut.SUPERSEDED
    await house.settle()
    assert words(house.text()) == ["filled 1"]
    assert len(house.finished.messages) == 1
