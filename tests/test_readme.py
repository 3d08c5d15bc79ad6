"""What the README says of settings, commands and requests is true."""

import re
import subprocess
from pathlib import Path

import bucketscribe
from bucketscribe.settings import table
from infra.operate.findings import Note, Problem
from tests.simulator import invariants
from tests.simulator.mutations import MUTATIONS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_readme_holds_the_settings_as_they_are():
    assert table() in README, "run `python -m bucketscribe.settings` and paste its table"


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_every_finding_of_verify_is_explained():
    for code in (*Problem, *Note):
        assert f"`{code.value}`" in README, code


def test_the_readme_lists_the_protections_that_were_broken_on_purpose():
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (\d+) \| (\d+) \|$", README, re.MULTILINE)
    assert [(row[0], int(row[3])) for row in rows] == [(each.what, each.bound) for each in MUTATIONS]
    assert f"{len(MUTATIONS)} of {len(MUTATIONS)} noticed" in README
    for _, invariant, *_ in rows:
        assert hasattr(invariants, invariant.replace(" ", "_")), invariant


def test_every_file_that_the_readme_links_exists():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_house_names_no_path_outside_itself():
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.sh", "*.toml", "*.txt", "Makefile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    outside = "../" + "shared"
    assert tracked
    for name in tracked:
        assert outside not in (ROOT / name).read_text(), name


def test_the_changelog_speaks_of_the_version_that_is_built():
    assert f"## {bucketscribe.__version__}" in (ROOT / "CHANGELOG.md").read_text()
