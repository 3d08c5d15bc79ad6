"""The command line `bucketscribe`: its words, its help, its exit codes.

What is done stands in `session` and in the operator's rooms, which are loaded only when there is something
to do: help is quick, and a Ctrl-C while it loads ends as quietly as any other.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.local.errors import CannotRun
from infra.operate.command import add_commands

CANNOT_RUN = 2
INTERRUPTED = 130

_EXAMPLES = """\
examples:
  bucketscribe local report.pdf
        read one document; its Markdown is then in outbox/documents/report.pdf.md
  bucketscribe local "my scan.pdf" "scans/*.tif" letters/
        files, globs (quoted or not) and folders; an object is named after its file
  bucketscribe local --watch inbox --outbox results
        read whatever is dropped into inbox/, until Ctrl-C
  bucketscribe local --json *.pdf | jq -r 'select(.status != "complete") | .name'
        one JSON object per finished document on standard output, all else on standard error
  bucketscribe local --ocr-url http://127.0.0.1:8000 report.pdf
        ask a real vLLM or llama-server that serves LightOnOCR, not the stand-in (Tesseract)

settings:
  The functions' settings (README) are taken from the environment, such as BUCKETSCRIBE_PAGES_AT_GPU for the
  number of pages that a server behind --ocr-url is asked to read at once.

exit codes:
  0  every document ended complete           1  one ended partial or failed; the reasons are printed
  2  nothing could be done; it says why      130  stopped by Ctrl-C
"""

_SWEEP_EXAMPLES = """\
examples:
  bucketscribe sweep
        while `make watch` or `make run` runs in another terminal: do not wait for its next ten minutes
  bucketscribe sweep --outbox results
        of the run that was started with --outbox results

The sweep takes up documents that stand still. On Google Cloud Cloud Scheduler calls it; by hand:
  gcloud scheduler jobs run bucketscribe-sweep --location=REGION

exit codes:
  0  swept; it says what was done    1  swept, and some document stands still or is in trouble
  2  there was nothing to sweep, or it broke off; it says why
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    try:
        words = _parser().parse_args(arguments)
        sys.exit(words.run(words))
    except CannotRun as error:
        sys.stderr.write(f"bucketscribe: {error}\n")
        sys.exit(CANNOT_RUN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run(words: argparse.Namespace) -> int:
    if not words.files and not words.watch:
        raise CannotRun(
            "there is nothing to read: name files (bucketscribe local report.pdf) or a folder to watch "
            "(bucketscribe local --watch inbox)"
        )
    session = importlib.import_module("infra.local.session")
    options = session.Options(
        files=tuple(words.files),
        watch=words.watch,
        outbox=words.outbox,
        ocr_url=words.ocr_url and words.ocr_url.rstrip("/"),
        as_json=words.json,
        pubsub_emulator=words.pubsub_emulator,
    )
    code: int = session.run(options)
    return code


def _sweep(words: argparse.Namespace) -> int:
    code: int = importlib.import_module("infra.local.sweeping").sweep(words.outbox)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bucketscribe", description="Drop documents in, read Markdown out: every page accounted for."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    local = commands.add_parser(
        "local",
        help="read documents on this machine, with the code that runs on Google Cloud",
        description="Start the laptop cloud, put documents through it, and show what came out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    local.add_argument("files", nargs="*", metavar="FILE", help="a document, a folder of them, or a glob")
    local.add_argument(
        "--watch", type=Path, metavar="DIR", help="read what is dropped into DIR, until Ctrl-C"
    )
    local.add_argument(
        "--outbox", type=Path, default=Path("outbox"), metavar="DIR", help="where results go (outbox)"
    )
    local.add_argument("--ocr-url", metavar="URL", help="a server that reads pages, such as http://HOST:8000")
    local.add_argument(
        "--json", action="store_true", help="one JSON object per finished document, for scripts"
    )
    local.add_argument(
        "--pubsub-emulator",
        action="store_true",
        help="use Google's Pub/Sub emulator, when gcloud has it installed, instead of our own broker",
    )
    local.set_defaults(run=_run)
    _add_sweep(commands)
    add_commands(commands)
    return parser


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="have a run on this machine look now for documents that stand still",
        description="Call the sweep of the run that uses the outbox, and say what it did.",
        epilog=_SWEEP_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument(
        "--outbox", type=Path, default=Path("outbox"), metavar="DIR", help="the run's outbox (outbox)"
    )
    sweep.set_defaults(run=_sweep)
