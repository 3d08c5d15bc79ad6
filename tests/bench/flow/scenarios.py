"""What people drop, and what befalls the GPU service meanwhile."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A document of so many pages, uploaded so many seconds after the beginning."""

    name: str
    pages: int
    at_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`away` is when the GPU service fails, and for how long; `quota` the L4s there really are, if fewer."""

    name: str
    drops: Sequence[Drop]
    away: tuple[float, float] | None = None
    quota: int | None = None

    @property
    def pages(self) -> int:
        return sum(drop.pages for drop in self.drops)

    def work(self) -> float:
        """Tell how much work all pages are, in average ones."""
        return sum(work(f"{drop.name} {page}") for drop in self.drops for page in range(1, drop.pages + 1))


def unit(*key: object) -> float:
    """Draw from [0, 1), always the same for a key."""
    return zlib.crc32(repr(key).encode()) / 2**32


def work(words: str) -> float:
    """Tell how much work a page is, in average ones: 0.4 to 1.5, and 3 of 100 pages take thrice the average.
    A guess: how long pages are differs from archive to archive.
    """
    chance = unit("work", words)
    return (0.4 + 1.08 * chance if chance < 0.97 else 3.0) / 0.987


def invoice() -> Scenario:
    return Scenario(name="one invoice", drops=(Drop(name="invoice.pdf", pages=1),))


def book(pages: int = 300) -> Scenario:
    return Scenario(name="one book", drops=(Drop(name="book.pdf", pages=pages),))


def flood(pages: int = 10_000, *, a_document: int = 200) -> Scenario:
    """Documents of 200 pages, all at once."""
    drops = tuple(Drop(name=f"{i}.pdf", pages=a_document) for i in range(pages // a_document))
    return Scenario(name=f"a flood of {pages:,} pages", drops=drops)


def mixture(book_pages: int = 3000, invoices: int = 75) -> Scenario:
    """A book, and from the fourth minute on, when GPUs are awake, an invoice every 20 s."""
    small = (Drop(name=f"invoice-{i}.pdf", pages=1, at_seconds=207.0 + 20.0 * i) for i in range(invoices))
    return Scenario(
        name=f"an invoice every 20 s behind a book of {book_pages:,}",
        drops=(Drop(name="book.pdf", pages=book_pages), *small),
    )


def outage(pages: int = 10_000, *, hours: float = 2.0, begins: float = 1800.0) -> Scenario:
    """The flood, and after half an hour the GPU service is away."""
    drops = flood(pages, a_document=min(pages, 100)).drops
    name = f"a flood, and {hours:g} hours without a GPU"
    return Scenario(name=name, drops=drops, away=(begins, hours * 3600.0))


def one_of_three(pages: int = 10_000) -> Scenario:
    """The flood, with a quota of a single L4 where three were deployed."""
    return Scenario(name="a flood, and one L4 instead of all", drops=flood(pages).drops, quota=1)


def office(seconds: float = 3600.0) -> Scenario:
    """A page a second for an hour, in documents of 1 to 12 pages."""
    at, drops = 0.0, list[Drop]()
    while at < seconds:
        pages = 1 + int(12 * unit("size", len(drops)) ** 3)
        drops.append(Drop(name=f"{len(drops)}.pdf", pages=pages, at_seconds=at))
        at += pages * (0.5 + unit("gap", len(drops)))
    return Scenario(name="an office: a page a second for an hour", drops=tuple(drops))
