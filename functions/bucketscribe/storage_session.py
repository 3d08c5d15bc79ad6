"""What Google's storage client sends its requests through, in place of the session of the library requests:
urllib3, which that one is built on, asked directly. A session's own work is half of what a call costs.

The client takes any object that has `request` as a session has it, and wants that library's Response back.
"""

from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
import urllib3
from google.auth.credentials import Credentials
from google.auth.transport.requests import Request
from requests.structures import CaseInsensitiveDict


class StorageSession:
    """Carries the credentials' token, and keeps up to `connections` connections to each host.

    Which proxy and which certificates the environment asks for is read once, for `url`.
    """

    def __init__(self, credentials: Credentials, url: str, *, connections: int) -> None:
        self._credentials = credentials
        self._tokens = Request()
        with requests.Session() as session:
            found = session.merge_environment_settings(url, {}, None, None, None)
        proxy = requests.utils.select_proxy(url, found["proxies"])
        verify = found["verify"]
        authorities = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
        where = "ca_cert_dir" if Path(authorities).is_dir() else "ca_certs"
        options: dict[str, Any] = {"maxsize": connections, where: str(authorities)}
        self._http = _through(proxy, options) if proxy else urllib3.PoolManager(**options)

    def request(
        self,
        method: str,
        url: str,
        *,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send; where the token is refused, once more with a new one. `timeout` is of connect and read, in
        seconds. Raises requests.ConnectionError, which the client tries again, and GoogleAuthError.

        A refusal is read to its end even when it was to be streamed: the client leaves it unread, and its
        connection would be lost.
        """
        answer = self._answer(method, url, data, headers or {}, timeout)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            answer.close()
            self._credentials.refresh(self._tokens_within(timeout))  # type: ignore[no-untyped-call]
            answer = self._answer(method, url, data, headers or {}, timeout)
        if not stream or not answer.ok:
            answer.content  # noqa: B018 - the property reads
        return answer

    def close(self) -> None:
        """Let go of all connections."""
        self._http.clear()

    def _tokens_within(self, timeout: tuple[float, float] | None) -> Callable[..., Any]:
        """Ask for a token in no more time than the request itself has."""
        return partial(self._tokens, timeout=timeout) if timeout else self._tokens

    def _answer(
        self,
        method: str,
        url: str,
        data: bytes | str | None,
        headers: Mapping[str, str],
        timeout: tuple[float, float] | None,
    ) -> requests.Response:
        carried = dict(headers)
        tokens = self._tokens_within(timeout)
        self._credentials.before_request(tokens, method, url, carried)  # type: ignore[no-untyped-call]
        connect, read = timeout or (None, None)
        try:
            raw = self._http.urlopen(
                method,
                url,
                body=data,
                headers=carried,
                timeout=urllib3.Timeout(connect=connect, read=read),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error) from error
        answer = requests.Response()
        answer.status_code, answer.reason, answer.url, answer.raw = raw.status, raw.reason or "", url, raw
        answer.headers, answer.encoding = CaseInsensitiveDict(raw.headers), "utf-8"
        answer.request = requests.PreparedRequest()
        answer.request.method, answer.request.url = method, url
        return answer


def _through(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    """Connect through a proxy as environments name them: at times without a scheme, or with a password."""
    url = requests.utils.prepend_scheme_if_needed(proxy, "http")
    user, password = requests.utils.get_auth_from_url(url)
    headers = urllib3.util.make_headers(proxy_basic_auth=f"{user}:{password}") if user else None
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)
