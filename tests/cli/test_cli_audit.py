"""What is done on the command line stands in the audit log, as what is done through the API."""

import getpass
import socket
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import audit, lease
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.tables import jobs

Cli = Callable[..., Any]
Add = Callable[..., UUID]


@pytest.fixture
def told(connection: sa.Connection) -> Callable[[], list[tuple[str, UUID | None, dict[str, Any]]]]:
    """Action, job and details, oldest first; all by whoever runs the tests, on this host."""

    def read() -> list[tuple[str, UUID | None, dict[str, Any]]]:
        entries = audit.page(connection, limit=100).entries
        assert {entry.who for entry in entries} <= {f"{getpass.getuser()}@{socket.gethostname()}"}
        return [(entry.action, entry.job_id, entry.details) for entry in reversed(entries)]

    return read


def test_what_is_done_to_one_job_is_an_entry_each(cli: Cli, add_job: Add, told: Any) -> None:
    job_id = add_job("scan")
    for command in ("pause", "resume", "cancel", "retry"):
        assert cli("jobs", command, str(job_id)).code == 0
    assert cli("jobs", "priority", str(job_id), "2").code == 0

    assert told() == [
        ("job.pause", job_id, {}),
        ("job.resume", job_id, {}),
        ("job.cancel", job_id, {}),
        ("job.retry", job_id, {"force": False}),
        ("job.priority", job_id, {"priority": 2}),
    ]


def test_what_is_refused_is_no_entry(cli: Cli, add_job: Add, told: Any) -> None:
    assert cli("jobs", "cancel", str(add_job(status="completed"))).code == 1

    assert told() == []


def test_what_a_filter_chose_is_told_with_each_job_that_was_changed(cli: Cli, add_job: Add, told: Any) -> None:
    scans = [add_job("scan", {"path": f"library/{number}"}) for number in range(2)]
    add_job()

    assert cli("jobs", "cancel", "--type", "scan", "--force").code == 0

    [asked, *each] = told()
    assert asked == ("job.bulk", None, {"action": "cancel", "filter": {"type": "scan"}, "matched": 2})
    assert each == [("job.cancel", job_id, {"bulk": True}) for job_id in scans]


def test_a_job_that_is_asked_for_and_the_queues_switch_are_entries(cli: Cli, told: Any) -> None:
    job_id = UUID(cli("jobs", "create", "scan", "--json").json["id"])
    assert cli("jobs", "pause", "--queue").code == 0
    assert cli("jobs", "resume", "--queue").code == 0

    assert told() == [("job.create", job_id, {"type": "scan"}), ("queue.pause", None, {}), ("queue.resume", None, {})]


def test_what_leaves_the_queue_is_an_entry_and_nothing_is_none(
    cli: Cli, connection: sa.Connection, add_job: Add, told: Any
) -> None:
    assert cli("jobs", "clear", "--force").code == 0
    assert told() == []
    add_job(status="completed")
    connection.execute(sa.update(jobs).values(completed_at=sa.func.now() - sa.text("interval '100 days'")))
    assert cli("jobs", "cleanup", "--force").code == 0
    add_job("scan", status="completed")
    assert cli("jobs", "clear", "--force").code == 0

    assert told() == [
        ("queue.cleanup", None, {"olderThanDays": 30.0, "jobs": 1, "originals": 0, "unfinished": 0}),
        ("queue.clear", None, {"status": "completed", "jobs": 1}),
    ]


def test_a_job_that_is_recovered_is_an_entry_with_the_reason(
    cli: Cli, connection: sa.Connection, add_job: Add, told: Any
) -> None:
    job_id = add_job("scan", status="queued")
    held = lease.claim(connection, job_id, 0, run_id="gone", host=socket.gethostname())
    assert isinstance(held, Lease)
    connection.execute(sa.text("UPDATE job_leases SET heartbeat_at = now() - interval '1 hour'"))

    assert cli("jobs", "recover").code == 0

    [(action, about, details)] = told()
    assert (action, about) == ("job.recover", job_id)
    assert details["reason"].startswith("no heartbeat for 36")
