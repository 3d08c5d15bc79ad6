"""The words of the operator's commands. What they do stands in rooms that are loaded only when it is done."""

import argparse
import asyncio
import importlib
from typing import Any

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


def _verify(words: argparse.Namespace) -> int:
    verifying = importlib.import_module("infra.operate.verifying")
    code: int = asyncio.run(
        verifying.verify(words.output, words.input, as_json=words.json, job_days=words.job_days)
    )
    return code
