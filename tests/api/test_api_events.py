"""Live events: every committed change, once, in the order of the commits, to every client."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from httpx_sse import EventSource, ServerSentEvent

from jobqueue_bridge import lease, lifecycle, logs, retention, tokens
from jobqueue_bridge.api import events, wire
from jobqueue_bridge.api.wire_events import UNTOLD
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs

JOBS = "/api/media/jobs"
Add = Callable[..., UUID]
Events = Iterator[ServerSentEvent]


@contextmanager
def follow(api: httpx.Client, path: str = f"{JOBS}/events", **options: Any) -> Iterator[Events]:
    """Its events, from `hello` on."""
    with api.stream("GET", path, **options) as response:
        response.raise_for_status()
        yield EventSource(response).iter_sse()


def client_of(address: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def until(stream: Events, name: str, test: Callable[[Any], bool] = lambda _: True) -> list[ServerSentEvent]:
    """Everything up to the first event of that name that passes."""
    seen: list[ServerSentEvent] = []
    for event in stream:
        seen.append(event)
        if event.event == name and test(event.json()):
            return seen
    raise AssertionError(f"the stream ended without {name}: {seen}")


def catch_up(stream: Events, add_job: Add) -> None:
    """News of what happened before may come a little later than a client that begins to follow, but before all else."""
    marker = str(add_job())
    until(stream, "job", lambda data: data["job"]["id"] == marker)


def has_status(status: str) -> Callable[[Any], bool]:
    return lambda data: data["job"]["status"] == status


def statuses(seen: list[ServerSentEvent]) -> list[str]:
    return [event.json()["job"]["status"] for event in seen if event.event == "job"]


def lines(seen: list[ServerSentEvent]) -> list[str]:
    return [line["line"] for event in seen if event.event == "log" for line in event.json()["lines"]]


def claimed(connection: sa.Connection, job_id: UUID) -> lease.Lease:
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(status="queued", attempt=1))
    held = lease.claim(connection, job_id, 1, run_id="run-1", host="here")
    assert held is not None
    return held


def test_a_job_is_told_from_its_creation_to_its_end(api: httpx.Client, add_job: Add, connection: sa.Connection) -> None:
    with follow(api) as stream:
        hello = next(stream)
        assert (hello.event, hello.json()["resumed"]) == ("hello", False)
        job_id = add_job()
        held = claimed(connection, job_id)
        lease.beat(connection, held, 45, {"fps": 60.0})
        lease.complete(connection, held, {})
        seen = until(stream, "job", has_status("completed"))

    assert statuses(seen) == ["pending", "queued", "running", "running", "completed"]
    told = [event.json() for event in seen]
    assert [data["from"] for data in told] == [None, "pending", "queued", "running", "running"]
    assert (told[3]["job"]["progress"], told[3]["job"]["progressDetail"]) == (45, {"fps": 60.0})
    versions = [data["job"]["version"] for data in told]
    assert versions == sorted(set(versions))


def test_news_of_a_job_has_the_fields_of_the_job_itself(api: httpx.Client, add_job: Add) -> None:
    with follow(api) as stream:
        next(stream)
        job_id = add_job(error="bad", waiting_reason="w" * 5000, progress_detail={"x": "y" * 9000})
        (*_, last) = until(stream, "job", lambda data: data["job"]["error"] == "bad")

    news, job = last.json()["job"], api.get(f"{JOBS}/{job_id}").json()
    assert set(news) == {field.alias or name for name, field in wire.Job.model_fields.items() if name not in UNTOLD}
    shortened = {"waitingReason", "progressDetail", "queuePosition"}
    assert {name: news[name] for name in news if name not in shortened} == {
        name: job[name] for name in news if name not in shortened
    }
    assert news["waitingReason"] == "w" * 1000


def test_changes_are_told_in_the_order_of_their_commits(
    api: httpx.Client, add_job: Add, connection: sa.Connection, database: sa.Engine
) -> None:
    """A transaction that began first and commits last comes last, whatever numbers it was given."""
    early, late = add_job(), add_job()
    with follow(api) as stream:
        next(stream)
        catch_up(stream, add_job)
        with database.begin() as slow:
            lifecycle.reprioritise(slow, early, 1)
            lifecycle.reprioritise(connection, late, 2)
        seen = until(stream, "job", lambda data: data["job"]["id"] == str(early))

    assert [event.json()["job"]["id"] for event in seen] == [str(late), str(early)]


def test_what_is_rolled_back_is_not_told(api: httpx.Client, add_job: Add, connection: sa.Connection) -> None:
    job_id = add_job()
    with follow(api) as stream:
        next(stream)
        catch_up(stream, add_job)
        with engine_for_rollback(connection) as other:
            lifecycle.reprioritise(other, job_id, 1)
        lifecycle.reprioritise(connection, job_id, 2)
        seen = until(stream, "job")

    assert [event.json()["job"]["priority"] for event in seen] == [2]


@contextmanager
def engine_for_rollback(connection: sa.Connection) -> Iterator[sa.Connection]:
    with connection.engine.connect() as other:
        yield other
        other.rollback()


def test_one_job_is_followed_with_its_log(api: httpx.Client, add_job: Add, connection: sa.Connection) -> None:
    job_id, other = add_job(), add_job()
    held = claimed(connection, job_id)
    lease.log(connection, held, ["one", "two"])
    with follow(api, f"{JOBS}/{job_id}/events") as stream:
        begin = until(stream, "job")
        lease.log(connection, held, [f"line {number}" for number in range(30)])
        lifecycle.cancel(connection, other)
        lifecycle.cancel(connection, job_id)
        seen = until(stream, "log", lambda data: "CANCELLED" in data["lines"][-1]["line"])

    assert [event.event for event in begin] == ["hello", "log", "job"]
    assert lines(begin) == ["one", "two"]
    assert begin[-1].json()["change"] == "snapshot"
    assert lines(seen) == [*(f"line {number}" for number in range(30)), "--- JOB CANCELLED BY ADMIN ---"]
    assert statuses(seen) == ["cancelled"]


def test_a_client_that_comes_back_gets_what_it_missed(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    job_id = add_job()
    with follow(api) as stream:
        next(stream)
        catch_up(stream, add_job)
        lifecycle.reprioritise(connection, job_id, 1)
        (*_, last) = until(stream, "job")
    for priority in (2, 3, 4):
        lifecycle.reprioritise(connection, job_id, priority)
    with follow(api, headers={"Last-Event-ID": last.id}) as stream:
        hello = next(stream)
        seen = until(stream, "job", lambda data: data["job"]["priority"] == 4)

    assert hello.json()["resumed"] is True
    assert [event.json()["job"]["priority"] for event in seen] == [2, 3, 4]


def test_log_lines_are_missed_by_nobody_who_comes_back_even_to_another_process(
    api: httpx.Client, add_job: Add, connection: sa.Connection, settings: Settings, serve: Any, admin_token: str
) -> None:
    job_id = add_job()
    held = claimed(connection, job_id)
    with follow(api, f"{JOBS}/{job_id}/events") as stream:
        until(stream, "job")
        lease.log(connection, held, ["one"])
        (*_, last) = until(stream, "log")
    lease.log(connection, held, ["two", "three"])
    with (
        serve(settings) as address,
        client_of(address, admin_token) as restarted,
        follow(restarted, f"{JOBS}/{job_id}/events", params={"lastEventId": last.id}) as stream,
    ):
        seen = until(stream, "job")

    assert seen[0].json()["resumed"] is False
    assert lines(seen) == ["two", "three"]


@pytest.mark.parametrize("sent", ["", "x", "00000000-5", "1-2-3", "9" * 90])
def test_an_id_that_says_nothing_is_as_good_as_none(api: httpx.Client, sent: str) -> None:
    with follow(api, headers={"Last-Event-ID": sent}) as stream:
        assert next(stream).json()["resumed"] is False


def test_all_logs_come_only_where_they_are_asked_for(
    api: httpx.Client, add_job: Add, connection: sa.Connection
) -> None:
    held = claimed(connection, add_job())
    with follow(api, params={"log": "true"}) as with_logs, follow(api) as without:
        next(with_logs), next(without)
        lease.log(connection, held, ["one"])
        lease.complete(connection, held, {})
        told, quiet = (until(stream, "job", has_status("completed")) for stream in (with_logs, without))

    assert lines(told) == ["one"]
    assert lines(quiet) == []


def test_many_changes_at_once_are_one_reload(api: httpx.Client, connection: sa.Connection) -> None:
    with follow(api) as stream:
        next(stream)
        connection.execute(sa.text("INSERT INTO jobs (type, params) SELECT 'scan', '{}' FROM generate_series(1, 501)"))
        seen = until(stream, "reload")

    assert [event.event for event in seen] == ["reload"]


def test_a_job_that_leaves_for_the_archive_and_the_queues_switch_are_told(
    api: httpx.Client, add_job: Add, connection: sa.Connection, database: sa.Engine
) -> None:
    job_id = add_job(status="completed")
    with follow(api) as stream:
        next(stream)
        catch_up(stream, add_job)
        assert sum(retention.archive_finished(database)) == 1
        lifecycle.pause_queue(connection, "ann")
        seen = until(stream, "queue")

    assert [(event.event, event.json().get("id")) for event in seen] == [("removed", str(job_id)), ("queue", None)]
    assert seen[-1].json()["pausedBy"] == "ann"


def test_a_client_that_takes_nothing_is_told_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITING_MOST", 3)
    slow = events.Subscription(None, with_log=False)

    for number in range(5):
        slow.offer(events.Event(number, "job", "{}"))

    assert len(slow.waiting) == 0
    with pytest.raises(events.Lagging):
        _next(slow)


def _next(client: events.Subscription) -> Any:
    import asyncio

    return asyncio.run(client.next(1))


def test_a_stream_ends_with_its_token(address: str, settings: Settings, database: sa.Engine) -> None:
    token = tokens.sign(settings, tokens.ADMIN_ROLE, timedelta(seconds=1))
    with client_of(address, token) as client, follow(client) as stream:
        names = [event.event for event in stream if event.data]

    assert names == ["hello", "signout"]


def test_a_server_that_stops_says_so(settings: Settings, serve: Any, admin_token: str, database: sa.Engine) -> None:
    names: list[str] = []
    started = threading.Event()

    def read(address: str) -> None:
        with client_of(address, admin_token) as client, follow(client) as stream:
            for event in stream:
                names.append(event.event)
                started.set()

    with serve(settings) as address:
        reading = threading.Thread(target=read, args=(address,))
        reading.start()
        assert started.wait(20)
    reading.join(20)

    assert names == ["hello", "lost"]


def test_a_listener_that_lost_its_connection_says_that_news_may_be_missing(
    settings: Settings, serve: Any, admin_token: str, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_AGAIN_AFTER_S", 0.05)
    with (
        serve(settings) as address,
        client_of(address, admin_token) as client,
        follow(client) as stream,
    ):
        (hello,) = until(stream, "hello")
        with engine_for(settings).begin() as connection:
            connection.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'media-pipelines-listen' AND query LIKE '%job_news%'"
                )
            )
        (*_, told) = until(stream, "reload")
        with follow(client, headers={"Last-Event-ID": hello.id}) as again:
            assert next(again).json()["resumed"] is False

    assert "away" in told.json()["reason"]


def test_the_token_may_stand_in_the_address_of_a_stream(anonymous: httpx.Client, admin_token: str) -> None:
    with follow(anonymous, params={"token": admin_token}) as stream:
        assert next(stream).event == "hello"


def test_a_job_that_is_not_there_is_not_followed(api: httpx.Client) -> None:
    assert api.get(f"{JOBS}/{uuid4()}/events").status_code == 404
    assert api.get(f"{JOBS}/{uuid4()}/log", params={"follow": "true"}).status_code == 404


def test_a_followed_log_ends_with_its_job(
    api: httpx.Client, add_job: Add, connection: sa.Connection, database: sa.Engine
) -> None:
    job_id = add_job()
    held = claimed(connection, job_id)
    lease.log(connection, held, ["one"])

    with api.stream("GET", f"{JOBS}/{job_id}/log", params={"follow": "true"}) as response:
        text = response.iter_lines()
        first = next(text)
        lease.log(connection, held, ["two"])
        with database.begin() as at_once:
            lifecycle.cancel(at_once, job_id)
        rest = list(text)

    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert [line[22:] for line in (first, *rest)] == ["one", "two", "--- JOB CANCELLED BY ADMIN ---"]


def test_many_clients_hear_the_same(
    api: httpx.Client, add_job: Add, connection: sa.Connection, address: str, admin_token: str
) -> None:
    job_id = add_job()
    held = claimed(connection, job_id)
    heard: list[list[tuple[str, str]]] = []
    ready = threading.Barrier(11)

    def listen() -> None:
        with client_of(address, admin_token) as client, follow(client, f"{JOBS}/{job_id}/events") as stream:
            until(stream, "job")
            ready.wait(20)
            seen = until(stream, "job", has_status("completed"))
            heard.append([(event.event, event.data) for event in seen])

    listening = [threading.Thread(target=listen) for _ in range(10)]
    for thread in listening:
        thread.start()
    ready.wait(20)
    for number in range(20):
        lease.log(connection, held, [f"Progress: {number}%"])
        lease.beat(connection, held, number, None)
    lease.complete(connection, held, {})
    for thread in listening:
        thread.join(30)

    assert len(heard) == 10
    assert all(one == heard[0] for one in heard)
    told = [json.loads(data) for name, data in heard[0] if name == "log"]
    assert [line["line"] for data in told for line in data["lines"]] == [f"Progress: {number}%" for number in range(20)]


def test_the_queue_is_listened_to_only_from_the_first_client_on(
    settings: Settings, serve: Any, admin_token: str, connection: sa.Connection
) -> None:
    listening = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'media-pipelines-listen'"
        " AND query LIKE '%job_news%'"
    )
    before = connection.scalar(listening)
    with serve(settings) as address, client_of(address, admin_token) as client:
        client.get(JOBS)
        assert connection.scalar(listening) == before
        with follow(client) as one, follow(client) as two:
            next(one), next(two)
            assert connection.scalar(listening) == (before or 0) + 1
    deadline = time.monotonic() + 10
    while connection.scalar(listening) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert connection.scalar(listening) == before


def test_log_lines_keep_their_numbers(connection: sa.Connection, add_job: Add) -> None:
    job_id = add_job()
    logs.append(connection, [job_id], ["one", "two", "three"])

    (one, two, three) = logs.lines(connection, job_id)

    assert [line.line for line in (one, two, three)] == ["one", "two", "three"]
    assert logs.lines(connection, job_id, after=one.seq, up_to=two.seq) == [two]
    assert logs.lines(connection, job_id, newest=1) == [three]
