"""The GPU service's image: its Dockerfile, its entry point, its profiles: read and run, without Docker."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest

from bucketscribe.settings import PROFILES
from gpu_service.stand_in.asked import image_tokens

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "gpu_service"
BINARIES = Path(sys.executable).parent
SCRIPTS = sorted(FOLDER.glob("*.sh"))
README = (FOLDER / "README.md").read_text()

# What Cloud Run gives between SIGTERM and SIGKILL.
CLOUD_RUN_GRACE_SECONDS = 10

# Build arguments for a model that has no profile.
OWN_MODEL = ("MODEL", "REVISION", "WEIGHTS_SHA256")

# What the model's context holds, tokens.
CONTEXT = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    stage: str
    word: str
    rest: str


@cache
def instructions() -> tuple[Instruction, ...]:
    """Read the Dockerfile: comments dropped, continued lines joined; stage "" is what precedes the first."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if not re.match(r"\s*#", line)]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Instruction] = []
    stage = ""
    for line in filter(None, joined.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1]
        found.append(Instruction(stage=stage, word=word, rest=rest))
    return tuple(found)


def of(stage: str, *words: str) -> list[str]:
    return [each.rest for each in instructions() if each.stage == stage and each.word in words]


def arguments() -> dict[str, str]:
    """Give every build argument's default."""
    pairs = [each.rest.partition("=") for each in instructions() if each.word == "ARG"]
    return {name: default for name, _, default in pairs}


def environment() -> dict[str, str]:
    """Give what the service's image sets."""
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(of("service", "ENV"))))


def named_values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


# The files themselves.


