import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import outbox
from infra.local.errors import CannotRun


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox"
    folder.mkdir()
    (folder / "earlier.txt").write_text("kept")
    return folder


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(outbox, "_LOCK_PATIENCE_SECONDS", 0.0)
    return


def state(place: Path) -> Path:
    return place.with_name(f".{place.name}.bucketscribe")


def test_the_folder_is_the_bucket_while_it_is_lent_and_a_plain_folder_afterwards(place: Path) -> None:
    with outbox.lent(place) as premises:
        assert premises.outbox.is_dir()
        assert not premises.outbox.is_symlink()
        assert place.is_symlink()
        (premises.outbox / "documents").mkdir(mode=0o700)
        result = premises.outbox / "documents" / "a.pdf.md"
        result.write_text("read")
        result.chmod(0o600)
        assert (place / "documents" / "a.pdf.md").read_text() == "read"
    assert place.is_dir()
    assert not place.is_symlink()
    assert (place / "earlier.txt").read_text() == "kept"
    assert (place / "documents" / "a.pdf.md").stat().st_mode & 0o777 == 0o644
    assert (place / "documents").stat().st_mode & 0o777 == 0o755


def test_a_folder_that_is_not_there_is_made_with_its_parents(tmp_path: Path) -> None:
    with outbox.lent(tmp_path / "new" / "results"):
        pass
    assert (tmp_path / "new" / "results").is_dir()


def test_an_error_inside_gives_the_folder_back_too(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), outbox.lent(place):
        raise ZeroDivisionError
    assert not place.is_symlink()
    assert (place / "earlier.txt").exists()


@pytest.mark.parametrize("step", ["moved, no link yet", "moved and linked", "link of a folder that is gone"])
def test_a_run_killed_at_any_step_is_mended_by_the_next(place: Path, step: str) -> None:
    with outbox.lent(place) as premises:
        moved = premises.outbox
    if step != "link of a folder that is gone":
        place.rename(moved)
    else:
        (place / "earlier.txt").unlink()
        place.rmdir()
    if step != "moved, no link yet":
        place.symlink_to(moved.relative_to(place.parent))
    with outbox.lent(place):
        assert place.is_symlink()
    assert not place.is_symlink()
    assert (place / "earlier.txt").exists() == (step != "link of a folder that is gone")


def test_an_empty_folder_made_meanwhile_gives_way_but_a_full_one_is_left_alone(place: Path) -> None:
    with outbox.lent(place) as premises:
        moved = premises.outbox
    place.rename(moved)
    place.mkdir()
    with outbox.lent(place):
        pass
    assert (place / "earlier.txt").exists()
    place.rename(moved)
    place.mkdir()
    (place / "mine.txt").write_text("mine")
    with pytest.raises(CannotRun, match="move one of the two away"), outbox.lent(place):
        pass
    assert (place / "mine.txt").exists()
    assert (moved / "earlier.txt").exists()


def test_a_second_run_on_the_same_outbox_is_refused_and_harms_nothing(place: Path) -> None:
    with outbox.lent(place) as premises:
        (premises.logs / "on_upload.log").write_text("of the first")
        with pytest.raises(CannotRun, match="another run is using the outbox"), outbox.lent(place):
            pass
        assert place.is_symlink()
        assert (premises.logs / "on_upload.log").exists()


def test_the_lock_stays_as_long_as_whoever_inherited_it(place: Path) -> None:
    with outbox.lent(place) as premises:
        undertakers = os.dup(premises.lock_descriptor)
    with pytest.raises(CannotRun), outbox.lent(place):
        pass
    os.close(undertakers)
    with outbox.lent(place):
        pass


def test_the_inbox_is_empty_at_every_start_and_logs_outlive_the_run(place: Path) -> None:
    with outbox.lent(place) as premises:
        (premises.inbox / "a.pdf").write_text("x")
        (premises.scratch / "copy").write_text("x")
        (premises.logs / "on_upload.log").write_text("said")
    assert not premises.inbox.exists()
    assert not premises.scratch.exists()
    assert (premises.logs / "on_upload.log").read_text() == "said"
    premises.inbox.mkdir()
    (premises.inbox / "left by a killed run.pdf").write_text("x")
    with outbox.lent(place) as again:
        assert list(again.inbox.iterdir()) == []
        assert list(again.logs.iterdir()) == []


def test_what_was_in_flight_is_forgotten_and_strangers_files_stay(place: Path) -> None:
    with outbox.lent(place) as premises:
        for name in (
            "jobs/x/a.pdf/1795475653198039.json",
            "notes/x/a.pdf/1795475653198039/00007.json",
            "jobs/mine.json",
            "pages/a.pdf/1795475653198039/00001.md",
        ):
            path = premises.outbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    left = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    assert left == ["earlier.txt", "jobs/mine.json", "pages/a.pdf/1795475653198039/00001.md"]
    assert not (place / "jobs" / "x").exists()
    assert not (place / "notes").exists()


def test_a_link_of_the_users_own_is_followed_and_stays(place: Path, tmp_path: Path) -> None:
    link = tmp_path / "results"
    link.symlink_to(place)
    with outbox.lent(link) as premises:
        assert premises.root == state(place)
        assert (link / "earlier.txt").exists()
    assert link.is_symlink()
    assert link.resolve() == place


def test_a_file_in_the_folders_place_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file")
    with (
        pytest.raises(CannotRun, match="choose another folder with --outbox"),
        outbox.lent(tmp_path / "outbox"),
    ):
        pass
    assert (tmp_path / "outbox").read_text() == "a file"


def test_a_watched_folder_and_the_outbox_must_not_lie_within_each_other(place: Path, tmp_path: Path) -> None:
    outbox.keep_apart(place, None)
    outbox.keep_apart(place, tmp_path / "inbox")
    for watched in (place, tmp_path, place / "documents"):
        with pytest.raises(CannotRun, match="must not lie within each other"):
            outbox.keep_apart(place, watched)


def test_the_lock_is_free_after_a_run(place: Path) -> None:
    with outbox.lent(place):
        pass
    with (state(place) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
