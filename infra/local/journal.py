"""What a broker has taken and not delivered yet, and how that may be kept over its death."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message that has reached a topic."""

    message_id: str
    published_at: datetime
    data: bytes
    attributes: Mapping[str, str]


class Journal(Protocol):
    """Keeps over the broker's death what it has taken. Each method returns when the fact is safe."""

    def taken(self, message: Received, subscriptions: Sequence[str]) -> None:
        """Keep a message until every one of these subscriptions has settled it."""

    def tried(self, subscription: str, message: Received) -> None:
        """Count an attempt that is about to be made."""

    def settled(self, subscription: str, message: Received) -> None:
        """Forget a message that was acknowledged, or has gone to the dead letters."""

    def left(self, subscription: str) -> Iterable[tuple[Received, int]]:
        """Give what a subscription has not settled, with the attempts made so far, in the order it came."""


class NoJournal:
    """Keeps nothing: messages die with the broker."""

    def taken(self, message: Received, subscriptions: Sequence[str]) -> None: ...

    def tried(self, subscription: str, message: Received) -> None: ...

    def settled(self, subscription: str, message: Received) -> None: ...

    def left(self, subscription: str) -> Iterable[tuple[Received, int]]:  # noqa: ARG002 - named by the port
        return ()
