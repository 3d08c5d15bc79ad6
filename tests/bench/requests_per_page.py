"""Print what a page costs in requests to Cloud Storage, as the README's table has it:
`python -m tests.bench.requests_per_page`. Counted, not timed: every run prints the same.
"""

# ruff: noqa: T201 - a table for people

import asyncio
import contextlib
import io
import tempfile
from pathlib import Path

from tests.house import build_house
from tests.test_requests import SIZES, at_random, cost, in_order, in_reverse, live


def main() -> None:
    print("| pages in the document | their order | look | body | write | list | other | all told, a page |")
    print("|---|---|---|---|---|---|---|---|")
    for pages in SIZES:
        for order in (in_order, at_random, in_reverse):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                house = build_house(Path(folder), document_pages=max(SIZES))
                asyncio.run(live(house, pages, order, 1))
            spent = cost(house, pages)
            listed = spent["names"] + spent["infos"]
            other = spent["read"] + spent["delete"] + spent["download"]
            columns = (spent["look"], spent["body"], spent["write"], listed, other, spent["total"])
            figures = " | ".join(f"{column:.3f}" for column in columns)
            print(f"| {pages:,} | {order.__name__.replace('_', ' ')} | {figures} |")


if __name__ == "__main__":
    main()
