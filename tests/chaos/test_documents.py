"""What is dropped is drawn from the seed, and is what it says it is."""

import random
from pathlib import Path

import pytest

from bucketscribe import render
from bucketscribe.errors import DocumentError
from bucketscribe.model import Encoding
from bucketscribe.render import Limits
from tests.chaos import documents
from tests.chaos.documents import Document, Nature

DRAWN = documents.draw(150, random.Random(5))  # noqa: S311 - guards nothing


def named(document: Document) -> str:
    return document.name


def test_the_same_seed_draws_the_same_documents() -> None:
    again = documents.draw(150, random.Random(5))  # noqa: S311 - guards nothing
    assert [each.name for each in again] == [each.name for each in DRAWN]
    pages = [[version.pages for version in each.versions] for each in DRAWN]
    assert [[version.pages for version in each.versions] for each in again] == pages


def test_no_two_pages_have_the_same_words() -> None:
    pages = [page for each in DRAWN for version in each.versions for page in version.pages if page.words]
    assert len({frozenset(page.words) for page in pages}) == len(pages) > 200


def test_there_is_something_of_everything() -> None:
    assert {each.name.split(" ", 1)[1] for each in DRAWN if "/" not in each.name} <= {
        name for name, _, _ in documents._KINDS
    }
    assert any(each.is_deleted for each in DRAWN)
    assert {len(each.versions) for each in DRAWN} == {1, 2, 3}
    assert {page.nature for each in DRAWN for page in each.newest.pages} == set(Nature)


@pytest.mark.parametrize("document", DRAWN[:40], ids=named)
def test_a_document_opens_as_it_says(document: Document, tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(document.newest.data)
    if document.newest.code == "empty_object":  # told by its size, before anybody opens it
        assert not document.newest.data
    elif document.newest.code:
        with pytest.raises(DocumentError) as caught:
            render.inspect(path, Limits())
        assert caught.value.code == document.newest.code
    else:
        assert render.inspect(path, Limits()).pages == len(document.newest.pages)
        for number, page in enumerate(document.newest.pages, start=1):
            if page.nature is not Nature.BROKEN:
                image = render.draw(
                    path, number, longest_edge_px=1540, encoding=Encoding.AUTO, limits=Limits()
                )
                assert image.blank == (page.nature is Nature.BLANK)
