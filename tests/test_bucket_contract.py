"""What every bucket keeps to: the fake one, and the wall to Cloud Storage in front of the laptop's server."""

import asyncio
import base64
import gc
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import google_crc32c
import pytest

from bucketscribe import storage
from bucketscribe.errors import WriteConflict
from bucketscribe.ports import Bucket
from infra.local import bucket_server
from tests.fakes.bucket import FakeBucket
from tests.fakes.bucket_server import serving_buckets

T = TypeVar("T")

MARKDOWN = "text/markdown; charset=utf-8"
HARD_NAMES = [
    "a b.md",
    "x/a.pdf/00001.md",
    "Ünï/çødé 文書.md",
    "q?#&=+%41.md",
    "'quoted' \"twice\".md",
    "emoji-🦉.md",
]


@dataclass(frozen=True, kw_only=True)
class LaptopCloud:
    root: Path
    client: storage.StorageClient


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaptopCloud]:
    root = tmp_path_factory.mktemp("buckets")
    with serving_buckets(root) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", bucket_server.url(port))
        client = storage.make_client()
        yield LaptopCloud(root=root, client=client)
        client.close()


_bucket_numbers = itertools.count(1)


@pytest.fixture(params=["fake", "laptop"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    name = f"bucket-{next(_bucket_numbers)}"
    if request.param == "fake":
        return FakeBucket(name)
    cloud: LaptopCloud = request.getfixturevalue("laptop")
    bucket_server.prepare(cloud.root, [name])
    return storage.open_bucket(name, client=cloud.client)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def write(bucket: Bucket, name: str, data: bytes = b"text", if_generation: int = 0) -> int:
    return run(bucket.write(name, data, content_type=MARKDOWN, if_generation=if_generation))


def test_what_is_not_there_is_none_and_no_error(bucket: Bucket, tmp_path: Path) -> None:
    assert run(bucket.look("absent")) is None
    assert run(bucket.read("absent")) is None
    assert run(bucket.names("absent")) == []
    assert run(bucket.infos("absent")) == []
    assert run(bucket.download("absent", 1, tmp_path / "file")) is False
    assert list(tmp_path.iterdir()) == []


def test_bytes_type_checksum_and_metadata_come_back_as_written(bucket: Bucket) -> None:
    metadata = {"bucketscribe-page": '{"label":"\\u00fc","error":null}', "Other-Key": "a b"}
    data = "Grüße, 文書\n".encode()
    generation = run(bucket.write("a.md", data, content_type=MARKDOWN, if_generation=0, metadata=metadata))
    stored = run(bucket.read("a.md"))
    assert stored is not None
    assert stored.data == data
    info = stored.info
    assert (info.name, info.generation, info.size, info.content_type) == (
        "a.md",
        generation,
        len(data),
        MARKDOWN,
    )
    assert info.crc32c == base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
    assert dict(info.metadata) == metadata
    assert run(bucket.look("a.md")) == info
    assert run(bucket.infos("")) == [info]
    assert abs(datetime.now(UTC) - info.updated_at) < timedelta(minutes=1)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_names_survive_whatever_they_are_made_of(bucket: Bucket, name: str, tmp_path: Path) -> None:
    generation = write(bucket, name, b"x")
    info = run(bucket.look(name))
    assert info is not None
    assert info.name == name
    assert run(bucket.names("")) == [name]
    assert run(bucket.download(name, generation, tmp_path / "file"))
    run(bucket.delete(name))
    assert run(bucket.names("")) == []


def test_an_empty_object_is_an_object(bucket: Bucket, tmp_path: Path) -> None:
    generation = write(bucket, "empty", b"")
    stored = run(bucket.read("empty"))
    assert stored is not None
    assert (stored.data, stored.info.size) == (b"", 0)
    assert run(bucket.download("empty", generation, tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == b""


def test_exactly_one_of_sixteen_racing_writers_creates_the_object(bucket: Bucket) -> None:
    async def race() -> list[int | BaseException]:
        writes = (
            bucket.write("a", b"%d" % each, content_type=MARKDOWN, if_generation=0) for each in range(16)
        )
        return await asyncio.gather(*writes, return_exceptions=True)

    for _ in range(3):
        ends = run(race())
        winners = [each for each, end in enumerate(ends) if isinstance(end, int)]
        assert len(winners) == 1
        assert all(isinstance(end, int | WriteConflict) for end in ends)
        stored = run(bucket.read("a"))
        assert stored is not None
        assert (stored.data, stored.info.generation) == (b"%d" % winners[0], ends[winners[0]])
        run(bucket.delete("a"))


def test_sixteen_racers_with_the_same_bytes_still_have_one_winner(bucket: Bucket) -> None:
    async def race() -> list[int | BaseException]:
        writes = (bucket.write("a", b"same", content_type=MARKDOWN, if_generation=0) for _ in range(16))
        return await asyncio.gather(*writes, return_exceptions=True)

    assert sum(isinstance(end, int) for end in run(race())) == 1


def test_a_stale_generation_cannot_overwrite(bucket: Bucket) -> None:
    first = write(bucket, "a", b"first")
    second = write(bucket, "a", b"second", if_generation=first)
    assert second > first
    with pytest.raises(WriteConflict, match="a"):
        write(bucket, "a", b"third", if_generation=first)
    stored = run(bucket.read("a"))
    assert stored is not None
    assert (stored.data, stored.info.generation) == (b"second", second)


def test_a_generation_that_was_deleted_cannot_be_replaced(bucket: Bucket) -> None:
    generation = write(bucket, "a")
    run(bucket.delete("a"))
    with pytest.raises(WriteConflict):
        write(bucket, "a", if_generation=generation)
    assert run(bucket.look("a")) is None


def test_deleting_what_is_gone_is_no_error(bucket: Bucket) -> None:
    write(bucket, "a")
    run(bucket.delete("a"))
    run(bucket.delete("a"))
    run(bucket.delete("a", if_generation=1))
    assert run(bucket.look("a")) is None


def test_deleting_another_generation_leaves_the_live_one_alone(bucket: Bucket) -> None:
    if not isinstance(bucket, FakeBucket):
        pytest.skip("the laptop's bucket server ignores preconditions on delete")
    first = write(bucket, "a")
    second = write(bucket, "a", if_generation=first)
    run(bucket.delete("a", if_generation=first))
    assert run(bucket.look("a")) is not None
    run(bucket.delete("a", if_generation=second))
    assert run(bucket.look("a")) is None


def test_a_download_is_of_its_generation_or_not_at_all(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "file"
    first = write(bucket, "a", b"first")
    assert run(bucket.download("a", first, path))
    assert path.read_bytes() == b"first"
    path.unlink()
    write(bucket, "a", b"second", if_generation=first)
    assert not run(bucket.download("a", first, path))
    assert list(tmp_path.iterdir()) == []


def test_a_body_is_of_its_generation_or_none(bucket: Bucket) -> None:
    first = write(bucket, "a", b"first")
    assert run(bucket.body("a", first)) == b"first"
    second = write(bucket, "a", b"second", if_generation=first)
    assert run(bucket.body("a", first)) is None
    assert run(bucket.body("a", second)) == b"second"
    assert run(bucket.body("absent", first)) is None


def test_names_come_in_order_from_start_to_before_end(bucket: Bucket) -> None:
    everything = ["pages/a/1", "pages/a/2", "pages/a/3", "pages/b/1", "pages/é", "pages/文"]
    for name in reversed(everything):
        write(bucket, name)
    assert run(bucket.names("pages/")) == everything
    assert run(bucket.names("pages/a/", start="pages/a/2")) == ["pages/a/2", "pages/a/3"]
    assert run(bucket.names("pages/a/", end="pages/a/3")) == ["pages/a/1", "pages/a/2"]
    assert run(bucket.names("pages/", start="pages/a/3", end="pages/é")) == ["pages/a/3", "pages/b/1"]
    assert [info.name for info in run(bucket.infos("pages/a"))] == everything[:3]


def test_a_listing_goes_on_after_a_thousand_names(bucket: Bucket) -> None:
    expected = [f"pages/{number:05d}.md" for number in range(1, 1102)]

    async def fill_and_list() -> tuple[list[str], list[str], list[str]]:
        metadata = {"page": "1"}
        writes = (
            bucket.write(name, b"x", content_type=MARKDOWN, if_generation=0, metadata=metadata)
            for name in expected
        )
        await asyncio.gather(*writes)
        infos = await bucket.infos("pages/")
        assert all(info.metadata == metadata for info in infos)
        later = await bucket.names("pages/", start=expected[50])
        return await bucket.names("pages/"), [info.name for info in infos], later

    names, infos, later = run(fill_and_list())
    assert names == infos == expected
    assert later == expected[50:]


def test_metadata_that_is_not_ascii_is_refused_by_name(bucket: Bucket) -> None:
    for metadata in ({"key": "ü"}, {"ü": "value"}):
        with pytest.raises(ValueError, match="must be ASCII"):
            run(bucket.write("a", b"", content_type=MARKDOWN, if_generation=0, metadata=metadata))
    assert run(bucket.look("a")) is None


def test_an_object_of_nine_mebibytes_comes_back_whole(bucket: Bucket, tmp_path: Path) -> None:
    data = bytes(range(256)) * (9 << 12)
    generation = write(bucket, "big", data)
    stored = run(bucket.read("big"))
    assert stored is not None
    assert (stored.data == data, stored.info.generation) == (True, generation)
    assert run(bucket.download("big", generation, tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == data


async def in_parts(data: bytes, size: int, error: Exception | None = None) -> AsyncIterator[bytes]:
    """Give data a part at a time; then an error, if any."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
    if error:
        raise error


def upload(bucket: Bucket, parts: AsyncIterator[bytes], if_generation: int = 0) -> int:
    metadata = {"bucketscribe-status": "complete"}
    return run(
        bucket.upload("a", parts, content_type=MARKDOWN, if_generation=if_generation, metadata=metadata)
    )


MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 5, 3 * MIB, 8 * MIB, 8 * MIB + 1, 16 * MIB, 17 * MIB])
def test_what_comes_in_parts_is_one_object_of_any_length(bucket: Bucket, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    generation = upload(bucket, in_parts(data, 700_000))
    stored = run(bucket.read("a"))
    assert stored is not None
    assert (stored.data == data, stored.info.generation) == (True, generation)
    assert (stored.info.content_type, dict(stored.info.metadata)) == (
        MARKDOWN,
        {"bucketscribe-status": "complete"},
    )
    assert stored.info.crc32c == base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()


@pytest.mark.parametrize("size", [5, 17 * MIB])
def test_of_parts_that_break_off_nothing_is_ever_seen(bucket: Bucket, size: int) -> None:
    broken = in_parts(bytes(size), 700_000, WriteConflict("page 3 was replaced"))
    with pytest.raises(WriteConflict, match="page 3"):
        upload(bucket, broken)
    assert run(bucket.names("")) == []
    gc.collect()
    assert run(bucket.names("")) == []
    first = write(bucket, "a", b"stands")
    with pytest.raises(WriteConflict, match="page 3"):
        upload(bucket, in_parts(bytes(size), 700_000, WriteConflict("page 3 was replaced")), first)
    assert run(bucket.body("a", first)) == b"stands"


@pytest.mark.parametrize("size", [5, 17 * MIB])
def test_parts_do_not_overwrite_another_generation(bucket: Bucket, size: int) -> None:
    if size > 8 * MIB and not isinstance(bucket, FakeBucket):
        pytest.skip("the laptop's bucket server ignores preconditions on resumable uploads")
    first = write(bucket, "a", b"first")
    second = write(bucket, "a", b"second", if_generation=first)
    with pytest.raises(WriteConflict, match="a"):
        upload(bucket, in_parts(bytes(size), 700_000), first)
    assert run(bucket.body("a", second)) == b"second"
    third = upload(bucket, in_parts(bytes(size), 700_000), second)
    assert run(bucket.body("a", third)) == bytes(size)


def test_metadata_of_parts_that_is_not_ascii_is_refused_by_name(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match="must be ASCII"):
        run(
            bucket.upload(
                "a", in_parts(b"x", 1), content_type=MARKDOWN, if_generation=0, metadata={"key": "ü"}
            )
        )
    assert run(bucket.look("a")) is None


def test_the_fake_counts_what_the_real_thing_would_be_asked() -> None:
    bucket = FakeBucket()
    for number in range(2001):
        bucket.put(f"{number:05d}", b"")
    run(bucket.names(""))
    run(bucket.infos("000"))
    run(bucket.read("00001"))
    run(bucket.read("absent"))
    assert dict(bucket.requests) == {"names": 3, "infos": 1, "read": 3}


@pytest.mark.parametrize(("size", "requests"), [(8 * MIB, 1), (8 * MIB + 1, 3), (17 * MIB, 4)])
def test_the_fake_counts_an_upload_by_its_chunks(size: int, requests: int) -> None:
    bucket = FakeBucket()
    upload(bucket, in_parts(bytes(size), MIB))
    assert bucket.requests["write"] == requests


def test_the_fake_stages_a_race_and_fails_on_demand() -> None:
    bucket = FakeBucket()
    bucket.before_write = lambda name: bucket.put(name, b"rival")
    with pytest.raises(WriteConflict):
        write(bucket, "a", b"ours")
    stored = bucket.get("a")
    assert stored is not None
    assert stored.data == b"rival"
    bucket.fail_next("look", WriteConflict("staged"))
    with pytest.raises(WriteConflict, match="staged"):
        run(bucket.look("a"))
    assert run(bucket.look("a")) is not None