def test_hadolint_finds_nothing_and_nothing_is_hidden_from_it():
    subprocess.run([BINARIES / "hadolint", FOLDER / "Dockerfile"], check=True)
    assert "hadolint ignore" not in (FOLDER / "Dockerfile").read_text()
    assert not list(FOLDER.glob(".hadolint*"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    subprocess.run([BINARIES / "shellcheck", "--external-sources", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_run_and_stops_at_its_first_error(script):
    assert os.access(script, os.X_OK)
    library = ROOT / "infra" / "gcp" / "lib.sh"
    text = script.read_text() + (library.read_text() if 'infra/gcp/lib.sh"' in script.read_text() else "")
    assert "\nset -Eeuo pipefail\n" in text


def test_every_file_that_the_readme_links_exists():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    for link in links:
        assert (FOLDER / link).exists(), link


# The Dockerfile.


def test_vllm_is_pinned_by_tag_and_digest_and_is_not_the_version_that_loops():
    assert re.fullmatch(r"docker\.io/vllm/vllm-openai:v[\d.]+@sha256:[0-9a-f]{64}", arguments()["VLLM_IMAGE"])
    assert "0.27.1" not in arguments()["VLLM_IMAGE"]
    assert {line.split()[0] for stage in ("weights", "service") for line in of(stage, "FROM")} == {
        "${VLLM_IMAGE}"
    }


def test_every_build_argument_has_a_default_is_used_and_is_in_the_readme():
    text = "\n".join(each.rest for each in instructions() if each.word != "ARG")
    for name, default in arguments().items():
        assert default or name in OWN_MODEL, name
        assert re.search(rf"\${{?{name}\b", text), name
        assert f"`{name}`" in README, name


def test_the_weights_depend_on_nothing_but_vllm_and_their_own_profile():
    assert of("weights", "COPY", "ADD") == ["profiles/${PROFILE}.env /opt/model/profile.env"]
    assert of("weights", "ARG") == ["PROFILE=lightonocr-2-1b", *(f"{name}=" for name in OWN_MODEL)]


def test_the_weights_come_before_all_that_changes_more_often():
    order = [each for each in instructions() if each.stage == "service"]
    words = [each.word for each in order]
    assert order[words.index("COPY")].rest == "--from=weights /opt/model /opt/model"
    assert words.index("COPY") < min(words.index(word) for word in ("ARG", "RUN", "ENV", "USER"))


def test_the_script_comes_after_all_that_takes_long():
    order = [each for each in instructions() if each.stage == "service"]
    script = next(n for n, each in enumerate(order) if each.rest.startswith("serve.sh"))
    assert not [each for each in order[script:] if each.word in {"RUN", "ENV", "ARG"}]


def test_the_default_target_is_the_service_and_a_compile_cache():
    assert instructions()[-1].stage == "compiled"
    assert of("compiled", "FROM") == ["service AS compiled"]
    assert of("compiled", "COPY") == ["--chown=10001:10001 compile-cache/ /cache/"]
    assert (FOLDER / "compile-cache" / ".gitkeep").exists()


def test_the_user_is_not_root_and_can_write_where_caches_are_written():
    (user,) = of("service", "USER")
    assert user == "10001:10001"
    assert not of("compiled", "USER")
    (made,) = [run for run in of("service", "RUN") if "useradd" in run]
    assert "--uid 10001 --create-home" in made
    assert "--owner=10001 --group=10001 /cache" in made
    written = {name: at for name, at in environment().items() if at.startswith("/")}
    assert {"HOME", "HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"} <= set(
        written
    )
    for name, at in written.items():
        assert at.startswith(("/cache", "/home/lightonocr")), name


def test_the_service_is_offline_and_tells_nobody_that_it_runs():
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "VLLM_NO_USAGE_STATS",
        "DO_NOT_TRACK",
    ):
        assert environment()[name] == "1", name


def test_the_entry_point_is_the_script_and_no_shell_stands_before_it():
    assert of("service", "ENTRYPOINT") == ['["/opt/serve.sh"]']
    assert "serve.sh /opt/serve.sh" in of("service", "COPY")
    assert not of("service", "CMD") + of("compiled", "ENTRYPOINT", "CMD")


def test_no_secret_is_asked_for_or_kept():
    names = {*arguments(), *environment()}
    assert not [name for name in names if re.search("TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL", name)]
    for path in (FOLDER / "Dockerfile", *SCRIPTS, *(FOLDER / "profiles").iterdir()):
        assert not re.search(r"\bhf_[A-Za-z0-9]{20}|\beyJ[\w-]{10}|\bya29\.", path.read_text()), path


def test_only_what_is_copied_goes_into_the_build():
    patterns = [
        line for line in (FOLDER / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    ]
    assert patterns == ["*", "!profiles/*.env", "!serve.sh", "!compile-cache"]


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed here")
def test_gcloud_uploads_what_is_copied_and_the_compile_cache_too(tmp_path):
    folder = tmp_path / "gpu_service"
    shutil.copytree(FOLDER, folder)
    (folder / "compile-cache" / "vllm").mkdir(exist_ok=True)
    (folder / "compile-cache" / "vllm" / "graph").touch()
    listed = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload", folder],
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "config")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {each for each in listed if not each.startswith("compile-cache/")} == {
        "Dockerfile",
        ".dockerignore",
        "build.sh",
        "serve.sh",
        *(f"profiles/{name}.env" for name in PROFILES),
    }
    assert "compile-cache/vllm/graph" in listed


# The profiles.


def test_the_profiles_are_those_that_the_functions_know():
    files = {path.stem: named_values(path) for path in (FOLDER / "profiles").iterdir()}
    assert {name: (file["MODEL"], file["REVISION"]) for name, file in files.items()} == {
        name: (profile.model, profile.revision) for name, profile in PROFILES.items()
    }
    for file in files.values():
        assert list(file) == ["MODEL", "REVISION", "WEIGHTS_SHA256"]
        assert re.fullmatch(r"([0-9a-f]{64})?", file["WEIGHTS_SHA256"])


def test_the_default_profile_is_the_functions_own_and_its_weights_are_checked():
    profile = named_values(FOLDER / "profiles" / f"{arguments()['PROFILE']}.env")
    assert arguments()["PROFILE"] == "lightonocr-2-1b"
    assert profile["WEIGHTS_SHA256"]


# The step runs in an image with GNU's tools.
gnu = pytest.mark.skipif(sys.platform != "linux", reason="touch and sha256sum are GNU's in the image")

FAKE_HF = """#!/bin/bash
printf '%s\\n' "$@" >"$MODEL_FOLDER/asked"
mkdir -p "$MODEL_FOLDER/weights/.cache"
printf weights >"$MODEL_FOLDER/weights/model.safetensors"
"""


def download(folder: Path, *, checksum: str, **given: str) -> "subprocess.CompletedProcess[str]":
    """Run what the weights stage runs, in `folder` instead of /opt/model, with an `hf` without a network;
    `given` are build arguments.
    """
    (folder / "bin").mkdir()
    executable(folder / "bin" / "hf", FAKE_HF)
    model = folder / "model"
    model.mkdir()
    (model / "profile.env").write_text(f"MODEL=some/model\nREVISION=abc\nWEIGHTS_SHA256={checksum}\n")
    command = "\n".join(of("weights", "RUN"))
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command.replace("/opt/model", str(model))],
        env={"PATH": path, "MODEL_FOLDER": str(model), **dict.fromkeys(OWN_MODEL, ""), **given},
        capture_output=True,
        text=True,
        check=False,
    )


@gnu
def test_weights_with_the_profiles_sum_are_taken_at_the_profiles_revision(tmp_path):
    ended = download(tmp_path, checksum=sha256(b"weights").hexdigest())
    assert (ended.returncode, ended.stderr) == (0, "")
    weights = tmp_path / "model" / "weights"
    assert (tmp_path / "model" / "asked").read_text().split() == [
        *("download", "some/model", "--revision", "abc", "--local-dir", str(weights))
    ]
    assert [path.name for path in weights.iterdir()] == ["model.safetensors"]
    assert (weights / "model.safetensors").stat().st_mtime == 0


@gnu
def test_weights_with_another_sum_end_the_build(tmp_path):
    ended = download(tmp_path, checksum="0" * 64)
    assert ended.returncode != 0
    assert "ERROR" in ended.stderr


@gnu
def test_weights_without_a_known_sum_are_taken_and_their_sum_is_printed_with_a_warning(tmp_path):
    ended = download(tmp_path, checksum="")
    assert ended.returncode == 0
    assert sha256(b"weights").hexdigest() in ended.stdout
    assert "WARNING: NOT CHECKED" in ended.stderr


@gnu
def test_a_model_without_a_profile_is_named_by_build_arguments(tmp_path):
    ended = download(tmp_path, checksum="0" * 64, MODEL="my/tuned", REVISION="def")
    assert ended.returncode == 0
    assert "download my/tuned --revision def" in " ".join((tmp_path / "model" / "asked").read_text().split())
    profile = named_values(tmp_path / "model" / "profile.env")
    assert profile == {"MODEL": "my/tuned", "REVISION": "def", "WEIGHTS_SHA256": ""}


@gnu
def test_a_model_without_a_revision_is_refused(tmp_path):
    ended = download(tmp_path, checksum="", MODEL="my/tuned")
    assert ended.returncode != 0
    assert "MODEL needs a REVISION" in ended.stderr


# The entry point.

RECORDER = """#!/bin/bash
printf '%s\\n' "$$" "$@" >"$RECORD"
"""


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How serve.sh ended, and what it started vLLM with."""

    code: int
    errors: str
    same_process: bool
    given: list[str]

    @property
    def flags(self) -> dict[str, str]:
        """Give each flag's value, "" for those that have none."""
        words = self.given[2:]
        pairs = zip(words, [*words[1:], "--"], strict=True)
        return {
            flag: "" if value.startswith("--") else value for flag, value in pairs if flag.startswith("--")
        }


def serve(folder: Path, overrides: Mapping[str, str] | None = None, *more: str) -> Served:
    """Run serve.sh with a `vllm` that notes how it is called."""
    (folder / "bin").mkdir()
    executable(folder / "bin" / "vllm", RECORDER)
    shutil.copy(FOLDER / "profiles" / "lightonocr-2-1b.env", folder / "profile.env")
    record = folder / "record"
    process = subprocess.Popen(
        [FOLDER / "serve.sh", *more],
        env={
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "MODEL_FOLDER": str(folder),
            "RECORD": str(record),
            **(overrides or {}),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    errors = process.communicate()[1]
    started, *given = record.read_text().splitlines() if record.exists() else [""]
    return Served(
        code=process.returncode, errors=errors, same_process=started == str(process.pid), given=given
    )


def test_vllm_is_started_with_exactly_these_flags(tmp_path):
    served = serve(tmp_path)
    assert (served.code, served.errors) == (0, "")
    assert served.given == [
        *("serve", str(tmp_path / "weights")),
        *("--served-model-name", "lightonai/LightOnOCR-2-1B"),
        *("--host", "0.0.0.0"),
        *("--port", "8000"),
        *("--dtype", "bfloat16"),
        *("--max-model-len", "16384"),
        *("--max-num-seqs", "36"),
        *("--max-num-queued-reqs", "48"),
        *("--max-num-batched-tokens", "8192"),
        *("--gpu-memory-utilization", "0.92"),
        *("--limit-mm-per-prompt", '{"image":1}'),
        *("--mm-processor-cache-gb", "0"),
        "--no-enable-prefix-caching",
        *("--generation-config", "vllm"),
        *("--allowed-media-domains", "NO-URL-IS-FETCHED.INVALID"),
        *("--shutdown-timeout", "9"),
        *("--disable-access-log-for-endpoints", "/health,/metrics"),
        "--no-enable-log-requests",
        *("--optimization-level", "2"),
    ]


def test_every_flag_is_one_that_this_vllm_documents(tmp_path):
    listed = (ROOT / "tests" / "fixtures" / "vllm" / "arguments.txt").read_text()
    version = re.search(r":v([\d.]+)@", arguments()["VLLM_IMAGE"])
    assert version
    assert f"vLLM {version[1]}" in listed.splitlines()[0], "the list is of another version"
    assert set(serve(tmp_path).flags) <= set(listed.splitlines())


def test_vllm_takes_the_scripts_place_and_so_its_signals(tmp_path):
    assert serve(tmp_path).same_process


@pytest.mark.parametrize(
    ("variable", "flag", "value"),
    [
        ("PORT", "--port", "8080"),
        ("MAX_MODEL_LEN", "--max-model-len", "8192"),
        ("MAX_NUM_SEQS", "--max-num-seqs", "24"),
        ("MAX_NUM_QUEUED_REQS", "--max-num-queued-reqs", "64"),
        ("MAX_NUM_BATCHED_TOKENS", "--max-num-batched-tokens", "4096"),
        ("GPU_MEMORY_UTILIZATION", "--gpu-memory-utilization", "0.85"),
        ("SHUTDOWN_TIMEOUT", "--shutdown-timeout", "5"),
        ("OPTIMIZATION_LEVEL", "--optimization-level", "0"),
    ],
)
def test_a_variable_of_the_service_overrides_its_flag_and_no_other(tmp_path, variable, flag, value):
    (tmp_path / "usual").mkdir()
    (tmp_path / "changed").mkdir()
    usual, changed = serve(tmp_path / "usual"), serve(tmp_path / "changed", {variable: value})
    assert changed.flags == {**usual.flags, flag: value}


def test_every_variable_of_the_script_is_in_the_readme_with_its_default():
    found = re.findall(r"^(\w+)=\$\{\1:-(.*?)\}", (FOLDER / "serve.sh").read_text(), re.MULTILINE)
    assert len(found) == 9
    for name, default in found:
        assert f"| `{name}` | `{default}` |" in README, name


def test_what_is_passed_to_the_script_comes_last(tmp_path):
    assert serve(tmp_path, None, "--max-num-seqs", "8").given[-2:] == ["--max-num-seqs", "8"]


def test_a_queue_shorter_than_a_batch_is_refused_before_vllm_starts(tmp_path):
    served = serve(tmp_path, {"MAX_NUM_SEQS": "64"})
    assert (served.code, served.given) == (2, [])
    assert "MAX_NUM_QUEUED_REQS (48)" in served.errors


def test_the_figures_fit_each_other_and_what_clients_ask(tmp_path):
    flags = serve(tmp_path).flags
    image = image_tokens(1540, 1540)
    assert int(flags["--max-num-queued-reqs"]) >= int(flags["--max-num-seqs"])
    assert int(flags["--max-num-batched-tokens"]) >= 2 * image
    assert int(flags["--shutdown-timeout"]) < CLOUD_RUN_GRACE_SECONDS
    for profile in PROFILES.values():
        assert image + 15 + profile.max_tokens <= int(flags["--max-model-len"]) <= CONTEXT


def test_nothing_lets_a_request_reach_files_or_code_of_the_server(tmp_path):
    flags = set(serve(tmp_path).flags)
    assert not flags & {"--allowed-local-media-path", "--trust-remote-code", "--enable-mm-embeds"}
    assert "VLLM_SERVER_DEV_MODE" not in environment()
