"""What stands in the fake project, and what each kind of thing looks like when it is described."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Thing = dict[str, Any]
Flags = dict[str, list[str]]

FOREIGN_ACCOUNT = re.compile(r"@(gs-project-accounts\.|example\.com)")


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
        """Refuse an account that nobody made; Google's own are there once somebody has asked for them."""
        if agent := re.search(r"@gcp-sa-(\w+)\.", email):
            if f"services identity/{agent[1]}" not in self.things:
                raise RefusedError(f"INVALID_ARGUMENT: Service account {email} does not exist.")
        elif not FOREIGN_ACCOUNT.search(email):
            self.get("iam service-accounts", email)


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
    package = image.rsplit("/", 1)[-1]
    versions = [
        thing["version"] for key, thing in project.things.items() if key.startswith("artifacts tags/")
    ]
    if not any(version.endswith(f"/packages/{package}/versions/{digest}") for version in versions):
        raise RefusedError(f"Image '{image}@{digest}' not found.")
    thing: Thing = {
        "metadata": {"name": name, "labels": dict(old.get("metadata", {}).get("labels", {}))},
        "status": {
            "url": f"https://{name}-a1b2c3d4e5-ez.a.run.app",
            "latestCreatedRevisionName": f"{name}-00001-abc",
            "latestReadyRevisionName": f"{name}-00001-abc",
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
    thing: Thing = {
        "name": f"projects/{project.name}/locations/{one(flags, 'location')}/triggers/{name}",
        "eventFilters": flags["event-filters"],
    }
    labelled(thing, flags, "labels")
    return thing


def build_trigger(project: Project, name: str, flags: Flags, old: Thing) -> Thing:
    account = one(flags, "service-account")
    project.require_account(account.rsplit("/", 1)[-1])
    return {
        "name": name,
        "substitutions": pairs(one(flags, "substitutions") or one(flags, "update-substitutions")),
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
