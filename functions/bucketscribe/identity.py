"""Who we are to the OCR service: google.auth's id tokens, carried by an `httpx.Auth`.

The only room that knows how a token comes about. Whether the service lets us in is the client's business.
"""

import asyncio
import functools
import ipaddress
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, datetime
from typing import Protocol

import google.auth.exceptions
import google.auth.transport.requests
import httpx
from google.oauth2 import id_token

from bucketscribe.errors import AuthDenied, SettingsError

# The metadata server answers in milliseconds; google-auth's own limit of 120 s would eat a page's budget.
_REFRESH_TIMEOUT_SECONDS = 10.0

# Cloud Run answers 401 to a token it does not take and 403 to one without the right; both may come from a
# token that was minted before the grant reached it.
_DENIALS = frozenset({401, 403})


class IdTokenCredentials(Protocol):
    """What google-auth's id token credentials have. `valid` turns false 3:45 minutes before the expiry."""

    @property
    def token(self) -> str | None: ...

    @property
    def valid(self) -> bool: ...

    @property
    def expiry(self) -> datetime | None: ...

    def refresh(self, request: object) -> None:
        """Fetch a new token; blocks. Raises GoogleAuthError."""


def identity_for(url: str) -> httpx.Auth | None:
    """Choose what requests to `url` carry: an id token over https, nothing to a plain-http loopback.

    Raises SettingsError for plain http to any other host: a token must never travel unencrypted.
    """
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"the OCR service's address {url!r} is no URL") from error
    if parts.scheme == "https" and parts.host:
        return CloudRunIdentity(_origin(parts))
    if parts.scheme == "http" and _is_loopback(parts.host):
        return None
    raise SettingsError(
        f"the OCR service's address {url!r} must be https, or plain http on the loopback:"
        " an id token must never travel unencrypted"
    )


class CloudRunIdentity(httpx.Auth):
    """Carries an id token for one audience, the service's origin. Lives on one event loop.

    A token is kept until shortly before it expires and then refreshed in a thread, once for all requests
    that wait for it. A denied request is repeated once with a new token. Raises AuthDenied when there is
    no token to be had.
    """

    def __init__(
        self, audience: str, *, credentials_for: Callable[[str], IdTokenCredentials] | None = None
    ) -> None:
        self._audience = audience
        self._credentials_for = credentials_for or _ambient_credentials
        self._credentials: IdTokenCredentials | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshes = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._audience!r})"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Refuse: without this a synchronous client would send requests that carry no token."""
        raise RuntimeError(f"{request.url}: an id token is refreshed on an event loop; use httpx.AsyncClient")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        seen = await self._carry_token(request)
        response = yield request
        if response.status_code in _DENIALS:
            await self._carry_token(request, newer_than=seen)
            yield request

    async def _carry_token(self, request: httpx.Request, newer_than: int = -1) -> int:
        """Put a valid token on the request; tell which refresh it came from.

        Refreshes are counted, not tokens compared: a metadata server may give the same token again.
        """
        if self._credentials is None or not self._credentials.valid or self._refreshes <= newer_than:
            await self._refreshed()
        token = (self._credentials and self._credentials.token) or ""
        if not token.isascii() or not token.isprintable() or not token:
            # httpx and h11 would refuse such a header, and quote it in their messages.
            raise AuthDenied(f"the id token for {self._audience} is empty or no header value")
        request.headers["Authorization"] = f"Bearer {token}"
        return self._refreshes

    async def _refreshed(self) -> None:
        """Wait for the refresh under way, or start one. A waiter that is cancelled does not stop it."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(_see_failure)
        try:
            await asyncio.shield(self._refreshing)
        except google.auth.exceptions.GoogleAuthError as error:
            if self._is_still_good():
                return
            raise AuthDenied(
                f"no id token for {self._audience} could be fetched ({type(error).__name__}); look at the"
                " instance's service account, or at GOOGLE_APPLICATION_CREDENTIALS"
            ) from error

    def _is_still_good(self) -> bool:
        """Tell whether the old token holds yet: google-auth calls it invalid 3:45 min before its end, and in
        these a metadata server that is away for a moment need not stop anybody.
        """
        expiry = self._credentials.expiry if self._credentials else None  # naive, in UTC
        return expiry is not None and expiry > datetime.now(UTC).replace(tzinfo=None)

    async def _refresh(self) -> None:
        self._credentials = await asyncio.to_thread(self._refreshed_credentials)
        self._refreshes += 1

    def _refreshed_credentials(self) -> IdTokenCredentials:
        """Block until there is a token. Finding credentials asks the metadata server too, hence here."""
        credentials = self._credentials or self._credentials_for(self._audience)
        credentials.refresh(_request())
        return credentials


def _ambient_credentials(audience: str) -> IdTokenCredentials:
    fetch: Callable[..., IdTokenCredentials] = id_token.fetch_id_token_credentials
    return fetch(audience, request=_request())


def _request() -> Callable[..., object]:
    return functools.partial(google.auth.transport.requests.Request(), timeout=_REFRESH_TIMEOUT_SECONDS)


def _see_failure(refreshing: asyncio.Task[None]) -> None:
    """Look at the outcome, so that a failure whose waiters were all cancelled is not logged as unseen."""
    if not refreshing.cancelled():
        refreshing.exception()


def _origin(url: httpx.URL) -> str:
    port = f":{url.port}" if url.port else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
