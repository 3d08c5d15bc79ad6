"""Objects of any name: each is a document of its own, and nobody's objects pass for another's."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucketscribe import layout
from bucketscribe.model import ObjectRef
from infra.local import inbox
from tests import papers
from tests.fakes.renderer import paper
from tests.hostile.names import BEYOND_THE_LAPTOP, LOOKALIKES, NAMES, PLAIN
from tests.house import House, story
from tests.test_end_to_end import record, run

PROPERTY = settings(derandomize=True, deadline=None, max_examples=300)

parts = st.sampled_from([*NAMES, "/", "//", "..", "7", "00001.md", ".json", "\n", "\x00", "\x85", "🦉"])
names = st.lists(parts, min_size=1, max_size=4).map("".join).map(lambda name: name[:200])
generations = st.sampled_from([1, 7]) | st.integers(1, 2**63 - 1)
sources = st.builds(ObjectRef, bucket=st.just("in"), name=names, generation=generations)


def objects(source: ObjectRef) -> dict[str, str]:
    """All objects of one version of a source, and what each is."""
    return {
        layout.document_text(source.name): "text",
        layout.document_record(source.name): "record",
        layout.job(source): "job",
        layout.page(source, 1): "page 1",
        layout.page(source, 99_999): "page 99999",
        layout.note(source, 1): "note",
    }


@PROPERTY
@given(st.lists(sources, min_size=2, max_size=6, unique=True))
def test_no_two_sources_share_an_object(found: list[ObjectRef]) -> None:
    owners: dict[str, set[tuple[str, int | None]]] = {}
    for source in found:
        assert len(objects(source)) == 6
        for name, kind in objects(source).items():
            shared = kind in ("text", "record")  # by all versions of a name
            owners.setdefault(name, set()).add((source.name, None if shared else source.generation))
    assert {name: owner for name, owner in owners.items() if len(owner) > 1} == {}


@PROPERTY
@given(st.lists(sources, min_size=1, max_size=6, unique=True))
def test_everything_is_read_back_as_what_it_is_and_as_nothing_else(found: list[ObjectRef]) -> None:
    everything = {name: (source, kind) for source in found for name, kind in objects(source).items()}
    for name, (owner, kind) in everything.items():
        assert layout.job_of("in", name) == (owner if kind == "job" else None)
        for source in found:
            number = layout.page_of(source, name)
            assert number == (int(kind.split()[1]) if kind.startswith("page") and source == owner else None)


@PROPERTY
@given(sources)
def test_every_object_stays_under_the_prefix_of_its_kind(source: ObjectRef) -> None:
    kinds = {name.partition("/")[0] for name in objects(source)}
    assert kinds == {"documents", "jobs", "pages", "notes"}


@story
async def test_an_object_of_any_name_becomes_a_document_of_its_own(house: House) -> None:
    for number, name in enumerate(NAMES, 1):
        house.drop(name, pages=2, title=f"document {number}")
    await house.settle()
    for number, name in enumerate(NAMES, 1):
        assert house.statuses(name) == ["ok", "ok"]
        assert f"document {number} 2" in house.text(name)
        assert house.record(name)["source"]["uri"] == f"gs://in/{name}"
    assert {name.partition("/")[0] for name in house.outbox.listing} == {"documents", "pages"}


@story
async def test_documents_named_as_another_ones_pages_leave_it_alone(house: House) -> None:
    upload = house.drop("a.pdf", pages=3)
    inside = f"a.pdf/{upload.source.generation}"
    for name in (inside, f"{inside}/00001.md", f"{inside}/00004.md", f"a.pdf/{upload.source.generation + 1}"):
        house.drop(name, pages=5)
    await house.settle()
    assert house.statuses("a.pdf") == ["ok"] * 3
    assert all(f"a.pdf {page}\n" in house.text("a.pdf") for page in (1, 2, 3))


@pytest.mark.parametrize("name", ["x" * 1024, "🦉" * 256, "../" * 341])
@story
async def test_a_name_that_no_object_of_ours_could_carry_is_answered_under_rejected(
    house: House, name: str
) -> None:
    await house.take_in(house.drop(name))
    (kept,) = [json.loads(house.outbox.get(each).data) for each in house.outbox.listing]  # type: ignore[union-attr]
    assert kept["code"] == "name_too_long"
    house.post.clear()


@story
async def test_a_folders_placeholder_is_no_document_and_a_document_named_so_is(house: House) -> None:
    await house.take_in(house.drop("folder/", data=b""))
    house.post.clear()
    assert house.outbox.listing == []
    house.inbox.drop("folder/")
    house.drop("full/", data=paper("full", 1))
    await house.settle()
    assert house.statuses("full/") == ["ok"]


def test_names_beyond_the_laptop_are_refused_or_cannot_be_files() -> None:
    for name in BEYOND_THE_LAPTOP:
        path = Path(name)
        assert inbox.name_fault(name) or path.is_absolute() or str(path) != name or ".." in path.parts, name
    assert [name for name in (*PLAIN, *LOOKALIKES) if inbox.name_fault(name)] == []


@pytest.mark.stack
def test_files_of_any_name_go_through_the_whole_stack(tmp_path: Path) -> None:
    dropped, home = tmp_path / "dropped", tmp_path / "home"
    home.mkdir()
    dropped.mkdir()
    for name in PLAIN:
        (dropped / name).write_bytes(papers.blank_pdf())
    for folder in ("documents", "pages", "jobs"):
        (dropped / folder / "a.pdf").mkdir(parents=True)
        (dropped / folder / "a.pdf" / "namesake.md").write_bytes(papers.blank_pdf())
    ended = run("--json", dropped, folder=home)
    finished = {line["name"]: line["status"] for line in map(json.loads, ended.stdout.splitlines())}
    expected = {*PLAIN, *(f"{folder}/a.pdf/namesake.md" for folder in ("documents", "pages", "jobs"))}
    expected -= {"~"}  # which ends as editors' copies do, and is passed over
    assert ended.returncode == 0, ended.stderr
    assert finished == dict.fromkeys(expected, "complete")
    for name in expected:
        assert record(home / "outbox", name)["source"]["uri"] == f"gs://inbox/{name}"
    assert {path.name for path in tmp_path.iterdir()} == {"dropped", "home"}
    assert {path.name for path in home.iterdir()} == {"outbox", ".outbox.bucketscribe"}
