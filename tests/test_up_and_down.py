"""up.sh and its scripts in every state of a project: empty, whole, halfway, changed, failing; and down.sh."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cloud_shell import GCP, CloudShell

UP, DOWN = "infra/gcp/up.sh", "infra/gcp/down.sh"

# The scripts of one kind, in the order of up.sh.
KINDS: tuple[tuple[str, ...], ...] = (
    ("infra/gcp/apis.sh",),
    ("infra/gcp/service_accounts.sh",),
    ("infra/gcp/registry.sh",),
    ("infra/gcp/buckets.sh",),
    ("infra/gcp/topics.sh",),
    ("gpu_service/deploy.sh",),
    ("infra/gcp/functions.sh", "workers"),
    ("infra/gcp/subscriptions.sh",),
    ("infra/gcp/functions.sh", "fan-out"),
    ("infra/gcp/scheduler.sh",),
    ("infra/gcp/monitoring.sh",),
)

Make = Callable[..., CloudShell]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> CloudShell:
    """A project in which up.sh has run once. Not to be changed: copy it."""
    shell = CloudShell(folder=tmp_path_factory.mktemp("built") / "cloud")
    done = shell.run(UP)
    assert done.returncode == 0, done.stderr
    return shell


@pytest.fixture
def whole(built: CloudShell, tmp_path: Path) -> Make:
    """Make a shell on a whole project, with settings changed since."""

    def make(**settings: str) -> CloudShell:
        shell = built.copy(tmp_path / "cloud")
        shell.settings.update(settings)
        return shell

    return make


@pytest.fixture
def empty(tmp_path: Path) -> CloudShell:
    return CloudShell(folder=tmp_path / "cloud")


def kinds(shell: CloudShell) -> list[str]:
    """What was changed, in order, without names and flags."""
    return [" ".join(word for word in call.words[:4] if "/" not in word) for call in shell.changes()]


def first(shell: CloudShell, *words: str) -> int:
    """The place of the first change whose command begins so."""
    return next(at for at, call in enumerate(shell.changes()) if call.words[: len(words)] == words)


# ---- an empty project -------------------------------------------------------------------------------------


def test_an_empty_project_ends_with_everything_in_it(built: CloudShell):
    standing = {key.split("/")[0] for key in built.things}
    assert standing == {
        "artifacts repositories",
        "artifacts tags",
        "functions",
        "iam service-accounts",
        "monitoring policies",
        "pubsub subscriptions",
        "pubsub topics",
        "run services",
        "scheduler jobs",
        "services identity",
        "storage buckets",
    }
    assert sum(key.startswith("functions/") for key in built.things) == 4
    assert all(call.code == 0 for call in built.changes())


def test_nothing_is_made_or_granted_twice(built: CloudShell):
    commands = [str(call) for call in built.changes()]
    assert len(commands) == len(set(commands))


def test_workers_and_subscriptions_stand_before_what_sends_them_messages(built: CloudShell):
    fan_out = first(built, "functions", "deploy", "bucketscribe-on-upload")
    for worker in ("on-page-task", "on-dead-letter", "sweep"):
        assert first(built, "functions", "deploy", f"bucketscribe-{worker}") < fan_out
    for subscription in ("page-tasks-express", "page-tasks-bulk", "page-tasks-dead"):
        assert first(built, "pubsub", "subscriptions", "create", subscription) < fan_out


def test_a_service_is_deployed_by_digest_closed_to_strangers_and_billed_only_while_it_lives(
    built: CloudShell,
):
    (deploy,) = [call for call in built.changes() if call.words[:2] == ("run", "deploy")]
    assert re.search(r"@sha256:[0-9a-f]{64}$", deploy.flag("image"))
    assert "--no-allow-unauthenticated" in deploy.words
    assert "--no-gpu-zonal-redundancy" in deploy.words
    assert deploy.flag("min-instances") == "0"
    assert deploy.flag("max-instances") == "3"
    assert (deploy.flag("cpu"), deploy.flag("memory")) == ("8", "32Gi")


def test_every_function_refuses_strangers_and_runs_as_its_own_account(built: CloudShell):
    deploys = [call for call in built.changes() if call.words[:2] == ("functions", "deploy")]
    assert len({call.flag("service-account") for call in deploys}) == len(deploys) == 4
    for call in deploys:
        assert "--no-allow-unauthenticated" in call.words
        assert call.flag("service-account").startswith(call.words[2])
        assert call.flag("entry-point").replace("_", "-") == call.words[2].removeprefix("bucketscribe-")


def test_the_upload_function_is_tried_again_when_it_fails(built: CloudShell):
    (deploy,) = [
        call for call in built.changes() if call.words[:3:2] == ("functions", "bucketscribe-on-upload")
    ]
    assert "--retry" in deploy.words
    assert deploy.flag("timeout") == "540s"


def test_the_scripts_run_one_by_one_make_the_same_project(built: CloudShell, empty: CloudShell):
    for script, *arguments in KINDS:
        done = empty.run(script, *arguments)
        assert done.returncode == 0, done.stderr
    assert empty.project == built.project


# ---- a second run -----------------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(whole: Make):
    shell = whole()
    assert shell.run(UP).returncode == 0
    assert shell.changes() == []


@pytest.mark.parametrize("script", KINDS, ids="-".join)
def test_each_script_runs_alone_and_leaves_alone_what_is_as_it_should_be(
    whole: Make, script: tuple[str, ...]
):
    shell = whole()
    done = shell.run(*script)
    assert done.returncode == 0, done.stderr
    assert shell.calls()
    assert shell.changes() == []


FUNCTIONS = ["functions deploy bucketscribe-on-page-task", "functions deploy bucketscribe-on-dead-letter"]
FUNCTIONS += ["functions deploy bucketscribe-sweep", "functions deploy bucketscribe-on-upload"]

CHANGED = [
    ({"SWEEP_SCHEDULE": "0 * * * *"}, ["scheduler jobs update http"]),
    ({"PAGES_DAYS": "30"}, ["storage buckets update"]),
    ({"GPU_VCPU": "4"}, ["run deploy lightonocr"]),
    ({"GPUS": "1"}, ["run deploy lightonocr", *FUNCTIONS]),
    ({"BUCKETSCRIBE_EXPRESS_PAGES": "5"}, FUNCTIONS),
    ({"BUCKETSCRIBE_RETENTION": "follow"}, [*FUNCTIONS, "eventarc triggers create bucketscribe-on-deleted"]),
    ({"PROFILE": "lightonocr-3-1b"}, ["beta builds submit", "run deploy lightonocr", *FUNCTIONS]),
    (
        {"ALERT_EMAIL": "night@acme.com"},
        ["beta monitoring channels create", *["alpha monitoring policies update"] * 3],
    ),
]


@pytest.mark.parametrize(("settings", "changed"), CHANGED, ids=" ".join)
def test_a_changed_setting_is_applied_to_what_it_is_about_and_to_nothing_else(
    whole: Make, settings: dict[str, str], changed: list[str]
):
    shell = whole(**settings)
    assert shell.run(UP).returncode == 0
    done = [
        next((each for each in changed if str(call).startswith(each)), str(call)) for call in shell.changes()
    ]
    assert done == changed
    shell.forget_calls()
    assert shell.run(UP).returncode == 0
    assert shell.changes() == []


def test_a_setting_taken_back_is_taken_back_in_the_project(whole: Make, built: CloudShell):
    shell = whole(PAGES_DAYS="30", BUCKETSCRIBE_RETENTION="follow")
    assert shell.run(UP).returncode == 0
    assert "eventarc triggers/bucketscribe-on-deleted" in shell.things
    assert "lifecycle_config" in shell.things["storage buckets/gs://acme-docs-markdown"]
    shell.settings = dict(built.settings)
    assert shell.run(UP).returncode == 0
    assert shell.project == built.project


DRIFT = [
    (
        "pubsub subscriptions/page-tasks-bulk",
        ("ackDeadlineSeconds", 10),
        "pubsub subscriptions update page-tasks-bulk",
    ),
    (
        "pubsub subscriptions/page-tasks-dead",
        ("expirationPolicy", {"ttl": "2678400s"}),
        "pubsub subscriptions update page-tasks-dead",
    ),
    (
        "storage buckets/gs://acme-docs-markdown",
        ("public_access_prevention", "inherited"),
        "storage buckets update gs://acme-docs-markdown",
    ),
    (
        "scheduler jobs/bucketscribe-sweep",
        ("timeZone", "Asia/Tokyo"),
        "scheduler jobs update http bucketscribe-sweep",
    ),
    ("functions/bucketscribe-sweep", ("state", "FAILED"), "functions deploy bucketscribe-sweep"),
]


@pytest.mark.parametrize(("key", "change", "mended"), DRIFT, ids=lambda value: str(value)[:40])
def test_what_somebody_changed_by_hand_is_mended(
    whole: Make, built: CloudShell, key: str, change: tuple[str, object], mended: str
):
    shell = whole()
    drift(shell, key, **dict([change]))
    assert shell.run(UP).returncode == 0
    assert [str(call).startswith(mended) for call in shell.changes()] == [True]
    assert shell.project == built.project


def drift(shell: CloudShell, key: str, **changes: object) -> None:
    """Change a thing as somebody would in the console."""
    project = json.loads(json.dumps(shell.project))
    project["things"][key].update(changes)
    (shell.folder / "project.json").write_text(json.dumps(project))


MARKDOWN = "storage buckets/gs://acme-docs-markdown"
OWN_RULES = {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 3650}}]}


def test_a_bucket_with_rules_and_a_soft_delete_of_its_own_keeps_them(whole: Make):
    shell = whole()
    longer = {"retentionDurationSeconds": "7776000"}
    drift(shell, MARKDOWN, lifecycle_config=OWN_RULES, soft_delete_policy=longer)
    assert shell.run(UP).returncode == 0
    assert shell.things[MARKDOWN]["lifecycle_config"] == OWN_RULES
    assert shell.things[MARKDOWN]["soft_delete_policy"] == longer
    assert shell.changes() == []


def test_rules_of_others_are_never_replaced_by_ours(whole: Make):
    shell = whole(PAGES_DAYS="30")
    drift(shell, MARKDOWN, lifecycle_config=OWN_RULES)
    refused = shell.run("infra/gcp/buckets.sh")
    assert refused.returncode == 1
    assert "has lifecycle rules of its own" in refused.stderr
    assert shell.things[MARKDOWN]["lifecycle_config"] == OWN_RULES


def test_a_bucket_whose_objects_have_access_lists_is_left_to_its_owner(whole: Make):
    shell = whole()
    drift(shell, MARKDOWN, uniform_bucket_level_access=False)
    refused = shell.run("infra/gcp/buckets.sh")
    assert refused.returncode == 1
    assert "update gs://acme-docs-markdown --uniform-bucket-level-access" in refused.stderr
    assert shell.changes() == []


def test_a_subscription_to_a_topic_that_was_deleted_is_made_anew(whole: Make, built: CloudShell):
    shell = whole()
    drift(shell, "pubsub subscriptions/page-tasks-bulk", topic="_deleted-topic_")
    refused = shell.run("infra/gcp/functions.sh", "fan-out")
    assert refused.returncode == 1
    assert "run infra/gcp/subscriptions.sh" in refused.stderr
    assert shell.run(UP).returncode == 0
    assert shell.project == built.project


def test_another_input_bucket_has_its_deletions_followed(whole: Make):
    shell = whole(BUCKETSCRIBE_RETENTION="follow")
    assert shell.run(UP).returncode == 0
    shell.settings["INPUT_BUCKET"] = "acme-other"
    assert shell.run(UP).returncode == 0
    filters = shell.things["eventarc triggers/bucketscribe-on-deleted"]["eventFilters"]
    assert "bucket=acme-other" in filters


def test_what_exists_is_deployed_without_a_word_on_who_may_call_it(whole: Make):
    """On an existing function gcloud would set its policy, which a pipeline's account may not."""
    shell = whole(BUCKETSCRIBE_EXPRESS_PAGES="5", GPU_VCPU="4")
    assert shell.run(UP).returncode == 0
    deploys = [call for call in shell.changes() if "deploy" in call.words]
    assert len(deploys) == 5
    for call in deploys:
        assert not [word for word in call.words if "unauthenticated" in word]


