import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from infra.local import inbox
from infra.local.errors import CannotRun
from infra.local.inbox import Item


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def names(items: list[Item]) -> list[str]:
    return [item.name for item in items]


def test_an_object_is_named_after_its_file(tmp_path: Path) -> None:
    make(tmp_path, "a/my scan.pdf", "b/c.tif")
    items = inbox.collect([str(tmp_path / "a/my scan.pdf"), str(tmp_path / "b/c.tif")], tmp_path / "outbox")
    assert items == [
        Item(path=tmp_path / "a/my scan.pdf", name="my scan.pdf"),
        Item(path=tmp_path / "b/c.tif", name="c.tif"),
    ]


def test_files_that_share_a_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    make(tmp_path, "2025/may/a.pdf", "2026/may/a.pdf", "2026/b.pdf")
    items = inbox.collect([str(tmp_path / "20*/**/*.pdf")], tmp_path / "outbox")
    assert sorted(names(items)) == ["2025/may/a.pdf", "2026/may/a.pdf", "b.pdf"]


def test_globs_that_the_shell_left_alone_are_expanded(tmp_path: Path) -> None:
    make(tmp_path, "one.tif", "two.tif", "three.pdf", ".hidden.tif")
    assert names(inbox.collect([str(tmp_path / "*.tif")], tmp_path / "outbox")) == ["one.tif", "two.tif"]


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob(tmp_path: Path) -> None:
    make(tmp_path, "scan [1].pdf")
    assert names(inbox.collect([str(tmp_path / "scan [1].pdf")], tmp_path / "outbox")) == ["scan [1].pdf"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf")
    assert names(inbox.collect([str(tmp_path / "a.pdf"), str(tmp_path / "*")], tmp_path / "outbox")) == [
        "a.pdf"
    ]


def test_a_folder_stands_for_the_files_below_but_not_for_hidden_ones_or_the_outbox(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf", "sub/b.pdf", ".git/c.pdf", ".d.pdf", "e.pdf.part", "outbox/documents/a.pdf.md")
    assert names(inbox.collect([str(tmp_path)], tmp_path / "outbox")) == ["a.pdf", "b.pdf"]


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf", "long/" + "x" * 241)
    (tmp_path / "empty").mkdir()
    patterns = [str(tmp_path / name) for name in ("a.pdf", "b.pdf", "*.tif", "empty", "long")]
    with pytest.raises(CannotRun) as caught:
        inbox.collect(patterns, tmp_path / "outbox")
    message = str(caught.value)
    assert f"{tmp_path / 'b.pdf'}: there is no such file" in message
    assert f"{tmp_path / '*.tif'}: there is no such file" in message
    assert f"{tmp_path / 'empty'}: there is no file in it" in message
    assert "longer than 229 bytes" in message
    assert "a.pdf:" not in message.replace("b.pdf", "")


def test_names_that_cannot_be_objects_are_told() -> None:
    assert inbox.name_fault("sub/my scän.pdf") is None
    assert inbox.name_fault("a\nb.pdf")
    assert inbox.name_fault("\udcff.pdf")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "SETTLED_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(inbox, "_LOOK_EVERY_SECONDS", 0.01)


async def next_of(items: AsyncIterator[Item]) -> str:
    return (await asyncio.wait_for(anext(items), 10)).name


@pytest.mark.usefixtures("quick")
def test_a_watched_folder_yields_what_is_there_then_what_comes_then_what_changes(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        make(tmp_path, "there.pdf")
        async with aclosing(inbox.watch(tmp_path)) as items:
            seen = [await next_of(items)]
            make(tmp_path, "sub/comes.pdf", ".hidden", "half.crdownload", "~lock~")
            seen.append(await next_of(items))
            (tmp_path / "there.pdf").write_text("changed")
            seen.append(await next_of(items))
            (tmp_path / "half.crdownload").rename(tmp_path / "half.pdf")
            seen.append(await next_of(items))
            return seen

    assert asyncio.run(scenario()) == ["there.pdf", "sub/comes.pdf", "there.pdf", "half.pdf"]


@pytest.mark.usefixtures("quick")
def test_a_file_that_is_still_being_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every look finds the file grown, until the writer stops: only then has it settled."""
    path = tmp_path / "growing.pdf"
    sizes: list[int] = []
    look_over = inbox._look_over

    def grow_then_look(folder: Path) -> dict[Path, tuple[int, int]]:
        if len(sizes) < 20:
            with path.open("ab") as file:
                file.write(b"x" * 100)
            sizes.append(path.stat().st_size)
        return look_over(folder)

    monkeypatch.setattr(inbox, "_look_over", grow_then_look)

    async def scenario() -> int:
        async with aclosing(inbox.watch(tmp_path)) as items:
            await next_of(items)
            return path.stat().st_size

    assert asyncio.run(scenario()) == 2000


@pytest.mark.usefixtures("quick")
def test_a_file_that_was_taken_away_and_comes_back_is_new(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        make(tmp_path, "a.pdf")
        stat = (tmp_path / "a.pdf").stat()
        async with aclosing(inbox.watch(tmp_path)) as items:
            seen = [await next_of(items)]
            (tmp_path / "a.pdf").unlink()
            make(tmp_path, "b.pdf")
            seen.append(await next_of(items))
            make(tmp_path, "a.pdf")
            os.utime(tmp_path / "a.pdf", ns=(stat.st_atime_ns, stat.st_mtime_ns))
            seen.append(await next_of(items))
            return seen

    assert asyncio.run(scenario()) == ["a.pdf", "b.pdf", "a.pdf"]


def test_a_watched_folder_is_made_or_refused_by_name(tmp_path: Path) -> None:
    inbox.make_watched(None)
    inbox.make_watched(tmp_path / "new" / "inbox")
    assert (tmp_path / "new" / "inbox").is_dir()
    make(tmp_path, "file")
    with pytest.raises(CannotRun, match="--watch"):
        inbox.make_watched(tmp_path / "file")
