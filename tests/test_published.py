"""What a document's record still knows of its job."""

import pytest

from bucketscribe import layout, published
from bucketscribe.errors import DocumentCorrupt, UnreadableJob
from bucketscribe.model import JobState
from bucketscribe.settings import PROFILES
from tests.house import House, story


@story
async def test_a_finished_documents_job_is_made_again_from_its_record(house: House) -> None:
    upload = house.drop("x/a.pdf", 2)
    await house.settle()
    stored = house.outbox.get(layout.document_record("x/a.pdf"))
    assert stored
    former = published.decode(stored.data)
    assert former.job.upload == upload
    assert (former.job.state, former.job.pages, former.job.profile) == (
        JobState.PUBLISHED,
        2,
        PROFILES["lightonocr-2-1b"],
    )
    objects = [house.outbox.get(layout.page(upload.source, page)) for page in (1, 2)]
    generations = [each.info.generation for each in objects if each]
    assert former.page_generations == dict(enumerate(generations, 1))
    assert former.edition == 0


@story
async def test_one_that_could_not_be_opened_is_a_job_at_its_start(house: House) -> None:
    house.renderer.cannot_open = DocumentCorrupt("this file is damaged")
    house.drop("a.pdf", 2)
    await house.settle()
    stored = house.outbox.get(layout.document_record("a.pdf"))
    assert stored
    former = published.decode(stored.data)
    assert (former.job.state, former.job.pages, former.page_generations) == (JobState.RECEIVED, None, {})


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_a_strangers_object_is_no_record(data: bytes) -> None:
    with pytest.raises(UnreadableJob):
        published.decode(data)
