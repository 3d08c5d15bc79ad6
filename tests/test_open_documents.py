"""Documents that stay open between their pages, counted by the files that this process holds open."""

import os
import sys
from pathlib import Path

import pypdfium2 as pdfium
import pytest

from bucketscribe import open_documents, render
from bucketscribe.model import Encoding
from bucketscribe.open_documents import KEPT, PAGES, OpenDocuments
from bucketscribe.render_pool import FONTS
from tests import papers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="open files are read from /proc")


def held(folder: Path) -> list[str]:
    """List the files in a folder that this process has open."""
    targets = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sorted(target.name for target in targets if target.is_relative_to(folder))


def laid(folder: Path, name: str, pages: int = 3) -> Path:
    path = folder / name
    path.write_bytes(papers.pdf(pages))
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the name of every file that is opened."""
    names: list[str] = []

    class Noted(pdfium.PdfDocument):  # type: ignore[misc]
        def __init__(self, path: Path) -> None:
            names.append(path.name)
            super().__init__(path)

    monkeypatch.setattr(open_documents.pdfium, "PdfDocument", Noted)
    return names


def test_the_pages_of_a_document_are_drawn_from_one_opening(tmp_path: Path, opened: list[str]) -> None:
    documents, path = OpenDocuments(), laid(tmp_path, "a.pdf")
    for page in range(3):
        with documents.lend(path) as document:
            assert document[page].get_size() == papers.A4
    assert opened == ["a.pdf"]
    assert held(tmp_path) == ["a.pdf"]
    documents.close()
    assert held(tmp_path) == []


def test_the_one_used_least_lately_is_closed_when_there_are_too_many(tmp_path: Path) -> None:
    documents = OpenDocuments()
    first, *others = [laid(tmp_path, f"{number}.pdf") for number in range(KEPT + 1)]
    for path in (first, *others[:-1], first, others[-1]):
        with documents.lend(path):
            pass
    assert held(tmp_path) == sorted(path.name for path in (first, *others[1:]))
    documents.close()


def test_a_document_is_opened_anew_after_so_many_pages(tmp_path: Path, opened: list[str]) -> None:
    documents, path = OpenDocuments(), laid(tmp_path, "a.pdf")
    for _ in range(PAGES + 1):
        with documents.lend(path):
            pass
    assert opened == ["a.pdf", "a.pdf"]
    documents.close()


def test_a_file_that_was_replaced_is_opened_anew(tmp_path: Path) -> None:
    documents, path = OpenDocuments(), laid(tmp_path, "a.pdf", pages=1)
    with documents.lend(path):
        pass
    laid(tmp_path, "b.pdf", pages=2).replace(path)
    with documents.lend(path) as document:
        assert len(document) == 2
    documents.close()


def test_a_document_whose_file_was_emptied_and_deleted_can_be_closed(tmp_path: Path) -> None:
    """The instance's cache does that to what it evicts."""
    documents, path = OpenDocuments(), laid(tmp_path, "a.pdf")
    with documents.lend(path) as document:
        assert document[0].get_size() == papers.A4
    os.truncate(path, 0)
    path.unlink()
    with documents.lend(laid(tmp_path, "b.pdf")) as document:
        assert document[0].get_size() == papers.A4
    documents.close()
    assert held(tmp_path) == []


def test_whatever_is_raised_closes_all(tmp_path: Path) -> None:
    documents = OpenDocuments()
    with documents.lend(laid(tmp_path, "a.pdf")):
        pass
    with pytest.raises(MemoryError), documents.lend(laid(tmp_path, "b.pdf")):
        raise MemoryError
    assert held(tmp_path) == []


def test_a_document_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path) -> None:
    documents, path = OpenDocuments(), tmp_path / "a.pdf"
    path.write_bytes(papers.corrupt_pdf())
    for _ in range(2):
        with pytest.raises(pdfium.PdfiumError), documents.lend(path):
            pass
    assert held(tmp_path) == []


def test_nothing_stays_open_that_takes_memory_from_the_next_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on the address space is as large as the page that is drawn may need."""
    limit = 1000
    monkeypatch.setattr(open_documents.resource, "getrlimit", lambda _: (limit, limit))
    sizes = iter((500, 500 + limit // 8, 500 + limit // 8 + 1))
    documents, path = OpenDocuments(lambda: next(sizes)), laid(tmp_path, "a.pdf")
    with documents.lend(path):
        pass
    assert held(tmp_path) == ["a.pdf"]
    with documents.lend(path):
        pass
    assert held(tmp_path) == []


def test_a_page_looks_the_same_from_a_document_that_was_open_already(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    for content in (papers.pdf(3), papers.form_pdf(), papers.cjk_pdf(), papers.rotated_pdf()):
        path.write_bytes(content)
        render.start(FONTS)
        drawn = [
            render.draw(path, 1, longest_edge_px=700, encoding=Encoding.PNG, limits=render.Limits())
            for _ in range(2)
        ]
        assert drawn[0] == drawn[1]
    render.start(FONTS)
    assert held(tmp_path) == []