def test_existing_buckets_somewhere_else_are_refused_until_the_setting_says_where(empty: CloudShell):
    assert empty.run("infra/gcp/apis.sh").returncode == 0
    assert empty.run("infra/gcp/service_accounts.sh").returncode == 0
    own = ("--location=EU", "--uniform-bucket-level-access")
    for name in ("documents", "markdown"):
        made = empty.run("gcloud", "storage", "buckets", "create", f"gs://acme-docs-{name}", *own)
        assert made.returncode == 0
    refused = empty.run("infra/gcp/buckets.sh")
    assert refused.returncode == 1
    assert "set BUCKET_LOCATION=eu" in refused.stderr
    empty.settings["BUCKET_LOCATION"] = "EU"
    done = empty.run(UP)
    assert done.returncode == 0, done.stderr


# ---- failures ---------------------------------------------------------------------------------------------

# Every tenth of the way, and the last step.
PLACES = [0, 4, 11, 19, 26, 34, 43, 47, 53, 58, 66]


@pytest.mark.parametrize("after", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("at", PLACES)
def test_up_stopped_anywhere_goes_on_from_there(empty: CloudShell, built: CloudShell, at: int, after: bool):
    empty.plan(at=at, after=after)
    stopped = empty.run(UP)
    assert stopped.returncode == 1
    assert "run up.sh again" in stopped.stderr
    assert len(empty.changes()) == at + 1
    empty.plan()
    again = empty.run(UP)
    assert again.returncode == 0, again.stderr
    assert empty.project == built.project
    done = [str(call) for call in empty.changes() if call.code == 0 and "identity create" not in str(call)]
    assert len(done) == len(set(done))


def test_places_to_stop_at_reach_to_the_end(built: CloudShell):
    assert PLACES[-1] == len(built.changes()) - 1


def test_a_refused_look_is_no_absence(whole: Make):
    shell = whole()
    shell.plan(match="topics describe page-tasks-bulk", words="PERMISSION_DENIED: User not authorized")
    stopped = shell.run(UP)
    assert stopped.returncode == 1
    assert "PERMISSION_DENIED" in stopped.stderr
    assert "looking at it failed: gcloud pubsub topics describe page-tasks-bulk" in stopped.stderr
    assert shell.changes() == []


def test_a_grant_that_never_succeeds_says_whose_right_is_lacking(empty: CloudShell):
    assert empty.run("infra/gcp/apis.sh").returncode == 0
    empty.plan(match="add-iam-policy-binding", words="PERMISSION_DENIED: setIamPolicy")
    stopped = empty.run("infra/gcp/service_accounts.sh")
    assert stopped.returncode == 1
    assert "PERMISSION_DENIED: setIamPolicy" in stopped.stderr
    assert "You need the rights of an owner" in stopped.stderr
    assert sum("binding" in str(call) for call in empty.changes()) == 1


def test_an_account_that_is_not_known_yet_is_waited_for(empty: CloudShell):
    assert empty.run("infra/gcp/apis.sh").returncode == 0
    words = "INVALID_ARGUMENT: Service account x does not exist."
    empty.plan(match="add-iam-policy-binding", words=words, times=3)
    done = empty.run("infra/gcp/service_accounts.sh")
    assert done.returncode == 0, done.stderr
    assert sum("binding" in str(call) and call.code == 1 for call in empty.changes()) == 3


def test_an_api_that_was_just_switched_on_is_waited_for(whole: Make):
    shell = whole()
    shell.plan(match="topics describe", words="PERMISSION_DENIED: SERVICE_DISABLED: pubsub", times=3)
    assert shell.run("infra/gcp/topics.sh").returncode == 0
    assert shell.changes() == []


@pytest.mark.parametrize(
    "words",
    [
        "Failed to load credential file: [/nope.json].  File /nope.json was not found.",
        "Your default credentials were not found.",
        "There was a problem refreshing your current auth tokens: Certificate for key id 1 not found.",
    ],
)
def test_a_lost_login_is_no_absence(whole: Make, built: CloudShell, words: str):
    shell = whole()
    for script in ("infra/gcp/topics.sh", DOWN):
        shell.plan(match="describe", words=words)
        stopped = shell.run(script, *(["--yes"] if script == DOWN else []))
        assert stopped.returncode == 1
        assert words in stopped.stderr
    assert shell.project == built.project


def test_a_project_that_does_not_exist_is_not_found_to_be_empty(whole: Make):
    shell = whole()
    shell.plan(match="projects describe", words="NOT_FOUND: Project not found or deleted")
    stopped = shell.run(DOWN, "--yes")
    assert stopped.returncode == 1
    assert "there is no project acme-docs" in stopped.stderr
    assert shell.changes() == []


def test_an_alert_is_never_made_without_the_channel_that_was_wanted(whole: Make):
    shell = whole(ALERT_EMAIL="night@acme.com")
    shell.plan(match="channels create", after=True, words="DEADLINE_EXCEEDED: the answer was lost")
    assert shell.run("infra/gcp/monitoring.sh").returncode == 1
    shell.plan()
    assert shell.run("infra/gcp/monitoring.sh").returncode == 0
    policies = [thing for key, thing in shell.things.items() if key.startswith("monitoring policies/")]
    assert [len(policy["notificationChannels"]) for policy in policies] == [1, 1, 1]
    assert sum(key.startswith("monitoring channels/") for key in shell.things) == 1


def test_another_address_takes_the_place_of_the_old_one(whole: Make):
    shell = whole(ALERT_EMAIL="night@acme.com")
    assert shell.run("infra/gcp/monitoring.sh").returncode == 0
    shell.settings["ALERT_EMAIL"] = "day@acme.com"
    assert shell.run("infra/gcp/monitoring.sh").returncode == 0
    (channel,) = [thing for key, thing in shell.things.items() if key.startswith("monitoring channels/")]
    assert channel["labels"]["email_address"] == "day@acme.com"
    policies = [thing for key, thing in shell.things.items() if key.startswith("monitoring policies/")]
    assert {name for policy in policies for name in policy["notificationChannels"]} == {channel["name"]}


def test_on_upload_is_not_deployed_while_a_subscription_is_missing(whole: Make):
    shell = whole(BUCKETSCRIBE_EXPRESS_PAGES="7")
    gone = shell.run("gcloud", "pubsub", "subscriptions", "delete", "page-tasks-dead")
    assert gone.returncode == 0
    shell.forget_calls()
    refused = shell.run("infra/gcp/functions.sh", "fan-out")
    assert refused.returncode == 1
    assert "run infra/gcp/subscriptions.sh" in refused.stderr
    assert shell.changes() == []


# ---- dry runs ---------------------------------------------------------------------------------------------


def test_a_dry_run_in_an_empty_project_shows_the_way_and_changes_nothing(
    empty: CloudShell, built: CloudShell
):
    shown = empty.run(UP, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert empty.changes() == []
    lines = [line for line in shown.stdout.splitlines() if line.startswith("  + gcloud ")]
    verbs = [re.sub(r"^  \+ ", "", line).removesuffix(" \\").split(" --")[0] for line in lines]
    real = [f"gcloud {' '.join(word for word in call.words if word[:2] != '--')}" for call in built.changes()]
    # What is made by one script and granted on by the next is shown where it would be made first.
    assert list(dict.fromkeys(verbs)) == list(dict.fromkeys(real))


@pytest.mark.parametrize("script", [UP, DOWN, "infra/gcp/build_trigger.sh"])
def test_a_dry_run_in_a_whole_project_changes_nothing(whole: Make, script: str):
    shell = whole(GPUS="2", GITHUB_OWNER="acme", GITHUB_REPOSITORY="bucketscribe")
    shown = shell.run(script, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "  + gcloud " in shown.stdout
    assert shell.changes() == []


# ---- an OCR service somewhere else ------------------------------------------------------------------------


def test_with_an_ocr_url_there_is_no_gpu_service_and_the_functions_read_there(tmp_path: Path):
    settings = {"PROJECT": "acme-docs", "OCR_URL": "https://ocr.elsewhere.example"}
    shell = CloudShell(folder=tmp_path / "cloud", settings=settings)
    assert shell.run(UP).returncode == 0
    assert not {key for key in shell.things if "lightonocr" in key}
    deploys = [call for call in shell.changes() if call.words[:2] == ("functions", "deploy")]
    assert len(deploys) == 4
    for call in deploys:
        assert "BUCKETSCRIBE_OCR_URL: 'https://ocr.elsewhere.example'" in call.files["env-vars-file"]


# ---- settings ---------------------------------------------------------------------------------------------

WRONG = [
    ({}, "set PROJECT in"),
    ({"PROJECT": ""}, "set PROJECT in"),
    ({"PROJECT": "Not A Project"}, "set PROJECT in"),
    ({"PROJECT": "acme-docs", "GPUZ": "3"}, "sets GPUZ, which nothing reads"),
    ({"PROJECT": "acme-docs", "GPUS": "0"}, "set GPUS in"),
    ({"PROJECT": "acme-docs", "GPU_VCPU": "16"}, "set GPU_VCPU in"),
    (
        {"PROJECT": "acme-docs", "OCR_URL": "http://plain.example"},
        "'http://plain.example' does not look like",
    ),
    ({"PROJECT": "acme-docs", "PROFILE": "gpt"}, "gpu_service/profiles/gpt.env"),
    ({"PROJECT": "acme-docs", "PAGES_DAYS": "14"}, "more than twice BUCKETSCRIBE_PARKED_DAYS"),
    ({"PROJECT": "acme-docs", "INPUT_BUCKET": "same", "OUTPUT_BUCKET": "same"}, "must differ"),
    ({"PROJECT": "acme-docs", "what is this": "x"}, "is no NAME=value"),
]


@pytest.mark.parametrize(("settings", "words"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_setting_is_named_before_anything_is_changed(
    tmp_path: Path, settings: dict[str, str], words: str
):
    shell = CloudShell(folder=tmp_path / "cloud")
    shell.settings = settings
    script = {"PROFILE": "gpu_service/deploy.sh", "PAGES_DAYS": "infra/gcp/buckets.sh"}
    which = next((script[name] for name in settings if name in script), "infra/gcp/buckets.sh")
    stopped = shell.run(which)
    assert stopped.returncode == 1
    assert words in stopped.stderr
    assert shell.changes() == []


def test_settings_are_text_and_never_run(tmp_path: Path):
    shell = CloudShell(folder=tmp_path / "cloud")
    shell.settings["BUCKETSCRIBE_INCLUDE"] = f'$(touch {tmp_path}/run),it\'s "quoted"'
    shown = shell.run(UP)
    assert shown.returncode == 0, shown.stderr
    assert not (tmp_path / "run").exists()
    deploy = next(call for call in shell.changes() if call.words[:2] == ("functions", "deploy"))
    expected = f"BUCKETSCRIBE_INCLUDE: '$(touch {tmp_path}/run),it''s \"quoted\"'\n"
    assert expected in deploy.files["env-vars-file"]


def test_the_environment_of_the_shell_changes_nothing(whole: Make):
    shell = whole()
    left_over = {"GPUS": "9", "BUCKETSCRIBE_EXPRESS_PAGES": "1", "REGION": "mars", "PROJECT": "other"}
    assert shell.run(UP, **left_over).returncode == 0
    assert shell.changes() == []


def test_a_pipeline_of_another_project_is_refused(whole: Make):
    shell = whole(GPUS="2")
    refused = shell.run("infra/gcp/functions.sh", EXPECTED_PROJECT="acme-staging")
    assert refused.returncode == 1
    assert "this runs in acme-staging" in refused.stderr
    assert shell.calls() == []


def test_the_example_names_every_setting_with_its_default(tmp_path: Path):
    text = (GCP.parents[1] / "bucketscribe.env.example").read_text()
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", text, re.MULTILINE))
    declared = re.findall(
        r"^setting (\w+)(?: (?:'([^']*)'|\"([^\"]*)\"|([^' \"]\S*)))?",
        (GCP / "env.sh").read_text(),
        re.MULTILINE,
    )
    assert list(shown)
    assert set(shown) == {name for name, *_ in declared}
    for name, quoted, doubly, plain in declared:
        default = quoted or plain or doubly
        default = default.replace("$PROJECT", "my-project").replace("$REGION", "europe-west4")
        if name not in {"PROJECT", "OCR_URL"}:
            assert shown[name] == default, name


# ---- down -------------------------------------------------------------------------------------------------


def test_down_asks_and_does_nothing_without_the_right_answer(whole: Make, built: CloudShell):
    shell = whole()
    for answer in ("", "yes\n", "acme\n"):
        refused = shell.run(DOWN, answer=answer)
        assert refused.returncode == 1
        assert "nothing was removed" in refused.stderr
    assert shell.project == built.project


def test_down_removes_what_up_made_and_keeps_the_buckets(tmp_path: Path):
    settings = {
        "PROJECT": "acme-docs",
        "BUCKETSCRIBE_RETENTION": "follow",
        "ALERT_EMAIL": "night@acme.com",
        "GITHUB_OWNER": "acme",
        "GITHUB_REPOSITORY": "bucketscribe",
    }
    shell = CloudShell(folder=tmp_path / "cloud", settings=settings)
    assert shell.run(UP).returncode == 0
    assert shell.run("infra/gcp/build_trigger.sh").returncode == 0
    shell.forget_calls()
    done = shell.run(DOWN, answer="acme-docs\n")
    assert done.returncode == 0, done.stderr
    # The fake keeps what the real one removes with a function or a repository, and what is Google's own.
    others = ("artifacts tags", "run services/bucketscribe", "services identity")
    left = {key for key in shell.things if not key.startswith(others)}
    assert left == {"storage buckets/gs://acme-docs-documents", "storage buckets/gs://acme-docs-markdown"}
    on_project = {each["role"] for each in shell.project["policies"]["projects/acme-docs"]}
    assert on_project == {"roles/pubsub.publisher"}
    assert first(shell, "functions", "delete", "bucketscribe-on-upload") < first(shell, "pubsub", "topics")


def test_down_takes_the_buckets_only_when_told_and_a_second_time_finds_nothing(whole: Make):
    shell = whole()
    assert shell.run(DOWN, "--yes", "--with-buckets").returncode == 0
    assert not {key for key in shell.things if key.startswith("storage")}
    shell.forget_calls()
    assert shell.run(DOWN, "--yes", "--with-buckets").returncode == 0
    assert shell.changes() == []


def test_up_after_down_stands_again(whole: Make, built: CloudShell):
    shell = whole()
    assert shell.run(DOWN, "--yes").returncode == 0
    done = shell.run(UP)
    assert done.returncode == 0, done.stderr
    assert set(shell.things) == set(built.things)


def test_down_in_a_project_where_nothing_ever_stood_finds_nothing(empty: CloudShell):
    done = empty.run(DOWN, "--yes", "--with-buckets")
    assert done.returncode == 0, done.stderr
    assert empty.changes() == []


# ---- every script -----------------------------------------------------------------------------------------

SCRIPTS = sorted(
    str(path.relative_to(GCP.parents[1]))
    for path in [*GCP.glob("*.sh"), GCP.parents[1] / "gpu_service" / "deploy.sh"]
    if path.name not in {"lib.sh", "env.sh"}
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_teaches_its_use_and_refuses_what_it_does_not_know(empty: CloudShell, script: str):
    helped = empty.run(script, "--help")
    assert helped.returncode == 0
    assert helped.stdout.startswith(f"usage: {script}")
    if "MEMBER" not in helped.stdout:
        refused = empty.run(script, "--frobnicate")
        assert refused.returncode in (1, 2)
        assert "frobnicate" in refused.stderr
    assert empty.changes() == []
