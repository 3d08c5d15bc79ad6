"""What happened in a run, as far as it has come."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.account import Given
from tests.chaos.documents import Document
from tests.chaos.judge import Dropped, Verdict


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened. `events` are the finished events as they were pushed."""

    drawn: Sequence[Document]
    dropped: list[Dropped] = field(default_factory=list)
    redone: list[Dropped] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    events: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    counted: Counter[str] = field(default_factory=Counter)
    given: Given = field(default_factory=Given)
    verdict: Verdict = field(default_factory=Verdict)
    verified: str = ""
