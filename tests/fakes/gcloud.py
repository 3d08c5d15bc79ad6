"""A Google Cloud project in a folder, behind a `gcloud` that knows the commands our scripts use.

It keeps what the real one would keep and refuses what the real one would refuse: things that are absent, things
that stand already, accounts, topics and images that nobody made yet, services whose API is off. Every call is
written to a journal. What it prints of its things follows the real formats (`test_gcloud_formats` compares).

tests/cloud_shell.py puts a `gcloud` on PATH that asks for `call` here, over a socket: starting a Python for each
of some thousand calls would take minutes.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Thing = dict[str, Any]
Flags = dict[str, list[str]]

PROJECT_NUMBER = "123456789012"
FOREIGN_ACCOUNT = re.compile(r"@(gcp-sa-|gs-project-accounts|.*\.google\.com|example\.com)")

# Which API must be on for a group of commands; those left out need none.
APIS = {
    "artifacts": "artifactregistry",
    "builds": "cloudbuild",
    "eventarc": "eventarc",
    "functions": "cloudfunctions",
    "iam": "iam",
    "monitoring": "monitoring",
    "pubsub": "pubsub",
    "run": "run",
    "scheduler": "cloudscheduler",
    "storage": "storage",
}

GROUPS = (
    "artifacts docker images",
    "artifacts repositories",
    "auth",
    "builds triggers",
    "builds",
    "eventarc triggers",
    "functions",
    "iam service-accounts",
    "monitoring channels",
    "monitoring policies",
    "projects",
    "pubsub subscriptions",
    "pubsub topics",
    "run services",
    "run",
    "scheduler jobs",
    "services",
    "storage buckets",
    "storage",
)

READS = frozenset({"describe", "list", "get-iam-policy", "service-agent"})


class RefusedError(Exception):
    """What gcloud prints before it exits with 1."""


class Project:
    """All that stands in the project: things by group and name, policies by the same key, APIs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "project.json"
        state = json.loads(self._file.read_text())
        self.name: str = state["name"]
        self.things: dict[str, Thing] = state["things"]
        self.policies: dict[str, list[Thing]] = state["policies"]
        self.apis: list[str] = state["apis"]

    def save(self) -> None:
        state = {"name": self.name, "things": self.things, "policies": self.policies, "apis": self.apis}
        self._file.write_text(json.dumps(state, indent=1, sort_keys=True))

    def get(self, group: str, name: str) -> Thing:
        if f"{group}/{name}" not in self.things:
            raise RefusedError(f"NOT_FOUND: Resource not found (resource={name}).")
        return self.things[f"{group}/{name}"]

    def add(self, group: str, name: str, thing: Thing) -> None:
        if f"{group}/{name}" in self.things:
            raise RefusedError(f"ALREADY_EXISTS: {name}")
        self.things[f"{group}/{name}"] = thing

    def drop(self, group: str, name: str) -> None:
        self.get(group, name)
        del self.things[f"{group}/{name}"]
        self.policies.pop(f"{group}/{name}", None)

    def require_account(self, email: str) -> None:
        if not FOREIGN_ACCOUNT.search(email):
            self.get("iam service-accounts", email)


# ---- what a thing looks like when it is described ---------------------------------------------------------


def one(flags: Flags, name: str, default: str = "") -> str:
    return flags.get(name, [default])[-1]


def pairs(text: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in text.split(",") if each)


def seconds(text: str) -> str:
    factor = {"s": 1, "d": 86400}[text[-1]]
    return f"{int(text[:-1]) * factor}s"


def labelled(thing: Thing, flags: Flags, flag: str = "update-labels", key: str = "labels") -> None:
    thing[key] = {**thing.get(key, {}), **pairs(one(flags, flag))}
    for gone in one(flags, "remove-labels").split(","):
        thing[key].pop(gone, None)


