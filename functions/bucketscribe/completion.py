"""Is anything missing? Found without counting, at a constant number of requests a page.

An instance remembers one page that it knows to be missing in each job. Who has ended a page looks at that
one: still missing, then somebody else will finish, since whoever writes it looks too, later than we did.
There: list one shard of names, remember another missing page, or find that nothing is missing. Listing at
every page instead would be quadratic: 55,000 lists for a document of 10,000 pages.
"""

from collections import OrderedDict
from dataclasses import dataclass

from bucketscribe import layout, ledger
from bucketscribe.model import ObjectRef
from bucketscribe.ports import Bucket

# Names listed in one request, by Cloud Storage's paging: the width of a shard.
SHARD_PAGES = 1000

# Jobs whose missing page an instance remembers; forgetting one costs a listing, nothing else.
REMEMBERED_JOBS = 10_000

# Redos whose missing pages it remembers, each of up to all pages.
REMEMBERED_REDOS = 100

# Remembered instead of a page when none is missing: whoever asks then need not list all names once more.
NONE_MISSING = 0


class MissingPages:
    """Which page of a job this instance last saw missing; at first the last page, which is likely to be."""

    def __init__(self) -> None:
        self._pages: OrderedDict[ObjectRef, int] = OrderedDict()
        self._redone: OrderedDict[ObjectRef, Redone] = OrderedDict()

    def get(self, source: ObjectRef, pages: int) -> int:
        return self._pages.get(source, pages)

    def remember(self, source: ObjectRef, page: int) -> None:
        self._pages[source] = page
        self._pages.move_to_end(source)
        if len(self._pages) > REMEMBERED_JOBS:
            self._pages.popitem(last=False)

    def redone(self, source: ObjectRef) -> "Redone | None":
        return self._redone.get(source)

    def remember_redone(self, source: ObjectRef, redone: "Redone") -> None:
        self._redone[source] = redone
        self._redone.move_to_end(source)
        if len(self._redone) > REMEMBERED_REDOS:
            self._redone.popitem(last=False)

    def forget_redone(self, source: ObjectRef) -> None:
        self._redone.pop(source, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redone:
    """Pages that were missing in a redo when the ledger was listed, less those seen to end since; each with
    the edition that it is awaited in, since pages of the first reading may be missing too.
    """

    edition: int
    missing: dict[int, int]


async def is_missing_any(
    source: ObjectRef, pages: int, ended: int | None, bucket: Bucket, missing: MissingPages
) -> bool:
    """Tell whether pages are missing, now that page `ended` is in the ledger; None when none just ended.

    One request while the remembered page is missing; one listing more whenever it is not.
    """
    watched = missing.get(source, pages)
    if watched not in (ended, NONE_MISSING) and not await ledger.look(bucket, source, watched):
        return True
    page = await _highest_missing(source, watched, bucket)
    if page is not None:
        missing.remember(source, page)
    return page is not None


async def is_missing_any_redone(
    source: ObjectRef, ended: int, edition: int, bucket: Bucket, missing: MissingPages
) -> bool:
    """Tell whether pages of a redo are known to be missing, now that page `ended` is in the ledger in this
    edition. False says only that job and ledger are to be asked: which pages it is about stands there.

    One request while the watched page is missing, and one for every page that somebody else has ended.
    """
    known = missing.redone(source)
    if known is None or known.edition < edition:
        return False
    if known.missing.get(ended, edition + 1) <= edition:
        del known.missing[ended]
    while known.missing:
        watched = max(known.missing)
        awaited = known.missing[watched]
        record = await ledger.look(bucket, source, watched)
        if record is None or record.edition < awaited:
            return True
        known.missing.pop(watched, None)
    return False


async def _highest_missing(source: ObjectRef, top: int, bucket: Bucket) -> int | None:
    """Find the highest page not in the ledger, from `top` down, a shard of names at a time.

    A listing ends just behind the top page's name: there is no name for a page after 99,999.
    """
    while top > 0:
        bottom = max(1, top - SHARD_PAGES + 1)
        names = await bucket.names(
            layout.pages_prefix(source), start=layout.page(source, bottom), end=layout.page(source, top) + "~"
        )
        present = {layout.page_of(source, name) for name in names}
        for page in range(top, bottom - 1, -1):
            if page not in present:
                return page
        top = bottom - 1
    return None
