"""What is deployed fits together: settings, times, memory, rights, and what is written of them."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from bucketscribe.settings import PREFIX, Settings
from tests.cloud_shell import Call, CloudShell

ROOT = Path(__file__).parent.parent
INFRA_README = (ROOT / "infra" / "README.md").read_text()
DOORS = ("on_upload", "on_page_task", "on_dead_letter", "sweep")

SETTINGS = {
    "PROJECT": "acme-docs",
    "GITHUB_OWNER": "acme",
    "GITHUB_REPOSITORY": "bucketscribe",
    "ALERT_EMAIL": "night@acme.com",
}


def stand_up(folder: Path, **settings: str) -> CloudShell:
    shell = CloudShell(folder=folder / "cloud", settings={**SETTINGS, **settings})
    done = shell.run("infra/gcp/up.sh")
    assert done.returncode == 0, done.stderr
    return shell


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> CloudShell:
    """A whole project with a pipeline."""
    shell = stand_up(tmp_path_factory.mktemp("agrees"))
    assert shell.run("infra/gcp/build_trigger.sh").returncode == 0
    return shell


def deploys(shell: CloudShell) -> Mapping[str, Call]:
    return {
        call.flag("entry-point"): call
        for call in shell.changes()
        if call.words[:2] == ("functions", "deploy")
    }


def variables(call: Call) -> dict[str, str]:
    """Read an --env-vars-file as YAML reads single-quoted strings."""
    lines = call.files["env-vars-file"].splitlines()
    found = [re.fullmatch(r"(\w+): '(.*)'", line) for line in lines]
    assert all(found), lines
    return {match[1]: match[2].replace("''", "'") for match in found if match}


def settings_of(call: Call) -> Settings:
    return Settings.from_environment(variables(call))


# ---- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", DOORS)
def test_every_setting_is_set_and_none_besides(cloud: CloudShell, door: str):
    assert set(variables(deploys(cloud)[door])) == {PREFIX + each.name.upper() for each in fields(Settings)}


@pytest.mark.parametrize("gpus", ["1", "3", "7", "12"])
def test_the_functions_take_what_is_set_whatever_the_number_of_gpus(tmp_path: Path, gpus: str):
    shell = stand_up(tmp_path, GPUS=gpus)
    found = {door: settings_of(call) for door, call in deploys(shell).items()}
    assert set(found) == set(DOORS)
    worker = found["on_page_task"]
    instances = int(deploys(shell)["on_page_task"].flag("max-instances"))
    assert instances == -(-int(gpus) // 6)
    assert worker.pages_at_gpu * instances <= 32 * int(gpus)
    assert worker.pages_at_gpu * instances > 31 * int(gpus)
    assert worker.pages_waiting == int(deploys(shell)["on_page_task"].flag("concurrency")) <= 1000


def test_with_three_gpus_the_worker_has_the_defaults_of_the_settings(cloud: CloudShell):
    found = settings_of(deploys(cloud)["on_page_task"])
    for each in fields(Settings):
        if each.default is not MISSING:
            assert getattr(found, each.name) == each.default, each.name


def test_doors_differ_only_in_their_size(cloud: CloudShell):
    own = {
        "BUCKETSCRIBE_RENDER_WORKERS",
        "BUCKETSCRIBE_RENDER_MIB",
        "BUCKETSCRIBE_CACHE_MIB",
        "BUCKETSCRIBE_MEMORY_MIB",
    }
    shared = [
        {name: value for name, value in variables(call).items() if name not in own}
        for call in deploys(cloud).values()
    ]
    assert all(each == shared[0] for each in shared)


def test_a_larger_document_gets_a_larger_cache_and_the_memory_for_it(tmp_path: Path):
    shell = stand_up(tmp_path, BUCKETSCRIBE_DOCUMENT_MIB="3000")
    for door, call in deploys(shell).items():
        found = settings_of(call)
        assert found.cache_mib >= 3000, door
        assert call.flag("memory") == f"{found.memory_mib}Mi"
        assert found.memory_mib <= 4096 * int(call.flag("cpu"))


# ---- times and sizes --------------------------------------------------------------------------------------


def test_page_budget_function_time_out_and_ack_deadline_agree(cloud: CloudShell):
    worker = deploys(cloud)["on_page_task"]
    found = settings_of(worker)
    subscriptions = [
        call for call in cloud.changes() if call.words[:3] == ("pubsub", "subscriptions", "create")
    ]
    assert len(subscriptions) == 3
    for call in subscriptions:
        assert float(call.flag("ack-deadline")) == found.ack_deadline_seconds == 600
        assert (call.flag("min-retry-delay"), call.flag("max-retry-delay")) == ("10s", "400s")
        assert call.flag("expiration-period") == "never"
        assert call.flag("push-auth-token-audience") == call.flag("push-endpoint")
    assert found.page_seconds < float(worker.flag("timeout").rstrip("s")) <= found.ack_deadline_seconds
    lanes = [call for call in subscriptions if call.flag("topic") != "page-tasks-dead"]
    assert [call.flag("max-delivery-attempts") for call in lanes] == ["100", "100"]
    assert {call.flag("push-endpoint") for call in lanes} == {
        "https://bucketscribe-on-page-task-a1b2c3d4e5-ez.a.run.app"
    }


def test_messages_outlive_the_days_that_a_page_may_be_parked(cloud: CloudShell):
    found = settings_of(deploys(cloud)["on_dead_letter"])
    kept = {
        thing["messageRetentionDuration"]
        for key, thing in cloud.things.items()
        if "pubsub subscriptions" in key
    }
    assert kept == {f"{found.parked_days * 86400:.0f}s"}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_sized_as_the_readme_says_and_its_settings_know_it(cloud: CloudShell, door: str):
    call = deploys(cloud)[door]
    memory = call.flag("memory").replace("Mi", " MiB")
    row = [
        f"`{door}`",
        call.flag("cpu"),
        memory,
        call.flag("concurrency"),
        call.flag("max-instances"),
        call.flag("timeout").replace("s", " s"),
    ]
    assert f"| {' | '.join(row)} |" in INFRA_README
    assert settings_of(call).memory_mib == int(memory.split()[0]) <= 4096 * int(call.flag("cpu"))


def test_the_gpu_service_reads_as_many_at_once_as_it_is_sent(cloud: CloudShell):
    (deploy,) = [call for call in cloud.changes() if call.words[:2] == ("run", "deploy")]
    given = dict(pair.split("=") for pair in deploy.flag("set-env-vars").split(","))
    assert given["MAX_NUM_SEQS"] == deploy.flag("concurrency") == "36"
    assert int(given["MAX_NUM_QUEUED_REQS"]) > int(given["MAX_NUM_SEQS"])
    read = (ROOT / "gpu_service" / "serve.sh").read_text() + (ROOT / "gpu_service" / "Dockerfile").read_text()
    for name in given:
        assert name in read, name
    found = settings_of(deploys(cloud)["on_page_task"])
    assert found.pages_at_gpu <= int(deploy.flag("max-instances")) * int(deploy.flag("concurrency"))
    assert float(deploy.flag("timeout").rstrip("s")) >= found.page_seconds
    for probe in ("startup-probe", "liveness-probe"):
        fields = dict(pair.split("=") for pair in deploy.flag(probe).split(","))
        assert fields["httpGet.port"] == deploy.flag("port") == "8000"
        assert fields["httpGet.path"] == "/health"
        assert int(fields["timeoutSeconds"]) <= int(fields["periodSeconds"])


# ---- rights -----------------------------------------------------------------------------------------------

PEOPLE = {
    "service-123456789012@gs-project-accounts.iam.gserviceaccount.com": "Cloud Storage's agent",
    "service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com": "Pub/Sub's agent",
}
PLACES = {
    "storage buckets/gs://acme-docs-documents": "input bucket",
    "storage buckets/gs://acme-docs-markdown": "output bucket",
    "projects/acme-docs": "project",
}


def granted(shell: CloudShell) -> set[tuple[str, str, str]]:
    """Identity, role and place of everything granted, in the words of the table."""
    found = set()
    for place, bindings in shell.project["policies"].items():
        for binding in bindings:
            (member,) = binding["members"]
            email = member.removeprefix("serviceAccount:")
            identity = PEOPLE.get(email, email.split("@")[0])
            name = PLACES.get(place, place.split("/")[-1].split("@")[0])
            found.add(
                (
                    identity,
                    binding["role"],
                    f"{name}, if a build's source bucket" if "condition" in binding else name,
                )
            )
    return found


def test_every_role_granted_is_in_the_table_and_the_reverse(cloud: CloudShell):
    rows = re.findall(r"^\| ([^|]+?) \| (roles/\S+) \| ([^|]+?) \| [^|]+ \|$", INFRA_README, re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert granted(cloud) == set(rows)


def test_the_gpu_service_account_may_do_nothing(cloud: CloudShell):
    assert not [identity for identity, *_ in granted(cloud) if identity == "lightonocr-gpu"]


def test_nobody_may_write_to_the_input_bucket_and_nothing_wide_is_granted(cloud: CloudShell):
    roles = {role for _, role, place in granted(cloud) if place == "input bucket"}
    assert roles == {"roles/storage.objectViewer"}
    wide = {
        "roles/owner",
        "roles/editor",
        "roles/viewer",
        "roles/storage.admin",
        "roles/pubsub.admin",
        "roles/run.admin",
    }
    assert not {role for _, role, _ in granted(cloud)} & wide


def test_a_build_reads_its_sources_and_no_document(cloud: CloudShell):
    (binding,) = [each for each in cloud.project["policies"]["projects/acme-docs"] if "condition" in each]
    allowed = re.findall(r"startsWith\('projects/_/buckets/([^']+)/'\)", binding["condition"]["expression"])
    assert allowed == ["gcf-v2-sources-123456789012-europe-west4", "acme-docs_cloudbuild"]


# ---- alerts -----------------------------------------------------------------------------------------------


def test_alerts_are_about_things_that_exist(cloud: CloudShell):
    standing = {key.split("/")[-1] for key in cloud.things}
    policies = [thing for key, thing in cloud.things.items() if key.startswith("monitoring policies/")]
    assert len(policies) == len(list((ROOT / "infra" / "monitoring" / "alerts").glob("*.json"))) == 3
    for policy in policies:
        assert policy["notificationChannels"][0].startswith("projects/acme-docs/")
        filters = [
            next(iter(each.values()))["filter"]
            for each in policy["conditions"]
            for each in [{name: value for name, value in each.items() if name.startswith("condition")}]
        ]
        named = set(re.findall(r'"([a-z]+-[a-z-]+)"', " ".join(filters)))
        assert named <= standing
        if "pubsub_subscription" in " ".join(filters):
            assert named == {"page-tasks-express", "page-tasks-bulk"}
        else:
            (prefix,) = re.findall(r'service_name =~ "\^([a-z-]+)"', " ".join(filters))
            assert sum(name.startswith(prefix) for name in standing) > 3
        assert policy["documentation"]["content"]


# ---- what is written --------------------------------------------------------------------------------------


def test_the_readme_names_every_script():
    for path in (ROOT / "infra" / "gcp").glob("*.sh"):
        assert f"`{path.name}" in INFRA_README or f"gcp/{path.name}" in INFRA_README, path.name


@pytest.mark.parametrize("gpus", ["1", "3", "10", "30", "100"])
def test_the_table_of_numbers_is_what_the_scripts_derive(tmp_path: Path, gpus: str):
    shell = stand_up(tmp_path, GPUS=gpus)
    worker = deploys(shell)["on_page_task"]
    found = settings_of(worker)
    table = [line.strip("|").split("|") for line in INFRA_README.splitlines() if line.startswith("| ")]
    header = next(row for row in table if "GPUS=1" in row[1])
    column = [cell.strip() for cell in header].index(f"GPUS={gpus}")
    cells = [row[column].strip() for row in table[table.index(header) + 1 : table.index(header) + 5]]
    assert cells == [
        worker.flag("max-instances"),
        str(found.pages_at_gpu),
        str(found.pages_waiting),
        f"{gpus}, 36",
    ]
