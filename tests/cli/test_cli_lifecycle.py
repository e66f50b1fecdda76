"""`jobs cancel`, `pause`, `resume`, `retry` and `priority` on the command line."""

import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lifecycle, queue
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus

Cli = Callable[..., Any]
Add = Callable[..., UUID]


def status(connection: sa.Connection, job_id: UUID) -> JobStatus:
    return queue.get(connection, job_id).status


def test_a_job_is_paused_resumed_cancelled_and_retried_by_the_start_of_its_id(
    cli: Cli, connection: sa.Connection, add_job: Add
) -> None:
    job_id = add_job("scan")
    for command, said, then in (
        ("pause", "paused", JobStatus.PAUSED),
        ("resume", "resumed", JobStatus.PENDING),
        ("cancel", "cancelled", JobStatus.CANCELLED),
        ("retry", "pending again", JobStatus.PENDING),
    ):
        ended = cli("jobs", command, str(job_id)[:8])
        assert (ended.code, ended.out) == (0, f"Job {job_id} (scan) is {said}\n"), ended.err
        assert status(connection, job_id) == then


def test_what_a_job_paused_in_mid_run_still_holds_is_said(cli: Cli, connection: sa.Connection, add_job: Add) -> None:
    job_id = add_job("scan", status="queued")
    connection.execute(sa.update(jobs).values(status="running", lease_token=UUID(int=1)))
    ended = cli("jobs", "pause", str(job_id))
    assert "(paused in mid-run: still holds a cpu slot)" in ended.out


@pytest.mark.parametrize("command", ["cancel", "pause", "resume", "retry"])
def test_what_may_not_be_done_is_said_and_ends_with_one(
    cli: Cli, connection: sa.Connection, add_job: Add, command: str
) -> None:
    job_id = add_job(status="completed")
    ended = cli("jobs", command, str(job_id))
    assert ended.code == 1
    assert f"Job {job_id} is completed; it cannot become" in ended.err


@pytest.mark.parametrize("arguments", [(), ("--all", "00000000")])
def test_jobs_are_named_or_filtered(cli: Cli, arguments: tuple[str, ...]) -> None:
    ended = cli("jobs", "cancel", *arguments)
    assert ended.code == 2
    assert "--status" in ended.err


def test_a_job_that_is_not_there_is_bad_usage(cli: Cli) -> None:
    assert cli("jobs", "cancel", "00000000").code == 2


def test_all_of_a_kind_are_cancelled_after_a_question(
    cli: Cli, connection: sa.Connection, add_job: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    scans = [add_job("scan", {"path": f"library/{number}"}) for number in range(25)]
    other = add_job("compile_random")
    assert cli("jobs", "cancel", "--type", "scan").code == 1
    assert {status(connection, job_id) for job_id in scans} == {JobStatus.PENDING}
    ended = cli("jobs", "cancel", "--type", "scan", "--force")
    assert ended.code == 0
    assert ended.out.endswith("25 jobs cancelled\n")
    assert {status(connection, job_id) for job_id in scans} == {JobStatus.CANCELLED}
    assert status(connection, other) == JobStatus.PENDING


def test_bulk_actions_answer_in_json(cli: Cli, add_job: Add) -> None:
    fresh, spent = add_job(status="failed"), add_job(status="failed", retry_count=3)
    ended = cli("jobs", "retry", str(fresh), str(spent), "--json")
    assert ended.code == 1
    assert (ended.json["done"], ended.json["refused"]) == (1, 1)
    assert ended.json["jobs"][0]["id"] == str(fresh)
    assert "only by force" in ended.json["problems"][0]["problem"]
    assert cli("jobs", "retry", str(spent), "--force").code == 0


def test_the_whole_queue_is_paused_and_resumed(cli: Cli, connection: sa.Connection) -> None:
    assert "The queue is paused" in cli("jobs", "pause", "--queue").out
    assert lifecycle.switch(connection).paused_at is not None
    assert "paused since" in cli("jobs", "status").err
    assert cli("jobs", "resume", "--queue").out == "The queue runs\n"
    assert lifecycle.switch(connection).paused_at is None
    assert cli("jobs", "pause", "--queue", "--all").code == 2


def test_a_priority_is_changed(cli: Cli, connection: sa.Connection, add_job: Add) -> None:
    job_id = add_job()
    ended = cli("jobs", "priority", str(job_id)[:8], "1", "--json")
    assert (ended.code, ended.json["priority"]) == (0, 1)
    assert queue.get(connection, job_id).priority == 1
    assert cli("jobs", "priority", str(job_id), "11").code == 2
    lifecycle.cancel(connection, job_id)
    refused = cli("jobs", "priority", str(job_id), "2")
    assert refused.code == 1
    assert "has ended" in refused.err
