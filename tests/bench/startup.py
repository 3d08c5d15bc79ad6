"""How long a door takes to start: until it answers, its first request against the next one, and which
imports take the time.

By the clock, on all cores, as a caller of a cold instance sees it; the imports' own time is measured by
python -X importtime, which slows them a little, in the environment here: what only that has (rich) is
imported nowhere else.
"""

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from tests.bench import figures, pages, processor, stage
from tests.bench.stage import Door, Stage

DOORS = ("on_upload", "on_page_task", "on_dead_letter", "sweep")
FINALIZED = "google.cloud.storage.object.v1.finalized"
_SHOWN_IMPORTS = 10
_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
# So much of a module's name tells whose it is.
_OWNERS = (
    "google.cloud.storage",
    "google.cloud.pubsub_v1",
    "google.pubsub_v1",
    "google.auth",
    "google.api_core",
)


def run(*, rounds: int = 3, doors: Sequence[str] = DOORS) -> dict[str, Any]:
    """Start every door so many times."""
    return {"rounds": rounds, "doors": asyncio.run(_doors(doors, rounds)), "imports_ms": _imports()}


def table(result: dict[str, Any]) -> str:
    """Show the doors, and what their imports are made of."""
    names = ("answers", "first_request", "next_request")
    body = [
        [f"`{door}`", *(figures.shown(measured[name], 2) for name in names)]
        for door, measured in result["doors"].items()
    ]
    head = ["door", "answers after, s", "first request, s", "the next one, s"]
    total = result["imports_ms"]["all"]
    imports = [
        [f"`{name}`", f"{spent:.0f}", f"{100 * spent / total:.0f} %"]
        for name, spent in result["imports_ms"].items()
    ]
    return figures.rows(head, body) + "\n\n" + figures.rows(["import", "own ms", "share"], imports)


def plot(result: dict[str, Any], folder: Path) -> None:
    """Draw what a cold instance's first caller waits for."""
    bars = {
        f"{door}, {what.replace('_', ' ')}": measured[what]
        for door, measured in result["doors"].items()
        for what in ("answers", "first_request")
    }
    figures.bars(folder / "startup.svg", "A cold door", "seconds", bars)


async def _doors(doors: Sequence[str], rounds: int) -> dict[str, Any]:
    spent: dict[str, dict[str, list[float]]] = {door: {} for door in doors}
    with tempfile.TemporaryDirectory() as folder:
        async with stage.standing(Path(folder)) as standing:
            for turn in range(rounds):
                for target in doors:
                    for name, seconds in (await _started(standing, target, turn)).items():
                        spent[target].setdefault(name, []).append(seconds)
    return {
        door: {name: figures.spread(values) for name, values in times.items()}
        for door, times in spent.items()
    }


async def _started(standing: Stage, target: str, turn: int) -> dict[str, float]:
    begun = time.perf_counter()
    async with (
        stage.open_door(standing, processor.cores(), target=target) as door,
        httpx.AsyncClient(trust_env=False, timeout=60.0) as client,
    ):
        seconds = {"answers": time.perf_counter() - begun}
        for name in ("first_request", "next_request"):
            ask = await _REQUESTS[target](door, f"{target}-{turn}-{name}.pdf", client)
            begun = time.perf_counter()
            (await ask()).raise_for_status()
            seconds[name] = time.perf_counter() - begun
    return seconds


Ask = Callable[[], Awaitable[httpx.Response]]


async def _page(door: Door, name: str, client: httpx.AsyncClient) -> Ask:
    (task,) = await door.planned(name, pages.document(("text",)), 1)
    return lambda: client.post(door.url, json=stage.pushed(task))


async def _upload(door: Door, name: str, client: httpx.AsyncClient) -> Ask:
    document = pages.document(("text",))
    inbox = door.stage.inbox
    generation = await inbox.write(name, document, content_type="application/pdf", if_generation=0)
    headers = {"ce-id": name, "ce-source": "bench", "ce-specversion": "1.0", "ce-type": FINALIZED}
    event = {
        "bucket": "in",
        "name": name,
        "generation": str(generation),
        "size": str(len(document)),
        "contentType": "application/pdf",
        "timeCreated": datetime.now(UTC).isoformat(),
    }
    return lambda: client.post(door.url, json=event, headers=headers)


async def _sweep(door: Door, _name: str, client: httpx.AsyncClient) -> Ask:
    return lambda: client.post(door.url)


_REQUESTS = {"on_upload": _upload, "on_page_task": _page, "on_dead_letter": _page, "sweep": _sweep}


def _imports() -> dict[str, float]:
    """Sum up the modules' own time by whose they are, the dearest first, in ms."""
    command = (sys.executable, "-X", "importtime", "-c", "import main")
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=stage.ROOT / "functions")
    spent: Counter[str] = Counter()
    for microseconds, module in _LINE.findall(said.stderr):
        owner = next((name for name in _OWNERS if f"{module}.".startswith(f"{name}.")), module.split(".")[0])
        spent[owner] += int(microseconds)
    return {"all": spent.total() / 1000} | {
        name: microseconds / 1000 for name, microseconds in spent.most_common(_SHOWN_IMPORTS)
    }
