"""Stands before the stand-in and spoils a share of its answers, in every way that `faults` knows.

`python -m tests.chaos.front PORT UPSTREAM SHARE SEED ACCOUNT` serves until it is killed. It speaks just
enough HTTP for one client, on plain sockets: no server resets a connection or cuts an answer off on purpose.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import random
import socket
import struct
import sys
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from tests.chaos import account, faults
from tests.chaos.account import Account
from tests.chaos.faults import Fault, Manner

# Longer than the functions wait for an answer, and shorter, as the city sets them up.
_UPSTREAM_SECONDS = 120.0
PATIENCE_SECONDS = 5.0


def command(port: int, upstream: str, share: float, seed: int, path: Path) -> list[str]:
    """Build the command line that starts it."""
    return [sys.executable, "-m", "tests.chaos.front", str(port), upstream, str(share), str(seed), str(path)]


class Front:
    """One server. `draw` says what happens to the next reading; None: it comes through.

    A client that hangs up has given up waiting after `patience_seconds`, and was killed before.
    """

    def __init__(
        self,
        upstream: str,
        draw: Callable[[], Fault | None],
        noted: Account,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=upstream, timeout=_UPSTREAM_SECONDS, trust_env=False)
        self._draw = draw
        self._noted = noted
        self._patience_seconds = patience_seconds
        self._connections: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[int]:
        """Serve on a loopback port, 0 for a free one, for as long as the context lasts; yield the port."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        async with self._http:
            yield server.sockets[0].getsockname()[1]
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections)

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Answer one request; tell whether the connection is still good for another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        verb, path, _ = head.split(" ", 2)
        sizes = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0].partition(":")[2])) if sizes else b""
        if verb != "POST":
            return await self._pass_on(verb, path, body, reader, writer) is not None
        page = image_of(body)
        fault = self._draw()
        if fault:
            self._noted.note(page, fault.name)
            return await _fail(fault, reader, writer)
        asked = time.monotonic()
        status = await self._pass_on(verb, path, body, reader, writer)
        if status is None:
            is_late = time.monotonic() - asked > self._patience_seconds
            self._noted.note(page, faults.LATE.name if is_late else account.GONE)
        elif status == httpx.codes.OK:
            self._noted.note(page, account.THROUGH)
        return status is not None

    async def _pass_on(
        self, verb: str, path: str, body: bytes, reader: StreamReader, writer: StreamWriter
    ) -> int | None:
        """Have the stand-in answer and tell its status; None when nobody waits for the answer any more."""
        headers = {"content-type": "application/json"}
        asking = asyncio.ensure_future(self._http.request(verb, path, content=body, headers=headers))
        hang_up = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({asking, hang_up}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            asking.cancel()
            return None
        hang_up.cancel()
        await asyncio.wait({hang_up})
        try:
            answer = asking.result()
        except httpx.HTTPError:  # the stand-in was killed: so is this connection, as without us
            _reset(writer)
            raise ConnectionResetError from None
        await _write(writer, answer.status_code, answer.content)
        return answer.status_code


async def _fail(fault: Fault, reader: StreamReader, writer: StreamWriter) -> bool:
    match fault.manner:
        case Manner.ANSWER:
            await _write(writer, fault.status, fault.body)
            return True
        case Manner.CUT:
            await _write(writer, fault.status, fault.body, shown=len(fault.body) // 2)
        case Manner.RESET:
            _reset(writer)
        case Manner.HANG:
            await reader.read(1)
    return False


async def _write(writer: StreamWriter, status: int, body: bytes, shown: int | None = None) -> None:
    head = f"HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:shown])
    await writer.drain()


def _reset(writer: StreamWriter) -> None:
    """Close with a RST: whoever waits sees a broken connection, not an end."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def image_of(request: bytes) -> str:
    """Name the page that a request is about: its image's SHA-256."""
    content = json.loads(request)["messages"][0]["content"]
    url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
    return hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest()


async def main() -> None:
    port, upstream, share, seed, path = sys.argv[1:]
    # A new life draws anew: what the last one drew is on the account.
    drawn = account.read(Path(path)).total.total()
    chance = random.Random(f"{seed} {drawn}")  # noqa: S311 - guards nothing
    with Account(Path(path)) as noted:
        front = Front(upstream, lambda: faults.draw(chance.random, float(share)), noted)
        async with front.serving(int(port)):
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
