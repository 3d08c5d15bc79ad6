"""The front: each fault is what the table says it is, to the client that the functions use."""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bucketscribe import lightonocr_client, quality
from bucketscribe.errors import LightOnOCRError, ModelRejected, ModelTimeout
from bucketscribe.lightonocr_client import LightOnOCRClient
from bucketscribe.settings import PROFILES
from tests import papers
from tests.chaos import account, faults
from tests.chaos.account import THROUGH, Account
from tests.chaos.city import ROOT
from tests.chaos.faults import FAULTS, Fault, Manner
from tests.chaos.front import PATIENCE_SECONDS, Front, image_of
from tests.fakes.receiver import Receiver
from tests.fakes.stand_in import running_stand_in

IMAGE = papers.saved(papers.picture(), "PNG")
NOWHERE = "http://127.0.0.1:9"


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


@asynccontextmanager
async def asked(
    tmp_path: Path, fault: Fault | None, upstream: str = NOWHERE, patience_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[LightOnOCRClient]:
    """Yield a client of a front that always does this."""
    with Account(tmp_path / "account") as noted:
        async with Front(upstream, lambda: fault, noted, patience_seconds=patience_seconds).serving() as port:
            client = LightOnOCRClient(f"http://127.0.0.1:{port}", auth=None, connections=2)
            try:
                yield client
            finally:
                await client.aclose()


async def code_of(client: LightOnOCRClient) -> str | None:
    """Give the code that a page may fail with because of this answer; None for what is waited out."""
    try:
        text = await client.extract_text(IMAGE, read_timeout_seconds=0.3)
    except (ModelRejected, ModelTimeout) as error:
        return error.code
    except LightOnOCRError:
        return None
    found = quality.fault(text)
    assert found, "the answer is a good one"
    return found.code


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_fault_is_to_the_client_what_the_table_says(tmp_path: Path, fault: Fault) -> None:
    async def scenario() -> None:
        async with asked(tmp_path, fault) as client:
            assert await code_of(client) == fault.code
            assert await code_of(client) == fault.code

    run(scenario())
    assert account.read(tmp_path / "account").total == {fault.name: 2}


def test_every_status_that_the_client_tells_apart_is_among_the_faults() -> None:
    given = {fault.status for fault in FAULTS.values() if fault.manner is Manner.ANSWER}
    for row, _, _ in lightonocr_client.TABLE:
        if isinstance(row, tuple):
            assert set(row) <= given
        elif isinstance(row, range):
            assert given & set(row)


def test_the_readme_counts_the_faults_right() -> None:
    assert f"in all the {len(FAULTS)} ways" in " ".join((ROOT / "README.md").read_text().split())


def test_every_fault_of_an_answer_that_came_is_among_the_faults() -> None:
    assert {fault.code for fault in FAULTS.values()} == {
        *(
            None,
            "model_rejected",
            "model_timeout",
            "model_truncated",
            "model_loop",
            "model_empty",
            "blank_talk",
        )
    }


def test_what_comes_through_is_the_stand_ins_answer_and_is_noted(tmp_path: Path) -> None:
    async def scenario(upstream: str) -> None:
        async with asked(tmp_path, None, upstream) as client:
            assert await client.health()
            text = await client.extract_text(IMAGE)
            assert "stand-in" in text.model

    with running_stand_in(tmp_path / "log") as service:
        run(scenario(service.url))
    assert account.read(tmp_path / "account").total == {THROUGH: 1}


@pytest.mark.parametrize(("patience_seconds", "noted"), [(0.1, "late"), (5.0, "gone")])
def test_a_client_that_gave_up_waiting_is_told_from_one_that_was_killed(
    tmp_path: Path, patience_seconds: float, noted: str
) -> None:
    async def scenario() -> None:
        hanging = Receiver(lambda _: None)
        async with (
            hanging,
            asked(tmp_path, None, f"http://127.0.0.1:{hanging.port}", patience_seconds) as client,
        ):
            assert await code_of(client) == faults.LATE.code
            while not account.read(tmp_path / "account").total:  # noqa: ASYNC110 - a file cannot tell us
                await asyncio.sleep(0.01)

    run(scenario())
    assert account.read(tmp_path / "account").total == {noted: 1}


def test_a_stand_in_that_is_not_there_breaks_the_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with asked(tmp_path, None) as client:
            assert await code_of(client) is None
            assert not await client.health()

    run(scenario())


def test_a_page_is_known_by_its_image() -> None:
    body = lightonocr_client._request(IMAGE, PROFILES["lightonocr-2-1b"], None)

    assert image_of(body) == hashlib.sha256(IMAGE).hexdigest()


def test_about_a_share_of_the_answers_fails_and_every_kind_is_drawn() -> None:
    chance = random.Random(1)  # noqa: S311 - guards nothing
    drawn = [faults.draw(chance.random, 0.2) for _ in range(20_000)]
    failed = Counter(fault.name for fault in drawn if fault)
    assert 0.18 < failed.total() / len(drawn) < 0.22
    assert failed.keys() == FAULTS.keys()
