"""Some documents with failed pages are read again, as an operator asks for it: by `bucketscribe redo`."""

import asyncio
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.local import wiring
from infra.local.outbox import INPUT_BUCKET, OUTPUT_BUCKET
from tests.chaos import judge
from tests.chaos.city import City
from tests.chaos.judge import Dropped

COMMAND = Path(sys.executable).with_name("bucketscribe")


class Refused(Exception):
    """The command did not do it; the message is its words."""


def choose(dropped: Sequence[Dropped], outbox: Path, chance: random.Random, most: int) -> list[Dropped]:
    """Choose at most so many of the documents that still stand and have pages that failed."""
    records = [(each, judge.record(outbox, each.source)) for each in dropped if not each.document.is_deleted]
    partial = [each for each, record in records if record and record["counts"]["failed"]]
    return chance.sample(partial, min(most, len(partial)))


async def ask_again(dropped: Dropped, city: City) -> None:
    """Have the failed pages of a document read again. Raises Refused."""
    source = f"gs://{INPUT_BUCKET}/{dropped.source.name}"
    asking = await asyncio.create_subprocess_exec(
        *(COMMAND, "redo", source, "--out", f"gs://{OUTPUT_BUCKET}", "--failed"),
        env=os.environ
        | {
            "STORAGE_EMULATOR_HOST": wiring.url(city.ports.buckets),
            "GOOGLE_CLOUD_PROJECT": wiring.PROJECT,
            "NO_PROXY": wiring.HOST,
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asking.communicate()
    if asking.returncode:
        raise Refused(f"redo of {source}: {said.decode().strip()}")
