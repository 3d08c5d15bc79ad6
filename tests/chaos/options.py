"""What is asked of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Everything dies, and so often against the others, but for the bucket server, which is not made for it: it
# renames an object into its place before it gives it its metadata. One killed in between has lost the object
# and lists its bucket no more (fake-gcs-server 1.54.0, tried 2026-11: within 60 kills under load).
MORTALS: Mapping[str, int] = {
    "on_page_task": 4,
    "on_upload": 2,
    "post": 2,
    "on_dead_letter": 1,
    "sweep": 1,
    "front": 1,
    "stand_in": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One of `mortals` is killed every `kill_seconds` on average, 0 for never; `share` of the answers fail.
    The failed pages of at most `redone` documents are read again in the end.

    What has not moved for `stalled_seconds` does not move any more: the broker's longest pause is 4 s, the
    sweep's shortest 20 minutes. `is_forgetful` breaks the broker on purpose: a new life begins with nothing.
    """

    documents: int
    seed: int
    share: float = 0.2
    kill_seconds: float = 2.0
    mortals: Mapping[str, int] = field(default_factory=lambda: MORTALS)
    dropped_within_seconds: float = 20.0
    redone: int = 10
    stalled_seconds: float = 120.0
    is_forgetful: bool = False