def topic(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    return {"name": f"projects/{project.name}/topics/{name}"}


def subscription(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    topic_name = one(flags, "topic") or old["topic"].rsplit("/", 1)[-1]
    project.get("pubsub topics", topic_name)
    project.require_account(one(flags, "push-auth-service-account"))
    thing: Thing = {
        "name": f"projects/{project.name}/subscriptions/{name}",
        "topic": f"projects/{project.name}/topics/{topic_name}",
        "pushConfig": {
            "pushEndpoint": one(flags, "push-endpoint"),
            "oidcToken": {
                "serviceAccountEmail": one(flags, "push-auth-service-account"),
                "audience": one(flags, "push-auth-token-audience"),
            },
        },
        "ackDeadlineSeconds": int(one(flags, "ack-deadline")),
        "retryPolicy": {
            "minimumBackoff": seconds(one(flags, "min-retry-delay")),
            "maximumBackoff": seconds(one(flags, "max-retry-delay")),
        },
        "messageRetentionDuration": seconds(one(flags, "message-retention-duration")),
        "expirationPolicy": {} if one(flags, "expiration-period") == "never" else {"ttl": "2678400s"},
    }
    if dead := one(flags, "dead-letter-topic"):
        project.get("pubsub topics", dead)
        thing["deadLetterPolicy"] = {
            "deadLetterTopic": f"projects/{project.name}/topics/{dead}",
            "maxDeliveryAttempts": int(one(flags, "max-delivery-attempts")),
        }
    return thing


def bucket(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    thing = {"name": name.removeprefix("gs://"), **old}
    if "location" in flags:
        thing["location"] = one(flags, "location").upper()
    if "uniform-bucket-level-access" in flags:
        thing["uniform_bucket_level_access"] = True
    if "public-access-prevention" in flags:
        thing["public_access_prevention"] = "enforced"
    if "soft-delete-duration" in flags:
        keep = seconds(one(flags, "soft-delete-duration")).rstrip("s")
        thing["soft_delete_policy"] = {"retentionDurationSeconds": keep}
    if "lifecycle-file" in flags:
        thing["lifecycle_config"] = json.loads(Path(one(flags, "lifecycle-file")).read_text())
    if "clear-lifecycle" in flags:
        thing.pop("lifecycle_config", None)
    labelled(thing, flags)
    return thing


def function(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    region = one(flags, "region")
    project.require_account(one(flags, "service-account"))
    project.require_account(one(flags, "build-service-account").rsplit("/", 1)[-1])
    project.get("artifacts repositories", one(flags, "docker-repository").rsplit("/", 1)[-1])
    if "trigger-http" not in flags:
        filters = dict(each.split("=", 1) for each in flags["trigger-event-filters"])
        held = project.get("storage buckets", f"gs://{filters['bucket']}")
        if held["location"].lower() != one(flags, "trigger-location"):
            raise RefusedError(f"INVALID_ARGUMENT: the bucket lies in {held['location']}")
        project.require_account(one(flags, "trigger-service-account"))
    url = f"https://{name}-a1b2c3d4e5-ez.a.run.app"
    thing: Thing = {
        "name": f"projects/{project.name}/locations/{region}/functions/{name}",
        "state": "ACTIVE",
        "serviceConfig": {"uri": url, "environmentVariables": Path(one(flags, "env-vars-file")).read_text()},
        "labels": dict(old.get("labels", {})),
    }
    labelled(thing, flags)
    project.things[f"run services/{name}"] = {"status": {"url": url}}
    return thing


def gpu_service(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    project.require_account(one(flags, "service-account"))
    image, digest = one(flags, "image").split("@")
    if not any(
        key.startswith(f"artifacts docker images/{image}:") and thing["image_summary"]["digest"] == digest
        for key, thing in project.things.items()
    ):
        raise RefusedError(f"Image '{image}@{digest}' not found.")
    thing: Thing = {
        "metadata": {"name": name, "labels": dict(old.get("metadata", {}).get("labels", {}))},
        "status": {
            "url": f"https://{name}-a1b2c3d4e5-ez.a.run.app",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    labelled(thing["metadata"], flags)
    return thing


def job(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    project.require_account(one(flags, "oidc-service-account-email"))
    return {
        "name": f"projects/{project.name}/locations/{one(flags, 'location')}/jobs/{name}",
        "schedule": one(flags, "schedule"),
        "timeZone": one(flags, "time-zone"),
        "attemptDeadline": seconds(one(flags, "attempt-deadline")),
        "httpTarget": {
            "uri": one(flags, "uri"),
            "httpMethod": one(flags, "http-method"),
            "oidcToken": {
                "serviceAccountEmail": one(flags, "oidc-service-account-email"),
                "audience": one(flags, "oidc-token-audience"),
            },
        },
    }


def repository(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    thing = {"name": f"projects/{project.name}/locations/{one(flags, 'location')}/repositories/{name}", **old}
    labelled(thing, flags)
    return thing


def eventarc_trigger(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    project.get("run services", one(flags, "destination-run-service"))
    project.require_account(one(flags, "service-account"))
    return {"name": f"projects/{project.name}/locations/{one(flags, 'location')}/triggers/{name}"}


def build_trigger(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    account = one(flags, "service-account")
    project.require_account(account.rsplit("/", 1)[-1])
    return {
        "name": name,
        "filename": one(flags, "build-config"),
        "serviceAccount": account,
        "github": {
            "owner": one(flags, "repo-owner"),
            "name": one(flags, "repo-name"),
            "push": {"branch": one(flags, "branch-pattern")},
        },
    }


def account(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    return {"email": name, "displayName": one(flags, "display-name")}


def policy(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    thing = {**json.loads(Path(one(flags, "policy-from-file")).read_text()), "name": name}
    labels = one(flags, "user-labels") or one(flags, "update-user-labels")
    channels = one(flags, "notification-channels") or one(flags, "set-notification-channels")
    return {**thing, "userLabels": pairs(labels), "notificationChannels": channels.split(",")}


def channel(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    labels = pairs(one(flags, "channel-labels"))
    return {"name": name, "displayName": one(flags, "display-name"), "labels": labels}


MAKERS: dict[str, Callable[[Project, str, Flags, Thing], Thing]] = {
    "artifacts repositories": repository,
    "builds triggers": build_trigger,
    "eventarc triggers": eventarc_trigger,
    "functions": function,
    "iam service-accounts": account,
    "monitoring channels": channel,
    "monitoring policies": policy,
    "pubsub subscriptions": subscription,
    "pubsub topics": topic,
    "run": gpu_service,
    "scheduler jobs": job,
    "storage buckets": bucket,
}


# ---- commands ---------------------------------------------------------------------------------------------


def obey(project: Project, group: str, verb: str, rest: list[str], flags: Flags) -> Any:
    """Do one command and return what it prints of things, None for nothing."""
    api = f"{APIS.get(group.split()[0], '')}.googleapis.com"
    if group.split()[0] in APIS and api not in project.apis:
        raise RefusedError(f"PERMISSION_DENIED: SERVICE_DISABLED: {api} has not been used in this project.")
    if group == "services":
        return services(project, verb, rest)
    if verb.endswith("iam-policy") or verb.endswith("iam-policy-binding"):
        return bind(project, group, verb, rest[0], flags)
    if (group, verb) == ("projects", "describe"):
        return {"projectId": project.name, "projectNumber": PROJECT_NUMBER}
    if (group, verb) == ("storage", "service-agent"):
        return f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"
    if (group, verb) == ("storage", "rm"):
        return project.drop("storage buckets", rest[0])
    if (group, verb) == ("builds", "submit"):
        project.require_account(one(flags, "service-account").rsplit("/", 1)[-1])
        return push_image(project, pairs(one(flags, "substitutions"))["_IMAGE"])
    if (group, verb) == ("auth", "configure-docker"):
        return None
    return handle(project, group, verb, rest, flags)


def handle(project: Project, group: str, verb: str, rest: list[str], flags: Flags) -> Any:
    """Describe, list, make, change or delete a thing of a group."""
    if verb == "list":
        things = [thing for key, thing in project.things.items() if key.startswith(f"{group}/")]
        return [thing for thing in things if matches(thing, one(flags, "filter"))]
    if rest and rest[0] in ("http", "github"):
        rest = rest[1:]
    name = rest[0] if rest else one(flags, "name")
    if group == "iam service-accounts" and verb == "create":
        name = f"{name}@{project.name}.iam.gserviceaccount.com"
    if group.startswith("monitoring") and verb == "create":
        name = f"projects/{project.name}/{group.split()[1]}/{len(project.things)}"
    if verb == "describe":
        return project.get(group, name)
    if verb == "delete":
        return project.drop(group, name)
    if verb == "create":
        return project.add(group, name, MAKERS[group](project, name, flags, {}))
    if verb == "set-cleanup-policies":
        project.get(group, name)["cleanupPolicies"] = json.loads(Path(one(flags, "policy")).read_text())
        return None
    if verb == "update":
        project.things[f"{group}/{name}"] = MAKERS[group](project, name, flags, project.get(group, name))
        return None
    if verb == "deploy":
        kept = "run services" if group == "run" else group
        old = project.things.get(f"{kept}/{name}", {})
        project.things[f"{kept}/{name}"] = MAKERS[group](project, name, flags, old)
        return None
    raise RefusedError(f"Invalid choice: '{verb}'.")


def services(project: Project, verb: str, rest: list[str]) -> Any:
    if verb == "enable":
        project.apis = sorted({*project.apis, *rest})
    return [{"config": {"name": name}} for name in project.apis]


def push_image(project: Project, reference: str) -> None:
    project.get("artifacts repositories", reference.split("/")[2])
    digest = "sha256:" + reference.rsplit("-", 1)[-1].ljust(64, "0")
    project.things[f"artifacts docker images/{reference}"] = {"image_summary": {"digest": digest}}


def bind(project: Project, group: str, verb: str, name: str, flags: Flags) -> Any:
    if group != "projects":
        project.get(group, name)
    bindings = project.policies.setdefault(f"{group}/{name}", [])
    if verb == "get-iam-policy":
        return {"bindings": bindings}
    role, member, title = one(flags, "role"), one(flags, "member"), ""
    if "expression" in one(flags, "condition"):
        title = one(flags, "condition").rsplit("title=", 1)[-1]
    wanted = {"role": role, "members": [member]}
    if title:
        wanted["condition"] = {"title": title, "expression": one(flags, "condition")}
    if verb == "add-iam-policy-binding":
        if member.startswith("serviceAccount:"):
            project.require_account(member.partition(":")[2])
        if wanted not in bindings:
            bindings.append(wanted)
    elif verb == "remove-iam-policy-binding":
        kept = [each for each in bindings if (each["role"], each["members"]) != (role, [member])]
        if len(kept) == len(bindings):
            raise RefusedError("Policy binding with the specified principal, role, and condition not found!")
        project.policies[f"{group}/{name}"] = kept
    return None


# ---- formats ----------------------------------------------------------------------------------------------


def look_up(thing: Any, path: str) -> Any:
    for key in re.findall(r"[^.\[\]]+", path):
        if isinstance(thing, dict):
            thing = thing.get(key)
        elif isinstance(thing, list) and key.isdigit() and int(key) < len(thing):
            thing = thing[int(key)]
        else:
            return None
    return thing


def matches(thing: Thing, condition: str) -> bool:
    """Apply a filter made of `a.b="text"` and `a.b:*` joined by AND."""
    for term in filter(None, condition.split(" AND ")):
        if term.endswith(":*"):
            if look_up(thing, term[:-2]) is None:
                return False
        else:
            path, text = term.split("=", 1)
            if look_up(thing, path) != text.strip('"'):
                return False
    return True


def flattened(things: list[Any], path: str) -> list[Any]:
    """Make one thing of each leaf under `a[].b`: a list of dicts, each with a list b."""
    outer, inner = re.fullmatch(r"(\w+)\[\]\.(\w+)", path).groups()  # type: ignore[union-attr]
    return [
        {**thing, outer: {**each, inner: leaf}}
        for thing in things
        for each in thing.get(outer, [])
        for leaf in each.get(inner, [])
    ]


def shown(printed: Any, flags: Flags) -> str:
    """Render as --format=value(…) asks."""
    if printed is None or one(flags, "format") in ("", "none"):
        return printed if isinstance(printed, str) else ""
    wanted = re.fullmatch(r"value(?:\[separator='(.)'\])?\((.*)\)", one(flags, "format"), re.DOTALL)
    if not wanted:
        raise RefusedError(f"the fake knows no format {one(flags, 'format')}")
    things = printed if isinstance(printed, list) else [printed]
    if "flatten" in flags:
        things = flattened(things, one(flags, "flatten"))
    fields = [field.strip() for field in wanted[2].split(",")]
    lines = [(wanted[1] or "\t").join(text(look_up(thing, field)) for field in fields) for thing in things]
    return "\n".join(lines)


def text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(map(text, value))
    return "" if value is None else str(value)


# ---- one call ---------------------------------------------------------------------------------------------


def parse(words: list[str]) -> tuple[str, str, list[str], Flags]:
    """Split a command line into group, verb, positionals and flags; every flag is --name or --name=value."""
    plain = [word for word in words if not word.startswith("--")]
    flags: Flags = {}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            flags.setdefault(name, []).append(value)
    if plain[0] in ("alpha", "beta"):
        plain = plain[1:]
    group = next(each for each in GROUPS if plain[: len(each.split())] == each.split())
    verb, *rest = plain[len(group.split()) :]
    return group, verb, rest, flags


def files_named(flags: Flags) -> dict[str, str]:
    """Keep what the files say that a command names: they are gone when the test looks."""
    named = [name for name in flags if name.endswith("-file")]
    return {name: Path(one(flags, name)).read_text() for name in named}


def call(folder: Path, words: list[str]) -> tuple[int, str, str]:
    """Obey, write to the journal, and return exit code, output and error output."""
    group, verb, rest, flags = parse(words)
    mutates = verb not in READS
    project = Project(folder)
    entry = {"command": words, "mutates": mutates, "files": files_named(flags)}
    plan = json.loads((folder / "plan.json").read_text())
    journal = folder / "journal.jsonl"
    done = sum(json.loads(line)["mutates"] for line in journal.read_text().splitlines())
    fails = (mutates and done == plan.get("at")) or (plan.get("match") and plan["match"] in " ".join(words))
    code, out, err = 0, "", ""
    try:
        if fails and not plan.get("after"):
            raise RefusedError(plan.get("words", "UNAVAILABLE: the service is away for a moment"))
        out = shown(obey(project, group, verb, rest, flags), flags)
        project.save()
        if fails:
            raise RefusedError("DEADLINE_EXCEEDED: the answer was lost")
    except RefusedError as refusal:
        code, out, err = 1, "", f"ERROR: (gcloud.{'.'.join([*group.split(), verb])}) {refusal}\n"
    with journal.open("a") as lines:
        lines.write(json.dumps({**entry, "code": code}) + "\n")
    return code, f"{out}\n" if out else "", err
