"""The wall to Pub/Sub: the only room that imports its publishing client.

`publish` returns when every message is stored on the other side, or raises PublishFailed. What messages
say is not known here.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import grpc
from google.api_core import exceptions as api
from google.api_core.retry import Retry, if_exception_type
from google.api_core.timeout import ConstantTimeout
from google.auth import exceptions as auth
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.publisher.exceptions import MessageTooLargeError
from google.cloud.pubsub_v1.types import (
    BatchSettings,
    LimitExceededBehavior,
    PublisherOptions,
    PublishFlowControl,
)

from bucketscribe.errors import PublishFailed
from bucketscribe.model import Message

# A request takes 1,000 messages or 10 MB (https://cloud.google.com/pubsub/quotas, 2026-11). Every batch is a
# thread and a request: the client's default of 100 messages would make 100 of each of a 10,000-page book.
BATCH = BatchSettings(max_messages=1000, max_bytes=9_000_000, max_latency=0.01)

# A document's tasks, 10,000 of 400 bytes, are in memory already. Limits would only make the caller wait for
# batches that are not full yet, or refuse (https://github.com/googleapis/python-pubsub, PublishFlowControl).
NO_LIMIT = PublishFlowControl(limit_exceeded_behavior=LimitExceededBehavior.IGNORE)

# The client tries for 600 s by default, longer than an event function lives. A request gets 20 s and is
# tried again for 60 s; whoever is not answered after 90 s never will be (a commit thread has died).
TRY_SECONDS = 20.0
RETRY_SECONDS = 60.0
PATIENCE_SECONDS = 90.0
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
    (MessageTooLargeError, "a message may have 10 MB"),
    (grpc.RpcError, "publish it again; a duplicate is harmless"),
    (concurrent.futures.TimeoutError, "no answer came; publish it again, a duplicate is harmless"),
)
_FOREIGN = tuple(kind for kind, _ in FOREIGN_ERRORS)

# Attributes are keyword arguments of the client's `publish`, beside its own.
_TAKEN = frozenset({"self", "topic", "data", "ordering_key", "retry", "timeout"})


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
        """Commit what waits and let go of threads and connections; blocks until that is done."""
        self.executor.shutdown(wait=True)
        with self._lock:
            if self._google is not None:
                self._google.stop()
                self._google.transport.close()
                self._google = None


def make_client(threads: int = 8) -> TopicClient:
    """Prepare the client for `threads` documents that publish at once; nothing is connected yet."""
    return TopicClient(_google_client, threads)


def open_topic(project: str, name: str, *, client: TopicClient) -> "CloudTopic":
    """Name a topic; nothing is asked of the server, so a missing one shows at the first message."""
    return CloudTopic(f"projects/{project}/topics/{name}", client)


class CloudTopic:
    """`ports.Topic` over Pub/Sub."""

    def __init__(self, path: str, client: TopicClient) -> None:
        self._path = path
        self._client = client

    async def publish(self, messages: Sequence[Message]) -> None:
        """Wait for every message's own answer: the client commits on a daemon thread, which an instance
        that is throttled after its response leaves standing.

        Raises ValueError when an attribute has a name that the client keeps for itself.
        """
        for message in messages:
            if taken := _TAKEN & message.attributes.keys():
                raise ValueError(f"publishing to {self._path}: no attribute may be named {sorted(taken)}")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._client.executor, self._publish, messages)

    def _publish(self, messages: Sequence[Message]) -> None:
        first: BaseException | None = None
        failed = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            google = self._client.google()
        except _FOREIGN as error:
            raise _translated(f"connecting to publish to {self._path}", error) from error
        for answer in [_send(google, self._path, message) for message in messages]:
            try:
                answer.result(timeout=max(deadline - time.monotonic(), 0))
            except _FOREIGN as error:
                first = first or error
                failed += 1
        if first is not None:
            raise _translated(f"publishing to {self._path}, {failed} of {len(messages)}", first) from first


def _send(google: PublisherClient, path: str, message: Message) -> "Future[str]":
    """Hand a message to the client; a refusal at once is an answer like any other."""
    try:
        answer: Future[str] = google.publish(path, message.data, **message.attributes)
    except _FOREIGN as error:
        answer = Future()
        answer.set_exception(error)
    return answer


def _google_client() -> PublisherClient:
    timeout = ConstantTimeout(TRY_SECONDS)  # type: ignore[no-untyped-call]
    options = PublisherOptions(flow_control=NO_LIMIT, retry=RETRY, timeout=timeout)
    return PublisherClient(batch_settings=BATCH, publisher_options=options)


def _translated(what: str, error: BaseException) -> PublishFailed:
    advice = next(text for kind, text in FOREIGN_ERRORS if isinstance(error, kind))
    return PublishFailed(f"{what}: {type(error).__name__}: {str(error)[:500]}; {advice}")
