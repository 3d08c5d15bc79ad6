"""A document's text on its way out: joined as its pages are read, and never all of it held."""

import asyncio
import hashlib
import json
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketscribe import layout, ledger, manuscript, markdown, records
from bucketscribe.errors import PageReplaced, StorageUnavailable, UnreadablePage
from bucketscribe.manuscript import Account, Manuscript
from bucketscribe.model import (
    DocumentRecord,
    DocumentStatus,
    Job,
    JobState,
    ObjectRef,
    PageFault,
    PageRecord,
    PageStatus,
    Upload,
)
from bucketscribe.settings import PROFILES
from tests.fakes.bucket import FakeBucket
from tests.fakes.clock import FakeClock
from tests.fakes.line import BucketOverLine, Line
from tests.house import asynchronous

PROPERTY = settings(derandomize=True, deadline=None)
SOURCE = ObjectRef(bucket="in", name="a.pdf", generation=7)
NOW = FakeClock().now()
BODIES = st.lists(st.text("aé文🦉 \n<!->").map(markdown.clean), min_size=1, max_size=8)


async def written(bucket: FakeBucket, *bodies: str, fault: PageFault | None = None) -> DocumentRecord:
    """Put pages into the bucket; give the record of their document."""
    for page, body in enumerate(bodies, 1):
        await ledger.write(bucket, SOURCE, PageRecord(page=page, status=PageStatus.OK), body)
    upload = Upload(source=SOURCE, size=9, content_type="application/pdf", crc32c="", uploaded_at=NOW)
    job = Job(
        upload=upload,
        state=JobState.PUBLISHED,
        profile=PROFILES["lightonocr-2-1b"],
        received_at=NOW,
        pages=len(bodies),
    )
    pages = tuple(await ledger.entries(bucket, SOURCE))
    return DocumentRecord(job=job, status=DocumentStatus.COMPLETE, pages=pages, finished_at=NOW, fault=fault)


async def copied(copy: Manuscript) -> tuple[bytes, Account]:
    async with aclosing(copy.parts()) as parts:
        text = b"".join([part async for part in parts])
    return text, await copy.account()


@PROPERTY
@given(BODIES, st.integers(1, 3))
def test_a_text_is_its_pages_and_its_account_fits_it_however_it_is_parted(
    bodies: list[str], pages_a_part: int
) -> None:
    @asynchronous
    async def copy() -> tuple[bytes, Account]:
        bucket = FakeBucket()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(manuscript, "PART_PAGES", pages_a_part)
            return await copied(Manuscript(await written(bucket, *bodies), bucket))

    data, account = copy()
    text = data.decode()
    assert markdown.split(text) == bodies
    assert account.sha256 == hashlib.sha256(data).hexdigest()
    entries = [json.loads(entry) for entry in account.entries]
    assert [text[slice(*entry["span"])] for entry in entries] == bodies
    assert [entry["sha256"] for entry in entries] == [
        hashlib.sha256(body.encode()).hexdigest() for body in bodies
    ]


@asynchronous
async def test_a_document_that_could_not_be_opened_has_one_sentence() -> None:
    bucket = FakeBucket()
    fault = PageFault(code="document_corrupt", message="it is no PDF\ud800")
    data, account = await copied(Manuscript(await written(bucket, fault=fault), bucket))
    assert data == b"This document could not be read (document_corrupt): it is no PDF?\n"
    assert account == Account(sha256=hashlib.sha256(data).hexdigest(), entries=())


@asynchronous
async def test_an_account_is_had_without_writing_and_bodies_are_read_once_for_both() -> None:
    bucket = FakeBucket()
    record = await written(bucket, "one\n", "two\n")
    account = await Manuscript(record, bucket).account()
    assert bucket.requests["body"] == 2
    assert (await copied(Manuscript(record, bucket)))[1] == account
    assert bucket.requests["body"] == 4


@asynchronous
async def test_a_pass_that_broke_off_leaves_no_account() -> None:
    bucket = FakeBucket()
    copy = Manuscript(await written(bucket, *["words\n"] * 200), bucket)
    async with aclosing(copy.parts()) as parts:
        first = await anext(parts)
    text, account = await copied(copy)
    assert text.startswith(first)
    assert account.sha256 == hashlib.sha256(text).hexdigest()
    assert len(account.entries) == 200


@asynchronous
async def test_a_reading_is_of_the_pages_their_markers_and_the_fault() -> None:
    bucket = FakeBucket()
    readings = {await Manuscript(await written(bucket, "one\n", "two\n"), bucket).reading()}
    readings |= {await Manuscript(await written(bucket, "one\n", "two\n"), bucket).reading()}
    assert len(readings) == 1
    name = layout.page(SOURCE, 2)
    for status in (PageStatus.OK, PageStatus.BLANK):  # another generation, then another marker too
        bucket.put(name, b"two\n", metadata=records.page_metadata(PageRecord(page=2, status=status)))
        readings |= {await Manuscript(await written(bucket, "one\n", "two\n"), bucket).reading()}
    empty = FakeBucket()
    for message in ("no PDF", "no PDF at all"):
        fault = PageFault(code="document_corrupt", message=message)
        readings |= {await Manuscript(await written(empty, fault=fault), empty).reading()}
    assert len(readings) == 5


@asynchronous
async def test_pages_are_read_ahead_so_many_at_once_whatever_their_number() -> None:
    bucket, line = FakeBucket(), Line()
    line.delays = 3
    record = await written(bucket, *["words\n"] * 300)
    await Manuscript(record, BucketOverLine(bucket, line)).account()
    assert manuscript.READERS / 2 < line.busiest["body"] <= manuscript.READERS
    assert bucket.requests["body"] == 300


@asynchronous
async def test_the_first_failure_ends_all_other_reads() -> None:
    bucket, line = FakeBucket(), Line()
    record = await written(bucket, *["words\n"] * 500)
    bucket.fail_next("body", StorageUnavailable("away"))
    line.delays = 3
    with pytest.raises(StorageUnavailable):
        await Manuscript(record, BucketOverLine(bucket, line)).account()
    for _ in range(100):
        await asyncio.sleep(0)
    assert bucket.requests["body"] <= 2 * manuscript.READERS


@asynchronous
async def test_a_page_that_is_replaced_meanwhile_is_named() -> None:
    bucket = FakeBucket()
    record = await written(bucket, "one\n", "two\n")
    bucket.put(layout.page(SOURCE, 2), b"other\n", metadata={})
    with pytest.raises(PageReplaced, match="page 2"):
        await Manuscript(record, bucket).account()


@asynchronous
async def test_a_body_that_a_stranger_has_overwritten_is_named() -> None:
    bucket = FakeBucket()
    metadata = records.page_metadata(PageRecord(page=1, status=PageStatus.OK))
    bucket.put(layout.page(SOURCE, 1), b"\xff\xfe", metadata=metadata)
    with pytest.raises(UnreadablePage, match=r"00001\.md"):
        await Manuscript(await written(bucket), bucket).account()
