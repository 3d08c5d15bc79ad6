"""The wall to Pub/Sub: the only room that imports its publishing client.

`publish` returns when every message is stored on the other side, or raises PublishFailed. What messages
say is not known here.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.api_core.timeout import ConstantTimeout
from google.auth import exceptions as auth
from google.cloud.pubsub_v1 import PublisherClient
from google.pubsub_v1 import PublisherClient as BareClient
from google.pubsub_v1.types import PubsubMessage

from bucketscribe.errors import PublishFailed
from bucketscribe.model import Message

# A request takes 1,000 messages or 10 MB (https://cloud.google.com/pubsub/quotas, 2026-11). The requests are
# made here, not by the client's batches: those go by a clock, which makes 25 to 90 requests of the tasks of a
# 10,000-page book instead of 10, and on threads that an instance leaves standing after its response.
BATCH_MESSAGES = 1000
BATCH_BYTES = 9_000_000

# The client tries for 600 s by default, longer than an event function lives.
TRY_SECONDS = 20.0
RETRY_SECONDS = 60.0
RETRY = Retry(
    initial=0.1,
    maximum=10.0,
    multiplier=2.0,
    timeout=RETRY_SECONDS,
    predicate=if_exception_type(
        api.Aborted,
        api.Cancelled,
        api.DeadlineExceeded,
        api.InternalServerError,
        api.ResourceExhausted,
        api.ServiceUnavailable,
        api.Unknown,
    ),
)

# Everything publishing may raise; each becomes PublishFailed. The first match gives the advice.
FOREIGN_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (api.PermissionDenied, "grant this identity roles/pubsub.publisher on it"),
    (api.NotFound, "look whether the topic exists and is named right in the settings"),
    (api.GoogleAPIError, "publish it again; a duplicate is harmless"),
    (auth.GoogleAuthError, "look whether this identity's credentials can be had"),
    (grpc.RpcError, "publish it again; a duplicate is harmless"),
)
_FOREIGN = tuple(kind for kind, _ in FOREIGN_ERRORS)


class TopicClient:
    """Google's client, built when the first message goes out: gRPC does not survive a fork, and servers may
    fork after they have loaded us. One serves all topics.
    """

    def __init__(self, make: Callable[[], PublisherClient], threads: int) -> None:
        self.executor = ThreadPoolExecutor(threads, thread_name_prefix="publisher")
        self._make = make
        self._lock = threading.Lock()
        self._google: PublisherClient | None = None

    def google(self) -> PublisherClient:
        """Return the client, building it once; blocks while credentials are found."""
        with self._lock:
            if self._google is None:
                self._google = self._make()
            return self._google

    def close(self) -> None:
        """Let go of threads and connections; requests under way are still answered."""
        self.executor.shutdown(wait=True)
        with self._lock:
            if self._google is not None:
                self._google.transport.close()
                self._google = None


def make_client(threads: int = 8) -> TopicClient:
    """Prepare the client for `threads` documents that publish at once; nothing is connected yet."""
    return TopicClient(PublisherClient, threads)


def open_topic(project: str, name: str, *, client: TopicClient) -> "CloudTopic":
    """Name a topic; nothing is asked of the server, so a missing one shows at the first message."""
    return CloudTopic(f"projects/{project}/topics/{name}", client)


class CloudTopic:
    """`ports.Topic` over Pub/Sub."""

    def __init__(self, path: str, client: TopicClient) -> None:
        self._path = path
        self._client = client

    async def publish(self, messages: Sequence[Message]) -> None:
        """Take one request for every 1,000 messages, each after the other is answered; the first failure ends
        it, and what went before is out.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._client.executor, self._publish, messages)

    def _publish(self, messages: Sequence[Message]) -> None:
        done = 0
        try:
            google = self._client.google()
            for batch in _batches(messages):
                # The request itself, which the client that knows of batches hides behind them.
                BareClient.publish(
                    google,
                    topic=self._path,
                    messages=batch,
                    retry=RETRY,
                    timeout=ConstantTimeout(TRY_SECONDS),  # type: ignore[no-untyped-call]
                )
                done += len(batch)
        except _FOREIGN as error:
            what = f"publishing to {self._path}, {len(messages) - done} of {len(messages)} left"
            raise _translated(what, error) from error


def _batches(messages: Sequence[Message]) -> Iterator[list[PubsubMessage]]:
    """Part messages by what one request takes."""
    batch: list[PubsubMessage] = []
    size = 0
    for message in messages:
        weight = len(message.data) + sum(len(key) + len(text) for key, text in message.attributes.items())
        if batch and (len(batch) == BATCH_MESSAGES or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(PubsubMessage(data=message.data, attributes=dict(message.attributes)))
        size += weight
    if batch:
        yield batch


def _translated(what: str, error: BaseException) -> PublishFailed:
    advice = next(text for kind, text in FOREIGN_ERRORS if isinstance(error, kind))
    return PublishFailed(f"{what}: {type(error).__name__}: {str(error)[:500]}; {advice}")
