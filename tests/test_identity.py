"""Tokens: one refresh for all who wait, one repeat for who is denied, and no token where none may go."""

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta

import google.auth.credentials
import httpx
import pytest
from google.auth import exceptions

from bucketscribe.errors import AuthDenied, SettingsError
from bucketscribe.identity import CloudRunIdentity, identity_for
from bucketscribe.lightonocr_client import LightOnOCRClient
from tests.fakes.pages import page

AUDIENCE = "https://ocr.example"


class FakeCredentials(google.auth.credentials.Credentials):
    """google-auth's own notion of validity, over tokens made up here: token-1, token-2 and so on."""

    def __init__(self, *, lifetime: timedelta = timedelta(hours=1)) -> None:
        super().__init__()
        self.lifetime = lifetime
        self.refreshes = 0
        self.broken: Exception | None = None
        self.mint = "token-{}".format
        self.threads: set[threading.Thread] = set()
        self.gate: threading.Event | None = None

    def refresh(self, request: object) -> None:
        self.threads.add(threading.current_thread())
        if self.gate:
            assert self.gate.wait(timeout=5)
        self.refreshes += 1
        if self.broken:
            raise self.broken
        self.token = self.mint(self.refreshes)
        self.expiry = datetime.now(UTC).replace(tzinfo=None) + self.lifetime  # google-auth is naive


class Guarded(httpx.AsyncBaseTransport):
    """A service that lets in who carries one of `good`; anyone, when that is None."""

    def __init__(self, good: set[str] | None = None, denial: int = 401) -> None:
        self.good = good
        self.denial = denial
        self.seen: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.seen.append(token)
        let_in = self.good is None or token in self.good
        return httpx.Response(200 if let_in else self.denial)


def identity(credentials: FakeCredentials) -> CloudRunIdentity:
    return CloudRunIdentity(AUDIENCE, credentials_for=lambda _: credentials)


def get(carried: httpx.Auth, service: Guarded, *, times: int = 1) -> list[int]:
    """Send so many requests at once, tell their statuses."""

    async def all_at_once() -> list[int]:
        async with httpx.AsyncClient(auth=carried, transport=service, base_url=AUDIENCE) as client:
            return [r.status_code for r in await asyncio.gather(*(client.get("/") for _ in range(times)))]

    return asyncio.run(all_at_once())


async def until_refreshing(credentials: FakeCredentials) -> None:
    while not credentials.threads:  # noqa: ASYNC110 - a thread tells, which knows no event of the loop
        await asyncio.sleep(0)


def test_fifty_requests_at_once_cost_one_refresh():
    credentials, service = FakeCredentials(), Guarded({"token-1"})
    assert get(identity(credentials), service, times=50) == [200] * 50
    assert credentials.refreshes == 1


def test_a_valid_token_is_kept():
    credentials, service = FakeCredentials(), Guarded()
    carried = identity(credentials)
    get(carried, service)
    get(carried, service, times=10)
    assert credentials.refreshes == 1


def test_a_token_close_to_its_expiry_is_refreshed_once_for_all():
    """Three minutes are left: still good, but inside the 3:45 in which google-auth calls it invalid."""
    credentials, service = FakeCredentials(lifetime=timedelta(minutes=3)), Guarded()
    carried = identity(credentials)
    get(carried, service)
    credentials.lifetime = timedelta(hours=1)
    get(carried, service, times=50)
    assert credentials.refreshes == 2
    assert service.seen == ["token-1"] + ["token-2"] * 50


def test_while_the_metadata_server_is_away_a_token_is_carried_to_its_very_end():
    credentials, service = FakeCredentials(lifetime=timedelta(minutes=3)), Guarded({"token-1"})
    carried = identity(credentials)
    get(carried, service)
    credentials.broken = google.auth.exceptions.TransportError("away")
    assert get(carried, service, times=3) == [200] * 3
    credentials.expiry = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)
    with pytest.raises(AuthDenied):
        get(carried, service)


@pytest.mark.parametrize("denial", [401, 403])
def test_a_denied_request_is_repeated_once_with_a_new_token(denial):
    credentials, service = FakeCredentials(), Guarded({"token-2"}, denial)
    assert get(identity(credentials), service) == [200]
    assert service.seen == ["token-1", "token-2"]


def test_a_denial_that_stays_is_not_repeated_again():
    credentials, service = FakeCredentials(), Guarded(set())
    assert get(identity(credentials), service) == [401]
    assert service.seen == ["token-1", "token-2"]


def test_fifty_denials_of_one_token_cost_one_refresh_even_if_the_token_stays_the_same():
    """The metadata server keeps tokens itself, and may well give the denied one again."""
    credentials, service = FakeCredentials(), Guarded(set())
    credentials.mint = lambda _: "token-again"
    carried = identity(credentials)
    assert get(carried, service, times=50) == [401] * 50
    assert credentials.refreshes == 2
    assert len(service.seen) == 100


