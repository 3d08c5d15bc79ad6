"""What so many documents cost: the forecast's seconds and the counted requests, at a price list's prices."""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.operate.deployment import Deployment, Door
from infra.operate.forecast import FAN_OUT_SECONDS, Forecast, forecast
from infra.operate.prices import Prices

# Requests to Cloud Storage, as `make bench BENCH=growth` counts them: of each page, and of each document
# besides. Writes and listings are class A, all else class B.
PAGE_CLASS_A, PAGE_CLASS_B = 1, 4
DOCUMENT_CLASS_A, DOCUMENT_CLASS_B = 10, 5

# A page's Markdown and its share of the document's text and record: a guess.
RESULT_BYTES_A_PAGE = 8_000

# A task's message, counted in and out.
_MESSAGE_BYTES = 2 * 1_000

_GIB, _TIB = 2**30, 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """`items` are US dollars by what they are paid for; `month` what the results cost in every month kept."""

    forecast: Forecast
    items: Mapping[str, float]
    month: float

    @property
    def total(self) -> float:
        return sum(self.items.values())


def reckon(documents: int, pages: int, given: Deployment, prices: Prices) -> Bill:
    """Reckon documents dropped all at once while nothing is awake."""
    expected = forecast(pages, given)
    return Bill(
        forecast=expected,
        items={
            "GPU service": expected.gpu_seconds * gpu_second(given, prices),
            "functions": _functions(documents, pages, expected, given, prices),
            "Cloud Storage": _requests(documents, pages, prices),
            "Pub/Sub": pages * _MESSAGE_BYTES / _TIB * prices.pubsub.tib,
        },
        month=pages * RESULT_BYTES_A_PAGE / _GIB * prices.storage.gib_month,
    )


def gpu_second(given: Deployment, prices: Prices) -> float:
    """Tell what one GPU instance costs a second."""
    each = prices.gpu_service
    return each.l4_second + given.gpu_vcpu * each.vcpu_second + given.gpu_memory_gib * each.gib_second


def _functions(documents: int, pages: int, expected: Forecast, given: Deployment, prices: Prices) -> float:
    """Pay the worker while a page is inside, and on_upload for every document's fan-out."""
    seconds = expected.worker_seconds * _door_second(given.worker, prices)
    seconds += documents * FAN_OUT_SECONDS * _door_second(given.upload, prices)
    return seconds + (documents + pages) / 1e6 * prices.functions.million_requests


def _door_second(door: Door, prices: Prices) -> float:
    return door.vcpu * prices.functions.vcpu_second + door.memory_mib / 1024 * prices.functions.gib_second


def _requests(documents: int, pages: int, prices: Prices) -> float:
    class_a = pages * PAGE_CLASS_A + documents * DOCUMENT_CLASS_A
    class_b = pages * PAGE_CLASS_B + documents * DOCUMENT_CLASS_B
    return (class_a * prices.storage.thousand_class_a + class_b * prices.storage.thousand_class_b) / 1000
