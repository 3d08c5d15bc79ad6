"""Files that want to do harm, through the real deeds and the real render processes, and some of them through
the whole stack: each ends as a document with the code that it deserves, and costs nobody else anything.
"""

import asyncio
import functools
import json
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bucketscribe.errors import RenderError
from bucketscribe.render_pool import RenderPool
from tests import papers
from tests.fakes.any_reader import AnyReader
from tests.hostile import cuts
from tests.hostile.bombs import BOMBS, EXPLOSIVES, Bomb
from tests.house import House, build_house
from tests.test_end_to_end import record, run

# Enough for any good file seen (documents measured: 544 MB at most); what explodes does so the sooner.
MEMORY_MIB = 768
# A limit for what would burn for ever, and one for what only takes its time on a busy machine.
SHORT_SECONDS, LONG_SECONDS = 1.0, 20.0
# The parent's share: what it may grow by over all bombs, whose own bytes and images it holds meanwhile.
GROWTH_MIB = 150

# Of the slow ones: a hang in form fields is in test_render_pool; here one each of time, memory and both.
SELECTED = ("form-dag.pdf", "words.pdf", "shading.pdf")

# One of each end there is, for the whole stack.
STACKED = """
    form-dag-flat.pdf graphics-states.pdf predictor.pdf labels-cycle.pdf count-5.pdf count-900000.pdf
    tree-dag.pdf tree-cycle-large.pdf encrypted.pdf encrypted-by-nobody.pdf giant.webp giant.png
    loop.tif giant-frame.tif comment.png pageless.pdf
"""


@functools.cache
def made(bomb: Bomb) -> bytes:
    return bomb.make()


def is_end(bomb: Bomb, ended: Sequence[str]) -> bool:
    """Tell whether a document ended as it should; one end stands for those of all pages."""
    expected = bomb.end * len(ended) if len(bomb.end) == 1 else bomb.end
    return len(ended) == len(expected) > 0 and all(
        found in one.split("|") for found, one in zip(ended, expected, strict=True)
    )


def end_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Tell a record's code when it has no pages, else the code or status of each page."""
    if not found["pages"]:
        return tuple(error["code"] for error in found["errors"])
    return tuple(
        page["error"]["code"] if page["error"] else (page["flags"] or [page["status"]])[0]
        for page in found["pages"]
    )


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def survived(documents: Mapping[str, bytes], folder: Path, seconds: float) -> House:
    """Drop all documents at once, and a good one after them; deliver until all is quiet."""
    renderer = RenderPool(workers=2, seconds=seconds, memory_mib=MEMORY_MIB)
    house = build_house(folder, render_seconds=seconds, render_mib=MEMORY_MIB)
    house.renderer, house.scribe = renderer, AnyReader()  # type: ignore[assignment]
    house.restart()
    try:
        for name, data in documents.items():
            house.drop(name, data=data)
        house.drop("good.pdf", data=papers.pdf(3))
        await house.settle()
    finally:
        renderer.close()
    return house


def assert_survived(bombs: Sequence[Bomb], folder: Path, seconds: float) -> None:
    documents = {each.name: made(each) for each in bombs}
    before = resident_mib()
    house = asyncio.run(survived(documents, folder, seconds))
    house.check_books()
    ends = {each.name: end_of(house.record(each.name)) for each in bombs}
    assert {each.name: ends[each.name] for each in bombs if not is_end(each, ends[each.name])} == {}
    assert house.statuses("good.pdf") == ["ok"] * 3
    assert house.refusals == []
    assert resident_mib() - before < GROWTH_MIB
    assert multiprocessing.active_children() == []
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} <= {".document"}


def quick() -> list[Bomb]:
    return [each for each in BOMBS if not each.slow]


def slow() -> list[Bomb]:
    return [each for each in BOMBS if each.slow]


def named(*names: str) -> list[Bomb]:
    return [each for each in BOMBS if each.name in names]


def test_no_bomb_is_large_and_none_shares_its_name_or_differs_from_run_to_run() -> None:
    assert len({each.name for each in BOMBS}) == len(BOMBS)
    for each in quick():
        assert len(made(each)) <= 2 * 2**20, each.name
        # Where keys are drawn at random, and where reportlab dates its work, no two runs agree.
        dated = each.name.startswith("encrypted") or b"ReportLab" in made(each)
        assert dated or each.make() == made(each), each.name


def test_every_bomb_that_burns_no_time_ends_with_its_code(tmp_path: Path) -> None:
    assert_survived(quick(), tmp_path, LONG_SECONDS)


def test_one_bomb_of_each_kind_that_burns_is_put_out(tmp_path: Path) -> None:
    assert_survived(named(*SELECTED), tmp_path, SHORT_SECONDS)


