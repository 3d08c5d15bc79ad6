"""Google's emulator is found where gcloud lies, or what is missing is told by name."""

from pathlib import Path

import pytest

from infra.local import emulator
from infra.local.errors import CannotRun


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gcloud in a folder of its own, with a link to it on PATH and no emulator."""
    sdk, path = tmp_path / "google-cloud-sdk", tmp_path / "bin"
    program(sdk / "bin" / "gcloud")
    path.mkdir()
    (path / "gcloud").symlink_to(sdk / "bin" / "gcloud")
    monkeypatch.setenv("PATH", str(path))
    return sdk


def program(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


def add_jar(root: Path) -> Path:
    jar = root / "platform/pubsub-emulator/lib/cloud-pubsub-emulator-0.8.20-all.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    return jar


def test_the_jar_lies_beside_the_gcloud_that_path_leads_to(root: Path, tmp_path: Path) -> None:
    jar = add_jar(root)
    program(tmp_path / "bin" / "java")
    found = emulator.find()
    assert found.command(8085) == (
        str(tmp_path / "bin" / "java"),
        "-jar",
        str(jar),
        "--host=127.0.0.1",
        "--port=8085",
    )


def test_a_gcloud_without_the_emulator_is_told_what_to_install(root: Path) -> None:
    with pytest.raises(CannotRun, match="gcloud components install pubsub-emulator"):
        emulator.find()


def test_an_emulator_without_java_is_told_so(root: Path) -> None:
    add_jar(root)
    with pytest.raises(CannotRun, match="no java is on PATH"):
        emulator.find()


def test_without_gcloud_it_is_told_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match=r"gcloud is not on PATH.*cloud\.google\.com/sdk"):
        emulator.find()
