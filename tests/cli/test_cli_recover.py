"""`jobs recover`: a job whose run died is pending again; one whose run lives is never touched."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import admission, dispatching, lease, params, queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import job_leases, jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType
from media_pipelines.cli import recover as recovering
from media_pipelines.left_behind import owner
from media_pipelines.media import files

Cli = Callable[..., Any]
Start = Callable[..., Lease]


@pytest.fixture
def start(connection: sa.Connection, add_job: Callable[..., UUID]) -> Start:
    """A running job whose lease was last beaten so many seconds ago."""

    def act(silent_s: float, host: str | None = None, run_id: str = "a-run", **values: Any) -> Lease:
        job = add_job("compile_random", {"seed": len(values) + hash(run_id) % 1000}, **values)
        checked = queue.Checked(JobType.COMPILE_RANDOM, params.CompileRandom(), None)
        admitted = dispatching.admit(connection, admission.Admitted(job, ()), checked)
        assert admitted is not None
        held = lease.claim(connection, job, admitted.attempt, run_id=run_id, host=host or socket.gethostname())
        assert held is not None
        age = sa.func.make_interval(0, 0, 0, 0, 0, 0, silent_s)
        connection.execute(
            sa.update(job_leases).where(job_leases.c.job_id == job).values(heartbeat_at=sa.func.now() - age)
        )
        return held

    return act


@pytest.fixture
def living_run(settings: Settings) -> Iterator[Callable[[str], int]]:
    """living_run("a-run"): a process that holds the run's lock, as a run does."""
    started: list[subprocess.Popen[str]] = []

    def begin(run_id: str) -> int:
        code = (
            "import sys, time, pathlib; from media_pipelines.run_process import _Alive\n"
            f"with _Alive(pathlib.Path({str(settings.runs_dir)!r}), {run_id!r}): print('up', flush=True);"
            " time.sleep(600)"
        )
        run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(run)
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        return run.pid

    yield begin
    for run in started:
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
        run.wait()
        for lock in settings.runs_dir.iterdir():
            lock.unlink()


def status(connection: sa.Connection, held: Lease) -> str:
    return str(connection.scalar(sa.select(jobs.c.status).where(jobs.c.id == held.job_id)))


def test_a_job_without_a_recent_heartbeat_is_pending_again_and_a_retry_is_used(
    cli: Cli, start: Start, connection: sa.Connection, library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_LIBRARY_PATH", str(library))
    held = start(100)
    left = files.partial_path(library / "compilations/a.mp4", owner(held.job_id, held.attempt))
    left.parent.mkdir()
    left.write_bytes(b"half")
    ended = cli("jobs", "recover")
    first, last = ended.out.splitlines()
    assert ended.code == 0
    assert first == f"{str(held.job_id)[:8]}  compile_random: no heartbeat for 100 s; it is pending now"
    assert last == "Recovered 1 stale job"
    job = queue.get(connection, held.job_id)
    assert (job.status, job.retry_count) == (JobStatus.PENDING, 1)
    assert queue.attempts(connection, held.job_id)[0]["outcome"] == "lost"
    assert not left.exists()


def test_a_job_that_has_used_up_its_retries_fails(cli: Cli, start: Start, connection: sa.Connection) -> None:
    held = start(100, retry_count=3)
    found = cli("jobs", "recover", "--json").json
    assert [(one["id"], one["status"], one["retryCount"]) for one in found] == [(str(held.job_id), "failed", 3)]
    assert status(connection, held) == "failed"


def test_a_job_whose_lease_is_fresh_is_not_touched(cli: Cli, start: Start, connection: sa.Connection) -> None:
    mine, elsewhere = start(20), start(20, host="elsewhere", run_id="other")
    assert cli("jobs", "recover", "--json").json == []
    assert {status(connection, held) for held in (mine, elsewhere)} == {"running"}


def test_a_job_whose_process_lives_is_not_touched_however_silent_it_is(
    cli: Cli, start: Start, connection: sa.Connection, living_run: Callable[[str], int]
) -> None:
    pid, held = living_run("alive"), start(10_000, run_id="alive")
    assert cli("jobs", "recover").out == "Recovered 0 stale jobs\n"
    assert status(connection, held) == "running"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert cli("jobs", "recover").out.endswith("Recovered 1 stale job\n")
    assert status(connection, held) == "pending"


def test_a_run_of_another_host_that_beats_again_is_not_touched(
    cli: Cli, start: Start, connection: sa.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage of the database, when every beat looks old at first."""
    beating, silent = start(100, host="elsewhere", run_id="one"), start(100, host="elsewhere", run_id="two")

    def beat_meanwhile(seconds: float) -> None:
        with engine_for(settings).begin() as other:
            lease.beat(other, beating, None, None)

    monkeypatch.setattr(recovering.time, "sleep", beat_meanwhile)
    assert [one["id"] for one in cli("jobs", "recover", "--json").json] == [str(silent.job_id)]
    assert status(connection, beating) == "running"


def test_a_row_that_another_program_set_to_running_and_left_is_recovered(
    cli: Cli, add_job: Callable[..., UUID], connection: sa.Connection
) -> None:
    job = add_job(status="running")
    assert "it has no lease" in cli("jobs", "recover").out
    assert queue.get(connection, job).status == JobStatus.PENDING


def test_a_job_that_waits_or_has_ended_is_no_business_of_recover(
    cli: Cli, add_job: Callable[..., UUID], connection: sa.Connection
) -> None:
    others = [status for status in JobStatus if status != JobStatus.RUNNING]
    ids = [add_job("compile_random", {"seed": number}, status=other) for number, other in enumerate(others)]
    assert cli("jobs", "recover", "--json").json == []
    assert [queue.get(connection, job).status for job in ids] == others