def assert_cuts_survived(places: Sequence[int], folder: Path) -> None:
    documents = dict(cuts.cut(places))
    house = asyncio.run(survived(documents, folder, LONG_SECONDS))
    house.check_books()
    for name, data in documents.items():
        ended = end_of(house.record(name))
        is_open = bool(house.record(name)["pages"])
        assert set(ended) <= (cuts.PAGES if is_open else cuts.CODES), (name, ended)
        assert bool(data) == (ended != ("empty_object",)), name
    assert house.refusals == []


def test_good_documents_that_break_off_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    assert_cuts_survived(cuts.FEW, tmp_path)


@pytest.mark.hostile
def test_good_documents_that_break_off_anywhere_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    assert_cuts_survived(cuts.MANY, tmp_path)


@pytest.mark.hostile
def test_every_bomb_that_burns_is_put_out(tmp_path: Path) -> None:
    assert_survived(slow(), tmp_path, SHORT_SECONDS)


def next_page_after(bombs: Sequence[Bomb], folder: Path) -> dict[str, float]:
    """Tell how many seconds the next page of a good document takes after each bomb."""
    good = folder / "good"
    good.write_bytes(papers.pdf())

    async def use() -> dict[str, float]:
        pool = RenderPool(workers=1, seconds=SHORT_SECONDS, memory_mib=MEMORY_MIB)
        taken = {}
        try:
            for each in bombs:
                path = folder / each.name
                path.write_bytes(made(each))
                with pytest.raises(RenderError):
                    await pool.page(path, 1, 1540)
                started = time.monotonic()
                assert (await pool.page(good, 1, 1540)).ink > 0
                taken[each.name] = time.monotonic() - started
        finally:
            pool.close()
        return taken

    return asyncio.run(use())


def test_the_next_page_comes_at_once_after_a_bomb(tmp_path: Path) -> None:
    """A new process is there in a fifth of a second; here it may take its time on a busy machine."""
    taken = next_page_after(named("words.pdf", "shading.pdf", "labels-cycle.pdf"), tmp_path)
    assert max(taken.values()) < 5.0, taken


@pytest.mark.hostile
def test_the_next_page_comes_at_once_after_any_bomb(tmp_path: Path) -> None:
    taken = next_page_after(EXPLOSIVES, tmp_path)
    print(json.dumps({name: round(seconds, 2) for name, seconds in taken.items()}))  # noqa: T201 - make hostile -s
    assert max(taken.values()) < 5.0, taken


def assert_stack_survives(bombs: Sequence[Bomb], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKETSCRIBE_RENDER_SECONDS", "3")
    monkeypatch.setenv("BUCKETSCRIBE_RENDER_MIB", str(MEMORY_MIB))
    dropped, home = folder / "dropped", folder / "home"
    dropped.mkdir()
    home.mkdir()
    for each in bombs:
        (dropped / each.name).write_bytes(made(each))
    (dropped / "good.pdf").write_bytes(papers.pdf(2, text="A page worth reading, number {page}"))
    ended = run("--json", dropped, folder=home)
    assert ended.returncode == 1, ended.stderr
    assert "restarted" not in ended.stderr
    outbox = home / "outbox"
    ends = {each.name: end_of(record(outbox, each.name)) for each in bombs}
    wrong = {
        each.name: ends[each.name] for each in bombs if not is_end(as_tesseract_reads(each), ends[each.name])
    }
    assert wrong == {}
    assert record(outbox, "good.pdf")["status"] == "complete"
    assert_nothing_left(home, [each.name for each in bombs])


def as_tesseract_reads(bomb: Bomb) -> Bomb:
    """The stand-in finds no words in bars and specks, and says so."""
    end = tuple(each.replace("ok", "ok|model_empty|blank") for each in bomb.end)
    return Bomb(name=bomb.name, make=bomb.make, end=end)


def assert_nothing_left(home: Path, names: Sequence[str]) -> None:
    """Nothing is in flight; beside the outbox lie logs and what the bucket server knows of its buckets."""
    for kind in ("jobs", "notes", "rejected"):
        assert not [path for path in (home / "outbox" / kind).rglob("*") if path.is_file()], kind
    beside = {path.relative_to(home).parts[:2] for path in home.rglob("*") if path.is_file()}
    expected = {("outbox", "documents"), ("outbox", "pages")}
    expected |= {(".outbox.bucketscribe", name) for name in ("logs", "lock", "buckets")}
    assert beside <= expected
    left = [path.name for path in (home / ".outbox.bucketscribe" / "buckets").rglob("*") if path.is_file()]
    assert set(left) <= {"inbox.bucketMetadata", "outbox.bucketMetadata"}
    documents = {path.name for path in (home / "outbox" / "documents").iterdir()}
    assert documents == {f"{name}.{kind}" for name in [*names, "good.pdf"] for kind in ("md", "json")}


@pytest.mark.stack
def test_bombs_through_the_whole_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_stack_survives(named(*STACKED.split()), tmp_path, monkeypatch)


@pytest.mark.hostile
@pytest.mark.stack
def test_every_bomb_through_the_whole_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_stack_survives(BOMBS, tmp_path, monkeypatch)
