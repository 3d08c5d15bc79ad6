"""A price list: one dated file, read into values."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from infra.local.errors import CannotRun

OURS = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPrices:
    l4_second: float
    vcpu_second: float
    gib_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPrices:
    vcpu_second: float
    gib_second: float
    million_requests: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePrices:
    """Class A are writes and listings, class B reads."""

    thousand_class_a: float
    thousand_class_b: float
    gib_month: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PubsubPrices:
    tib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars, as they were at `dated` in `region`."""

    dated: str
    region: str
    gpu_service: GpuPrices
    functions: FunctionPrices
    storage: StoragePrices
    pubsub: PubsubPrices


def read_prices(path: Path = OURS) -> Prices:
    """Read a price list. Raises CannotRun naming what is wrong with it."""
    try:
        found: Any = tomllib.loads(path.read_text())
        return msgspec.convert(found, Prices)
    except OSError as error:
        raise CannotRun(f"the price list {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise CannotRun(f"{path} is no price list such as {OURS.name}: {error}") from error
