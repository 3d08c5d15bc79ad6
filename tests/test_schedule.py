"""The sweep's door is called by POST, again and again, whatever it answers."""

import asyncio
from contextlib import suppress

import pytest

from infra.local import schedule
from tests.fakes.receiver import until


async def calls_of(answers: list[bytes], port: int = 0) -> list[bytes]:
    """Give the request lines that came until every answer was given; an empty answer hangs up."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                answer = answers[len(seen)] if len(seen) < len(answers) else b"204"
                seen.append(head.split(b"\r\n")[0])
                if not answer:
                    break
                writer.write(b"HTTP/1.1 %s x\r\ncontent-length: 0\r\n\r\n" % answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    door = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    calling = asyncio.create_task(schedule.run(door, every_seconds=0.01))
    try:
        await until(lambda: len(seen) > len(answers))
    finally:
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        server.close()
    return seen[: len(answers) + 1]


def test_the_door_is_called_again_after_success_refusal_and_silence(caplog: pytest.LogCaptureFixture) -> None:
    assert asyncio.run(calls_of([b"204", b"503", b""])) == [b"POST / HTTP/1.1"] * 4
    messages = [record.getMessage() for record in caplog.records if record.name == schedule.__name__]
    assert messages[0] == "the sweep answered 503"
    assert messages[1].startswith("the sweep did not answer: ")
