"""A page's image: its document fetched, the page drawn, each when its turn has come and within the budget.

Render processes are few, so that a place at them is given by rank as one at the GPU is: an invoice does not
wait behind a hostile book. A document whose pages keep running into the time limit falls behind all others.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bucketscribe.budget import Budget
from bucketscribe.document_cache import DocumentCache
from bucketscribe.errors import (
    BucketscribeError,
    OutOfTime,
    PageRenderTimeout,
    SourceGone,
    StorageUnavailable,
    Superseded,
)
from bucketscribe.model import ObjectRef, PageImage, PageTask
from bucketscribe.ports import Bucket, Renderer
from bucketscribe.turns import Places, Rank

# So many pages of a document may run into the time limit before it counts as slow, in this instance.
FORGIVEN_TIMEOUTS = 3
_REMEMBERED_DOCUMENTS = 1000

Spend = Callable[[str, float], None]


class SlowDocuments:
    """How many pages of a document have run into the render time limit, of those seen lately."""

    def __init__(self) -> None:
        self._timeouts: OrderedDict[ObjectRef, int] = OrderedDict()

    def count(self, source: ObjectRef) -> None:
        self._timeouts[source] = self._timeouts.pop(source, 0) + 1
        if len(self._timeouts) > _REMEMBERED_DOCUMENTS:
            self._timeouts.popitem(last=False)

    def has(self, source: ObjectRef) -> bool:
        return self._timeouts.get(source, 0) >= FORGIVEN_TIMEOUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What drawing needs. `places` are as many as there are render processes."""

    input_bucket: Bucket
    cache: DocumentCache
    renderer: Renderer
    places: Places
    slow: SlowDocuments = field(default_factory=SlowDocuments)

    def rank(self, task: PageTask) -> Rank:
        """Tell where a page queues: in its lane, or behind all others if its document is slow."""
        return Rank.SLOW if self.slow.has(task.source) else Rank.of(task.lane)

    async def draw(
        self,
        task: PageTask,
        longest_edge_px: int,
        *,
        budget: Budget,
        clock: Callable[[], float],
        spend: Spend,
    ) -> PageImage:
        """Draw a page; tell `spend` the seconds of the stages fetch and render, as `clock` counts them.

        Raises RenderError, SourceGone, Superseded; OutOfTime and StorageUnavailable when another delivery may
        help.
        """
        started = clock()
        async with self._fetched(task.source, budget) as path:
            spend("fetch", clock() - started)
            started = clock()
            try:
                async with self.places.place(self.rank(task), timeout_seconds=budget.waitable()):
                    return await self.renderer.page(path, task.page, longest_edge_px)
            except PageRenderTimeout:
                self.slow.count(task.source)
                raise
            finally:
                spend("render", clock() - started)

    async def text_layer(self, task: PageTask, *, budget: Budget) -> str:
        """Extract a page's own text. Raises as `draw` does."""
        async with (
            self._fetched(task.source, budget) as path,
            self.places.place(self.rank(task), timeout_seconds=budget.waitable()),
        ):
            return await self.renderer.text_layer(path, task.page)

    @asynccontextmanager
    async def _fetched(self, source: ObjectRef, budget: Budget) -> AsyncIterator[Path]:
        """Lend the document's local copy; room for it, or its download, is waited for within the budget."""
        lent = self.cache.document(source)
        try:
            async with asyncio.timeout(max(0.0, budget.waitable())):
                path = await lent.__aenter__()
        except TimeoutError as error:
            raise OutOfTime(f"{source} was not fetched in time") from error
        try:
            if path is None:
                raise await self._why_gone(source)
            yield path
        finally:
            await lent.__aexit__(None, None, None)

    async def _why_gone(self, source: ObjectRef) -> BucketscribeError:
        """Tell a source that was replaced from one that was deleted, and from one that is still there."""
        live = await self.input_bucket.look(source.name)
        if live is None:
            return SourceGone("the document was deleted before this page was read")
        if live.generation == source.generation:
            return StorageUnavailable(f"fetching {source} found nothing, though it is there: try again")
        return Superseded(f"a newer version than {source} is in the input bucket")
