"""Whom the settings name is told of each change, once it is committed, signed, and again until it answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from jobqueue_bridge import lease, lifecycle, queue, webhooks
from jobqueue_bridge.errors import InvalidSettings
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.tables import jobs, webhook_messages
from jobqueue_bridge.vocabulary import JobStatus, JobType
from jobqueue_bridge.webhook_sender import WebhookSender
from jobqueue_bridge.webhook_target import Webhook

MakeJob = Callable[..., UUID]
OWN_SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


@dataclass
class Receiver:
    """A server that keeps what it is sent, and answers as it is told."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.received]


@contextmanager
def _receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
            self.end_headers()
            receiver.came.set()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/jobs"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with _receiving() as receiver:
        yield receiver


@pytest.fixture
def told(settings: Settings, receiver: Receiver, database: sa.Engine) -> Callable[..., Settings]:
    """Settings that name the receiver, in force."""

    def with_webhook(**columns: Any) -> Settings:
        named = settings.model_copy(update={"webhooks": (Webhook(url=receiver.url, **columns),)})
        with database.begin() as connection:
            webhooks.sync(connection, named)
        return named

    return with_webhook


@pytest.fixture(autouse=True)
def _none_at_the_end(database: sa.Engine, settings: Settings) -> Iterator[None]:
    yield
    with database.begin() as connection:
        webhooks.sync(connection, settings)


def deliver(database: sa.Engine, settings: Settings) -> int:
    with httpx.Client() as client:
        return WebhookSender(database, settings).deliver(client)


def make_due(connection: sa.Connection) -> None:
    connection.execute(
        sa.update(webhook_messages).where(webhook_messages.c.due_at.is_not(None)).values(due_at=sa.func.now())
    )


def test_a_job_that_ends_is_told_of_once(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver, make_job: MakeJob, start: Any
) -> None:
    settings = told()
    held = start(make_job(JobType.SCAN))
    lease.complete(connection, held, {})
    assert deliver(database, settings) == 1
    assert deliver(database, settings) == 0
    (body,) = receiver.bodies
    assert (body["type"], body["data"]["id"], body["data"]["from"]) == ("job.completed", str(held.job_id), "running")


def test_a_change_that_is_rolled_back_is_not_told_of(
    database: sa.Engine, told: Any, receiver: Receiver, make_job: MakeJob
) -> None:
    settings, job_id = told(), make_job(JobType.SCAN)
    with database.connect() as session:
        lifecycle.cancel(session, job_id)
        session.rollback()
    assert deliver(database, settings) == 0


def test_only_what_was_asked_for_is_told(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver, make_job: MakeJob
) -> None:
    settings = told(events=("pending",), types=("validate",))
    make_job(JobType.SCAN)
    lifecycle.cancel(connection, make_job(JobType.VALIDATE))
    deliver(database, settings)
    assert [(body["type"], body["data"]["type"]) for body in receiver.bodies] == [("job.pending", "validate")]


@pytest.mark.parametrize("secret", ["", OWN_SECRET])
def test_the_signature_is_that_of_the_standard(
    database: sa.Engine, told: Any, receiver: Receiver, make_job: MakeJob, secret: str
) -> None:
    settings = told(events=("pending",), secret=secret)
    make_job(JobType.SCAN)
    deliver(database, settings)
    ((headers, body),) = receiver.received
    shared = webhooks.secret_for(settings, settings.webhooks[0])
    assert Verifier(shared).verify(body, headers)["type"] == "job.pending"
    with pytest.raises(WebhookVerificationError):
        Verifier(shared).verify(body + b" ", headers)


def test_who_does_not_take_it_is_asked_again_under_the_same_id(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver, make_job: MakeJob
) -> None:
    settings = told(events=("pending",))
    receiver.answers = [500, 302]
    make_job(JobType.SCAN)
    deliver(database, settings)
    assert deliver(database, settings) == 0, "it waits before it tries again"
    for _ in range(2):
        make_due(connection)
        deliver(database, settings)
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len(receiver.received) == 3
    (message,) = webhooks.newest(connection, 5)
    assert (message.state, message.tries, message.error) == ("delivered", 3, None)


