"""What the front did to which page: lines at the end of a file, each written before the answer goes out."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

# No faults of the front's: an answer came through; or the client hung up before, as one does that is killed.
THROUGH = "through"
GONE = "gone"


class Account:
    """Written by the front, which may be killed after any line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def note(self, page: str, fault: str) -> None:
        """Note that a page, known by its image's SHA-256, got this fault, or what else came of it."""
        self._file.write(json.dumps([page, fault]).encode() + b"\n")


@dataclass(slots=True)
class Given:
    """The whole account, read back."""

    by_page: dict[str, Counter[str]] = field(default_factory=dict)
    total: Counter[str] = field(default_factory=Counter)

    def of(self, page: str) -> Counter[str]:
        """Count the faults that a page was given."""
        return self.by_page.get(page, Counter())


def read(path: Path) -> Given:
    """Read an account; there may be none yet."""
    given = Given()
    for line in path.read_text().splitlines() if path.exists() else ():
        page, fault = json.loads(line)
        given.by_page.setdefault(page, Counter())[fault] += 1
        given.total[fault] += 1
    return given
