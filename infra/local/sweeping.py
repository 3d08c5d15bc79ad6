"""The sweep by hand: a second process finds a run's door, has it swept now, and says what came of it.

The door is one of many on the loopback; a run writes its address where its outbox is kept. What a sweep did
stands in the door's log: on Google Cloud nobody waits for its answer.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import httpx

from infra.local import outbox
from infra.local.errors import CannotRun
from infra.local.outbox import Premises

# An HTTP function's life on Google Cloud, as the deploy sets it.
_TIMEOUT = httpx.Timeout(540.0, connect=2.0)

_DOOR = "sweep-door"
_LOG = "sweep.log"
_SWEPT = "jobs swept"

# What became of a job, after `bucketscribe.resume.Swept`.
WORDS: Mapping[str, str] = {
    "resumed": "taken up",
    "ended": "ended",
    "moving": "left alone: moving, or not still for long enough (20 minutes; two hours with its tasks out)",
    "overtaken": "left alone: somebody else was just at it",
    "held": "held back: too many copies of tasks are out",
    "left": "left to the next sweep, for lack of time",
    "stuck": "standing still after all its resumes",
    "broken": "in trouble",
}
_BAD = frozenset({"stuck", "broken"})


def announce(premises: Premises, door: str) -> None:
    """Let others find the door. What is written goes with the run's scratch folder."""
    (premises.scratch / _DOOR).write_text(door)


def sweep(folder: Path) -> int:
    """Have the run that uses this outbox swept, print what was done, return the exit code.

    Raises CannotRun when there is no run, or its door does not do it.
    """
    premises = outbox.premises_of(folder)
    door = _door(premises, folder)
    log = premises.logs / _LOG
    before = log.stat().st_size if log.exists() else 0
    _call(door, log)
    counts = _counts(log, before)
    jobs = sum(counts.values())
    if not jobs:
        print("nothing is in flight: there was nothing to sweep")
    for outcome, words in WORDS.items():
        if number := counts.get(outcome, 0):
            print(f"{number} of {jobs} {'document' if jobs == 1 else 'documents'} in flight: {words}")
    bad = bool(_BAD & counts.keys())
    if bad:
        print(f"{log} says which, and why")
    return int(bad)


def _door(premises: Premises, folder: Path) -> str:
    if not outbox.is_in_use(premises):
        raise CannotRun(
            f"no run is using the outbox {folder}, so there is nothing to sweep: start `make watch` or "
            "`make run`, and sweep from a second terminal; --outbox (make: OUTBOX=) names another outbox"
        )
    try:
        return (premises.scratch / _DOOR).read_text()
    except FileNotFoundError as error:
        raise CannotRun(
            f"the run that uses the outbox {folder} is just starting or ending; try again when it says Ready"
        ) from error


def _call(door: str, log: Path) -> None:
    try:
        answer = httpx.post(door, timeout=_TIMEOUT, trust_env=False)
    except httpx.HTTPError as error:
        raise CannotRun(
            f"the sweep's door does not answer ({error!r}): try again in some seconds; {log}"
        ) from error
    if not answer.is_success:
        raise CannotRun(f"the sweep broke off with {answer.status_code}; {log} says why")


def _counts(log: Path, start: int) -> Mapping[str, int]:
    """Read from the door's log how many jobs had which outcome; `start` is where this sweep's lines begin.

    Raises CannotRun when the log says nothing of a sweep.
    """
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().splitlines()
    for line in reversed(lines):
        told = json.loads(line) if line.startswith(b"{") and _SWEPT.encode() in line else {}
        if told.get("message") == _SWEPT:
            return {outcome: told[outcome] for outcome in WORDS if outcome in told}
    raise CannotRun(f"the sweep is done, but {log} does not tell what it did")
