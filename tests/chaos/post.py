"""The broker as a program of its own: `python -m tests.chaos.post PORT JOURNAL SEED SUBSCRIPTIONS`.

It may be killed at any moment. What it has answered for is in the journal, and a new one on the same journal
goes on. SUBSCRIPTIONS is JSON: every field of each `PushSubscription`.
"""

import asyncio
import dataclasses
import json
import random
import sys
from collections.abc import Sequence

from infra.local.broker import Broker, PushSubscription
from infra.local.wiring import PROJECT
from tests.chaos.journal import SqliteJournal

# A message comes once, twice or three times; a copy comes while the first delivery runs, or after it.
_COPIES_WEIGHTS = (70, 20, 10)
LATEST_COPY_SECONDS = 6.0


# A journal for a broker that shall lose everything when it dies.
FORGETFUL = ":memory:"


def command(port: int, journal: str, seed: int, subscriptions: Sequence[PushSubscription]) -> list[str]:
    """Build the command line that starts it."""
    specs = json.dumps([dataclasses.asdict(each) for each in subscriptions])
    return [sys.executable, "-m", "tests.chaos.post", str(port), journal, str(seed), specs]


class Copies:
    """Draws how often a message comes besides, and after how long."""

    def __init__(self, journal: SqliteJournal, chance: random.Random) -> None:
        self._journal = journal
        self._chance = chance

    def __call__(self) -> Sequence[float]:
        [number] = self._chance.choices(range(len(_COPIES_WEIGHTS)), _COPIES_WEIGHTS)
        self._journal.count("copies", number)
        return [self._chance.uniform(0, LATEST_COPY_SECONDS) for _ in range(number)]


async def serve(port: int, journal: SqliteJournal, seed: str, specs: Sequence[PushSubscription]) -> None:
    """Serve until killed."""
    lives = journal.counted()["lives"]
    journal.count("lives")
    broker = Broker(
        PROJECT,
        lambda answer: journal.count(f"refused {answer}"),
        journal=journal,
        copies=Copies(journal, random.Random(f"{seed} {lives}")),  # noqa: S311 - guards nothing
    )
    for topic in {spec.topic for spec in specs}:
        broker.add_topic(topic)
    for spec in specs:
        broker.subscribe(spec)
    await broker.start(port)
    await asyncio.Event().wait()


def main() -> None:
    port, path, seed, subscriptions = sys.argv[1:]
    specs = [PushSubscription(**each) for each in json.loads(subscriptions)]
    with SqliteJournal(path) as journal:
        asyncio.run(serve(int(port), journal, seed, specs))


if __name__ == "__main__":
    main()
