"""What the fake reader and the real client in front of the stand-in both hold to."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bucketscribe.errors import LightOnOCRError, ModelBusy, ModelRejected, ModelUnavailable
from bucketscribe.lightonocr_client import LightOnOCRClient
from bucketscribe.model import PageText
from bucketscribe.ports import Reader
from bucketscribe.settings import PROFILES
from tests.fakes.loopback import free_port
from tests.fakes.pages import WORDS, page
from tests.fakes.reader import FakeReader, busy, reads
from tests.fakes.stand_in import running_stand_in

PROFILE = PROFILES["lightonocr-2-1b"]

Exchange = Callable[[Reader], Awaitable[Any]]


@pytest.fixture(scope="module")
def service_url(tmp_path_factory):
    with running_stand_in(tmp_path_factory.mktemp("stand_in") / "log") as service:
        yield service.url


def over_http(url: str, exchange: Exchange) -> Any:
    async def run() -> Any:
        client = LightOnOCRClient(url, auth=None, connections=4)
        try:
            return await exchange(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


@pytest.fixture(params=["fake", "real"])
def exchanged(request) -> Callable[[Exchange], Any]:
    """Run an exchange with a service that is up."""
    if request.param == "fake":

        async def with_fake(exchange: Exchange) -> Any:
            return await exchange(FakeReader(reads(WORDS)))

        return lambda exchange: asyncio.run(with_fake(exchange))
    url = request.getfixturevalue("service_url")
    return lambda exchange: over_http(url, exchange)


@pytest.fixture(params=["fake", "real"])
def exchanged_in_vain(request) -> Callable[[Exchange], Any]:
    """Run an exchange with a service that is down."""
    if request.param == "fake":

        async def with_fake(exchange: Exchange) -> Any:
            reader = FakeReader(busy)
            reader.is_well = False
            return await exchange(reader)

        return lambda exchange: asyncio.run(with_fake(exchange))
    return lambda exchange: over_http(f"http://127.0.0.1:{free_port()}", exchange)


async def read_page(reader: Reader, image: bytes = page()) -> PageText:
    return await reader.extract_text(image, profile=PROFILE, read_timeout_seconds=60.0)


@pytest.mark.parametrize("encoding", ["PNG", "JPEG"])
def test_a_clean_page_is_read(exchanged, encoding):
    text = exchanged(lambda reader: read_page(reader, page(encoding=encoding)))
    assert WORDS in text.markdown
    assert text.finish_reason == "stop"
    assert text.prompt_tokens > 0
    assert text.completion_tokens > 0
    assert text.model


def test_pages_are_read_side_by_side(exchanged):
    async def four(reader: Reader) -> list[PageText]:
        return await asyncio.gather(*(read_page(reader) for _ in range(4)))

    assert all(WORDS in text.markdown for text in exchanged(four))


@pytest.mark.parametrize("image", [b"", b"%PDF-1.7 no image", b"GIF89a"])
def test_what_is_no_image_is_rejected(exchanged, image):
    with pytest.raises(ModelRejected):
        exchanged(lambda reader: read_page(reader, image))


def test_a_call_may_name_its_own_temperature(exchanged):
    async def hotter(reader: Reader) -> PageText:
        return await reader.extract_text(page(), profile=PROFILE, read_timeout_seconds=60.0, temperature=0.8)

    assert WORDS in exchanged(hotter).markdown


def test_a_service_that_is_up_is_healthy(exchanged):
    assert exchanged(lambda reader: reader.health()) is True


def test_a_service_that_is_down_is_not_healthy_and_says_so_without_raising(exchanged_in_vain):
    assert exchanged_in_vain(lambda reader: reader.health()) is False


def test_a_service_that_is_down_is_busy(exchanged_in_vain):
    with pytest.raises(LightOnOCRError) as caught:
        exchanged_in_vain(read_page)
    assert type(caught.value) is ModelBusy


def test_a_broken_image_that_starts_like_one_is_refused_by_the_server_in_its_own_words(service_url):
    with pytest.raises(ModelRejected, match=r"HTTP 400.*image file is truncated"):
        over_http(service_url, lambda reader: read_page(reader, page()[:-500]))


def test_a_model_that_is_not_served_is_no_fault_of_the_page(service_url):
    async def ask(reader: Reader) -> PageText:
        profile = type(PROFILE)(
            name="other",
            model="somebody/else",
            revision="0",
            temperature=0.2,
            top_p=0.9,
            max_tokens=16,
            longest_edge_px=1540,
        )
        return await reader.extract_text(page(), profile=profile, read_timeout_seconds=60.0)

    with pytest.raises(ModelUnavailable, match=r"HTTP 404.*`somebody/else` does not exist"):
        over_http(service_url, ask)
