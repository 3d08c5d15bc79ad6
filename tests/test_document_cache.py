"""One fetch for all, in a bounded folder, whoever gives up."""

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucketscribe.document_cache import DocumentCache
from bucketscribe.errors import StorageUnavailable
from bucketscribe.model import ObjectRef
from tests.fakes.bucket import FakeBucket


class SlowBucket(FakeBucket):
    """Its downloads wait until `gate` opens; half of the file is there meanwhile."""

    def __init__(self) -> None:
        super().__init__("in")
        self.gate = asyncio.Event()

    async def download(self, name: str, generation: int, path: Path) -> bool:
        path.write_bytes(b"half")  # noqa: ASYNC240 - a small file, and only in tests
        await self.gate.wait()
        return await super().download(name, generation, path)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


async def rounds(number: int = 8) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def put(bucket: FakeBucket, name: str, size: int = 10) -> ObjectRef:
    return ObjectRef(bucket="in", name=name, generation=bucket.put(name, name[-1:].encode() * size))


def files(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.glob("*"))


async def borrow(cache: DocumentCache, source: ObjectRef) -> bytes | None:
    async with cache.document(source) as path:
        return path.read_bytes() if path else None


def test_one_fetch_serves_all_who_wait_and_all_who_come_later(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path / "cache", limit_bytes=100)
        source = put(bucket, "a")
        assert await asyncio.gather(*(borrow(cache, source) for _ in range(50))) == [b"a" * 10] * 50
        assert await borrow(cache, source) == b"a" * 10
        assert bucket.requests == {"look": 1, "download": 1}

    run(scene())


def test_what_nobody_uses_is_evicted_oldest_first_when_room_is_needed(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=30)
        a, b, c, d = (put(bucket, name) for name in "abcd")
        for source in (a, b, c, a, d):
            await borrow(cache, source)
        assert files(tmp_path) == [b"a" * 10, b"c" * 10, b"d" * 10]

    run(scene())


