"""`bucketscribe redo` as an operator meets it, in front of the laptop's bucket server."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucketscribe import storage
from infra.local import bucket_server
from tests.fakes.bucket_server import serving_buckets
from tests.house import House, build_house

COMMAND = Path(sys.executable).with_name("bucketscribe")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Serve two buckets that hold a finished document, copied out of a house in memory."""
    house = build_house(tmp_path_factory.mktemp("house"))
    house.drop("x/a.pdf", 3)
    asyncio.run(house.settle())
    with serving_buckets(tmp_path_factory.mktemp("buckets"), "in", "out") as port:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", bucket_server.url(port))
            patch.setenv("GOOGLE_CLOUD_PROJECT", "test")
            asyncio.run(_copy(house))
        yield os.environ | {
            "STORAGE_EMULATOR_HOST": bucket_server.url(port),
            "GOOGLE_CLOUD_PROJECT": "test",
        }


async def _copy(house: House) -> None:
    """Copy the house's buckets; the record learns the generation that its source has there."""
    client = storage.make_client()
    source = storage.open_bucket("in", client=client)
    stored = house.inbox.get("x/a.pdf")
    assert stored
    generation = await source.write("x/a.pdf", stored.data, content_type="application/pdf", if_generation=0)
    old = str(stored.info.generation)
    target = storage.open_bucket("out", client=client)
    for name in house.outbox.listing:
        copied = house.outbox.get(name)
        assert copied
        await target.write(
            name.replace(old, str(generation)),
            copied.data.replace(old.encode(), str(generation).encode()),
            content_type=copied.info.content_type,
            if_generation=0,
            metadata={
                key: value.replace(old, str(generation)) for key, value in copied.info.metadata.items()
            },
        )
    client.close()


def redo(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "redo", *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_wish_is_written_into_the_job(environment: dict[str, str]) -> None:
    done = redo(environment, "gs://in/x/a.pdf", "--out", "gs://out", "--pages", "1,2-3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 pages will be read again, as edition 1, with lightonocr-2-1b" in done.stdout
    again = redo(environment, "gs://in/x/a.pdf", "--out", "gs://out", "--profile", "lightonocr-3-1b")
    assert "all pages will be read again, as edition 2, with lightonocr-3-1b" in again.stdout
    verified = subprocess.run(
        [COMMAND, "verify", "gs://out", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    notes = [json.loads(line) for line in verified.stdout.splitlines()]
    assert "in_flight" in [note.get("code") for note in notes]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gs://in/absent.pdf", "--out", "gs://out"), "gs://in/absent.pdf is gone"),
        (("gs://in/x/a.pdf", "--out", "gs://out", "--pages", "4"), "has pages 1 to 3, and not [4]"),
        (("gs://in/x/a.pdf", "--out", "gs://out", "--pages", "x"), "'x' is neither a page number"),
        (("gs://in/x/a.pdf", "--out", "gs://out", "--pages", "3-1"), "names no page"),
        (
            ("gs://in/x/a.pdf", "--out", "gs://out", "--pages", "0"),
            "argument --pages: '0' begins with page 0",
        ),
        (("gs://in/x/a.pdf", "--out", "gs://in"), "is the input bucket"),
        (("gs://in/x/a.pdf", "--out", "out"), "out is no bucket"),
        (("a.pdf", "--out", "gs://out"), "a.pdf is no document"),
        (("gs://in/x/a.pdf", "--out", "gs://out", "--profile", "x"), "there is no profile x; there are"),
        (("gs://in/x/a.pdf", "--out", "gs://out", "--pages", "1", "--failed"), "not allowed with"),
    ],
)
def test_what_is_refused_is_told(environment: dict[str, str], words: tuple[str, ...], said: str) -> None:
    done = redo(environment, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
