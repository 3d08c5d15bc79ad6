"""Pages drawn in other processes, and what those may do without harm to anybody else."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bucketscribe import processes, render_pool
from bucketscribe.errors import (
    BucketscribeError,
    DocumentCorrupt,
    DocumentEncrypted,
    PageRenderCrashed,
    PageRenderFailed,
    PageRenderTimeout,
    RenderError,
)
from bucketscribe.model import DocumentFacts, Kind, PageImage
from bucketscribe.render_pool import RenderPool, Work
from tests import papers

DRAWN = PageImage(data=b"drawn", media_type="image/png", width=28, height=28, ink=0.5)


# What the processes are made to do: found by name over there, so they stand at the top of a module. All but
# the first leave their process id behind, so that a test sees how often and where they were tried.


def draw_all_but_the_second(path: Path, page: int, **_: object) -> PageImage:
    """Die on page 2, as PDFium does."""
    if page == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    return DRAWN


def hang_on_the_second(path: Path, page: int, **_: object) -> PageImage:
    if page == 2:
        leave_word(path)
        hang()
    return DRAWN


def fail_at_first(path: Path, page: int, **_: object) -> PageImage:
    if leave_word(path) == 1:
        raise PageRenderFailed("not today")
    return DRAWN


def fail_always(path: Path, page: int, **_: object) -> PageImage:
    raise PageRenderFailed(f"not the {leave_word(path)}th time either")


def eat_memory(path: Path, page: int, **_: object) -> PageImage:
    if page == 2:
        leave_word(path)
        bytearray(2**33)
    return DRAWN


def crash_when_opened(path: Path, _: object) -> DocumentFacts:
    leave_word(path)
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def hang_when_opened(path: Path, _: object) -> DocumentFacts:
    leave_word(path)
    return hang()


def who_is_there(path: Path, page: int, **_: object) -> PageImage:
    leave_word(path)
    return DRAWN


def no_beginning() -> None:
    sys.exit(1)


def hang() -> DocumentFacts:
    signal.pause()
    raise AssertionError


def leave_word(path: Path) -> int:
    """Note the process; return how many notes there are."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
    return len(word_left(path))


