"""The L4s that are served by HTTP behave as the client of the house expects of vLLM on Cloud Run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from bucketscribe.errors import ModelBusy
from bucketscribe.lightonocr_client import LightOnOCRClient
from tests.bench.flow.served import Served, application
from tests.house import asynchronous

PNG = b"\x89PNG\r\n\x1a\n"
SCALE = 1000.0


@contextlib.asynccontextmanager
async def served(gpus: int = 1) -> AsyncIterator[tuple[LightOnOCRClient, httpx.AsyncClient]]:
    service = Served(SCALE, gpus)
    transport = httpx.ASGITransport(app=application(service))
    client = LightOnOCRClient("http://127.0.0.1:1", auth=None, connections=100, transport=transport)
    async with httpx.AsyncClient(transport=transport, base_url="http://l4") as asking:
        yield client, asking
    await client.aclose()
    await service.close()


@asynchronous
async def test_pages_are_read_by_an_l4_that_starts_first() -> None:
    async with served() as (client, asking):
        texts = await asyncio.gather(*(client.extract_text(PNG + bytes([each])) for each in range(40)))
        state = (await asking.get("/state")).json()
    assert all(text.markdown.startswith("# Page") for text in texts)
    assert (state["answered"], state["gpus"]) == (40, 1)
    assert state["work"] == pytest.approx(40, rel=0.5)


@asynchronous
async def test_a_service_that_is_away_is_busy_and_breaks_off_what_it_was_reading() -> None:
    async with served() as (client, asking):
        assert await client.health()
        reading = asyncio.create_task(client.extract_text(PNG))
        await asyncio.sleep(0.002)
        await asking.post("/fail", params={"seconds": 1_000_000})
        with pytest.raises(ModelBusy):
            await reading
        with pytest.raises(ModelBusy):
            await client.extract_text(PNG)
        assert not await client.health()
