"""The words of the operator's commands. What they do stands in rooms that are loaded only when it is done."""

import argparse
import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

from infra.local.errors import CannotRun

_LAST_PAGE = 99_999

# More than Cloud Run gives to anybody; what is reckoned for more is no more than a number.
_MOST_GPUS = 1_000

# Objects of a bucket opened where nobody says how many.
_OPENED = 100

_VERIFY_EXAMPLES = """\
examples:
  bucketscribe verify outbox
        every document of the laptop's outbox
  bucketscribe verify gs://my-project-markdown --in gs://my-project-documents
        all documents, and whether every live source has its answer
  bucketscribe verify gs://my-project-markdown/documents/x/a.pdf.json
        one document; any prefix below documents/ will do as well
  bucketscribe verify outbox --json | jq -r 'select(.kind == "problem") | .name'
        a JSON object a finding on standard output, the sum last

needs, on Google Cloud: gcloud auth application-default login, and roles/storage.objectViewer on the buckets

exit codes:
  0  all is as it should be          1  problems were found
  2  nothing could be verified; it says why
  130  stopped by Ctrl-C
"""


_REDO_EXAMPLES = """\
examples:
  bucketscribe redo gs://my-project-documents/x/a.pdf --out gs://my-project-markdown
        read all pages of a document again, also while it is in flight
  bucketscribe redo gs://my-project-documents/x/a.pdf --out gs://my-project-markdown --failed
        only those that failed or are of low quality
  bucketscribe redo gs://my-project-documents/x/a.pdf --out gs://my-project-markdown --pages 3,7-9
        only these
  bucketscribe redo … --profile lightonocr-3-1b
        with another model, which the OCR service must serve

The wish is written into the document's job; the next sweep takes it up, within ten minutes. The document
stands as it is until all of these pages have ended; a page whose redo fails stays as it was.

needs: gcloud auth application-default login; roles/storage.objectViewer on the input bucket and
roles/storage.objectUser on the output bucket

exit codes:
  0  the wish is written             2  it is refused, or could not be written; it says why
"""

_ESTIMATE_EXAMPLES = """\
examples:
  bucketscribe estimate scans/ "letters/*.pdf"
        open every file, count its pages, and tell hours and money on three L4s
  bucketscribe estimate gs://my-project-documents/x/ --gpus 10
        open 100 documents of the prefix, and guess the others' pages from their mean
  bucketscribe estimate gs://my-project-documents --open 100000 --json
        open up to 100,000 of them, each fetched as on_upload would fetch it; one JSON object
  bucketscribe estimate --table
        what typical drops take and cost: the README's table

What is counted and what is guessed is told. Speed, start and idleness of the GPUs are those that the flow
simulation reckons with (infra/operate/capacity.py); prices stand in infra/operate/prices.toml, or in a file
of that form named with --prices. Sizes and settings are those of bucketscribe.env, if there is one.

needs, for gs://: gcloud auth application-default login, and roles/storage.objectViewer on the bucket

exit codes:
  0  estimated                       2  nothing could be estimated; it says why
"""


def add_commands(commands: Any) -> None:
    """Add the operator's commands to those of `bucketscribe`."""
    verify = commands.add_parser(
        "verify",
        help="read documents again and check that every page is accounted for",
        description="Check documents against the contract: record, text, pages, what is in flight.",
        epilog=_VERIFY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument("output", metavar="OUTPUT", help="gs://BUCKET[/documents/PREFIX], or a folder")
    verify.add_argument("--in", dest="input", metavar="INPUT", help="gs://BUCKET or a folder of sources")
    verify.add_argument("--json", action="store_true", help="one JSON object a finding, for scripts")
    verify.add_argument(
        "--job-days", type=float, default=7.0, metavar="N", help="a job older than this stands still (7)"
    )
    verify.set_defaults(run=_verify)
    _add_redo(commands)
    _add_estimate(commands)


def _add_redo(commands: Any) -> None:
    redo = commands.add_parser(
        "redo",
        help="have pages of a document read again",
        description="Ask for a document's pages once more, in a higher edition.",
        epilog=_REDO_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    redo.add_argument("source", metavar="SOURCE", help="gs://BUCKET/NAME, the document in the input bucket")
    redo.add_argument("--out", required=True, metavar="OUTPUT", help="gs://BUCKET of the results")
    which = redo.add_mutually_exclusive_group()
    which.add_argument("--failed", action="store_true", help="only pages that failed or are of low quality")
    which.add_argument("--pages", type=_numbers, metavar="LIST", help="only these, such as 3,7-9")
    redo.add_argument("--profile", metavar="NAME", help="read with this model profile")
    redo.set_defaults(run=_redo)


def _add_estimate(commands: Any) -> None:
    estimate = commands.add_parser(
        "estimate",
        help="tell how long documents will take, and what they will cost",
        description="Count documents and pages; reckon hours and money for a number of GPUs.",
        epilog=_ESTIMATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    estimate.add_argument(
        "places", nargs="*", metavar="PLACE", help="files, folders, globs; or gs://BUCKET/PREFIX"
    )
    estimate.add_argument(
        "--gpus", type=_gpus, metavar="N", help="L4s (those of bucketscribe.env, or else 3)"
    )
    estimate.add_argument("--prices", type=Path, metavar="FILE", help="another price list")
    estimate.add_argument(
        "--open",
        dest="most",
        type=_number,
        metavar="N",
        help=f"objects of a bucket opened at most ({_OPENED})",
    )
    estimate.add_argument("--json", action="store_true", help="one JSON object, for scripts")
    estimate.add_argument(
        "--table", action="store_true", help="typical drops instead of PLACE, as a Markdown table"
    )
    estimate.set_defaults(run=_estimate)


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _gpus(text: str) -> int:
    number = _number(text)
    if number > _MOST_GPUS:
        raise argparse.ArgumentTypeError(
            f"{text} L4s are more than the {_MOST_GPUS:,} that can be reckoned with"
        )
    return number


def _numbers(text: str) -> frozenset[int]:
    """Read page numbers and ranges of them."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()) or int(last or first) > _LAST_PAGE:
            raise argparse.ArgumentTypeError(f"{part!r} is neither a page number nor a range such as 7-9")
        if int(first) == 0:
            raise argparse.ArgumentTypeError(f"{part!r} begins with page 0, and the first page is 1")
        found |= set(range(int(first), int(last or first) + 1))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no page")
    return frozenset(found)


def _redo(words: argparse.Namespace) -> int:
    redoing = importlib.import_module("infra.operate.redoing")
    asyncio.run(
        redoing.ask_again(
            words.source, words.out, pages=words.pages, poor=words.failed, profile=words.profile
        )
    )
    return 0


def _verify(words: argparse.Namespace) -> int:
    verifying = importlib.import_module("infra.operate.verifying")
    code: int = asyncio.run(
        verifying.verify(words.output, words.input, as_json=words.json, job_days=words.job_days)
    )
    return code


def _estimate(words: argparse.Namespace) -> int:
    estimating = importlib.import_module("infra.operate.estimating")
    if words.table:
        if words.places or words.json or words.most is not None:
            raise CannotRun(
                "--table is for a first idea: it shows typical drops and counts nothing; leave out PLACE, "
                "--open and --json, or --table"
            )
        sys.stdout.write(estimating.table(words.gpus, words.prices) + "\n")
    else:
        most = _OPENED if words.most is None else words.most
        asyncio.run(
            estimating.estimate(
                words.places, gpus=words.gpus, prices=words.prices, most=most, as_json=words.json
            )
        )
    return 0
