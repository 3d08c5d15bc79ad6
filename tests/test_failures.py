"""What goes wrong, and what happens then: the failure table, a test for every code, named after it.

Each asserts on what lies in the output bucket, and on the error that leaves the deed where one does: what
another try can mend is refused with it, everything else is made durable and acknowledged.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bucketscribe import layout, rejects
from bucketscribe.errors import (
    AuthDenied,
    BucketscribeError,
    CloudError,
    DocumentCorrupt,
    DocumentEncrypted,
    DocumentError,
    DocumentWithoutPages,
    JunkMessage,
    LightOnOCRError,
    ModelBusy,
    ModelCold,
    ModelRejected,
    ModelTimeout,
    NewerMessage,
    OutOfTime,
    PageRenderCrashed,
    PageRenderFailed,
    PageRenderTimeout,
    PublishFailed,
    RenderError,
    StorageUnavailable,
    TooManyPages,
    UnsupportedType,
)
from bucketscribe.fan_out import FannedOut
from bucketscribe.finish import End
from bucketscribe.give_up import GaveUp
from bucketscribe.model import PageStatus, PageTask
from main import status_of
from tests.fakes.scribe import answer
from tests.house import House, build_house, story, words

MIB = 1024 * 1024
CUT_SHORT = answer("| a | b", finish_reason="length")
LOOPING = answer("of the of the", finish_reason="repetition")
LOOPING_UNSEEN = answer("# Title\n\n" + "of the " * 200)
EMPTY = answer("")
BLANK_TALK = answer("There is no content in the provided image.")


async def second_of_three(house: House) -> PageTask:
    """Read pages 1 and 3 of a document; return the task of page 2, which is the troubled one."""
    await house.take_in(house.drop("a.pdf", 3))
    house.post.clear()
    first, second, third = house.tasks()
    await house.read(first)
    await house.read(third)
    return second


async def refused(house: House, task: PageTask, *, attempt: int = 1) -> BucketscribeError:
    """Deliver a task that is refused; return why. Nothing may stand for the page then."""
    with pytest.raises(BucketscribeError) as caught:
        await house.read(task, attempt=attempt)
    assert status_of(caught.value) == 503
    assert house.outbox.get(layout.page(task.source, task.page)) is None
    return caught.value


def assert_page_failed(house: House, task: PageTask, code: str) -> dict[str, Any]:
    """The page's object, the record and the text all say so; its neighbours are not concerned."""
    record, body = house.page(task.source, 2)
    assert (record["status"], record["error"]["code"]) == ("failed", code)
    assert body == f"> [page 2 could not be read: {code}]\n"
    assert house.statuses() == ["ok", "failed", "ok"]
    assert house.record()["status"] == "partial"
    assert [(each["page"], each["code"]) for each in house.record()["errors"]] == [(2, code)]
    assert words(house.text()) == ["a.pdf 1", body.strip(), "a.pdf 3"]
    house.assert_nothing_in_flight()
    house.assert_everything_answered()
    return record


def assert_document_failed(house: House, code: str, name: str = "a.pdf") -> str:
    """The record names the code, the text says why in a sentence, whoever listens was told."""
    assert house.record(name)["status"] == "failed"
    assert house.record(name)["pages"] == []
    assert [error["code"] for error in house.record(name)["errors"]] == [code]
    assert code in house.text(name)
    house.assert_nothing_in_flight()
    house.assert_everything_answered()
    return house.text(name)


# Documents.


@pytest.mark.parametrize(
    "error", [UnsupportedType, DocumentEncrypted, DocumentCorrupt, DocumentWithoutPages, TooManyPages]
)
@story
async def test_a_document_that_cannot_be_opened_fails_by_name(
    house: House, error: type[DocumentError]
) -> None:
    """unsupported_type, document_encrypted, document_corrupt, document_without_pages, too_many_pages."""
    house.renderer.cannot_open = error("what we saw, and what to do about it")
    assert await house.take_in(house.drop()) is FannedOut.FAILED
    assert "what to do about it" in assert_document_failed(house, error.code)
    assert house.tasks() == []


@story
async def test_empty_object(house: House) -> None:
    assert await house.take_in(house.drop(data=b"")) is FannedOut.FAILED
    assert_document_failed(house, "empty_object")


@story
async def test_empty_object_that_is_no_longer_the_live_one_is_superseded(house: House) -> None:
    created = house.drop(data=b"")
    house.drop("a.pdf", 1)
    assert await house.take_in(created) is FannedOut.SUPERSEDED
    assert house.outbox.listing == []


