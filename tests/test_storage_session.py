"""What the storage client's requests go through: tokens, proxies, and what happens when nobody answers."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from google.auth.credentials import Credentials

from bucketscribe.storage_session import StorageSession
from tests.fakes.loopback import free_port

PROXIES = ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")


class Tokens(Credentials):  # type: ignore[misc]
    """Hands out `token-0`, and the next one after each refresh."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "token-0"

    def refresh(self, request: object) -> None:
        self.token = f"token-{int(self.token.removeprefix('token-')) + 1}"

    def before_request(self, request: object, method: str, url: str, headers: dict[str, str]) -> None:
        headers["authorization"] = f"Bearer {self.token}"


@contextlib.contextmanager
def server(accepted: str) -> Iterator[tuple[str, list[str]]]:
    """Answer 200 to one token and 401 to others; yield the address and what was seen: path and token."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            token = self.headers["authorization"].removeprefix("Bearer ")
            seen.append(f"{self.path} {token}")
            self.send_response(200 if token == accepted else 401)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}", seen
        finally:
            listening.shutdown()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def test_a_refused_token_is_renewed_once() -> None:
    with server("token-1") as (url, seen), contextlib.closing(session(url)) as client:
        answer = client.request("GET", f"{url}/a", timeout=(1, 1))
        assert (answer.status_code, answer.json()) == (200, {})
    assert seen == ["/a token-0", "/a token-1"]


def test_a_new_token_that_is_refused_too_is_an_answer() -> None:
    with server("none") as (url, seen), contextlib.closing(session(url)) as client:
        assert client.request("GET", f"{url}/a", timeout=(1, 1)).status_code == 401
    assert len(seen) == 2


def test_the_environments_proxy_carries_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    with server("token-0") as (url, seen):
        monkeypatch.setenv("http_proxy", url)
        with contextlib.closing(session("http://storage.invalid")) as client:
            assert client.request("GET", "http://storage.invalid/a", timeout=(1, 1)).ok
    assert seen == ["http://storage.invalid/a token-0"]


def test_a_host_that_the_environment_excepts_is_asked_without_its_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server("token-0") as (url, seen):
        monkeypatch.setenv("http_proxy", "http://proxy.invalid")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with contextlib.closing(session(url)) as client:
            assert client.request("GET", f"{url}/a", timeout=(1, 1)).ok
    assert seen == ["/a token-0"]


def test_nobody_there_is_an_error_that_the_client_tries_again() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with contextlib.closing(session(url)) as client, pytest.raises(requests.ConnectionError):
        client.request("GET", url, timeout=(1, 1))


def session(url: str) -> StorageSession:
    return StorageSession(Tokens(), url, connections=2)
