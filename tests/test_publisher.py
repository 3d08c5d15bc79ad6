"""What the wall to Pub/Sub makes of trouble."""

import asyncio
import socket

import google.api_core.exceptions
import google.auth.exceptions
import pytest
from google.api_core.retry import Retry

from bucketscribe import publisher
from bucketscribe.errors import PublishFailed
from bucketscribe.model import Message
from tests.fakes.loopback import free_port


def publish(client: publisher.TopicClient) -> None:
    topic = publisher.open_topic("laptop", "tasks", client=client)
    try:
        asyncio.run(topic.publish([Message(data=b"task")] * 3))
    finally:
        client.close()


def test_a_server_that_is_not_there_is_publish_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(publisher, "RETRY", publisher.RETRY.with_timeout(0.2))
    with pytest.raises(PublishFailed, match=r"3 of 3 left: .*a duplicate is harmless"):
        publish(publisher.make_client())


def test_a_server_that_never_answers_is_publish_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "TRY_SECONDS", 0.05)
    monkeypatch.setattr(publisher, "RETRY", publisher.RETRY.with_timeout(0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(PublishFailed, match="3 of 3 left"):
            publish(publisher.make_client())


def test_the_first_batch_that_fails_ends_the_publish_and_what_went_before_is_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []

    def answer(_client: object, *, messages: list[object], **_: object) -> None:
        seen.append(len(messages))
        if len(seen) == 2:
            raise google.api_core.exceptions.ServiceUnavailable("away")

    class Client:
        transport = type("Transport", (), {"close": lambda _: None})()

    monkeypatch.setattr(publisher.BareClient, "publish", answer)
    client = publisher.TopicClient(Client, threads=1)
    topic = publisher.open_topic("laptop", "tasks", client=client)
    with pytest.raises(PublishFailed, match=r"1500 of 2500 left: ServiceUnavailable"):
        asyncio.run(topic.publish([Message(data=b"task")] * 2500))
    client.close()
    assert seen == [1000, 1000]


def test_missing_credentials_are_publish_failed_and_looked_for_once() -> None:
    looked: list[int] = []

    def without_credentials() -> None:
        looked.append(1)
        raise google.auth.exceptions.DefaultCredentialsError("no credentials here")

    with pytest.raises(PublishFailed, match="credentials can be had"):
        publish(publisher.TopicClient(without_credentials, threads=1))
    assert looked == [1]


def test_the_tries_fit_into_an_event_functions_time() -> None:
    assert isinstance(publisher.RETRY, Retry)
    assert publisher.RETRY_SECONDS + publisher.TRY_SECONDS < 540 / 2


@pytest.mark.parametrize("module", [google.api_core.exceptions, google.auth.exceptions])
def test_the_table_of_foreign_errors_leaves_none_out(module: object) -> None:
    known = tuple(kind for kind, _ in publisher.FOREIGN_ERRORS)
    kinds = {each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Exception)}
    errors = {kind for kind in kinds if kind.__module__.startswith("google.")}
    unknown = {kind for kind in errors if not issubclass(kind, known)}
    assert unknown <= {google.api_core.exceptions.AsyncRestUnsupportedParameterError}
