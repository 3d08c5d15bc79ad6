"""Measure: `python -m tests.bench [NAME ...]`, behind `make bench`."""

# ruff: noqa: T201 - tables for people

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.bench import client, flow, growth, render, startup
from tests.bench.flow import stack

FOLDER = Path(__file__).parents[2] / "docs" / "bench"
INTERRUPTED = 130


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
    ("stack", "The same for real, on a laptop, before modelled GPUs", stack),
)


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is named. Raises SystemExit for a name that is none of a bench."""
    names = _parser().parse_args(words).names
    if unknown := set(names) - set(_names()):
        sys.exit(f"no bench is called {', '.join(sorted(unknown))}; there are {', '.join(_names())}")
    try:
        _measure(names)
    except KeyboardInterrupt:
        print("stopped: what had ended before is written down", file=sys.stderr, flush=True)
        # At once: Python would tell, one by one, of simulated tasks that were broken off.
        os._exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure everything, an hour, or what is named. Tables are printed; figures, tables and "
        "plots are written to docs/bench/, in place of those of the last time.",
        epilog="there are:\n" + "\n".join(f"  {name:8} {headline}" for name, headline, _ in BENCHES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a bench; all of them without a name")
    return parser


def _measure(names: Sequence[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, headline, bench in BENCHES:
        if not names or name in names:
            print(f"## {headline}\n", flush=True)
            result = {"machine": _machine(), **bench.run()}
            bench.plot(result, FOLDER)
            (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
            (FOLDER / "README.md").write_text(_report())
            print(f"{bench.table(result)}\n", flush=True)


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
        "all rounds. The flow is simulated once, since two runs say the same, and put through for real "
        "once. Absolute ones say as much of the machine as of the code: compare within a table.\n"
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
    main()
