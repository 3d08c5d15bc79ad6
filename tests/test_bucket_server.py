"""The laptop's bucket server: what of it the laptop cloud leans on."""

import asyncio
import json
import os
import platform
import urllib.parse
from pathlib import Path

import httpx
import pytest

from infra.local import bucket_server
from infra.local.errors import CannotRun
from tests.fakes.bucket_server import free_port, serving_buckets


def ask(port: int, path: str, data: bytes | None = None, content_type: str = "text/plain") -> bytes:
    with httpx.Client(base_url=bucket_server.url(port), trust_env=False) as client:
        headers = {"content-type": content_type}
        response = client.request("POST" if data else "GET", path, content=data, headers=headers)
        return response.raise_for_status().content


def upload(port: int, bucket: str, name: str, data: bytes, metadata: dict[str, str]) -> None:
    resource = json.dumps({"name": name, "contentType": "text/markdown", "metadata": metadata}).encode()
    part = b"--b\r\ncontent-type: %s\r\n\r\n%s\r\n"
    body = part % (b"application/json", resource) + part % (b"text/markdown", data) + b"--b--\r\n"
    ask(port, f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart", body, "multipart/related; boundary=b")


def look(port: int, bucket: str, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        ask(port, f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}")
    )
    return found


def test_an_object_is_a_plain_file_under_its_own_name(tmp_path: Path) -> None:
    with serving_buckets(tmp_path, "outbox") as port:
        upload(port, "outbox", "documents/a b.pdf.md", b"# text\n", {})
    assert (tmp_path / "outbox" / "documents" / "a b.pdf.md").read_bytes() == b"# text\n"


def test_type_metadata_and_generation_survive_a_restart(tmp_path: Path) -> None:
    with serving_buckets(tmp_path, "outbox") as port:
        upload(port, "outbox", "a.md", b"text", {"page": '{"a": 1}'})
        before = look(port, "outbox", "a.md")
    with serving_buckets(tmp_path, "outbox") as port:
        after = look(port, "outbox", "a.md")
        body = ask(port, "/storage/v1/b/outbox/o/a.md?alt=media")
    kept = ("generation", "contentType", "metadata", "crc32c", "size")
    assert [after[key] for key in kept] == [before[key] for key in kept]
    assert (after["contentType"], after["metadata"]) == ("text/markdown", {"page": '{"a": 1}'})
    assert body == b"text"


def test_two_and_a_half_kibibytes_of_metadata_fit(tmp_path: Path) -> None:
    with serving_buckets(tmp_path, "outbox") as port:
        upload(port, "outbox", "a.md", b"text", {"page": "x" * 2560})
        assert look(port, "outbox", "a.md")["metadata"] == {"page": "x" * 2560}


def test_it_listens_on_the_loopback_only(tmp_path: Path) -> None:
    line = bucket_server.command(tmp_path, 8123)
    assert line[line.index("-host") + 1] == "127.0.0.1"
    assert line[line.index("-external-url") + 1] == bucket_server.url(8123) == "http://127.0.0.1:8123"
    assert os.access(line[0], os.X_OK)


def test_nobody_listening_is_not_ready() -> None:
    assert asyncio.run(bucket_server.is_ready(free_port())) is False


def test_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    bucket_server.prepare(tmp_path, ["inbox", "outbox"])
    (tmp_path / "outbox" / "kept").write_text("kept")
    bucket_server.prepare(tmp_path, ["inbox", "outbox"])
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "inbox",
        "outbox",
        "outbox/kept",
    ]


def test_a_bucket_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outbox").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotRun, match="symbolic link"):
        bucket_server.prepare(tmp_path, ["outbox"])


def test_a_file_system_without_attributes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported, raising=False)
    with pytest.raises(CannotRun, match=r"extended attributes \(Operation not supported\)"):
        bucket_server.prepare(tmp_path, ["outbox"])


def test_a_machine_without_a_binary_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(CannotRun, match="riscv64"):
        bucket_server.binary()
