"""Measure: `python -m tests.bench [NAME ...]`, all of it or what is named. Tables are printed; figures,
tables and plots go to docs/bench/.
"""

# ruff: noqa: T201 - tables for people

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Protocol

from tests.bench import client, flow, growth, render, startup

FOLDER = Path(__file__).parents[2] / "docs" / "bench"


class Bench(Protocol):
    """What can be measured: figures that JSON can hold, their table in Markdown, and their plot."""

    @staticmethod
    def run() -> dict[str, Any]: ...

    @staticmethod
    def table(result: dict[str, Any], /) -> str: ...

    @staticmethod
    def plot(result: dict[str, Any], folder: Path, /) -> None: ...


# Name, headline, module: one line plugs another one in.
BENCHES: tuple[tuple[str, str, Bench], ...] = (
    ("render", "Drawing and encoding a page", render),
    ("client", "From the push to the written page", client),
    ("growth", "Short documents and long ones", growth),
    ("startup", "A cold door", startup),
    ("flow", "How busy the GPUs are, and how long pages wait", flow),
)


def main(names: list[str]) -> None:
    """Raise SystemExit for a name that is none of a bench."""
    if unknown := set(names) - {name for name, _, _ in BENCHES}:
        sys.exit(f"no bench is called {', '.join(sorted(unknown))}; there are {', '.join(_names())}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, headline, bench in BENCHES:
        if not names or name in names:
            result = {"machine": _machine(), **bench.run()}
            (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
            bench.plot(result, FOLDER)
            print(f"## {headline}\n\n{bench.table(result)}\n", flush=True)
    (FOLDER / "README.md").write_text(_report())


def _names() -> list[str]:
    return [name for name, _, _ in BENCHES]


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _report() -> str:
    """Put together what was measured last of each bench."""
    parts = [
        "# What was measured\n\nWritten by `make bench`; figures are medians, with the least and the most of "
        "all rounds. Absolute ones say as much of the machine as of the code: compare within a table.\n"
    ]
    for name, headline, bench in BENCHES:
        file = FOLDER / f"{name}.json"
        if file.exists():
            result = json.loads(file.read_text())
            machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
            parts.append(
                f"## {headline}\n\n`make bench BENCH={name}` on {machine}.\n\n{bench.table(result)}\n\n"
                f"![{headline}]({name}.svg)\n"
            )
    return "\n".join(parts)


if __name__ == "__main__":
    main(sys.argv[1:])
