"""Tells what a lock was compiled from: a SHA-256 over the dependencies that pyproject.toml declares.

`python requirements/fingerprint.py LOCK` writes it as the lock's first line; tests/test_requirements.py
compares it, offline, so that a changed dependency without a new lock does not pass.
"""

import hashlib
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

# Which groups of pyproject.toml each lock holds beside the core.
LOCKS: dict[str, tuple[str, ...]] = {
    "functions/requirements.txt": (),
    "requirements/local.txt": ("operate", "local"),
    "requirements/dev.txt": ("operate", "local", "dev"),
}


def declared(lock: str) -> list[str]:
    """List the requirements that a lock must satisfy."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups: dict[str, list[Any]] = project["dependency-groups"]
    chosen = [each for group in LOCKS[lock] for each in groups[group] if isinstance(each, str)]
    return [*project["project"]["dependencies"], *chosen]


def first_line(lock: str) -> str:
    """Make the line that a fresh lock begins with."""
    digest = hashlib.sha256(json.dumps(declared(lock)).encode()).hexdigest()
    return f"# Compiled by requirements/compile.sh from pyproject.toml; its dependencies' SHA-256 is {digest}"


def main() -> None:
    for lock in sys.argv[1:]:
        path = ROOT / lock
        body = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        path.write_text("\n".join([first_line(lock), *body]) + "\n")


if __name__ == "__main__":
    main()
