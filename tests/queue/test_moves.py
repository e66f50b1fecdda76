"""`queue.move` does every legal step, refuses every other, and the row follows its status."""

from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue
from jobqueue_bridge.errors import JobAlreadyLive, JobNotFound, MoveForbidden
from jobqueue_bridge.vocabulary import FINAL, MOVES, JobStatus

MakeJob = Callable[..., UUID]
Row = Callable[[UUID], Any]
PAIRS = list(product(JobStatus, JobStatus))
LEGAL = [pair for pair in PAIRS if pair[1] in MOVES[pair[0]]]


@pytest.mark.parametrize(("current", "wanted"), LEGAL)
def test_a_legal_move_is_done(
    connection: sa.Connection, make_job: MakeJob, current: JobStatus, wanted: JobStatus
) -> None:
    job_id = make_job(status=current)
    assert queue.move(connection, job_id, wanted).status == wanted
    assert queue.get(connection, job_id).status == wanted


@pytest.mark.parametrize(("current", "wanted"), [pair for pair in PAIRS if pair not in LEGAL])
def test_an_illegal_move_is_refused_and_changes_nothing(
    connection: sa.Connection,
    make_job: MakeJob,
    everything: Callable[[], Any],
    current: JobStatus,
    wanted: JobStatus,
) -> None:
    job_id = make_job(status=current)
    before = everything()
    with pytest.raises(MoveForbidden, match=f"Job {job_id} is {current}; it cannot become {wanted}"):
        queue.move(connection, job_id, wanted, priority=1)
    assert everything() == before


def test_a_move_of_no_job_says_so(connection: sa.Connection) -> None:
    with pytest.raises(JobNotFound):
        queue.move(connection, uuid4(), JobStatus.CANCELLED)


def test_a_move_writes_other_columns_with_it(connection: sa.Connection, make_job: MakeJob) -> None:
    job = queue.move(connection, make_job(), JobStatus.CANCELLED, error="not wanted")
    assert (job.status, job.error) == (JobStatus.CANCELLED, "not wanted")


def test_an_ended_job_does_not_come_back_beside_a_live_one_that_does_the_same(
    connection: sa.Connection, make_job: MakeJob
) -> None:
    ended, live = make_job(status=JobStatus.FAILED, unique_key="k"), make_job(unique_key="k")
    with pytest.raises(JobAlreadyLive) as refused:
        queue.move(connection, ended, JobStatus.PENDING)
    assert refused.value.job_id == live
    queue.move(connection, live, JobStatus.CANCELLED)
    assert queue.move(connection, ended, JobStatus.PENDING).status == JobStatus.PENDING


@pytest.mark.parametrize(("current", "wanted"), LEGAL)
def test_a_row_follows_its_status_whoever_moves_it(
    connection: sa.Connection, make_job: MakeJob, row: Row, current: JobStatus, wanted: JobStatus
) -> None:
    """A plain UPDATE leaves no lease, VRAM, waiting text or end behind that the new status cannot have."""
    job_id = make_job(status=current)
    connection.execute(
        sa.text(
            "UPDATE jobs SET lease_token = gen_random_uuid(), vram_units = '{1}', waiting_reason = 'w',"
            " queue_position = 1, completed_at = '2020-01-01' WHERE id = :id"
        ),
        {"id": job_id},
    )
    connection.execute(sa.text("UPDATE jobs SET status = :to WHERE id = :id"), {"to": wanted.value, "id": job_id})
    after = row(job_id)
    in_mid_run = "paused in mid-run: still holds a cpu slot" if wanted == JobStatus.PAUSED else None
    assert after.waiting_reason == ("w" if wanted == JobStatus.PENDING else in_mid_run)
    assert (after.queue_position is not None) == (wanted == JobStatus.PENDING)
    assert (after.lease_token is not None) == (wanted in {JobStatus.RUNNING, JobStatus.PAUSED})
    assert (after.vram_units is not None) == (wanted in {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED})
    assert (after.completed_at is not None) == (wanted in FINAL)
    assert after.completed_at is None or after.completed_at.year > 2020


def test_an_end_that_another_program_dates_keeps_its_date(
    connection: sa.Connection, make_job: MakeJob, row: Row
) -> None:
    job_id = make_job(status=JobStatus.RUNNING)
    connection.execute(sa.text("UPDATE jobs SET status = 'failed', completed_at = '2026-02-13 10:45'"))
    assert row(job_id).completed_at.isoformat() == "2026-02-13T10:45:00+00:00"


def test_the_database_refuses_a_status_that_is_none(connection: sa.Connection, make_job: MakeJob) -> None:
    make_job()
    with pytest.raises(sa.exc.IntegrityError, match="jobs_status_known"):
        connection.execute(sa.text("UPDATE jobs SET status = 'done'"))
