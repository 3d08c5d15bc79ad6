"""What the README says of settings, commands and requests is true."""

import ast
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


def test_every_module_that_is_named_to_be_run_can_be_run():
    tracked = subprocess.run(
        ["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    named = {
        (module.rstrip("."), name)
        for name in tracked
        for module in re.findall(r"python -m ([a-z][\w.]*)", (ROOT / name).read_text())
    }
    assert {module for module, _ in named} >= {"tests.simulator", "bucketscribe.settings"}
    for module, name in named:
        assert _can_be_run(module), f"{name} names python -m {module}"


def _can_be_run(module: str) -> bool:
    """Tell whether a package has a __main__, or a module does more than to define things."""
    path = (ROOT / "functions" if module.startswith("bucketscribe") else ROOT) / module.replace(".", "/")
    if (path / "__main__.py").is_file():
        return True
    source = path.with_suffix(".py")
    return source.is_file() and any(
        isinstance(node, ast.If | ast.For | ast.With) for node in ast.parse(source.read_text()).body
    )


def test_the_changelog_speaks_of_the_version_that_is_built():
    assert f"## {bucketscribe.__version__}" in (ROOT / "CHANGELOG.md").read_text()
