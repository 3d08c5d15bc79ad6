"""A topic in memory."""

from collections import deque
from collections.abc import Sequence

from bucketscribe.errors import BucketscribeError
from bucketscribe.model import Message


class FakeTopic:
    """`ports.Topic` in memory: `messages` holds what was published, in order; `calls` counts publishes."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.calls = 0
        self._failures: deque[BucketscribeError] = deque()

    def fail_next(self, error: BucketscribeError, *, times: int = 1) -> None:
        """Raise `error` at the next `times` calls; nothing of them is published."""
        self._failures.extend([error] * times)

    async def publish(self, messages: Sequence[Message]) -> None:
        self.calls += 1
        if self._failures:
            raise self._failures.popleft()
        self.messages.extend(messages)
