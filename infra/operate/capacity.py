"""What an L4 with LightOnOCR does with pages, and how the services around it start, scale and wait.

Facts, each with where it comes from: nothing here was measured on Google Cloud. The flow simulation
(tests/bench/flow) and `bucketscribe estimate` reckon with these and no others.
"""

from dataclasses import dataclass

# One L4 at 32 pages in flight, measured by a third party (2026); more do not make it faster.
PEAK_PAGES_PER_SECOND = 0.59

# A page alone takes some 9 s and one of 32 some 54 s, which follows from the rate; that the seconds grow
# evenly in between is a guess.
_FIRST_SECONDS = 7.54
_SECONDS_A_PAGE = 1.459

# Drawing and encoding a page: seconds of one core, measured over 15 typical pages at 1540 px (2026-11).
RENDER_SECONDS = 0.025

# Outstanding messages of a push subscription: it begins with a small single digit, grows by one with each
# acknowledgement (they say: exponentially), shrinks with refusals, and stops at 3,000 a region.
# https://cloud.google.com/pubsub/docs/push#push_backoff (2026-11); the first figure is a guess.
PUSH_WINDOW_START = 5
PUSH_WINDOW_MOST = 3000

# Cloud Run counts what is in flight over a minute and aims at 60 % of the concurrency.
# https://cloud.google.com/run/docs/about-instance-autoscaling (2026-11)
SCALING_TARGET = 0.6
SCALING_WINDOW_SECONDS = 60.0

# From an object's upload to its event, and from a publish to the first push: guesses.
EVENT_SECONDS = 1.0
PUBLISH_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """How an instance comes and goes: seconds of its start, least and most; how long callers are held while
    none is starting and all are full; how long an idle one stays, and is billed if it is billed whole.
    """

    least_seconds: float
    most_seconds: float
    held_seconds: float
    idle_seconds: float

    @property
    def mean_seconds(self) -> float:
        return (self.least_seconds + self.most_seconds) / 2


# A GPU instance: 60 to 120 s to the first answer by one field note, here up to 150; idle ones go after 10 to
# 15 minutes. Callers wait 3.5 times an average start before they get a 429 (Google's pages disagree).
GPU = Starting(least_seconds=60.0, most_seconds=150.0, held_seconds=367.5, idle_seconds=750.0)

# A function: image, Python, imports. Held 10 s when all are full (likewise).
FUNCTION = Starting(least_seconds=4.0, most_seconds=6.0, held_seconds=10.0, idle_seconds=900.0)


def pages_per_second(in_flight: float) -> float:
    """Tell how many average pages one L4 reads a second with so many in its batch; 0 with none."""
    if in_flight <= 0:
        return 0.0
    return min(PEAK_PAGES_PER_SECOND, in_flight / (_FIRST_SECONDS + _SECONDS_A_PAGE * in_flight))
