"""What both shelves keep to: a bucket behind the wall to Cloud Storage, and a folder that the laptop left."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bucketscribe import storage
from bucketscribe.ports import Bucket
from infra.local import bucket_server
from infra.local.errors import CannotRun
from infra.operate.shelf import BucketShelf, FolderShelf, Shelf, open_shelf, open_sources
from tests.fakes.bucket_server import serving_buckets
from tests.house import asynchronous

MARKDOWN = "text/markdown; charset=utf-8"
NAMES = ["documents/a b.md", "documents/x/Ünï 文書.md", "documents/x/a.pdf.json", "pages/x/a.pdf/7/00001.md"]

_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One bucket, seen from both sides."""

    bucket: Bucket
    shelf: Shelf


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, storage.StorageClient]]:
    root = tmp_path_factory.mktemp("shelves")
    with serving_buckets(root) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", bucket_server.url(port))
        client = storage.make_client()
        yield root, client
        client.close()


@pytest.fixture(params=["bucket", "folder"])
def place(request: pytest.FixtureRequest, laptop: tuple[Path, storage.StorageClient]) -> Place:
    root, client = laptop
    name = f"shelf-{next(_numbers)}"
    bucket_server.prepare(root, [name])
    bucket = storage.open_bucket(name, client=client)
    shelf = BucketShelf(bucket) if request.param == "bucket" else FolderShelf(root / name)
    return Place(bucket=bucket, shelf=shelf)


async def write(place: Place, name: str, data: bytes = b"text\n") -> int:
    metadata = {"bucketscribe-status": "complete"}
    return await place.bucket.write(name, data, content_type=MARKDOWN, if_generation=0, metadata=metadata)


async def listed(shelf: Shelf, prefix: str) -> list[str]:
    return [info.name async for info in shelf.listing(prefix)]


@asynchronous
async def test_an_object_is_read_with_its_metadata_and_generation(place: Place) -> None:
    for name in NAMES:
        generation = await write(place, name)
        stored = await place.shelf.read(name)
        assert stored
        assert stored.data == b"text\n"
        assert stored.info == await place.shelf.look(name)
        info = await place.bucket.look(name)
        assert info
        assert (stored.info.generation, stored.info.metadata) == (generation, info.metadata)
        assert (stored.info.size, stored.info.crc32c) == (5, info.crc32c)
        assert abs((stored.info.updated_at - info.updated_at).total_seconds()) < 5


@asynchronous
async def test_what_is_not_there_is_none(place: Place) -> None:
    await write(place, "documents/x/a.pdf.md")
    for name in ("absent", "documents", "documents/x", "documents/" + "n" * 300):
        assert await place.shelf.look(name) is None
        assert await place.shelf.read(name) is None


@asynchronous
async def test_a_listing_takes_any_prefix_of_names(place: Place) -> None:
    for name in NAMES:
        await write(place, name)
    assert sorted(await listed(place.shelf, "")) == sorted(NAMES)
    assert await listed(place.shelf, "documents/x/a") == ["documents/x/a.pdf.json"]
    assert await listed(place.shelf, "pages/") == ["pages/x/a.pdf/7/00001.md"]
    assert await listed(place.shelf, "absent/and/not/there") == []


def test_a_long_listing_is_streamed_a_page_at_a_time(
    laptop: tuple[Path, storage.StorageClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, client = laptop
    bucket_server.prepare(root, ["long"])
    place = Place(
        bucket=storage.open_bucket("long", client=client),
        shelf=BucketShelf(storage.open_bucket("long", client=client)),
    )
    names = [f"documents/{number:02d}.md" for number in range(10)]

    async def written_and_listed() -> list[str]:
        for name in names:
            await write(place, name)
        return await listed(place.shelf, "documents/")

    for size in (2, 3, 10, 11):
        monkeypatch.setattr(storage, "SOME", size)
        names = [f"documents/{size}-{number:02d}.md" for number in range(10)]
        assert set(names) <= set(asyncio.run(written_and_listed()))


@asynchronous
async def test_no_name_leads_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "outbox").mkdir()
    (tmp_path / "secret").write_text("text")
    shelf = FolderShelf(tmp_path / "outbox")
    assert await shelf.read("../secret") is None
    assert await shelf.look("../outbox/../secret") is None


@asynchronous
async def test_a_folder_copied_without_attributes_still_reads(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.pdf.md").write_text("text")
    stored = await FolderShelf(tmp_path).read("documents/a.pdf.md")
    assert stored
    assert (stored.data, stored.info.generation, stored.info.metadata) == (b"text", 0, {})


def test_a_place_is_a_bucket_or_a_folder_with_a_prefix_or_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    outbox = tmp_path / "outbox"
    (outbox / "documents" / "x").mkdir(parents=True)
    (outbox / "documents" / "x" / "b.pdf.json").touch()
    assert open_shelf("gs://out")[1] == ""
    assert open_shelf("gs://out/documents/x/")[1] == "documents/x/"
    assert open_shelf(str(outbox))[1] == ""
    assert open_shelf(str(outbox / "documents/x/"))[1] == "documents/x/"
    assert open_shelf(str(outbox / "documents/a.pdf.json"))[1] == "documents/a.pdf.json"
    assert open_shelf(str(outbox / "documents"))[1] == "documents/"
    assert open_shelf(str(tmp_path))[1] == ""
    for nowhere in ("gs://", str(tmp_path / "absent")):
        with pytest.raises(CannotRun):
            open_shelf(nowhere)


def test_an_empty_outbox_is_no_prefix_of_a_folder_of_documents_above_it(tmp_path: Path) -> None:
    outbox = tmp_path / "documents" / "outbox"
    outbox.mkdir(parents=True)
    assert open_shelf(str(outbox))[1] == ""


@asynchronous
async def test_sources_are_a_folder_whatever_it_is_called_or_lies_in(tmp_path: Path) -> None:
    for folder in (tmp_path / "documents", tmp_path / "documents" / "2026"):
        folder.mkdir()
        (folder / "a.pdf").write_bytes(b"%PDF-1.7")
        assert "a.pdf" in await listed(open_sources(str(folder)), "")


def test_sources_are_a_whole_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    assert open_sources("gs://in/")
    with pytest.raises(CannotRun, match="name the whole bucket"):
        open_sources("gs://in/x/")
