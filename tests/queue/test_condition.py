"""What `doctor` is told about the queue's tables."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import condition
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.platform import doctor

MakeJob = Callable[..., UUID]


def findings(settings: Settings) -> dict[str, doctor.Finding]:
    """Those about the queue, by how each begins."""
    return {finding.text.split(":")[0].split(" waits for")[0]: finding for finding in doctor._queue(settings)}


def ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def test_a_queue_in_good_condition_passes(settings: Settings, make_job: MakeJob) -> None:
    make_job()
    found = findings(settings)
    assert all(finding.ok for finding in found.values())
    assert {"jobs", "job_leases", "the queue's tables", "the archive", "Dagster's tables"} <= found.keys()


def test_the_oldest_open_transaction_is_named(
    settings: Settings, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect() as idle, database.connect() as connection:
        pid = idle.scalar(sa.select(sa.func.pg_backend_pid()))
        oldest = condition.look(connection).transaction
        assert oldest is not None
        assert (oldest.pid, oldest.program) == (pid, "media-pipelines")
        monkeypatch.setattr(doctor, "_TRANSACTION_AT_MOST_S", -1)
        finding = findings(settings)["oldest open transaction"]
        assert not finding.ok
        assert f"pg_terminate_backend({pid})" in finding.text


def test_dead_rows_that_nobody_clears_away_are_told(settings: Settings) -> None:
    good, bad = (doctor._dead_rows(("jobs", condition.Rows(1000, dead))) for dead in (10_000, 10_201))
    assert (good.ok, bad.ok) == (True, False)
    assert "VACUUM jobs" in bad.text


def test_dead_rows_are_those_that_postgres_counts(
    connection: sa.Connection, make_job: MakeJob, settings: Settings
) -> None:
    for _ in range(20):
        make_job()
    connection.execute(sa.text("UPDATE jobs SET error = 'x'"))
    connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
    connection.execute(sa.text("SELECT 1"))
    rows = condition.look(connection).rows["jobs"]
    assert rows.dead >= 20


@pytest.mark.parametrize(
    ("waits_h", "started_h", "running", "ok"),
    [
        (25, 30, False, False),
        (25, None, False, False),
        (25, 30, True, True),
        (25, 1, False, True),
        (23, 30, False, True),
    ],
)
def test_a_queue_in_which_nothing_moves_for_a_day_is_stuck(
    settings: Settings, make_job: MakeJob, waits_h: float, started_h: float | None, running: bool, ok: bool
) -> None:
    make_job(created_at=ago(waits_h))
    if started_h is not None:
        status = JobStatus.RUNNING if running else JobStatus.COMPLETED
        make_job(status=status, created_at=ago(50), started_at=ago(started_h))
    finding = findings(settings)["the oldest job that could start"]
    assert finding.ok == ok
    assert f"{waits_h:.1f} h" in finding.text


def test_jobs_that_wait_for_their_retry_are_not_ready(settings: Settings, make_job: MakeJob) -> None:
    make_job(created_at=ago(100), retry_after=ago(-1))
    assert "no job waits that could start" in findings(settings)


def test_tables_that_have_grown_too_large_say_which_setting_helps(settings: Settings) -> None:
    assert doctor._size("the archive", 20_000_000_000, "MEDIA_ARCHIVE_MONTHS").ok
    finding = doctor._size("the archive", 20_000_000_001, "MEDIA_ARCHIVE_MONTHS")
    assert not finding.ok
    assert "MEDIA_ARCHIVE_MONTHS" in finding.text
