"""The locks hold what pyproject.toml declares, hashed, and name no host."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.fingerprint import LOCKS, declared, first_line

ROOT = Path(__file__).parent.parent


def pins(lock: str) -> dict[str, str]:
    """Read a lock's exact pins."""
    pin = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", re.MULTILINE)
    found = pin.findall((ROOT / lock).read_text())
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_was_compiled_from_the_dependencies_as_they_stand(lock: str):
    assert (ROOT / lock).read_text().splitlines()[0] == first_line(lock), "run requirements/compile.sh"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_declared_dependency_within_its_bounds(lock: str):
    locked = pins(lock)
    for text in declared(lock):
        requirement = Requirement(text)
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), text


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_line_names_a_host(lock: str):
    text = (ROOT / lock).read_text()
    assert "://" not in text
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert entry.startswith("#") or "--hash=sha256:" in entry, entry


def test_the_locks_agree_with_each_other():
    core, local, dev = (pins(lock) for lock in LOCKS)
    assert core.items() <= local.items() <= dev.items()


def test_the_deployed_source_has_no_pyproject_that_the_buildpack_would_prefer():
    assert not (ROOT / "functions" / "pyproject.toml").exists()
    assert "functions-framework" in pins("functions/requirements.txt")
