"""What our scripts say to gcloud, held against the real one's linter and formats where it is installed."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.cloud_shell import Call, CloudShell
from tests.fakes.gcloud import Flags, matches, parse, shown

REAL = shutil.which("gcloud")

pytestmark = pytest.mark.skipif(
    not REAL, reason="NOT CHECKED: gcloud is not installed, so no recorded command line is linted"
)

EVERYTHING = {
    "PROJECT": "acme-docs",
    "BUCKETSCRIBE_RETENTION": "follow",
    "ALERT_EMAIL": "night@acme.com",
    "GITHUB_OWNER": "acme",
    "GITHUB_REPOSITORY": "bucketscribe",
    "PAGES_DAYS": "30",
}

# Fewer, and the recording has lost something.
COMMANDS_THAT_CHANGE = 90


def real(folder: Path, *words: str) -> str:
    """Run the real gcloud with a configuration of its own: no account and no project of the user's."""
    assert REAL
    done = subprocess.run(
        [REAL, *words],
        env={**os.environ, "CLOUDSDK_CONFIG": str(folder / "config"), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def lint(folder: Path, lines: Sequence[str]) -> list[str]:
    """Have the real gcloud parse command lines; return what it objects to."""
    file = folder / "commands.json"
    file.write_text(json.dumps([{"command_string": line} for line in lines]))
    answers = json.loads(real(folder, "meta", "lint-gcloud-commands", f"--commands-file={file}"))
    assert len(answers) == len(lines)
    return [f"{each['command_string']}: {each['error_message']}" for each in answers if not each["success"]]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Record every call of a whole life: up, a trigger, changed minds, drift, down with all."""
    shell = CloudShell(folder=tmp_path_factory.mktemp("recorded") / "cloud", settings=dict(EVERYTHING))
    lives = [
        (("infra/gcp/up.sh",), {}),
        (("infra/gcp/build_trigger.sh",), {}),
        (("infra/gcp/setup-lightonocr-sa.sh", "user:you@example.com"), {}),
        (("infra/gcp/build_trigger.sh",), {"GITHUB_REPOSITORY": "renamed"}),
        (("infra/gcp/up.sh",), {"PAGES_DAYS": "0", "BUCKETSCRIBE_RETENTION": "keep", "GPUS": "1"}),
        (("infra/gcp/up.sh",), {"SWEEP_SCHEDULE": "0 * * * *", "ALERT_EMAIL": "day@acme.com"}),
        (("gpu_service/deploy.sh", "--docker"), {"PROFILE": "lightonocr-3-1b"}),
        (("infra/gcp/down.sh", "--yes", "--with-buckets"), {}),
    ]
    for script, settings in lives:
        shell.settings.update(settings)
        project = json.loads(json.dumps(shell.project))
        for thing in project["things"].values():
            # Something drifts between two runs, so that what mends it is recorded as well.
            if thing.get("ackDeadlineSeconds"):
                thing["ackDeadlineSeconds"] = 10
            if thing.get("public_access_prevention"):
                thing["public_access_prevention"] = "inherited"
        (shell.folder / "project.json").write_text(json.dumps(project))
        done = shell.run(*script)
        assert done.returncode == 0, done.stderr
    return list(shell.calls())


def test_every_command_line_that_a_script_wrote_is_one_that_gcloud_takes(
    recorded: list[Call], tmp_path: Path
):
    lines = sorted({call.line for call in recorded})
    assert sum(call.mutates for call in recorded) > COMMANDS_THAT_CHANGE
    assert lint(tmp_path, lines) == []


def test_the_life_that_is_linted_has_every_kind_of_change_in_it(recorded: list[Call]):
    """A change that some script can make and that was not recorded would not be linted."""
    verbs = {
        " ".join(word for word in call.words[:4] if word.islower() and "/" not in word) for call in recorded
    }
    paths = [*(ROOT / "infra" / "gcp").glob("*.sh"), *(ROOT / "gpu_service").glob("*.sh")]
    text = "\n".join(path.read_text() for path in paths)
    changed = re.findall(r"change cloud ((?:[a-z-]+ )+)(?=\S)", text)
    removed = re.findall(r"-- (?:\\\s+)?((?:[a-z-]+ )+delete) ", text)
    kinds = {kind.strip() for kind in [*changed, *removed]} - {""}
    assert len(kinds) > 30
    for kind in kinds:
        assert any(verb.startswith(kind) for verb in verbs), kind


def test_the_linter_objects_to_a_flag_that_does_not_exist(tmp_path: Path):
    objections = lint(
        tmp_path, ["gcloud run deploy x --image=y --gpus=3", "gcloud run deploy x --image=y --gpu=1"]
    )
    assert len(objections) == 1
    assert "unrecognized arguments" in objections[0]


def test_the_smoke_tests_token_commands_are_ones_that_gcloud_takes(tmp_path: Path):
    plain = "gcloud auth print-identity-token"
    account = "a@acme-docs.iam.gserviceaccount.com"
    as_account = f"{plain} --impersonate-service-account={account} --audiences=https://x --include-email"
    assert (
        lint(
            tmp_path, [plain, as_account, "gcloud auth configure-docker europe-west4-docker.pkg.dev --quiet"]
        )
        == []
    )


ROOT = Path(__file__).parent.parent


def written(page: str) -> list[str]:
    """The gcloud commands that a page shows, each in one line."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    found, line = [], ""
    for part in "\n".join(blocks).replace("\\\n", " ").splitlines():
        line = " ".join([line, re.sub(r"\s+# .*", "", part).strip()]).strip()
        # A quote that is still open goes on in the next line.
        if line.count("'") % 2 == 0:
            found.append(re.sub(r" [|>] .*", "", line))
            line = ""
    return [each for each in found if each.startswith("gcloud ")]


def test_every_gcloud_command_in_the_readmes_is_one_that_gcloud_takes(tmp_path: Path):
    shown_commands = [
        line for page in ("README.md", "infra/README.md", "gpu_service/README.md") for line in written(page)
    ]
    assert len(shown_commands) > 5
    assert lint(tmp_path, shown_commands) == []


# What scripts read a thing by, of things that were described in several states.
THING: dict[str, Any] = {
    "name": "projects/acme-docs/subscriptions/page-tasks-bulk",
    "state": "ACTIVE",
    "ackDeadlineSeconds": 600,
    "uniform_bucket_level_access": True,
    "expirationPolicy": {},
    "pushConfig": {"pushEndpoint": "https://x", "oidcToken": {"audience": "https://x"}},
    "deadLetterPolicy": {"maxDeliveryAttempts": 100},
    "labels": {"bucketscribe_applied": "0e957a9bd6e96f5e18ddd004d2851310280fb93e"},
    "metadata": {"labels": {"bucketscribe_applied": "abc"}},
    "status": {"url": "https://y", "conditions": [{"type": "Ready", "status": "True"}, {"type": "x"}]},
    "userLabels": {"bucketscribe": "errors", "bucketscribe_applied": "abc"},
    "config": {"name": "run.googleapis.com"},
    "displayName": "bucketscribe-operator",
    "bindings": [
        {"role": "roles/a", "members": ["user:x", "user:y"]},
        {"role": "roles/b", "members": ["user:x"], "condition": {"title": "bucketscribe", "expression": "e"}},
    ],
}


def test_what_scripts_read_comes_out_of_the_fake_as_it_does_of_the_real_one(
    recorded: list[Call], tmp_path: Path
):
    (tmp_path / "things.json").write_text(json.dumps([THING]))
    asked = {
        tuple(word for word in call.words if word.startswith(("--format=", "--flatten=")))
        for call in recorded
        if any(word.startswith("--format=value") for word in call.words)
    }
    assert len(asked) > 10
    for words in sorted(asked):
        flags: Flags = parse(["run", "services", "describe", *words])[3]
        theirs = real(tmp_path, "meta", "list-from-json", str(tmp_path / "things.json"), *words)
        assert shown([THING], flags) == theirs.removesuffix("\n"), words


@pytest.mark.parametrize(
    "condition",
    [
        "userLabels.bucketscribe:*",
        "userLabels.absent:*",
        'displayName="bucketscribe-operator"',
        'displayName="bucketscribe-operator" AND state="ACTIVE"',
        'displayName="somebody-else" AND state="ACTIVE"',
    ],
)
def test_what_scripts_filter_by_the_fake_filters_as_the_real_one_does(tmp_path: Path, condition: str):
    (tmp_path / "things.json").write_text(json.dumps([THING]))
    file = str(tmp_path / "things.json")
    theirs = real(
        tmp_path, "meta", "list-from-json", file, f"--filter={condition}", "--format=value(displayName)"
    )
    assert bool(theirs.strip()) == matches(THING, condition)