def test_who_is_gone_is_asked_no_more(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver, make_job: MakeJob
) -> None:
    settings = told(events=("pending",))
    receiver.answers = [410]
    make_job(JobType.SCAN)
    deliver(database, settings)
    (message,) = webhooks.newest(connection, 5, failed_only=True)
    assert (message.state, message.error) == ("failed", "answered 410 Gone")
    assert webhooks.send_again(connection, message.id)
    assert deliver(database, settings) == 1
    assert webhooks.newest(connection, 5)[0].state == "delivered"


def test_a_receiver_that_is_down_loses_no_message(
    database: sa.Engine, connection: sa.Connection, settings: Settings, make_job: MakeJob
) -> None:
    with _receiving() as gone:
        pass
    named = settings.model_copy(update={"webhooks": (Webhook(url=gone.url, events=("pending",)),)})
    webhooks.sync(connection, named)
    make_job(JobType.SCAN)
    for tries in range(1, len(webhooks.WAITS_S) + 2):
        make_due(connection)
        assert deliver(database, named) == 1
        (message,) = webhooks.newest(connection, 5)
        assert message.tries == tries
        assert message.error is not None
        assert message.error.startswith("ConnectError")
    assert message.state == "failed"


def test_who_was_killed_in_between_sends_it_again(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver, make_job: MakeJob
) -> None:
    settings = told(events=("pending",))
    make_job(JobType.SCAN)
    (taken,) = webhooks.take(connection, 5)
    assert webhooks.take(connection, 5) == []
    make_due(connection)
    deliver(database, settings)
    assert [headers["webhook-id"] for headers, _ in receiver.received] == [str(taken.id)]


def test_the_thread_delivers_and_stops(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver, make_job: MakeJob
) -> None:
    sender = WebhookSender(database, told(events=("pending",)))
    sender.start()
    make_job(JobType.SCAN)
    try:
        assert receiver.came.wait(20)
    finally:
        sender.stop(20)
    assert receiver.bodies[0]["type"] == "job.pending"


def test_a_webhook_that_the_settings_drop_takes_its_messages_along(
    connection: sa.Connection, settings: Settings, told: Any, make_job: MakeJob
) -> None:
    told(events=("pending",))
    make_job(JobType.SCAN)
    webhooks.sync(connection, settings)
    assert webhooks.newest(connection, 5) == []


def test_what_is_done_with_is_forgotten_after_a_week(connection: sa.Connection, told: Any, make_job: MakeJob) -> None:
    told(events=("pending",))
    for age, due in (("8 days", "NULL"), ("8 days", "now()"), ("6 days", "NULL")):
        make_job(JobType.SCAN)
        connection.execute(
            sa.text(
                f"UPDATE webhook_messages SET created_at = now() - interval '{age}', due_at = {due}"
                " WHERE created_at > now() - interval '1 hour'"
            )
        )
    assert webhooks.forget_old(connection, 10) == 1
    assert len(webhooks.newest(connection, 5)) == 2


def test_a_test_message_goes_to_every_webhook(
    database: sa.Engine, connection: sa.Connection, told: Any, receiver: Receiver
) -> None:
    settings = told()
    assert webhooks.add_test(connection) == 1
    deliver(database, settings)
    assert receiver.bodies[0]["type"] == "test"


def test_no_webhook_costs_no_message(connection: sa.Connection, make_job: MakeJob) -> None:
    queue.move(connection, make_job(JobType.SCAN), JobStatus.CANCELLED)
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs)) == 1
    assert webhooks.newest(connection, 5) == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nonsense", "is no JSON"),
        ('{"url": "https://a.example"}', "expected a list"),
        ('[{"url": "ftp://a.example"}]', "no http"),
        ('[{"url": "https://a.example", "events": ["done"]}]', "events"),
        ('[{"url": "https://a.example", "secret": "hunter2"}]', "whsec_"),
        ('[{"link": "https://a.example"}]', "url"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_when_the_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    monkeypatch.setenv("MEDIA_WEBHOOKS", value)
    with pytest.raises(InvalidSettings, match=problem) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)