def test_what_is_evicted_takes_no_room_even_while_a_render_process_has_it_open(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        a, b = put(bucket, "a"), put(bucket, "b")
        async with cache.document(a) as path:
            assert path
            file = path.open("rb")
        with file:
            await borrow(cache, b)
            assert file.read() == b""
        assert files(tmp_path) == [b"b" * 10]

    run(scene())


def test_a_document_in_use_is_never_evicted_and_who_finds_no_room_waits(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        a, b = put(bucket, "a"), put(bucket, "b")
        async with cache.document(a) as path:
            waiter = asyncio.create_task(borrow(cache, b))
            await rounds()
            assert not waiter.done()
            assert path
            assert path.read_bytes() == b"a" * 10
        assert await waiter == b"b" * 10
        assert files(tmp_path) == [b"b" * 10]

    run(scene())


def test_nothing_is_evicted_in_vain(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=30)
        a, b, big = put(bucket, "a"), put(bucket, "b"), put(bucket, "c", size=25)
        await borrow(cache, b)
        async with cache.document(a):
            waiter = asyncio.create_task(borrow(cache, big))
            await rounds()
            assert files(tmp_path) == [b"a" * 10, b"b" * 10]
        assert await waiter == b"c" * 25

    run(scene())


def test_a_document_larger_than_the_limit_is_let_in_alone(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        big, small = put(bucket, "b", size=99), put(bucket, "a")
        await borrow(cache, small)
        async with cache.document(big) as path:
            assert path
            assert path.stat().st_size == 99
            waiter = asyncio.create_task(borrow(cache, small))
            await rounds()
            assert not waiter.done()
        assert await waiter == b"a" * 10
        assert files(tmp_path) == [b"a" * 10]

    run(scene())


def test_a_failed_fetch_is_tried_anew_by_the_next(tmp_path):
    async def scene() -> None:
        for verb in ("look", "download"):
            bucket = FakeBucket("in")
            cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
            source = put(bucket, "a")
            bucket.fail_next(verb, StorageUnavailable("away"))
            failed = await asyncio.gather(*(borrow(cache, source) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(error, StorageUnavailable) for error in failed)
            assert files(tmp_path) == []
            assert await borrow(cache, source) == b"a" * 10
            (tmp_path / "1.document").unlink(missing_ok=True)
            (tmp_path / "2.document").unlink(missing_ok=True)

    run(scene())


def test_a_failed_fetch_gives_its_room_back(tmp_path):
    async def scene() -> None:
        bucket = SlowBucket()
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        a, b = put(bucket, "a"), put(bucket, "b")
        bucket.fail_next("download", StorageUnavailable("away"))
        failing, waiter = asyncio.create_task(borrow(cache, a)), asyncio.create_task(borrow(cache, b))
        await rounds()
        bucket.gate.set()
        assert await waiter == b"b" * 10
        with pytest.raises(StorageUnavailable):
            await failing
        assert files(tmp_path) == [b"b" * 10]

    run(scene())


def test_a_source_that_is_gone_or_replaced_lends_nothing(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        old = put(bucket, "a")
        new = put(bucket, "a")
        assert await borrow(cache, old) is None
        assert await borrow(cache, new) == b"a" * 10
        bucket.drop("a")
        assert await borrow(cache, new) == b"a" * 10  # pinned, and here already
        assert await borrow(cache, ObjectRef(bucket="in", name="never", generation=1)) is None

    run(scene())


def test_a_source_that_goes_during_its_fetch_lends_nothing_and_leaves_nothing(tmp_path):
    async def scene() -> None:
        bucket = SlowBucket()
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        source = put(bucket, "a")
        waiters = [asyncio.create_task(borrow(cache, source)) for _ in range(3)]
        await rounds()
        bucket.drop("a")
        bucket.gate.set()
        assert await asyncio.gather(*waiters) == [None, None, None]
        assert files(tmp_path) == []

    run(scene())


def test_a_cancelled_waiter_does_not_stop_the_fetch_for_the_others(tmp_path):
    async def scene() -> None:
        bucket = SlowBucket()
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        source = put(bucket, "a")
        first, second = (asyncio.create_task(borrow(cache, source)) for _ in range(2))
        await rounds()
        first.cancel()
        await rounds()
        bucket.gate.set()
        assert await second == b"a" * 10
        assert bucket.requests["download"] == 1

    run(scene())


def test_a_fetch_that_everybody_left_is_kept_for_the_next_and_evicted_whole(tmp_path):
    async def scene() -> None:
        bucket = SlowBucket()
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        a, b = put(bucket, "a"), put(bucket, "b")
        left = asyncio.create_task(borrow(cache, a))
        await rounds()
        left.cancel()
        other = asyncio.create_task(borrow(cache, b))
        await rounds()
        assert files(tmp_path) == [b"half"]  # still being written, so it still has its room
        bucket.gate.set()
        assert await other == b"b" * 10
        assert files(tmp_path) == [b"b" * 10]

    run(scene())


def test_a_fetch_that_everybody_left_and_that_fails_troubles_nobody(tmp_path):
    async def scene() -> None:
        unseen: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        bucket = SlowBucket()
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        source = put(bucket, "a")
        bucket.fail_next("download", StorageUnavailable("away"))
        left = asyncio.create_task(borrow(cache, source))
        await rounds()
        left.cancel()
        await rounds()
        bucket.gate.set()
        await rounds()
        assert await borrow(cache, source) == b"a" * 10
        assert files(tmp_path) == [b"a" * 10]
        del left
        gc.collect()
        assert unseen == []

    run(scene())


def test_who_leaves_while_waiting_for_room_wants_no_download(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        a, b = put(bucket, "a"), put(bucket, "b")
        async with cache.document(a):
            waiter = asyncio.create_task(borrow(cache, b))
            await rounds()
            waiter.cancel()
            await rounds()
        await rounds()
        assert files(tmp_path) == [b"a" * 10]
        assert bucket.requests["download"] == 1
        assert await borrow(cache, b) == b"b" * 10

    run(scene())


def test_an_error_of_the_borrowers_gives_the_copy_back(tmp_path):
    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, tmp_path, limit_bytes=15)
        a, b = put(bucket, "a"), put(bucket, "b")
        with pytest.raises(ZeroDivisionError):
            async with cache.document(a):
                raise ZeroDivisionError
        assert await borrow(cache, b) == b"b" * 10

    run(scene())


visits = st.tuples(
    st.sampled_from("abcd"),
    st.integers(0, 6),
    st.integers(0, 6),
    st.none() | st.integers(0, 12),
    st.booleans(),
)


@settings(
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(visits, max_size=12))
def test_whatever_happens_the_folder_stays_bounded_and_every_file_has_its_owner(tmp_path_factory, plan):
    folder = tmp_path_factory.mktemp("cache")

    async def scene() -> None:
        bucket = FakeBucket("in")
        cache = DocumentCache(bucket, folder, limit_bytes=25)
        sources = {name: put(bucket, name) for name in "abcd"}

        async def visit(name: str, before: int, stay: int, fails: bool) -> None:
            await rounds(before)
            if fails:
                bucket.fail_next("download", StorageUnavailable("away"))
            async with cache.document(sources[name]) as path:
                await rounds(stay)
                assert path
                assert path.read_bytes() == name.encode() * 10
                assert sum(map(len, files(folder))) <= 25

        tasks = [asyncio.create_task(visit(*how[:3], how[4])) for how in plan]
        for number in range(13):
            for task, how in zip(tasks, plan, strict=True):
                if how[3] == number:
                    task.cancel()
            await asyncio.sleep(0)
        for task in tasks:
            with suppress(asyncio.CancelledError, StorageUnavailable):
                await task
        await rounds()
        assert len(files(folder)) == len(cache._copies)
        assert sum(map(len, files(folder))) <= 25
        bucket._failures.clear()
        async with AsyncExitStack() as both:
            for name in "ab":
                assert await both.enter_async_context(cache.document(sources[name]))

    run(scene())
