"""One run on virtual time: the same figures every time."""

import asyncio
import contextlib
import io
import tempfile
from pathlib import Path

from infra.operate import capacity
from infra.operate.deployment import Deployment
from tests.bench.flow.measures import Gauge, Result, percentile
from tests.bench.flow.scenarios import Scenario
from tests.bench.flow.timing import Timing
from tests.bench.flow.world import Habits, World
from tests.fakes.line import seeded
from tests.simulator.loop import VirtualLoop

# Of the loop, for every page; what takes more goes round in circles.
_STEPS_A_PAGE = 20_000


def simulate(
    scenario: Scenario,
    deployment: Deployment,
    habits: Habits | None = None,
    *,
    most_seconds: float = 200_000.0,
) -> tuple[Result, Gauge]:
    """Put a scenario through; nothing of it is random, and only the deeds take real time."""
    loop = VirtualLoop(seeded(0), patience_steps=1_000_000 + scenario.pages * _STEPS_A_PAGE)
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(_Nowhere()):
            lived = loop.run_until_complete(
                _live(scenario, deployment, habits or Habits(), Path(folder), most_seconds)
            )
            loop.run_until_complete(_end_all())
            return lived
    finally:
        loop.close()


async def _end_all() -> None:
    """Cancel what is still under way: copies of pages that have ended, and what waits to be sent again."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class _Nowhere(io.TextIOBase):
    """Where the log goes."""

    def write(self, text: str) -> int:
        return len(text)


async def _live(
    scenario: Scenario, deployment: Deployment, habits: Habits, folder: Path, most_seconds: float
) -> tuple[Result, Gauge]:
    world = World(scenario, deployment, folder, habits, Timing())
    await world.live(most_seconds=most_seconds)
    return result_of(world, scenario, deployment, habits), world.gauge


def result_of(world: World, scenario: Scenario, deployment: Deployment, habits: Habits) -> Result:
    pages, short = world.latencies(deployment.settings.express_pages)
    gpus = min(deployment.gpus, scenario.quota or deployment.gpus)
    return Result(
        scenario=scenario.name,
        gpus=deployment.gpus,
        is_harsh=habits.is_harsh,
        pages=scenario.pages,
        seconds=max(world.gauge.document_ends.values(), default=0.0),
        ideal_seconds=scenario.pages / (capacity.PEAK_PAGES_PER_SECOND * gpus),
        first_page_seconds=min(pages, default=None),
        busy=world.gauge.busy(),
        busy_of_all=world.gauge.busy_of_all(),
        refusals_a_page=sum(lane.refusals for lane in world.lanes) / scenario.pages,
        most_attempts=max(lane.most_attempts for lane in world.lanes),
        most_outstanding=max(lane.most_outstanding for lane in world.lanes),
        dead_letters=sum(lane.dead for lane in world.lanes),
        unread=scenario.pages - len(pages),
        page_p50_seconds=percentile(pages, 0.5),
        page_p95_seconds=percentile(pages, 0.95),
        small_p50_seconds=percentile(short, 0.5),
        small_p95_seconds=percentile(short, 0.95),
        small_most_seconds=max(short, default=None),
        gpu_seconds=world.gpus.alive_seconds,
        worker_seconds=world.workers.active_seconds,
        wasted=max(0.0, sum(l4.work for l4 in world.l4s) / scenario.work() - 1),
    )
