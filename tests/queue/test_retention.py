"""Finished jobs move to the archive, in batches; nothing is lost, whoever is killed or works on the rows meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import archive, lease, logs, queue, retention, stats
from jobqueue_bridge.errors import AmbiguousJob, JobArchived, JobNotFound
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import file_changes, job_attempts, job_logs, jobs, jobs_archive
from jobqueue_bridge.vocabulary import FINAL, LIVE, JobStatus

MakeJob = Callable[..., UUID]
ENDED = sorted(FINAL)
LONG_AGO = datetime(2025, 3, 9, 8, 7, 6, 543210, tzinfo=UTC)


def ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def archived(connection: sa.Connection) -> set[UUID]:
    return set(connection.scalars(sa.select(jobs_archive.c.id)))


def left(connection: sa.Connection) -> set[UUID]:
    return set(connection.scalars(sa.select(jobs.c.id)))


def run(database: sa.Engine, *arguments: Any, **options: Any) -> int:
    return sum(retention.archive_finished(database, *arguments, **options))


@pytest.mark.parametrize("status", ENDED)
def test_a_job_that_ended_long_enough_ago_is_archived(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, status: JobStatus
) -> None:
    old, young = (make_job(status=status, completed_at=ago(days)) for days in (30.01, 29.99))
    assert run(database, 30) == 1
    assert (archived(connection), left(connection)) == ({old}, {young})


@pytest.mark.parametrize("status", sorted(LIVE))
def test_a_job_that_has_not_ended_is_never_archived(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, status: JobStatus
) -> None:
    job = make_job(status=status, created_at=LONG_AGO, completed_at=LONG_AGO)
    assert run(database) == 0
    assert left(connection) == {job}


def test_a_row_that_never_said_when_it_ended_goes_by_its_creation(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    job = make_job(status=JobStatus.COMPLETED, created_at=LONG_AGO)
    assert run(database, 30) == 1
    assert archive.get(connection, job).job.completed_at is None


def test_the_archive_knows_the_whole_job(
    database: sa.Engine, connection: sa.Connection, held: Lease, make_job: MakeJob
) -> None:
    lease.log(connection, held, ["one", "two"])
    lease.record_encoder(connection, held, "libx264")
    lease.complete(connection, held, {"outputPath": "playback/a.mp4", "none": None})
    job, attempts = queue.get(connection, held.job_id), queue.attempts(connection, held.job_id)
    log = logs.text(connection, held.job_id)
    assert run(database) == 1
    found = archive.get(connection, held.job_id)
    assert (found.job, found.attempts, found.log) == (job, attempts, log)
    assert ago(0) - found.archived_at < timedelta(minutes=5)
    assert connection.scalar(sa.select(sa.func.count()).select_from(job_logs)) == 0
    assert connection.scalar(sa.select(sa.func.count()).select_from(job_attempts)) == 0


def test_the_end_of_a_long_log_is_archived(
    database: sa.Engine, connection: sa.Connection, held: Lease, make_job: MakeJob
) -> None:
    lease.log(connection, held, [f"line {number}" for number in range(1_000)])
    connection.execute(sa.update(jobs).values(status="cancelled"))  # by another program, which knows of no tail
    queue.tidy_after_outside_moves(connection)
    assert run(database) == 1
    log = archive.get(connection, held.job_id).log
    assert log.endswith("line 999")
    assert len(log) <= logs.TAIL_BYTES


def test_a_log_that_another_program_wrote_is_archived(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    job = make_job(status=JobStatus.FAILED, log="as it was")
    run(database)
    assert archive.get(connection, job).log == "as it was"


def test_columns_of_other_programs_are_archived_with_the_row(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    connection.execute(sa.text("ALTER TABLE jobs ADD COLUMN theirs text DEFAULT 'kept'"))
    try:
        job = make_job(status=JobStatus.COMPLETED)
        run(database)
        assert archive.get(connection, job).job.id == job
        assert connection.scalar(sa.select(jobs_archive.c.job["theirs"].as_string())) == "kept"
    finally:
        connection.execute(sa.text("ALTER TABLE jobs DROP COLUMN theirs"))


def test_each_month_has_a_partition_of_its_own(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    for month in (1, 2, 12):
        make_job(status=JobStatus.COMPLETED, completed_at=datetime(2025, month, 28, 23, 59, 59, 999999, tzinfo=UTC))
    run(database)
    where = sa.select(sa.literal_column("tableoid::regclass::text")).select_from(jobs_archive)
    assert set(connection.scalars(where)) == {"jobs_archive_2025_01", "jobs_archive_2025_02", "jobs_archive_2025_12"}


@pytest.mark.parametrize("instant", ["infinity", "-infinity", "0044-03-15 BC", "294276-01-01", "1969-12-31"])
def test_an_instant_that_no_calendar_has_stops_nothing(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, instant: str
) -> None:
    job, plain = make_job(status=JobStatus.COMPLETED), make_job(status=JobStatus.COMPLETED)
    connection.execute(
        sa.text("UPDATE jobs SET completed_at = CAST(:at AS timestamp) WHERE id = :id"), {"at": instant, "id": job}
    )
    assert run(database) == 2
    assert archived(connection) == {job, plain}


# What stays


def test_the_parent_of_a_live_job_stays_until_that_has_ended(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    parent = make_job(status=JobStatus.COMPLETED)
    child = make_job(status=JobStatus.PENDING, parent_id=parent)
    assert run(database) == 0
    connection.execute(sa.update(jobs).where(jobs.c.id == child).values(status="cancelled"))
    assert run(database) == 2
    assert archived(connection) == {parent, child}


@pytest.mark.parametrize(("state", "stays"), [("intended", True), ("undoing", True), ("done", False)])
def test_a_job_whose_change_of_a_file_is_unsettled_stays(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, state: str, stays: bool
) -> None:
    job = make_job(status=JobStatus.FAILED)
    connection.execute(
        sa.insert(file_changes).values(job_id=job, attempt=1, action="move", path="a", target="b", state=state)
    )
    assert run(database) == (0 if stays else 1)


def test_a_cancelled_job_whose_run_is_still_ending_stays(
    database: sa.Engine, connection: sa.Connection, held: Lease
) -> None:
    connection.execute(sa.update(jobs).values(status="cancelled"))
    assert run(database) == 0
    queue.tidy_after_outside_moves(connection)
    assert run(database) == 1


def test_a_row_that_somebody_works_on_is_passed_over(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    busy, free = make_job(status=JobStatus.FAILED), make_job(status=JobStatus.FAILED)
    with database.begin() as other:
        queue.move(other, busy, JobStatus.PENDING)
        assert run(database) == 1
    assert (archived(connection), left(connection)) == ({free}, {busy})


def test_what_stays_keeps_nothing_behind_it_from_going(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    parents = [make_job(status=JobStatus.COMPLETED, completed_at=ago(100 - number)) for number in range(5)]
    for parent in parents:
        make_job(status=JobStatus.PENDING, parent_id=parent)
    for number in range(7):
        make_job(status=JobStatus.COMPLETED, completed_at=ago(60 - number))
    assert list(retention.archive_finished(database, 30, batch=3)) == [3, 3, 1]


# Reading by id


def test_an_archived_job_is_found_by_the_first_characters_of_its_id(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    job = make_job(status=JobStatus.COMPLETED)
    run(database)
    assert archive.find(connection, str(job)[:8]).job.id == job
    assert archive.find_id(connection, str(job)[:8]) == job
    make_job(status=JobStatus.COMPLETED, id=UUID(int=job.int ^ 1))
    run(database)
    with pytest.raises(AmbiguousJob):
        archive.find(connection, str(job)[:8])


def test_who_wants_to_change_an_archived_job_is_told_where_it_is(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    job = make_job(status=JobStatus.FAILED)
    run(database)
    for act in (lambda: queue.get(connection, job), lambda: queue.find(connection, str(job)[:13])):
        with pytest.raises(JobArchived, match="archive"):
            act()
    with pytest.raises(JobArchived):
        queue.move(connection, job, JobStatus.PENDING)


@pytest.mark.parametrize("reference", ["00000000-0000-4000-8000-000000000000", "no id"])
def test_a_job_that_was_never_there_is_not_in_the_archive(database: sa.Engine, reference: str) -> None:
    with database.connect() as connection, pytest.raises(JobNotFound):
        archive.find(connection, reference)


# Exactness


def test_the_tallies_stay_exact(database: sa.Engine, connection: sa.Connection, make_job: MakeJob) -> None:
    for number in range(40):
        make_job(status=ENDED[number % 3], completed_at=ago(number))
    make_job()
    moved = run(database, 20, batch=4)
    counted = connection.execute(sa.select(jobs.c.status, sa.func.count()).group_by(jobs.c.status)).all()
    by_status = stats.read(connection).by_status
    assert {status.value: count for status, count in by_status.items() if count} == dict(counted)
    assert moved + sum(by_status.values()) == 41


def test_the_count_is_of_what_would_go(database: sa.Engine, connection: sa.Connection, make_job: MakeJob) -> None:
    parent = make_job(status=JobStatus.COMPLETED, completed_at=ago(50))
    make_job(parent_id=parent)
    for days in (10, 40, 41):
        make_job(status=JobStatus.FAILED, completed_at=ago(days))
    assert retention.count_finished(connection, 30) == 2
    assert retention.count_finished(connection) == 3
    assert run(database, 30) == 2


_SLOWLY = """
import sys, time
from jobqueue_bridge import retention
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings
for moved in retention.archive_finished(engine_for(load_settings()), batch=20):
    print(moved, flush=True)
