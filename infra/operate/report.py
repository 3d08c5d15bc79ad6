"""What was found, shown: a line a finding and a sum for people, JSON lines for scripts."""

import json
import sys
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from infra.local.display import printable
from infra.operate.findings import Finding

# Of one kind in one document so many are shown; a long document may have lost all its pages.
_SHOWN = 5


class Report:
    """Takes the findings as they come."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)
        self._shown: Counter[tuple[str, str]] = Counter()
        self._last = ""
        self.problems = 0
        self.notes = 0

    def take(self, finding: Finding) -> None:
        """Count a finding, and show it unless it is one of many of its kind."""
        self.problems += finding.is_problem
        self.notes += not finding.is_problem
        if self._as_json:
            _print(_line(finding))
            return
        if finding.subject != self._last:
            self._tell_more()
            self._last = finding.subject
        kind = (finding.subject, finding.code.value)
        self._shown[kind] += 1
        if self._shown[kind] <= _SHOWN:
            style = "red" if finding.is_problem else "dim"
            self._console.print(Text(_words(finding), style=style))

    def close(self, counted: Mapping[str, int]) -> None:
        """Tell the sum; of nothing it is not said that it is as it should be."""
        if self._as_json:
            _print({"verified": dict(counted), "problems": self.problems, "notes": self.notes})
            return
        self._tell_more()
        if not counted and not self.problems:
            self._console.print(Text("nothing to verify yet"))
            return
        parts = [amount(number, word) for word, number in sorted(counted.items())]
        verdict = amount(self.problems, "problems") if self.problems else "all as it should be"
        noted = f", {self.notes} noted" if self.notes else ""
        style = "bold red" if self.problems else "bold green"
        self._console.print(Text(f"{', '.join(parts) or 'nothing'} verified: {verdict}{noted}", style=style))

    def _tell_more(self) -> None:
        for (subject, code), number in self._shown.items():
            if number > _SHOWN:
                self._console.print(Text(f"{printable(subject)}: {code}: and {number - _SHOWN} more"))
        self._shown.clear()


def amount(number: int, things: str) -> str:
    """Say how many of `things`, a plural in -s, as a person would."""
    return f"{number:,} {things if number != 1 else things[:-1]}"


def _words(finding: Finding) -> str:
    kind = "" if finding.is_problem else "note: "
    page = f" page {finding.page}:" if finding.page else ""
    return f"{kind}{printable(finding.subject)}:{page} {finding.code.value}: {printable(finding.message)}"


def _line(finding: Finding) -> dict[str, object]:
    return {
        "kind": "problem" if finding.is_problem else "note",
        "code": finding.code.value,
        "name": finding.subject,
        "page": finding.page,
        "message": finding.message,
    }


def _print(line: Mapping[str, object]) -> None:
    sys.stdout.write(f"{json.dumps(line)}\n")
