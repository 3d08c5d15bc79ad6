"""cloudbuild.yaml: its schema, its order, and its steps run with a project behind them."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cloud_shell import CloudShell
from tests.fakes.gcloud import parse

ROOT = Path(__file__).parent.parent
BINARIES = Path(sys.executable).parent
FILES = [ROOT / "cloudbuild.yaml", ROOT / "gpu_service" / "cloudbuild.yaml"]

BUILT_IN = {"PROJECT_ID"}
DEPLOYS = {"gpu-deploy", "on-page-task", "on-dead-letter", "sweep", "on-upload"}


def read(path: Path) -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = YAML(typ="safe").load(path)
    return loaded


PIPELINE = read(FILES[0])
STEPS: dict[str, Mapping[str, Any]] = {step["id"]: step for step in PIPELINE["steps"]}


def before(step: str) -> set[str]:
    """All steps that must have ended well before this one starts."""
    direct = set(STEPS[step]["waitFor"]) - {"-"}
    return direct.union(*map(before, direct))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_build_file_is_what_cloud_builds_schema_takes(path: Path):
    checker = [BINARIES / "check-jsonschema", "--builtin-schema", "vendor.cloudbuild", path]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_substitution_is_declared_and_used(path: Path):
    body = re.sub(r"#.*", "", path.read_text()).replace("$$", "")
    used = set(re.findall(r"\$\{?([A-Z_]+)\}?", body)) - BUILT_IN
    assert used == set(read(path)["substitutions"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_build_under_an_account_of_its_own_says_where_its_log_goes_and_when_it_ends(path: Path):
    build = read(path)
    assert build["options"]["logging"] == "CLOUD_LOGGING_ONLY"
    assert build["options"]["diskSizeGb"] == "200"
    assert int(build["timeout"].rstrip("s")) >= 5400


def test_no_step_waits_for_one_that_does_not_exist_or_comes_later():
    seen: set[str] = set()
    for name, step in STEPS.items():
        assert set(step["waitFor"]) - {"-"} <= seen, name
        seen.add(name)


@pytest.mark.parametrize("step", sorted(DEPLOYS))
def test_a_failed_test_deploys_nothing(step: str):
    assert "test" in before(step)


def test_workers_are_deployed_before_fan_out_and_a_service_that_cannot_read_stops_it():
    assert {"on-page-task", "on-dead-letter", "sweep", "smoke"} <= before("on-upload")
    assert "gpu-deploy" in before("smoke")


def test_what_can_run_side_by_side_does():
    assert "test" not in before("gpu-image")
    assert STEPS["test"]["waitFor"] == STEPS["gpu-image-name"]["waitFor"] == ["-"]
    assert before("on-page-task") == before("on-dead-letter") == before("sweep") == before("smoke")


def test_every_step_and_the_whole_have_time_outs_that_fit():
    limits = {name: int(step["timeout"].rstrip("s")) for name, step in STEPS.items()}

    def latest(step: str) -> int:
        return limits[step] + max((latest(each) for each in set(STEPS[step]["waitFor"]) - {"-"}), default=0)

    assert max(map(latest, STEPS)) <= int(PIPELINE["timeout"].rstrip("s"))


def test_the_tests_are_those_that_the_readme_and_ci_run():
    (script,) = [arg for arg in STEPS["test"]["args"] if "make" in arg]
    assert script.endswith("make lint test")


# ---- run --------------------------------------------------------------------------------------------------


def run_pipeline(shell: CloudShell, tmp_path: Path) -> list[str]:
    """Run the steps but for the tests and the smoke test, whose commands are run where they are tested."""
    values = PIPELINE["substitutions"]
    printed = []
    for name, step in STEPS.items():
        if name in {"test", "smoke"}:
            continue
        words = [step["entrypoint"], *step["args"]]
        words = [re.sub(r"\$\{(_\w+)\}", lambda match: values[match[1]], word) for word in words]
        words = [
            word.replace("$$", "$").replace("/workspace/.gpu-image", f"{tmp_path}/.gpu-image")
            for word in words
        ]
        words = [word.replace("<.gpu-image", f"<{tmp_path}/.gpu-image") for word in words]
        done = shell.run(*words, EXPECTED_PROJECT="acme-docs")
        assert done.returncode == 0, (name, done.stderr)
        printed.append(done.stdout)
    return printed


@pytest.fixture
def shell(tmp_path: Path) -> CloudShell:
    """A project in which up.sh and build_trigger.sh have run."""
    settings = {"PROJECT": "acme-docs", "GITHUB_OWNER": "acme", "GITHUB_REPOSITORY": "bucketscribe"}
    made = CloudShell(folder=tmp_path / "cloud", settings=settings)
    assert made.run("infra/gcp/up.sh").returncode == 0
    assert made.run("infra/gcp/build_trigger.sh").returncode == 0
    made.forget_calls()
    return made


def test_a_push_that_changes_nothing_deploys_nothing(shell: CloudShell, tmp_path: Path):
    run_pipeline(shell, tmp_path)
    assert shell.calls()
    assert shell.changes() == []
    assert shell.docker() == []


def test_a_change_of_the_gpu_service_is_built_pushed_and_deployed_by_digest(
    shell: CloudShell, tmp_path: Path
):
    shell.settings["PROFILE"] = "lightonocr-3-1b"
    run_pipeline(shell, tmp_path)
    build, push = shell.docker()
    assert build.startswith("build --platform=linux/amd64 --build-arg=PROFILE=lightonocr-3-1b")
    image = push.removeprefix("push ")
    (deploy,) = [call for call in shell.changes() if call.words[:2] == ("run", "deploy")]
    assert re.fullmatch(re.escape(image.split(":")[0]) + r"@sha256:[0-9a-f]{64}", deploy.flag("image"))
    tag = shell.things[f"artifacts tags/{image.split(':')[1]}"]
    assert deploy.flag("image").split("@")[1] == tag["version"].split("/")[-1]


# What the roles of the pipeline's account allow, as far as its steps need it (documentation, 2026-11).
MAY = {
    "artifacts tags list": "artifactregistry.writer",
    "eventarc triggers describe": "cloudfunctions.developer",
    "functions deploy": "cloudfunctions.developer",
    "functions describe": "cloudfunctions.developer",
    "iam service-accounts describe": "iam.serviceAccountUser",
    "pubsub subscriptions describe": "pubsub.viewer",
    "run deploy": "run.developer",
    "run services describe": "run.developer",
    "run services get-iam-policy": "run.developer",
}


@pytest.mark.parametrize("change", [{}, {"GPU_VCPU": "4"}, {"BUCKETSCRIBE_EXPRESS_PAGES": "7"}], ids=str)
def test_the_pipeline_asks_for_nothing_that_its_account_may_not(
    shell: CloudShell, tmp_path: Path, change: dict[str, str]
):
    shell.settings.update(change)
    run_pipeline(shell, tmp_path)
    asked = {" ".join(parse(list(call.words))[:2]) for call in shell.calls()}
    assert asked <= set(MAY)
    held = {each["role"] for bindings in shell.project["policies"].values() for each in bindings}
    assert {f"roles/{MAY[each]}" for each in asked} <= held
    assert not [call for call in shell.calls() if "unauthenticated" in str(call)]


def test_a_change_of_the_functions_deploys_them_and_sets_no_right(shell: CloudShell, tmp_path: Path):
    shell.settings["BUCKETSCRIBE_EXPRESS_PAGES"] = "7"
    run_pipeline(shell, tmp_path)
    assert [call.words[:3] for call in shell.changes()] == [
        ("functions", "deploy", f"bucketscribe-{door}")
        for door in ("on-page-task", "on-dead-letter", "sweep", "on-upload")
    ]
    assert shell.docker() == []


def test_the_pipeline_with_an_ocr_service_elsewhere_builds_no_image(shell: CloudShell, tmp_path: Path):
    shell.settings["OCR_URL"] = "https://ocr.elsewhere.example"
    run_pipeline(shell, tmp_path)
    assert shell.docker() == []
    assert {call.words[:2] for call in shell.changes()} == {("functions", "deploy")}


def test_the_pipelines_smoke_step_asks_as_the_pipelines_account(shell: CloudShell):
    asked = shell.folder / "asked"
    curl = shell.folder / "bin" / "curl"
    curl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>{asked}\nprintf "403 0.1"\n')
    curl.chmod(0o755)
    step = STEPS["smoke"]
    done = shell.run(step["entrypoint"], *step["args"], EXPECTED_PROJECT="acme-docs")
    assert done.returncode == 1
    assert "roles/run.invoker" in done.stderr
    assert "https://lightonocr-a1b2c3d4e5-ez.a.run.app/health" in asked.read_text()
    (token,) = [call for call in shell.calls() if "print-identity-token" in call.words]
    assert (
        token.flag("impersonate-service-account") == "bucketscribe-deploy@acme-docs.iam.gserviceaccount.com"
    )
    assert token.flag("audiences") == "https://lightonocr-a1b2c3d4e5-ez.a.run.app"
    assert "identity-token-of" not in done.stdout + done.stderr + asked.read_text()


def test_the_trigger_is_for_main_alone_and_runs_as_an_account_of_its_own(shell: CloudShell):
    trigger = shell.things["builds triggers/bucketscribe-main"]
    assert trigger["github"]["push"]["branch"] == "^main$"
    assert trigger["filename"] == "cloudbuild.yaml"
    assert trigger["serviceAccount"].endswith("/bucketscribe-deploy@acme-docs.iam.gserviceaccount.com")
    assert trigger["substitutions"] == {"_ENV_FILE": "bucketscribe.env"}


def test_a_second_run_of_the_triggers_script_changes_nothing(shell: CloudShell):
    assert shell.run("infra/gcp/build_trigger.sh").returncode == 0
    assert shell.changes() == []


def test_the_trigger_needs_to_know_the_repository(shell: CloudShell):
    del shell.settings["GITHUB_OWNER"]
    refused = shell.run("infra/gcp/build_trigger.sh")
    assert refused.returncode == 1
    assert "set GITHUB_OWNER" in refused.stderr