def test_too_large(tmp_path: Path) -> None:
    """Seen on the event, before a byte is fetched; the message names the limit and the value."""
    house = build_house(tmp_path, document_mib=1)
    assert asyncio.run(house.take_in(house.drop(data=b"x" * (MIB + MIB // 2)))) is FannedOut.FAILED
    text = assert_document_failed(house, "too_large")
    assert "2 MiB" in text
    assert "1 MiB" in text
    assert house.inbox.requests["download"] == 0
    house.check_books()


@story
async def test_name_too_long(house: House) -> None:
    """No object of ours could carry the name, so the answer lies under rejected/."""
    assert await house.take_in(house.drop("ü" * 500 + ".pdf")) is FannedOut.FAILED
    (name,) = house.outbox.listing
    stored = house.outbox.get(name)
    assert stored
    assert name.startswith("rejected/")
    entry = json.loads(stored.data)
    assert entry["code"] == "name_too_long"
    assert "1004 bytes" in entry["message"]


@story
async def test_the_longest_name_allowed_is_carried_by_every_object(house: House) -> None:
    name = "n" * layout.LONGEST_SOURCE_NAME_BYTES
    house.scribe.will_say(1, ModelTimeout("late"))
    house.drop(name, 1)
    await house.settle()
    assert max(len(each.encode()) for _, each in house.line.log) <= layout.NAME_LIMIT_BYTES
    assert house.record(name)["status"] == "complete"


@story
async def test_superseded(house: House) -> None:
    """A newer generation is live: the job closes itself, nothing is published, nobody is told."""
    second = await second_of_three(house)
    house.drop("a.pdf", 1, title="new")
    house.post.clear()
    assert await house.read(second) is End.SUPERSEDED
    house.assert_nothing_in_flight()
    assert not [name for name in house.outbox.listing if name.startswith("documents/")]
    assert house.finished.messages == []


# Pages that cannot be drawn.


@story
async def test_source_gone(house: House) -> None:
    """The pages read so far are kept, the rest fail: partial."""
    second = await second_of_three(house)
    house.inbox.drop("a.pdf")
    house.restart()
    assert await house.read(second) is End.FINISHED
    assert_page_failed(house, second, "source_gone")


@pytest.mark.parametrize("error", [PageRenderFailed, PageRenderCrashed, PageRenderTimeout])
@story
async def test_a_page_that_cannot_be_drawn_fails_alone(house: House, error: type[RenderError]) -> None:
    """page_render_failed, page_render_crashed, page_render_timeout, without a text layer."""
    house.renderer.failing[2] = error("page 2 could not be drawn")
    second = await second_of_three(house)
    assert await house.read(second) is End.FINISHED
    record = assert_page_failed(house, second, error.code)
    assert record["attempts"] == 0


@pytest.mark.parametrize("error", [PageRenderFailed, PageRenderCrashed, PageRenderTimeout])
@story
async def test_a_page_that_cannot_be_drawn_gives_its_own_text(house: House, error: type[RenderError]) -> None:
    house.renderer.failing[2] = error("page 2 could not be drawn")
    house.renderer.text_layers[2] = "its own text"
    second = await second_of_three(house)
    await house.read(second)
    record, body = house.page(second.source, 2)
    assert (record["status"], record["flags"], record["error"]) == ("text_layer", [error.code], None)
    assert body == "its own text\n"
    assert house.record()["status"] == "complete"


@story
async def test_a_page_whose_text_layer_cannot_be_read_either_fails_with_the_first_reason(
    house: House,
) -> None:
    house.renderer.failing[2] = PageRenderCrashed("page 2 crashed its process")
    house.renderer.unreadable.add(2)
    second = await second_of_three(house)
    await house.read(second)
    assert_page_failed(house, second, "page_render_crashed")


@story
async def test_page_blank(house: House) -> None:
    house.renderer.blank.add(2)
    second = await second_of_three(house)
    await house.read(second)
    assert house.statuses() == ["ok", "blank", "ok"]
    assert house.record()["status"] == "complete"
    assert house.scribe.asked == ["a.pdf 1", "a.pdf 3"]


# The OCR service.


@pytest.mark.parametrize("trouble", [ModelBusy("429"), ModelCold("502")])
@story
async def test_a_service_that_is_busy_or_cold_is_waited_for_and_then_refused(
    house: House, trouble: LightOnOCRError
) -> None:
    """model_busy, model_cold: asked again inside the budget, then 503; it costs the page nothing."""
    second = await second_of_three(house)
    house.scribe.always = trouble
    for attempt in range(1, 4):
        assert (await refused(house, second, attempt=attempt)).code == trouble.code
    assert len(house.scribe.asked) > 10
    assert house.in_flight() == [layout.job(second.source)]
    house.scribe.always = None
    assert await house.read(second, attempt=4) is End.FINISHED
    assert house.record()["pages"][1]["attempts"] == 1


@story
async def test_model_timeout(house: House) -> None:
    """At most two, remembered between deliveries."""
    second = await second_of_three(house)
    house.scribe.will_say(2, ModelTimeout("no answer in 540 s"), ModelTimeout("no answer in 540 s"))
    assert (await refused(house, second)).code == "model_timeout"
    assert layout.note(second.source, 2) in house.outbox.listing
    assert await house.read(second, attempt=2) is End.FINISHED
    record = assert_page_failed(house, second, "model_timeout")
    assert record["attempts"] == 2


@story
async def test_auth_denied(house: House) -> None:
    """Never a failed page: refused at every delivery, parked as a dead letter, read when it is mended."""
    second = await second_of_three(house)
    house.scribe.always = AuthDenied("HTTP 403")
    for attempt in range(1, 101):
        assert (await refused(house, second, attempt=attempt)).code == "auth_denied"
    assert await house.bury(second) is GaveUp.PARKED
    house.scribe.always = None
    (parked,) = house.tasks()
    assert await house.read(parked) is End.FINISHED
    assert house.statuses() == ["ok", "ok", "ok"]


@story
async def test_model_rejected(house: House) -> None:
    second = await second_of_three(house)
    house.scribe.will_say(2, ModelRejected("HTTP 400: the image is too small"))
    await house.read(second)
    record = assert_page_failed(house, second, "model_rejected")
    assert record["error"]["message"] == "HTTP 400: the image is too small"
    assert record["attempts"] == 1


@story
async def test_model_truncated(house: House) -> None:
    """Another plain try would only be cut off again."""
    second = await second_of_three(house)
    house.scribe.will_say(2, CUT_SHORT)
    await house.read(second)
    assert assert_page_failed(house, second, "model_truncated")["attempts"] == 1


@pytest.mark.parametrize("looping", [LOOPING, LOOPING_UNSEEN])
@story
async def test_model_loop(house: House, looping: Any) -> None:
    """Whether the server ended it or we found it: one plain retry, then failed."""
    second = await second_of_three(house)
    house.scribe.will_say(2, looping, looping)
    await house.read(second)
    assert assert_page_failed(house, second, "model_loop")["attempts"] == 2


@story
async def test_model_loop_once_is_made_good_by_the_retry(house: House) -> None:
    second = await second_of_three(house)
    house.scribe.will_say(2, LOOPING)
    await house.read(second)
    assert house.statuses() == ["ok", "ok", "ok"]
    assert house.record()["pages"][1]["attempts"] == 2


@story
async def test_model_empty(house: House) -> None:
    second = await second_of_three(house)
    house.scribe.will_say(2, EMPTY, EMPTY)
    await house.read(second)
    assert assert_page_failed(house, second, "model_empty")["attempts"] == 2


@story
async def test_blank_talk(house: House) -> None:
    """On a page with ink it is a fault, tried once more."""
    second = await second_of_three(house)
    house.scribe.will_say(2, BLANK_TALK, BLANK_TALK)
    await house.read(second)
    assert assert_page_failed(house, second, "blank_talk")["attempts"] == 2


@pytest.mark.parametrize(("said", "code"), [(BLANK_TALK, "blank_talk"), (EMPTY, "model_empty")])
@story
async def test_blank_talk_on_a_faint_page_is_taken_at_its_word(house: House, said: Any, code: str) -> None:
    house.renderer.faint.add(2)
    second = await second_of_three(house)
    house.scribe.will_say(2, said)
    await house.read(second)
    record, body = house.page(second.source, 2)
    assert (record["status"], record["flags"], record["attempts"], body) == ("blank", [code], 1, "")
    assert house.record()["status"] == "complete"


# The cloud.


@story
async def test_write_conflict(house: House) -> None:
    """Whoever lost looks who won: a worse result is replaced, an equal or better one stands."""
    second = await second_of_three(house)
    other = build_house(house.folder / "other", tries=1)
    other.inbox, other.outbox, other.finished = house.inbox, house.outbox, house.finished
    other.restart()
    other.scribe.will_say(2, CUT_SHORT)

    async def failed_elsewhere() -> None:
        assert await other.read(second) is End.FINISHED

    house.line.meanwhile("write", "pages/", failed_elsewhere)
    await house.read(second)
    assert house.page(second.source, 2)[0]["status"] == "ok"


@pytest.mark.parametrize("verb", ["look", "write"])
@story
async def test_storage_unavailable(house: House, verb: str) -> None:
    second = await second_of_three(house)
    house.outbox.fail_next(verb, StorageUnavailable("HTTP 503"))
    assert (await refused(house, second)).code == "storage_unavailable"
    assert await house.read(second, attempt=2) is End.FINISHED
    assert house.statuses() == ["ok", "ok", "ok"]


@pytest.mark.parametrize("verb", ["look", "write"])
@story
async def test_storage_unavailable_makes_the_event_come_again(house: House, verb: str) -> None:
    upload = house.drop("a.pdf", 1)
    house.outbox.fail_next(verb, StorageUnavailable("HTTP 503"))
    with pytest.raises(StorageUnavailable):
        await house.take_in(upload)
    await house.settle()
    assert house.record()["status"] == "complete"


@story
async def test_publish_failed(house: House) -> None:
    """Of the tasks: the event comes again. Of the finished event: the last page comes again."""
    upload = house.drop("a.pdf", 1)
    house.express.fail_next(PublishFailed("no"), times=2)
    house.finished.fail_next(PublishFailed("no"), times=2)
    for _ in range(2):
        with pytest.raises(PublishFailed):
            await house.take_in(upload)
    await house.settle()
    assert [type(error) for error in house.refusals] == [PublishFailed, PublishFailed]
    assert len(house.finished.messages) == 1


@story
async def test_attempts_exhausted(house: House) -> None:
    """Parked until the job is a week old, then failed."""
    second = await second_of_three(house)
    assert await house.bury(second) is GaveUp.PARKED
    house.clock.advance(7 * 86_400)
    assert await house.bury(second) is GaveUp.FAILED
    assert_page_failed(house, second, "attempts_exhausted")


@story
async def test_a_page_that_kills_its_instance_every_time_ends_failed_after_a_week(house: House) -> None:
    """Anything unknown is a 500 and leaves no note, so only time tells."""
    house.tries, house.backoff_seconds = 5, 7200.0
    original = house.scribe.extract_text

    async def poison(image: bytes, **kwargs: Any) -> Any:
        if image.endswith(b" 2"):
            raise BucketscribeError("unknown error: MemoryError")
        return await original(image, **kwargs)

    house.scribe.extract_text = poison  # type: ignore[method-assign]
    house.drop("a.pdf", 3)
    await house.settle()
    assert {status_of(error) for error in house.refusals if isinstance(error, BucketscribeError)} == {500}
    assert house.statuses() == ["ok", "failed", "ok"]
    assert house.record()["errors"][0]["code"] == "attempts_exhausted"


# Messages.


@story
async def test_junk_is_kept_once_by_its_hash(house: House) -> None:
    for _ in range(2):
        sha256 = await rejects.keep(house.outbox, house.clock, b"\x00junk", JunkMessage("no page task"))
    assert house.outbox.listing == [f"rejected/{sha256}.json"]
    stored = house.outbox.get(f"rejected/{sha256}.json")
    assert stored
    entry = json.loads(stored.data)
    assert (entry["code"], entry["size"], entry["body_base64"]) == ("junk_message", 5, "AGp1bms=")


@story
async def test_a_huge_message_is_kept_in_part(house: House) -> None:
    sha256 = await rejects.keep(house.outbox, house.clock, b"x" * 10_000_000, JunkMessage("no"))
    stored = house.outbox.get(f"rejected/{sha256}.json")
    assert stored
    assert len(stored.data) < 100_000
    assert json.loads(stored.data)["size"] == 10_000_000


@pytest.mark.parametrize(
    ("error", "status"),
    [(kind, 503) for kind in (NewerMessage, OutOfTime, ModelBusy, AuthDenied, ModelTimeout, CloudError)]
    + [(BucketscribeError, 500)],
)
def test_what_another_try_can_mend_is_refused_and_the_unknown_is_a_500(
    error: type[BucketscribeError], status: int
) -> None:
    assert status_of(error("no")) == status


def test_every_way_a_page_can_end_is_counted() -> None:
    """The accounting rule names these five; a sixth must not slip in unseen."""
    assert [status.value for status in PageStatus] == ["ok", "blank", "text_layer", "low_quality", "failed"]
