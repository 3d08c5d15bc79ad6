"""A price list: one dated file, read into values."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from infra.local.errors import CannotRun

# Also no NaN and no infinity, which a file of that form may hold.
Dollars = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]

OURS = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPrices:
    l4_second: Dollars
    vcpu_second: Dollars
    gib_second: Dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionPrices:
    vcpu_second: Dollars
    gib_second: Dollars
    million_requests: Dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class StoragePrices:
    """Class A are writes and listings, class B reads."""

    thousand_class_a: Dollars
    thousand_class_b: Dollars
    gib_month: Dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class PubsubPrices:
    tib: Dollars


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
