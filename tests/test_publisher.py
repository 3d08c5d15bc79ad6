"""What the wall to Pub/Sub makes of trouble."""

import asyncio
import concurrent.futures

import google.api_core.exceptions
import google.auth.exceptions
import pytest
from google.api_core.retry import Retry
from google.cloud.pubsub_v1.publisher import exceptions as publishing

from bucketscribe import publisher
from bucketscribe.errors import PublishFailed
from bucketscribe.model import Message
from tests.fakes.bucket_server import free_port

# Only for messages with ordering keys, which we have none of, and for limits, which we switch off.
NOT_OF_OURS = {publishing.PublishToPausedOrderingKeyException, publishing.FlowControlLimitError}


def publish(client: publisher.TopicClient) -> None:
    topic = publisher.open_topic("laptop", "tasks", client=client)
    try:
        asyncio.run(topic.publish([Message(data=b"task")] * 3))
    finally:
        client.close()


def test_a_server_that_is_not_there_is_publish_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(publisher, "RETRY", publisher.RETRY.with_timeout(0.2))
    with pytest.raises(PublishFailed, match=r"3 of 3: .*a duplicate is harmless"):
        publish(publisher.make_client())


def test_a_client_that_never_answers_is_publish_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    class SilentClient:
        def publish(self, *_: object, **__: object) -> "concurrent.futures.Future[str]":
            return concurrent.futures.Future()

        def stop(self) -> None: ...

        transport = type("Transport", (), {"close": lambda _: None})()

    monkeypatch.setattr(publisher, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(PublishFailed, match="no answer came"):
        publish(publisher.TopicClient(SilentClient, threads=1))


def test_missing_credentials_are_publish_failed_and_looked_for_once() -> None:
    looked: list[int] = []

    def without_credentials() -> None:
        looked.append(1)
        raise google.auth.exceptions.DefaultCredentialsError("no credentials here")

    with pytest.raises(PublishFailed, match="credentials can be had"):
        publish(publisher.TopicClient(without_credentials, threads=1))
    assert looked == [1]


def test_the_tries_fit_into_the_patience_and_into_an_event_functions_time() -> None:
    assert isinstance(publisher.RETRY, Retry)
    assert publisher.RETRY_SECONDS + publisher.TRY_SECONDS <= publisher.PATIENCE_SECONDS < 540


@pytest.mark.parametrize("module", [google.api_core.exceptions, google.auth.exceptions, publishing])
def test_the_table_of_foreign_errors_leaves_none_out(module: object) -> None:
    known = tuple(kind for kind, _ in publisher.FOREIGN_ERRORS)
    kinds = {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Exception)}
    errors = {kind for kind in kinds if kind.__module__.startswith("google.")}
    unknown = {kind for kind in errors if not issubclass(kind, known)}
    assert unknown <= NOT_OF_OURS | {google.api_core.exceptions.AsyncRestUnsupportedParameterError}
