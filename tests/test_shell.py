"""Every shell script of the project: the linter, the strict mode, and no gcloud without an owner."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHELLCHECK = Path(sys.executable).parent / "shellcheck"


def scripts() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "*.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return listed.stdout.split()


def test_there_are_scripts():
    assert len(scripts()) > 15


@pytest.mark.parametrize("script", scripts())
def test_the_linter_finds_nothing(script: str):
    done = subprocess.run([SHELLCHECK, script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("script", scripts())
def test_a_script_stops_at_its_first_error(script: str):
    text = (ROOT / script).read_text()
    is_sourced = "Sourced" in text.split("\n\n")[0] + text.split("\n\n")[1]
    begins = "set -Eeuo pipefail" in text or "lib.sh" in text
    assert begins or is_sourced


@pytest.mark.parametrize("script", [each for each in scripts() if each.startswith("infra/gcp/")])
def test_every_gcloud_of_the_cloud_names_the_project_and_every_change_can_be_shown_only(script: str):
    text = re.sub(r"(?m)^\s*#.*$", "", (ROOT / script).read_text())
    text = re.sub(r"<<'?(HELP|END)'?\n.*?\n\1\n", "", text, flags=re.DOTALL)
    if script.endswith("lib.sh"):
        assert text.count('gcloud "$@" --project') == 1
        return
    assert not re.search(r"(?m)^\s*gcloud\b", text)
    assert not re.search(
        r"(?m)(?<!change )\bcloud (?!builds\b.*describe)[a-z]+ .*\b(create|delete|update|deploy)\b", text
    )


@pytest.mark.parametrize("script", scripts())
def test_a_script_runs_on_the_bash_of_macos(script: str):
    """3.2 knows no associative arrays, mapfile, ${x^^}, ${x@Q}, |& or negative array subscripts."""
    text = re.sub(r"(?m)^\s*#.*$", "", (ROOT / script).read_text())
    newer = r"(declare|local) -[An]|\b(mapfile|readarray)\b|\$\{\w+(\^\^|,,|@[A-Z])|\|&|\[-\d+\]\}|&>>"
    assert not re.search(newer, text), re.search(newer, text)
