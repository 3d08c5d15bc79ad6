"""All that is drawn before a run: settings, documents, what people do when, and the weather."""

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bucketscribe.model import Retention
from bucketscribe.settings import Settings

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
# Doors that messages come to.
DOORS = ("on_upload", "on_page_task", "on_dead_letter")
NAMES = ("a.pdf", "scans/b.tif", "a.pdf/1/00001.md")


class Deed(StrEnum):
    """What somebody does from outside."""

    DROP = "drop"
    DELETE = "delete"
    REDO = "redo"
    JUNK = "send junk to"
    SWEEP = "sweep"
    KILL = "kill"


class Fate(StrEnum):
    """What becomes of a request. LATE: the caller is told of an error, and the work is done after that."""

    WELL = "well"
    REFUSED = "refused"
    LOST = "lost"
    LATE = "late"
    DIED_BEFORE = "died before"
    DIED_AFTER = "died after"


class Mood(StrEnum):
    """How the model's service is; by spells."""

    WELL = "well"
    BUSY = "busy"
    COLD = "cold"
    DENIES = "denies"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What is done when, to which document or door. `pages` of a drop: how many it has; of a redo: which one
    is wished for, 0 for all of them; a `poor` one wishes for those that failed.
    """

    at: float
    deed: Deed
    name: str = ""
    pages: int = 0
    poor: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A mood, or a storage that refuses everything, from `start` to `end`."""

    start: float
    end: float
    mood: Mood = Mood.WELL


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How Pub/Sub and Eventarc deliver: chances for each delivery, limits as subscriptions have them."""

    twice: float
    early: float
    ack_lost: float
    lost: float
    refused: float
    attempts: int
    backoff_seconds: float = 10.0
    longest_backoff_seconds: float = 400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. After `calm` seconds nothing breaks any more."""

    seed: int
    settings: Settings
    cache_bytes: int
    instances: int
    acts: tuple[Act, ...]
    calm: float
    habits: Habits
    fault_rate: float
    death_rate: float
    trouble: float
    gpu: tuple[Spell, ...]
    storage: tuple[Spell, ...]
    latency_seconds: float = field(default=0.05)

    @property
    def deadline(self) -> float:
        """Tell when all must be over: the sweep's pauses, or the parked tasks' clock, and a day."""
        return self.calm + max(2 * DAY, self.settings.parked_days * DAY) + DAY


def draw(seed: int, chance: random.Random) -> Plan:
    calm = chance.choices((5 * MINUTE, HOUR, 4 * HOUR, 2.5 * DAY), (30, 50, 18, 2))[0] * chance.uniform(
        0.5, 1
    )
    return Plan(
        seed=seed,
        settings=_settings(chance),
        cache_bytes=chance.choice((20, 1 << 20)),
        instances=chance.choice((1, 2, 3)),
        acts=_acts(chance, min(calm, 2 * HOUR)),
        calm=calm,
        habits=_habits(chance, calm),
        fault_rate=chance.choice((0.0, 0.01, 0.04, 0.12)),
        death_rate=chance.choice((0.0, 0.0, 0.005, 0.03)),
        trouble=chance.choice((0.0, 0.2, 0.5)),
        gpu=_spells(chance, calm, [mood for mood in Mood if mood is not Mood.WELL]),
        storage=_spells(chance, min(calm, HOUR), [Mood.WELL]) if chance.random() < 0.15 else (),
        latency_seconds=chance.choice((0.01, 0.2, 3.0)),
    )


def _settings(chance: random.Random) -> Settings:
    page, reserve, ack = chance.choice(((540.0, 300.0, 600.0), (90.0, 50.0, 100.0)))
    calls = chance.choice((1, 2, 2, 3, 4))
    drawn: dict[str, Any] = {
        "page_seconds": page,
        "call_reserve_seconds": reserve,
        "ack_deadline_seconds": ack,
        "model_calls": calls,
        "model_timeouts": chance.randint(1, min(2, calls)),
        "express_pages": chance.choice((1, 2, 20)),
        "pages_at_gpu": chance.choice((1, 2, 96)),
        "pages_waiting": chance.choice((96, 500)),
        "render_workers": chance.choice((1, 2)),
        "retention": chance.choice((Retention.KEEP, Retention.FOLLOW)),
        "parked_days": chance.choice((0.003, 0.003, 0.02, 0.2, 1.0, 7.0)),
    }
    return Settings(
        project="simulated", input_bucket="in", output_bucket="out", ocr_url="http://127.0.0.1:8000", **drawn
    )


def _acts(chance: random.Random, until: float) -> tuple[Act, ...]:
    """Draw one to three documents, replaced, deleted and redone at any moment, sweeps and deaths between."""
    acts = []
    for name in chance.sample(NAMES, chance.choices((1, 2, 3), (6, 3, 1))[0]):
        at = chance.uniform(0, until / 4)
        acts.append(Act(at=at, deed=Deed.DROP, name=name, pages=chance.randint(1, 4)))
        while chance.random() < 0.35:
            at += chance.choice((1.0, 20.0, until / 4)) * chance.random()
            gone = chance.random() < 0.4
            pages = chance.choice((0, 1, 2, 3))
            acts.append(Act(at=at, deed=Deed.DELETE if gone else Deed.DROP, name=name, pages=pages))
        acts += _redos(chance, name, until)
    for deed in (Deed.SWEEP, Deed.KILL):
        often = chance.choice((0, 0, 1, 2))
        acts += [Act(at=chance.choice((20.0, until / 2)) * chance.random(), deed=deed) for _ in range(often)]
    if chance.random() < 0.1:
        acts.append(Act(at=chance.uniform(0, until), deed=Deed.JUNK, name=chance.choice(DOORS)))
    return tuple(sorted(acts, key=lambda act: act.at))


def _redos(chance: random.Random, name: str, until: float) -> list[Act]:
    """Draw wishes, soon or late, of which many come when there is nothing to redo."""
    redos = []
    while chance.random() < 0.2:
        at = chance.choice((60.0, until, until)) * chance.random()
        pages, poor = chance.choice(((0, False), (1, False), (2, False), (0, True)))
        redos.append(Act(at=at, deed=Deed.REDO, name=name, pages=pages, poor=poor))
    return redos


def _habits(chance: random.Random, calm: float) -> Habits:
    return Habits(
        twice=chance.choice((0.0, 0.1, 0.4)),
        early=chance.choice((0.0, 0.0, 0.2, 0.9)),
        ack_lost=chance.choice((0.0, 0.1)),
        lost=chance.choice((0.0, 0.0, 0.0, 0.1)),
        refused=chance.choice((0.0, 0.05)),
        attempts=chance.choice((2, 4, 20, 100)),
        longest_backoff_seconds=6 * HOUR if calm > DAY else 400.0,
    )


def _spells(chance: random.Random, until: float, moods: list[Mood]) -> tuple[Spell, ...]:
    spells = []
    for _ in range(chance.choice((0, 1, 1, 2))):
        start = chance.uniform(0, until / 2)
        end = start + chance.uniform(0, until - start)
        spells.append(Spell(start=start, end=end, mood=chance.choice(moods)))
    return tuple(spells)