def test_a_refresh_blocks_a_thread_and_never_the_loop():
    async def tick_while_refreshing() -> None:
        credentials.gate = threading.Event()
        async with httpx.AsyncClient(auth=identity(credentials), transport=Guarded()) as client:
            request = asyncio.create_task(client.get(AUDIENCE))
            await until_refreshing(credentials)
            assert not request.done()
            credentials.gate.set()
            assert (await request).status_code == 200

    credentials = FakeCredentials()
    asyncio.run(tick_while_refreshing())
    assert threading.main_thread() not in credentials.threads


def test_a_waiter_that_is_cancelled_does_not_take_the_refresh_along():
    async def cancel_the_first() -> int:
        credentials.gate = threading.Event()
        async with httpx.AsyncClient(auth=identity(credentials), transport=Guarded()) as client:
            first = asyncio.create_task(client.get(AUDIENCE))
            second = asyncio.create_task(client.get(AUDIENCE))
            await until_refreshing(credentials)
            first.cancel()
            await asyncio.sleep(0)
            credentials.gate.set()
            return (await second).status_code

    credentials = FakeCredentials()
    assert asyncio.run(cancel_the_first()) == 200
    assert credentials.refreshes == 1


@pytest.mark.parametrize(
    "broken",
    [
        exceptions.DefaultCredentialsError("no metadata server"),
        exceptions.TransportError("unreachable"),
        exceptions.RefreshError("refused"),
    ],
)
def test_no_token_to_be_had_is_auth_denied_for_every_waiter(broken):
    credentials, service = FakeCredentials(), Guarded()
    credentials.broken = broken

    async def read_all() -> list[BaseException]:
        client = LightOnOCRClient(AUDIENCE, auth=identity(credentials), connections=9, transport=service)
        calls = (client.extract_text(page()) for _ in range(9))
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = asyncio.run(read_all())
    assert {type(error) for error in errors} == {AuthDenied}
    assert len({id(error) for error in errors}) == 9
    assert all(error.__cause__ is broken for error in errors)
    assert credentials.refreshes == 1
    assert service.seen == [], "nothing is sent without a token"


def test_after_a_failure_the_next_request_tries_again():
    credentials, service = FakeCredentials(), Guarded()
    credentials.broken = exceptions.TransportError("unreachable")
    carried = identity(credentials)
    with pytest.raises(AuthDenied):
        get(carried, service)
    credentials.broken = None
    assert get(carried, service) == [200]


def test_credentials_that_cannot_be_found_are_auth_denied_and_health_is_false():
    def nowhere(_: str) -> FakeCredentials:
        raise exceptions.DefaultCredentialsError("neither metadata server nor key")

    carried = CloudRunIdentity(AUDIENCE, credentials_for=nowhere)
    client = LightOnOCRClient(AUDIENCE, auth=carried, connections=1, transport=Guarded())
    assert asyncio.run(client.health()) is False


@pytest.mark.parametrize("token", ["", "se\ncret", "sécret"])
def test_a_token_that_is_no_header_value_is_never_sent(token):
    credentials, service = FakeCredentials(), Guarded()
    credentials.mint = lambda _: token
    with pytest.raises(AuthDenied) as caught:
        get(identity(credentials), service)
    assert service.seen == []
    assert "cret" not in str(caught.value)


def test_the_token_is_in_no_log_error_or_repr(caplog):
    caplog.set_level(logging.DEBUG)
    credentials = FakeCredentials()
    credentials.mint = "very-secret-token-{}".format
    carried = identity(credentials)
    client = LightOnOCRClient(AUDIENCE, auth=carried, connections=1, transport=Guarded(set()))
    with pytest.raises(AuthDenied) as caught:
        asyncio.run(client.extract_text(page()))
    assert "very-secret" not in f"{caplog.text} {caught.value!r} {carried!r} {client!r}"


def test_a_synchronous_client_is_refused_rather_than_sent_without_a_token():
    with (
        httpx.Client(
            auth=identity(FakeCredentials()), transport=httpx.MockTransport(lambda _: None)
        ) as client,
        pytest.raises(RuntimeError, match="AsyncClient"),
    ):
        client.get(AUDIENCE)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://127.8.9.1", "http://localhost:1/", "http://[::1]:8000"]
)
def test_a_plain_loopback_carries_nothing(url):
    assert identity_for(url) is None


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        ("https://ocr-123.a.run.app", "https://ocr-123.a.run.app"),
        ("https://ocr-123.a.run.app/v1/?x=1", "https://ocr-123.a.run.app"),
        ("https://ocr.example:8443/path", "https://ocr.example:8443"),
        ("https://OCR.example:443/", "https://ocr.example"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]"),
    ],
)
def test_the_audience_is_the_services_origin(url, audience):
    assert repr(identity_for(url)) == f"CloudRunIdentity('{audience}')"


@pytest.mark.parametrize(
    "url",
    [
        "http://ocr.example",
        "http://10.0.0.1:8000",
        "http://localhost.example",
        "http://0.0.0.0:8000",
        "ftp://localhost",
        "localhost:8000",
        "https://",
        "http://[::1",
        "",
    ],
)
def test_a_token_never_travels_unencrypted(url):
    with pytest.raises(SettingsError):
        identity_for(url)
