"""Somebody who is pushed to: an HTTP server that answers as the test says, and keeps what came."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class Receiver:
    """`answer` gives the status for each push; None hangs until the sender goes away.

    `envelopes` holds every push, decoded, in order of arrival, and `heads` their heads in small letters;
    `most_at_once` is the highest number answered side by side. An answer waits while `gate` is shut. `port` 0
    takes a free one.
    """

    answer: Callable[[dict[str, Any]], int | None] = lambda _: 204
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    most_at_once: int = 0
    port: int = 0
    url: str = ""
    _now: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> "Receiver":
        self.gate.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/push"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def received(self, pushes: int) -> list[dict[str, Any]]:
        """Wait until so many pushes have come."""
        await until(lambda: len(self.envelopes) >= pushes)
        return self.envelopes

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while True:
                await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()
        finally:
            self._connections.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        envelope = json.loads(await reader.readexactly(length))
        self.heads.append(head)
        self.envelopes.append(envelope)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            await self.gate.wait()
            status = self.answer(envelope)
            if status is None:
                await asyncio.Event().wait()
        finally:
            self._now -= 1
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 0\r\n\r\n" % status)
        await writer.drain()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail when it does not come true."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a condition on anything, not one event
            await asyncio.sleep(0.001)
