"""What the README says of settings, commands and requests is true."""

import re
from pathlib import Path

from bucketscribe.settings import table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_readme_holds_the_settings_as_they_are():
    assert table() in README, "run `python -m bucketscribe.settings` and paste its table"


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_every_file_that_the_readme_links_exists():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_house_names_no_path_outside_itself():
    for path in ROOT.glob("**/*"):
        if path.is_file() and path.suffix in {".py", ".md", ".sh", ".toml", ".txt"} and ".venv" not in path.parts:
            assert "../shared" not in path.read_text(), path


def test_the_changelog_speaks_of_the_version_that_is_built():
    import bucketscribe

    assert f"## {bucketscribe.__version__}" in (ROOT / "CHANGELOG.md").read_text()