def word_left(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def used(
    use: Callable[[RenderPool], Awaitable[object]],
    work: Work | None = None,
    *,
    workers: int = 1,
    seconds: float = 20.0,
    memory_mib: int = 2048,
) -> object:
    """Have a pool used, and closed."""

    async def use_it() -> object:
        pool = RenderPool(workers=workers, seconds=seconds, memory_mib=memory_mib, work=work)
        try:
            return await use(pool)
        finally:
            pool.close()

    return asyncio.run(use_it())


async def pages(pool: RenderPool, path: Path, *numbers: int) -> list[PageImage | BaseException]:
    asked = (pool.page(path, number, 1540) for number in numbers)
    return await asyncio.gather(*asked, return_exceptions=True)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits to be asked for its status does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def until(happened: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Wait for what another process does in its own time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


async def started(path: Path) -> int:
    """Wait until a task left word; tell where it runs."""
    assert await asyncio.to_thread(until, lambda: bool(word_left(path)))
    return word_left(path)[-1]


def test_a_real_document_is_opened_drawn_and_read_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(papers.cjk_pdf())

    async def use(pool: RenderPool) -> None:
        assert await pool.inspect(path) == DocumentFacts(kind=Kind.PDF, pages=1)
        page = await pool.page(path, 1, 1540)
        assert (page.width, page.height) == (1092, 1540)
        assert page.ink > 0.002, "the shipped fonts were not found"
        assert "你好世界" in await pool.text_layer(path, 1)

    used(use)


def test_errors_of_ours_keep_their_kind_on_the_way_back(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(papers.encrypted_pdf("secret"))
    with pytest.raises(DocumentEncrypted, match="remove the password"):
        used(lambda pool: pool.inspect(path))


def test_a_crash_loses_only_its_own_page(tmp_path: Path) -> None:
    async def use(pool: RenderPool) -> None:
        first, second, third, fourth = await pages(pool, tmp_path, 1, 2, 3, 4)
        assert [first, third, fourth] == [DRAWN] * 3
        assert isinstance(second, PageRenderCrashed)
        assert "Page 2 " in str(second)

    used(use, Work(draw=draw_all_but_the_second), workers=2)


def test_a_hang_is_cut_at_the_limit_in_both_tries_and_loses_only_its_own_page(tmp_path: Path) -> None:
    path = tmp_path / "word"

    async def use(pool: RenderPool) -> float:
        assert await pages(pool, path, 1) == [DRAWN]
        begun = time.monotonic()
        first, second, third = await pages(pool, path, 1, 2, 3)
        assert [first, third] == [DRAWN] * 2
        assert isinstance(second, PageRenderTimeout)
        assert "render_seconds" in str(second)
        return time.monotonic() - begun

    lasted = used(use, Work(draw=hang_on_the_second), workers=2, seconds=0.5)
    assert isinstance(lasted, float)
    assert 1.0 <= lasted < 10
    assert len(word_left(path)) == 2
    assert not any(alive(pid) for pid in word_left(path))


def test_a_real_file_that_hangs_pdfium_is_cut_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "document"
    path.write_bytes(papers.hanging_pdf())

    async def use(pool: RenderPool) -> None:
        assert (await pool.inspect(path)).pages == 1
        with pytest.raises(PageRenderTimeout):
            await pool.page(path, 1, 1540)

    used(use, seconds=1.0)


def test_a_real_memory_bomb_fails_only_itself(tmp_path: Path) -> None:
    bomb, good = tmp_path / "bomb", tmp_path / "good"
    bomb.write_bytes(papers.memory_bomb_pdf())
    good.write_bytes(papers.pdf())

    async def use(pool: RenderPool) -> None:
        with pytest.raises((PageRenderCrashed, PageRenderFailed)):
            await pool.page(bomb, 1, 1540)
        assert (await pool.page(good, 1, 1540)).ink > 0

    used(use, memory_mib=768)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_lack_of_memory_over_there_fails_the_page(tmp_path: Path) -> None:
    path = tmp_path / "word"

    async def use(pool: RenderPool) -> None:
        first, second, third = await pages(pool, path, 1, 2, 3)
        assert [first, third] == [DRAWN] * 2
        assert isinstance(second, PageRenderFailed)
        assert "render_mib" in str(second)

    used(use, Work(draw=eat_memory))
    assert len(word_left(path)) == 2


def test_what_fails_gets_one_more_try_in_a_fresh_process(tmp_path: Path) -> None:
    path = tmp_path / "word"
    assert used(lambda pool: pool.page(path, 1, 1540), Work(draw=fail_at_first)) == DRAWN
    first, second = word_left(path)
    assert first != second


def test_second_tries_never_share_a_process(tmp_path: Path) -> None:
    path = tmp_path / "word"
    used(lambda pool: pages(pool, path, 1, 2, 3), Work(draw=fail_always))
    assert len(word_left(path)) == 6
    assert len(set(word_left(path))) == 4


def test_what_fails_twice_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "word"
    with pytest.raises(PageRenderFailed, match="2th time"):
        used(lambda pool: pool.page(path, 1, 1540), Work(draw=fail_always))
    assert len(word_left(path)) == 2


@pytest.mark.parametrize("work", [Work(inspect=crash_when_opened), Work(inspect=hang_when_opened)])
def test_a_document_that_crashes_or_hangs_when_opened_twice_is_corrupt(tmp_path: Path, work: Work) -> None:
    path = tmp_path / "word"
    with pytest.raises(DocumentCorrupt, match=r"could not be opened.* save it anew"):
        used(lambda pool: pool.inspect(path), work, seconds=0.5)
    assert len(word_left(path)) == 2


def test_cancelling_a_page_stops_its_work_and_frees_its_place(tmp_path: Path) -> None:
    path = tmp_path / "word"

    async def use(pool: RenderPool) -> None:
        task = asyncio.create_task(pool.page(path, 2, 1540))
        pid = await started(path)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pages(pool, path, 1) == [DRAWN]
        assert await asyncio.to_thread(until, lambda: not alive(pid))

    used(use, Work(draw=hang_on_the_second), seconds=60)


def test_a_page_cancelled_while_it_waits_for_its_turn_disturbs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "word"

    async def use(pool: RenderPool) -> None:
        ahead = asyncio.create_task(pool.page(path, 1, 1540))
        behind = asyncio.create_task(pool.page(path, 1, 1540))
        await asyncio.sleep(0)
        behind.cancel()
        assert await ahead == DRAWN
        assert await pages(pool, path, 1) == [DRAWN]

    used(use, Work(draw=who_is_there))
    first, second = word_left(path)
    assert first == second


def test_a_process_killed_while_idle_is_replaced_unseen(tmp_path: Path) -> None:
    path = tmp_path / "word"

    async def use(pool: RenderPool) -> None:
        assert await pages(pool, path, 1) == [DRAWN]
        os.kill(word_left(path)[0], signal.SIGKILL)
        assert await pages(pool, path, 2, 3) == [DRAWN] * 2

    used(use, Work(draw=who_is_there))


def test_close_stops_all_processes_at_once_and_sends_away_who_waits(tmp_path: Path) -> None:
    path = tmp_path / "word"

    async def use(pool: RenderPool) -> None:
        drawing = asyncio.create_task(pool.page(path, 2, 1540))
        waiting = asyncio.create_task(pool.page(path, 1, 1540))
        pid = await started(path)
        begun = time.monotonic()
        pool.close()
        assert time.monotonic() - begun < 2.5
        assert not alive(pid)
        for task in (drawing, waiting):
            with pytest.raises(BucketscribeError, match="closed") as caught:
                await task
            assert not isinstance(caught.value, RenderError), "no page is to blame"

    used(use, Work(draw=hang_on_the_second), seconds=60)
    assert len(word_left(path)) == 1


def test_closing_what_was_never_used_or_is_closed_is_no_error() -> None:
    pool = RenderPool(workers=2, seconds=1, memory_mib=512)
    pool.close()
    pool.close()


def test_processes_that_cannot_start_are_no_pages_fault() -> None:
    async def use() -> int:
        broken = processes.Processes(1, tasks_per_process=1, memory_mib=2048, begin=no_beginning)
        try:
            return await broken.run(os.getpid, 5.0)
        finally:
            broken.close()

    with pytest.raises(BucketscribeError, match="do not start") as caught:
        asyncio.run(use())
    assert not isinstance(caught.value, RenderError)


def test_processes_end_when_their_parent_is_killed_even_those_that_hang(tmp_path: Path) -> None:
    """Run a parent as the functions framework is run: a script of its own, importable under another name."""
    path, script = tmp_path / "word", tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
            import asyncio, sys
            from pathlib import Path
            from bucketscribe.render_pool import RenderPool, Work
            from tests.test_render_pool import hang_on_the_second

            async def main():
                pool = RenderPool(
                    workers=2, seconds=600, memory_mib=2048, work=Work(draw=hang_on_the_second)
                )
                await pool.page(Path(sys.argv[1]), 2, 1540)

            if __name__ == "__main__":
                asyncio.run(main())
        """)
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    with subprocess.Popen([sys.executable, script, path], env=environment) as parent:
        try:
            assert until(lambda: bool(word_left(path)))
        finally:
            parent.kill()
    assert until(lambda: not alive(word_left(path)[0]))


def test_every_foreign_error_is_mapped_to_one_that_names_what_to_do() -> None:
    assert set(render_pool.FOREIGN_ERRORS) == {processes.ProcessExpired, TimeoutError, MemoryError}
    assert {ours for ours, _ in render_pool.FOREIGN_ERRORS.values()} == {
        PageRenderCrashed,
        PageRenderTimeout,
        PageRenderFailed,
    }
