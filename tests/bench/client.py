"""The whole client path, from the push's door to the written page, on one core and on two, against PDFium's
floor and against the script that everybody writes first.

The door is served by functions-framework as on Cloud Run; its processes' processor time is what counts. The
bucket server is the laptop's, a Go program, and the GPU answers at once: both run on the same machine, their
time counts for nobody, and on one core they have another one for themselves. The script writes files instead.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx

from tests.bench import figures, pages, processor, stage
from tests.bench.stage import Cost, Stage

TICKING_DOOR = Path(__file__).with_name("ticking_door.py")
FLOOR, HERE, NAIVE = "PDFium's drawing and the encoding, the floor", "here", "the naive script"


def run(*, rounds: int = 3, times: int = 10, most_cores: int = 2) -> dict[str, Any]:
    """Have documents read that hold every kind of page so many `times`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pages.pdf")
        path.write_bytes(pages.document(times=times))
        return asyncio.run(_run(path, times * len(pages.KINDS), rounds, most_cores))


def table(result: dict[str, Any]) -> str:
    """Show processor time and throughput for each number of cores, and how late the event loop was."""
    body = [
        [
            f"{measured['cores']}",
            way,
            figures.shown(measured["milliseconds"][way]),
            figures.shown(measured["times_the_floor"][way], 2),
            figures.shown(measured["pages_a_second"][way]),
        ]
        for measured in result["measured"]
        for way in (FLOOR, HERE, NAIVE)
    ]
    head = ["cores", "way", "ms of processor a page", "× the floor", "pages/s"]
    ticks = [
        [what.replace("_", " "), *(f"{each[name]:.1f}" for name in ("median", "p99", "most"))]
        for what, each in result["event_loop_ms"].items()
    ]
    lag = figures.rows(["the door's event loop between ticks of 5 ms", "median", "p99", "most, ms"], ticks)
    return figures.rows(head, body) + "\n\n" + lag


def plot(result: dict[str, Any], folder: Path) -> None:
    """Draw the processor time a page on one core, and the throughput on either."""
    one = result["measured"][0]
    title = "From the push to the written page, on one core"
    figures.bars(folder / "client.svg", title, "ms of processor time a page", one["milliseconds"])


async def _run(path: Path, count: int, rounds: int, most_cores: int) -> dict[str, Any]:
    async with stage.standing(path.parent) as standing:
        measured = [
            await _measured(standing, path, count, processor.cores()[:cores], rounds)
            for cores in range(1, most_cores + 1)
        ]
        lag = await _event_loop(standing, path, count)
    return {"rounds": rounds, "pages": count, "measured": measured, "event_loop_ms": lag}


async def _measured(
    standing: Stage, path: Path, count: int, cores: Sequence[int], rounds: int
) -> dict[str, Any]:
    """Take floor, door and script in turns, after a first turn that warms up."""
    costs: dict[str, list[Cost]] = {FLOOR: [], HERE: [], NAIVE: []}
    async with stage.open_door(standing, cores) as door:
        for turn in range(rounds + 1):
            name = f"{len(cores)}-{turn}.pdf"
            costs[FLOOR].append(await asyncio.to_thread(_floor, path, count))
            costs[HERE].append(await door.read(name, path, count))
            costs[NAIVE].append(await asyncio.to_thread(_naive, path, standing, cores, count))
    ways = {way: each[1:] for way, each in costs.items()}
    return {
        "cores": len(cores),
        "milliseconds": _spreads(ways, lambda cost, _: 1000 * cost.processor_seconds / cost.pages),
        "times_the_floor": _spreads(
            ways, lambda cost, least: cost.processor_seconds / least.processor_seconds
        ),
        "pages_a_second": _spreads(ways, lambda cost, _: cost.pages / cost.seconds),
    }


def _spreads(ways: dict[str, list[Cost]], figure: Any) -> dict[str, figures.Spread]:
    """Sum up a figure of each cost, and of the floor in the same turn."""
    return {
        way: figures.spread([figure(cost, least) for cost, least in zip(costs, ways[FLOOR], strict=True)])
        for way, costs in ways.items()
    }


def _floor(path: Path, count: int) -> Cost:
    """Measure in a process of its own, where nothing else runs."""
    return _timed_elsewhere("-m", "tests.bench.floor", str(path), str(count), count=count)


def _naive(path: Path, standing: Stage, cores: Sequence[int], count: int) -> Cost:
    folder = standing.folder / "naive"
    folder.mkdir(exist_ok=True)
    script = ("-m", "tests.bench.naive", str(path), standing.gpu_url, str(folder))
    return _timed_elsewhere(*script, count=count, cores=cores)


def _timed_elsewhere(*arguments: str, count: int, cores: Sequence[int] = ()) -> Cost:
    """Run a script that prints its seconds of the processor and of the clock, imports aside."""
    taskset = ("taskset", "-c", ",".join(map(str, cores or processor.cores()[:1])))
    command = (*taskset, sys.executable, *arguments)
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=stage.ROOT).stdout
    spent, seconds = map(float, printed.split())
    return Cost(pages=count, seconds=seconds, processor_seconds=spent)


async def _event_loop(standing: Stage, path: Path, count: int) -> dict[str, dict[str, float]]:
    """Read once more with a clock beside the door; tell how late its ticks were, and what was work."""
    async with (
        stage.open_door(standing, processor.cores()[:2], source=TICKING_DOOR) as door,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        await door.read("late-0.pdf", path, count)
        await client.get(door.url)
        await door.read("late-1.pdf", path, count)
        late, worked = zip(*(await client.get(door.url)).json(), strict=True)
    return {"late": _milliseconds(late), "of that, its own work": _milliseconds(worked)}


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median": 1000 * median(seconds),
        "p99": 1000 * quantiles(seconds, n=100)[98],
        "most": 1000 * max(seconds),
    }