"""


def test_a_purge_that_is_killed_loses_nothing_and_the_next_one_goes_on(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob
) -> None:
    connection.execute(
        sa.text(
            "INSERT INTO jobs (type, status, params, resource_category, completed_at, log)"
            " SELECT 'scan', 'completed', '{}', 'cpu', timestamp '2025-01-01' + i * interval '1 hour', 'log ' || i"
            " FROM generate_series(1, 3000) AS i"
        )
    )
    every = left(connection)
    for _ in range(3):
        purging = subprocess.Popen([sys.executable, "-c", _SLOWLY], env=os.environ, stdout=subprocess.PIPE, text=True)
        assert purging.stdout is not None
        assert [purging.stdout.readline() for _ in range(5)] == ["20\n"] * 5
        os.kill(purging.pid, signal.SIGKILL)
        assert purging.wait() == -signal.SIGKILL
        _settle(connection)
        queued, kept = left(connection), archived(connection)
        assert queued | kept == every
        assert not queued & kept
        assert stats.read(connection).by_status[JobStatus.COMPLETED] == len(queued)
    assert run(database) == len(queued)
    assert archived(connection) == every
    logs = connection.scalar(sa.select(sa.func.count(jobs_archive.c.log.distinct())))
    assert logs == 3000


def _settle(connection: sa.Connection) -> None:
    """The server notices a moment later that its client is gone, and rolls back or ends what it was told."""
    mine = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'media-pipelines' AND state <> 'idle'"
        " AND pid <> pg_backend_pid()"
    )
    while connection.scalar(mine):
        time.sleep(0.01)


def test_two_purges_at_a_time_share_the_work(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, at_once: Callable[..., list[int]]
) -> None:
    every = {make_job(status=JobStatus.COMPLETED, completed_at=ago(100 + number)) for number in range(300)}
    assert sum(at_once(4, lambda _: run(database, 30, batch=10))) + run(database, 30) == 300
    assert archived(connection) == every


# Old months


def test_months_beyond_the_setting_are_dropped(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, settings: Settings
) -> None:
    now = datetime.now(UTC).replace(day=15)
    ages = {months: now - timedelta(days=30.5 * months) for months in (0, 2, 5, 14)}
    ids = {months: make_job(status=JobStatus.COMPLETED, completed_at=min(at, ago(0.01))) for months, at in ages.items()}
    run(database)
    keep_all = retention.purge(database, settings)
    assert archived(connection) == set(ids.values())
    assert keep_all.dropped_months == ()

    purged = retention.purge(database, settings.model_copy(update={"archive_months": 3}))
    assert archived(connection) == {ids[0], ids[2]}
    assert f"jobs_archive_{ages[14]:%Y_%m}" in purged.dropped_months
    assert f"jobs_archive_{ages[2]:%Y_%m}" not in purged.dropped_months


def test_a_purge_archives_by_the_setting_and_stops_when_its_time_is_over(
    database: sa.Engine, connection: sa.Connection, make_job: MakeJob, settings: Settings
) -> None:
    for _ in range(retention.BATCH + 5):
        make_job(status=JobStatus.COMPLETED, completed_at=ago(31))
    make_job(status=JobStatus.COMPLETED, completed_at=ago(29))
    first = retention.purge(database, settings, deadline_s=time.monotonic())
    assert first == retention.Purged(retention.BATCH, is_done=False)
    heard: list[int] = []
    assert retention.purge(database, settings, on_batch=heard.append) == retention.Purged(5)
    assert heard == [5]
    assert len(left(connection)) == 1
