"""A `gcloud` that knows the commands our scripts use, in front of a project in a folder.

It keeps what the real one would keep and refuses what the real one would refuse: things that are absent or
stand already, accounts, topics and images that nobody made yet, services whose API is off. Every call is
written to a journal. What it prints follows the real formats; tests/test_gcloud.py compares the two.

tests/cloud_shell.py puts a `gcloud` on PATH that asks for `call` here, over a socket: to start a Python for
each of some thousand calls would take minutes.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.project import MAKERS, Flags, Project, RefusedError, Thing, one, pairs

PROJECT_NUMBER = "123456789012"
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
    "artifacts repositories",
    "artifacts tags",
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
    "services identity",
    "services",
    "storage buckets",
    "storage",
)

READS = frozenset(
    {"describe", "list", "get-iam-policy", "service-agent", "print-identity-token", "configure-docker"}
)


# ---- commands ---------------------------------------------------------------------------------------------


def obey(project: Project, group: str, verb: str, rest: list[str], flags: Flags) -> Any:
    """Do one command and return what it prints of things, None for nothing."""
    service = group.split(maxsplit=1)[0]
    if service in APIS and f"{APIS[service]}.googleapis.com" not in project.apis:
        raise RefusedError(
            f"PERMISSION_DENIED: SERVICE_DISABLED: {APIS[service]} has not been used in this project."
        )
    if (group, verb) in OWN_WAYS:
        return OWN_WAYS[group, verb](project, group, rest, flags)
    if verb not in WAYS:
        raise RefusedError(f"Invalid choice: '{verb}'.")
    return WAYS[verb](project, group, rest, flags)


def name_of(project: Project, group: str, rest: list[str], flags: Flags) -> str:
    """Tell by which name a thing is kept: some commands have a word more, some give the name in a flag."""
    return next((word for word in rest if word not in ("http", "github")), one(flags, "name"))


def describe(project: Project, group: str, rest: list[str], flags: Flags) -> Thing:
    return project.get(group, name_of(project, group, rest, flags))


def listing(project: Project, group: str, rest: list[str], flags: Flags) -> list[Thing]:
    if repository := one(flags, "repository"):
        project.get("artifacts repositories", repository)
    things = [thing for key, thing in project.things.items() if key.startswith(f"{group}/")]
    return [thing for thing in things if matches(thing, one(flags, "filter"))]


def delete(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    project.drop(group, name_of(project, group, rest, flags))


def create(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    name = name_of(project, group, rest, flags)
    if group == "iam service-accounts":
        name = f"{name}@{project.name}.iam.gserviceaccount.com"
    if group.startswith("monitoring"):
        name = f"projects/{project.name}/{group.split()[1]}/{len(project.things)}"
    project.add(group, name, MAKERS[group](project, name, flags, {}))


def update(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    name = name_of(project, group, rest, flags)
    project.things[f"{group}/{name}"] = MAKERS[group](project, name, flags, project.get(group, name))


def deploy(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    key = f"{'run services' if group == 'run' else group}/{rest[0]}"
    project.things[key] = MAKERS[group](project, rest[0], flags, project.things.get(key, {}))


def set_cleanup_policies(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    project.get(group, rest[0])["cleanupPolicies"] = json.loads(Path(one(flags, "policy")).read_text())


def describe_project(project: Project, group: str, rest: list[str], flags: Flags) -> Thing:
    return {"projectId": project.name, "projectNumber": PROJECT_NUMBER}


def list_services(project: Project, group: str, rest: list[str], flags: Flags) -> list[Thing]:
    return [{"config": {"name": name}} for name in project.apis]


def enable_services(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    project.apis = sorted({*project.apis, *rest})


def storage_agent(project: Project, group: str, rest: list[str], flags: Flags) -> str:
    return f"service-{PROJECT_NUMBER}@gs-project-accounts.iam.gserviceaccount.com"


def remove_bucket(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    project.drop("storage buckets", rest[0])


def submit_build(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    """Build an image and push it: what its digest is made of does not matter, only that it has one."""
    project.require_account(one(flags, "service-account").rsplit("/", 1)[-1])
    _, _, repository, image = pairs(one(flags, "substitutions"))["_IMAGE"].split("/")
    package, tag = image.split(":")
    at = f"{project.get('artifacts repositories', repository)['name']}/packages/{package}"
    digest = "sha256:" + tag.rsplit("-", 1)[-1].ljust(64, "0")
    project.things[f"artifacts tags/{tag}"] = {
        "name": f"{at}/tags/{tag}",
        "version": f"{at}/versions/{digest}",
    }


def make_identity(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    project.things[f"services identity/{one(flags, 'service').split('.')[0]}"] = {
        "name": one(flags, "service")
    }


def print_identity_token(project: Project, group: str, rest: list[str], flags: Flags) -> str:
    return f"identity-token-of-{project.name}"


def configure_docker(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    return None


def bindings_of(project: Project, group: str, rest: list[str]) -> list[Thing]:
    if group != "projects":
        project.get(group, rest[0])
    return project.policies.setdefault(f"{group}/{rest[0]}", [])


def get_policy(project: Project, group: str, rest: list[str], flags: Flags) -> Thing:
    return {"bindings": bindings_of(project, group, rest)}


def add_binding(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    bindings = bindings_of(project, group, rest)
    member, condition = one(flags, "member"), one(flags, "condition")
    if member.startswith("serviceAccount:"):
        project.require_account(member.partition(":")[2])
    wanted: Thing = {"role": one(flags, "role"), "members": [member]}
    if "expression" in condition:
        wanted["condition"] = {"title": condition.rsplit("title=", 1)[-1], "expression": condition}
    if wanted not in bindings:
        bindings.append(wanted)


def remove_binding(project: Project, group: str, rest: list[str], flags: Flags) -> None:
    bindings = bindings_of(project, group, rest)
    gone = (one(flags, "role"), [one(flags, "member")])
    kept = [each for each in bindings if (each["role"], each["members"]) != gone]
    if len(kept) == len(bindings):
        raise RefusedError("Policy binding with the specified principal, role, and condition not found!")
    project.policies[f"{group}/{rest[0]}"] = kept


Way = Callable[[Project, str, list[str], Flags], Any]

WAYS: dict[str, Way] = {
    "add-iam-policy-binding": add_binding,
    "create": create,
    "delete": delete,
    "deploy": deploy,
    "describe": describe,
    "get-iam-policy": get_policy,
    "list": listing,
    "remove-iam-policy-binding": remove_binding,
    "set-cleanup-policies": set_cleanup_policies,
    "update": update,
}

OWN_WAYS: dict[tuple[str, str], Way] = {
    ("auth", "configure-docker"): configure_docker,
    ("auth", "print-identity-token"): print_identity_token,
    ("builds", "submit"): submit_build,
    ("projects", "describe"): describe_project,
    ("services identity", "create"): make_identity,
    ("services", "enable"): enable_services,
    ("services", "list"): list_services,
    ("storage", "rm"): remove_bucket,
    ("storage", "service-agent"): storage_agent,
}


# ---- formats ----------------------------------------------------------------------------------------------


def look_up(thing: Any, path: str) -> Any:
    if path.endswith(".basename()"):
        full = look_up(thing, path.removesuffix(".basename()"))
        return full and str(full).rsplit("/", 1)[-1]
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
    if fails and "times" in plan:
        plan["times"] -= 1
        (folder / "plan.json").write_text(json.dumps(plan if plan["times"] else {}))
    out, refusal = "", plan.get("words", "UNAVAILABLE: the service is away for a moment") if fails else ""
    if not fails or plan.get("after"):
        try:
            out = shown(obey(project, group, verb, rest, flags), flags)
            project.save()
        except RefusedError as refused:
            refusal = str(refused)
    code = 1 if refusal else 0
    out, err = ("", f"ERROR: (gcloud.{'.'.join([*group.split(), verb])}) {refusal}\n") if code else (out, "")
    with journal.open("a") as lines:
        lines.write(json.dumps({**entry, "code": code}) + "\n")
    return code, f"{out}\n" if out else "", err
