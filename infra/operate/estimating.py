"""One run of `bucketscribe estimate`: documents counted, the bill reckoned and told."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bucketscribe.settings import Settings
from infra.local.display import printable
from infra.local.errors import CannotRun
from infra.operate.bill import Bill, gpu_second, reckon
from infra.operate.counting import Counted, Opener, count_bucket, count_files
from infra.operate.deployment import Deployment, deployment
from infra.operate.prices import OURS, Prices, read_prices
from infra.operate.report import amount
from infra.operate.shelf import SCHEME

# Documents and pages of the table that the README shows.
TYPICAL = (
    ("a page", 1, 1),
    ("a book of 300", 1, 300),
    ("10,000 pages in 50 documents", 50, 10_000),
    ("100,000 pages in 500 documents", 500, 100_000),
)

# What JSON says of a bill; null where there is none.
_RECKONED = (
    *("first_page_seconds", "seconds", "gpu_seconds", "reading_seconds"),
    *("dollars", "dollars_a_month"),
)

_MINUTE, _HOUR = 60.0, 3600.0


async def estimate(
    places: Sequence[str], *, gpus: int | None, prices: Path | None, most: int, as_json: bool
) -> None:
    """Count and tell. Raises CannotRun when something cannot be read."""
    given, listed = deployment(gpus), read_prices(prices or OURS)
    counted = await _count(places, most, given.settings)
    if not counted.documents:
        raise CannotRun(
            "there is nothing to estimate: no document is among what was named; which names are taken in say "
            "BUCKETSCRIBE_INCLUDE and BUCKETSCRIBE_IGNORE"
        )
    pages = counted.expected_pages()
    bill = reckon(counted.documents, pages, given, listed) if pages else None
    if as_json:
        sys.stdout.write(json.dumps(_as_json(counted, bill, given, listed)) + "\n")
    else:
        sys.stdout.write(_told(counted, bill, given, listed))


async def _count(places: Sequence[str], most: int, settings: Settings) -> Counted:
    if not places:
        raise CannotRun("there is nothing to estimate: name files, or gs://BUCKET/PREFIX")
    buckets = [place for place in places if place.startswith(SCHEME)]
    if buckets and len(places) > 1:
        raise CannotRun("name files, or one gs://BUCKET/PREFIX")
    opener = Opener(settings)
    try:
        if buckets:
            return await count_bucket(buckets[0], most, opener)
        return await count_files(places, opener)
    finally:
        opener.close()


def _told(counted: Counted, bill: Bill | None, given: Deployment, prices: Prices) -> str:
    lines = [
        _counted(counted),
        *(f"  {printable(name)}: {code}" for name, code in sorted(counted.unread.items())),
        "",
    ]
    if bill is None:
        lines.append("there is no page to read: no GPU starts")
    else:
        lines += _reckoned(counted.expected_pages(), bill, given, prices)
    return "\n".join(lines) + "\n"


def _reckoned(pages: int, bill: Bill, given: Deployment, prices: Prices) -> list[str]:
    expected = bill.forecast
    waste = expected.gpu_seconds - expected.reading_seconds
    return [
        f"dropped all at once on {amount(given.gpus, 'L4s')} while nothing is awake:",
        f"  first page after   {_time(expected.first_page_seconds)}",
        f"  all read after     {_time(expected.seconds)}",
        f"  GPU time           {_time(expected.gpu_seconds)}, of which {_time(waste)} starting and idle",
        "",
        f"in US dollars, at the prices of {prices.dated} in {prices.region}:",
        *(f"  {name:18} {cost:10.4f}" for name, cost in bill.items.items()),
        f"  {'all told':18} {bill.total:10.4f}, {1000 * bill.total / pages:.2f} for 1,000 pages",
        f"  results, a month   {bill.month:10.4f}",
    ]


def _counted(counted: Counted) -> str:
    told = f"{amount(counted.documents, 'documents')}, {amount(counted.expected_pages(), 'pages')}"
    if counted.is_guess:
        told += (
            f" ± {counted.error_pages():,}: {counted.opened:,} were opened and have {sum(counted.pages):,}, "
            "the others are guessed from their mean"
        )
    else:
        told += ": all were opened and counted" if counted.pages else ""
    return told + (f"; {len(counted.unread):,} cannot be read" if counted.unread else "")


def _as_json(counted: Counted, bill: Bill | None, given: Deployment, prices: Prices) -> dict[str, Any]:
    return {
        "documents": counted.documents,
        "opened": counted.opened,
        "unread": dict(sorted(counted.unread.items())),
        "pages": counted.expected_pages(),
        "pages_error": counted.error_pages(),
        "gpus": given.gpus,
        **(_bill_as_json(bill) if bill else dict.fromkeys(_RECKONED)),
        "prices": f"{prices.dated} {prices.region}",
    }


def _bill_as_json(bill: Bill) -> dict[str, Any]:
    expected = bill.forecast
    dollars = {name: round(cost, 6) for name, cost in bill.items.items()} | {"total": round(bill.total, 6)}
    seconds = (
        expected.first_page_seconds,
        expected.seconds,
        expected.gpu_seconds,
        expected.reading_seconds,
    )
    return dict(zip(_RECKONED, (*map(round, seconds), dollars, round(bill.month, 6)), strict=True))


def table(gpus: int | None = None, listed: Path | None = None) -> str:
    """Write the README's table: what typical drops take and cost, from cold start to the last idle second."""
    given, prices = deployment(gpus), read_prices(listed or OURS)
    lines = [
        f"| dropped at once, {amount(given.gpus, 'L4s')} | first page | all read "
        "| GPU time, of which starting and idle | GPU | all else | for 1,000 pages |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, documents, pages in TYPICAL:
        bill = reckon(documents, pages, given, prices)
        expected, gpu = bill.forecast, bill.items["GPU service"]
        lines.append(
            f"| {what} | {_time(expected.first_page_seconds)} | {_time(expected.seconds)} "
            f"| {_time(expected.gpu_seconds)}, {_time(expected.gpu_seconds - expected.reading_seconds)} "
            f"| ${gpu:,.2f} | ${bill.total - gpu:,.2f} | ${1000 * bill.total / pages:,.2f} |"
        )
    hour = gpu_second(given, prices) * _HOUR
    lines += ["", f"An hour of a GPU instance is ${hour:.2f}; prices of {prices.dated}, {prices.region}."]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"
