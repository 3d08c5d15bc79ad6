"""The command: `python -m tests.chaos --documents N --seed S`, behind `make chaos`."""

# ruff: noqa: T201 - prints for people

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from infra.local.errors import CannotRun
from tests.chaos import run as chaos
from tests.chaos.options import Options
from tests.chaos.report import lines

CANNOT_RUN = 2
INTERRUPTED = 130

_EPILOG = """\
examples:
  python -m tests.chaos --documents 300 --seed 7
        300 documents, drawn from the seed; what dies and what fails when is never quite the same
  python -m tests.chaos --documents 50 --kill-seconds 0
        nobody is killed: what is left are duplicates and failing answers
  python -m tests.chaos --documents 50 --folder /tmp/chaos
        keep the buckets, the logs and the accounts there (otherwise only when something was lost)

exit codes:
  0  nothing was lost                1  something was, or did not end; it says what and where to look
  2  it could not start; it says why      130  stopped by Ctrl-C
"""


def main() -> int:
    words = _parser().parse_args()
    folder = words.folder or Path(tempfile.mkdtemp(prefix="bucketscribe-chaos-"))
    options = Options(
        documents=words.documents, seed=words.seed, share=words.faults, kill_seconds=words.kill_seconds
    )
    code = INTERRUPTED
    try:
        code = _run(options, folder.absolute())
    except CannotRun as error:
        print(f"chaos: {error}", file=sys.stderr)
        code = CANNOT_RUN
    except KeyboardInterrupt:
        print("stopped: nothing was proven", file=sys.stderr)
    finally:
        if code == 1 or words.folder:
            print(f"What was dropped, what came out, the logs and the accounts are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


def _run(options: Options, folder: Path) -> int:
    print(f"{options.documents} documents, seed {options.seed}", flush=True)
    story = asyncio.run(chaos.run(options, folder, lambda line: print(line, flush=True)))
    print("\n".join(lines(options, story)))
    return int(bool(story.verdict.wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Read documents on the laptop cloud while its programs are killed at random, messages "
        "come up to three times and the model's answers fail; then check that nothing was lost.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--documents", type=int, default=300, metavar="N", help="how many (300)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="what is drawn (1)")
    parser.add_argument("--faults", type=float, default=0.2, metavar="PART", help="of the answers fail (0.2)")
    parser.add_argument(
        "--kill-seconds",
        type=float,
        default=2.0,
        metavar="T",
        help="between two kills, on average; 0: none (2)",
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="work there, and keep it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
