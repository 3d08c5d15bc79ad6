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
from asyncio import StreamReader, StreamWriter
from pathlib import Path

import httpx

from tests.chaos import account, faults
from tests.chaos.account import Account
from tests.chaos.faults import Fault, Manner

_UPSTREAM_SECONDS = 120.0


def command(port: int, upstream: str, share: float, seed: int, path: Path) -> list[str]:
    """Build the command line that starts it."""
    return [sys.executable, "-m", "tests.chaos.front", str(port), upstream, str(share), str(seed), str(path)]


class Front:
    """One server. `share` is the part of the readings that fail."""

    def __init__(self, upstream: str, share: float, chance: random.Random, noted: Account) -> None:
        self._http = httpx.AsyncClient(base_url=upstream, timeout=_UPSTREAM_SECONDS, trust_env=False)
        self._share = share
        self._chance = chance
        self._noted = noted

    async def serve(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", port, limit=1 << 20)

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
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
        fault = faults.draw(self._chance.random, self._share)
        if fault:
            self._noted.note(page, fault.name)
            return await _fail(fault, reader, writer)
        status = await self._pass_on(verb, path, body, reader, writer)
        if status is None:
            self._noted.note(page, faults.LATE.name)
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
        with contextlib.suppress(asyncio.CancelledError):
            await hang_up
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
    front = Front(upstream, float(share), chance, Account(Path(path)))
    server = await front.serve(int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
