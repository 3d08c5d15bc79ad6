"""A shell for the cloud's scripts: a project in a folder, and a PATH whose `gcloud` and `docker` are ours."""

import functools
import json
import os
import shlex
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes import gcloud

ROOT = Path(__file__).parent.parent
GCP = ROOT / "infra" / "gcp"

# Asks the exchange below, and does as it answers: exit code, output, error output, each ended by a NUL.
GCLOUD = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
printf '%s\\0' "$FAKE_CLOUD" "$#" "$@" >&3
IFS= read -r -d '' code <&3 && IFS= read -r -d '' out <&3 && IFS= read -r -d '' err <&3 || exit 99
printf %s "$out"
printf %s "$err" >&2
exit "$code"
"""

# `docker push` brings the image into the registry; all else of it only counts.
DOCKER = """#!/bin/sh
printf '%s\\n' "$*" >>"$FAKE_CLOUD/docker.log"
[ "$1" != push ] || exec gcloud builds submit --substitutions=_IMAGE="$2" \\
  --service-account=docker@example.com --project=local >/dev/null
"""


class _Line(socketserver.StreamRequestHandler):
    """One call of gcloud: the project's folder, the number of words and the words come in."""

    def handle(self) -> None:
        folder, count = self._word(), int(self._word())
        code, out, err = gcloud.call(Path(folder), [self._word() for _ in range(count)])
        self.wfile.write(f"{code}\0{out}\0{err}\0".encode())

    def _word(self) -> str:
        word = bytearray()
        while (byte := self.rfile.read(1)) not in (b"\0", b""):
            word += byte
        return word.decode()


@functools.cache
def exchange() -> int:
    """Start what answers for gcloud, once in this process, and return its port."""
    server = socketserver.TCPServer(("127.0.0.1", 0), _Line)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One command line that a script gave to gcloud, and what its files said."""

    words: tuple[str, ...]
    mutates: bool
    files: Mapping[str, str]
    code: int

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def line(self) -> str:
        """The command as a person would type it: quotes around a flag's value, not around the flag."""
        parts = [word.partition("=") if word.startswith("--") else (word, "", "") for word in self.words]
        return " ".join(
            [
                "gcloud",
                *(f"{name}={shlex.quote(value)}" if eq else shlex.quote(name) for name, eq, value in parts),
            ]
        )

    def flag(self, name: str) -> str:
        """The value of a flag, the last one if it is repeated. Raises KeyError."""
        values = [word.partition("=")[2] for word in self.words if word.split("=")[0] == f"--{name}"]
        if not values:
            raise KeyError(name)
        return values[-1]


@dataclass(kw_only=True)
class CloudShell:
    """Where scripts run. `settings` are the lines of bucketscribe.env."""

    folder: Path
    settings: dict[str, str] = field(default_factory=lambda: {"PROJECT": "acme-docs"})

    def __post_init__(self) -> None:
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(parents=True)
        self._program(bin_folder / "gcloud", GCLOUD.format(port=exchange()))
        self._program(bin_folder / "docker", DOCKER)
        empty = {"name": self.settings["PROJECT"], "things": {}, "policies": {}, "apis": []}
        (self.folder / "project.json").write_text(json.dumps(empty))
        (self.folder / "journal.jsonl").touch()
        (self.folder / "docker.log").touch()
        self.plan()

    def _program(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o755)

    def plan(self, **plan: Any) -> None:
        """Have one call fail: `at` counts what changes something from 0, `match` is part of the command;
        with `after` it is obeyed and only its answer is lost, with `times` it fails so often and no more.
        """
        (self.folder / "plan.json").write_text(json.dumps(plan))

    def run(
        self, script: str, *arguments: str, answer: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the repository, or a program on PATH, to its end."""
        env_file = self.folder / "bucketscribe.env"
        env_file.write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            [ROOT / script if (ROOT / script).is_file() else script, *arguments],
            env={
                "PATH": path,
                "HOME": str(self.folder),
                "TMPDIR": str(self.folder),
                "FAKE_CLOUD": str(self.folder),
                "ENV_FILE": str(env_file),
                "PAUSE_SECONDS": "0",
                **environment,
            },
            cwd=ROOT,
            input=answer,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def calls(self) -> Sequence[Call]:
        """All calls so far, in order."""
        entries = map(json.loads, (self.folder / "journal.jsonl").read_text().splitlines())
        return [
            Call(
                words=tuple(entry["command"]),
                mutates=entry["mutates"],
                files=entry["files"],
                code=entry["code"],
            )
            for entry in entries
        ]

    def changes(self) -> Sequence[Call]:
        """The calls that changed something, or tried to."""
        return [call for call in self.calls() if call.mutates]

    def forget_calls(self) -> None:
        (self.folder / "journal.jsonl").write_text("")

    @property
    def project(self) -> Mapping[str, Any]:
        """All that stands in the project now."""
        state: Mapping[str, Any] = json.loads((self.folder / "project.json").read_text())
        return state

    @property
    def things(self) -> Mapping[str, Any]:
        things: Mapping[str, Any] = self.project["things"]
        return things

    def docker(self) -> Sequence[str]:
        return (self.folder / "docker.log").read_text().splitlines()

    def copy(self, folder: Path) -> "CloudShell":
        """Make another shell that starts from this one's project, with an empty journal."""
        other = CloudShell(folder=folder, settings=dict(self.settings))
        shutil.copy(self.folder / "project.json", folder)
        return other
