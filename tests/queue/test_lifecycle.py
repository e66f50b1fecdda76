"""Cancel, pause, resume, retry and another priority, of one job, of many and of the whole queue."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import dispatching, lease, lifecycle, logs, queue
from jobqueue_bridge.errors import (
    InvalidJob,
    JobAlreadyLive,
    JobHasEnded,
    JobNotFound,
    LeaseLost,
    MoveForbidden,
    RetriesUsedUp,
)
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.lifecycle import APPLIES, Action
from jobqueue_bridge.queue import Filters
from jobqueue_bridge.vocabulary import FINAL, LIVE, JobStatus, JobType

MakeJob = Callable[..., UUID]
Row = Callable[[UUID], Any]


def last_line(connection: sa.Connection, job_id: UUID) -> str:
    return logs.text(connection, job_id).splitlines()[-1].partition("] ")[2]


# Cancel


@pytest.mark.parametrize("status", sorted(LIVE))
def test_a_live_job_is_cancelled_and_its_log_says_so(
    connection: sa.Connection, make_job: MakeJob, row: Row, status: JobStatus
) -> None:
    job_id = make_job(status=status)
    assert lifecycle.cancel(connection, job_id).status == JobStatus.CANCELLED
    after = row(job_id)
    assert after.cancel_requested_at is not None
    assert after.completed_at is not None
    assert last_line(connection, job_id) == "--- JOB CANCELLED BY ADMIN ---"
    assert after.log.endswith("--- JOB CANCELLED BY ADMIN ---")


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_job_that_has_ended_is_not_cancelled(
    connection: sa.Connection, make_job: MakeJob, everything: Callable[[], Any], status: JobStatus
) -> None:
    job_id = make_job(status=status)
    before = everything()
    with pytest.raises(MoveForbidden, match=f"is {status}; it cannot become cancelled"):
        lifecycle.cancel(connection, job_id)
    assert everything() == before


def test_nothing_of_a_cancelled_attempt_comes_after_its_last_line(
    connection: sa.Connection, held: Lease, row: Row
) -> None:
    lease.log(connection, held, ["half-way"])
    lifecycle.cancel(connection, held.job_id)
    for act in (
        lambda: lease.log(connection, held, ["late"]),
        lambda: lease.complete(connection, held, {}),
        lambda: lease.hold(connection, held),
    ):
        with pytest.raises(LeaseLost, match="set to cancelled"):
            act()
    assert last_line(connection, held.job_id) == "--- JOB CANCELLED BY ADMIN ---"
    assert row(held.job_id).status == "cancelled"


def test_a_cancelled_run_is_waited_for_until_it_has_let_go(connection: sa.Connection, held: Lease) -> None:
    lifecycle.cancel(connection, held.job_id)
    assert lifecycle.letting_go(connection) == [held.job_id]
    queue.let_go(connection, held.job_id, held.token)
    assert lifecycle.letting_go(connection) == []
    (attempt,) = queue.attempts(connection, held.job_id)
    assert (attempt["outcome"], attempt["error"]) == ("cancelled", "the job was cancelled")


def test_letting_go_leaves_the_next_attempt_alone(
    connection: sa.Connection, held: Lease, start: Callable[..., Lease]
) -> None:
    lifecycle.cancel(connection, held.job_id)
    lifecycle.retry(connection, held.job_id)
    second = start(held.job_id)
    queue.let_go(connection, held.job_id, held.token)
    assert lease.beat(connection, second, None, None) == JobStatus.RUNNING
    first, newest = queue.attempts(connection, held.job_id)
    assert (first["outcome"], newest["outcome"]) == ("lost", None)


# Pause and resume


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.QUEUED])
def test_a_waiting_job_is_paused_and_goes_back_in_line(
    connection: sa.Connection, make_job: MakeJob, status: JobStatus
) -> None:
    job_id = make_job(status=status)
    lifecycle.pause(connection, job_id)
    assert dispatching.ready(connection) == []
    assert lifecycle.resume(connection, job_id).status == JobStatus.PENDING
    assert [job.id for job in dispatching.ready(connection)] == [job_id]


def test_a_running_job_goes_on_in_mid_run(connection: sa.Connection, held: Lease) -> None:
    paused = lifecycle.pause(connection, held.job_id)
    assert paused.waiting_reason == "paused in mid-run: still holds a gpu_encode slot and 4000 MB of VRAM"
    assert [job.id for job in dispatching.active(connection)] == [held.job_id]
    resumed = lifecycle.resume(connection, held.job_id)
    assert (resumed.status, resumed.waiting_reason) == (JobStatus.RUNNING, None)
    lease.complete(connection, held, {})


@pytest.mark.parametrize("status", [status for status in JobStatus if status != JobStatus.PAUSED])
def test_only_a_paused_job_is_resumed(connection: sa.Connection, make_job: MakeJob, status: JobStatus) -> None:
    with pytest.raises(MoveForbidden):
        lifecycle.resume(connection, make_job(status=status))


# Retry


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_did_not_complete_runs_again_at_once_and_that_counts(
    connection: sa.Connection, make_job: MakeJob, row: Row, status: JobStatus
) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    job_id = make_job(status=status, retry_count=1, retry_after=later, progress=40, error="bad", log="earlier")
    again = lifecycle.retry(connection, job_id)
    assert (again.status, again.retry_count, again.retry_after, again.progress, again.error) == (
        JobStatus.PENDING, 2, None, 0, None,
    )  # fmt: skip
    assert row(job_id).completed_at is None
    assert row(job_id).log.splitlines()[0].endswith("earlier")
    assert last_line(connection, job_id) == "--- RETRY ATTEMPT 2 ---"
    assert [job.id for job in dispatching.ready(connection)] == [job_id]


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, *sorted(LIVE)])
def test_only_what_failed_or_was_cancelled_is_retried(
    connection: sa.Connection, make_job: MakeJob, everything: Callable[[], Any], status: JobStatus
) -> None:
    job_id = make_job(status=status)
    before = everything()
    with pytest.raises(MoveForbidden):
        lifecycle.retry(connection, job_id)
    assert everything() == before


def test_beyond_its_retries_a_job_runs_again_only_by_force(connection: sa.Connection, make_job: MakeJob) -> None:
    job_id = make_job(status=JobStatus.FAILED, retry_count=3)
    with pytest.raises(RetriesUsedUp, match="has used 3 of 3 retries"):
        lifecycle.retry(connection, job_id)
    assert lifecycle.retry(connection, job_id, force=True).retry_count == 4


def test_a_job_is_not_retried_beside_one_that_does_the_same(connection: sa.Connection, make_job: MakeJob) -> None:
    ended = make_job(status=JobStatus.FAILED, unique_key="k")
    make_job(unique_key="k")
    with pytest.raises(JobAlreadyLive):
        lifecycle.retry(connection, ended)


# Priority


def test_another_priority_reorders_the_queue(connection: sa.Connection, make_job: MakeJob) -> None:
    first, second = make_job(), make_job()
    assert [job.id for job in dispatching.ready(connection)] == [first, second]
    assert lifecycle.reprioritise(connection, second, 1).priority == 1
    assert [job.id for job in dispatching.ready(connection)] == [second, first]


@pytest.mark.parametrize("priority", [0, 11, -1])
def test_a_priority_is_one_to_ten(connection: sa.Connection, make_job: MakeJob, priority: int) -> None:
    with pytest.raises(InvalidJob, match=f"must be 1 .* to 10 .*, got {priority}"):
        lifecycle.reprioritise(connection, make_job(), priority)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_job_that_has_ended_has_no_place_in_line(
    connection: sa.Connection, make_job: MakeJob, status: JobStatus
) -> None:
    with pytest.raises(JobHasEnded, match=f"has ended \\({status}\\)"):
        lifecycle.reprioritise(connection, make_job(status=status), 1)


ACTS: dict[str, Callable[[sa.Connection, UUID], Any]] = {
    "cancel": lifecycle.cancel,
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "retry": lifecycle.retry,
    "reprioritise": lambda connection, job_id: lifecycle.reprioritise(connection, job_id, 1),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_job_that_is_not_there_is_named(connection: sa.Connection, act: str) -> None:
    missing = uuid4()
    with pytest.raises(JobNotFound, match=str(missing)):
        ACTS[act](connection, missing)


# Many


@pytest.mark.parametrize("action", Action)
def test_an_action_reaches_every_job_that_it_can_and_no_other(
    connection: sa.Connection, database: sa.Engine, make_job: MakeJob, row: Row, action: Action
) -> None:
    by_status = {status: make_job(status=status) for status in JobStatus}
    other = {status: make_job(JobType.VALIDATE, status=status) for status in JobStatus}
    only_scans = Filters(type="scan")
    assert lifecycle.count_for(connection, action, only_scans) == len(APPLIES[action])
    applied = list(lifecycle.apply_to_all(database, action, only_scans))
    assert {one.id for one in applied} == {by_status[status] for status in APPLIES[action]}
    assert all(one.job is not None and one.refusal is None for one in applied)
    assert {status for status, job_id in by_status.items() if row(job_id).status != status} == set(APPLIES[action])
    assert all(row(job_id).status == status for status, job_id in other.items())


def test_a_thousand_jobs_are_cancelled_in_batches_and_each_log_says_so(
    connection: sa.Connection, database: sa.Engine, make_job: MakeJob
) -> None:
    ids = {make_job(log="earlier" if number % 100 == 0 else "") for number in range(1201)}
    applied = list(lifecycle.apply_to_all(database, Action.CANCEL, Filters()))
    assert {one.id for one in applied} == ids
    assert len(applied) == 1201
    kept = sa.text(
        "SELECT count(*) FILTER (WHERE log LIKE '%CANCELLED BY ADMIN ---'),"
        " count(*) FILTER (WHERE log LIKE '%earlier%')"
        " FROM jobs WHERE status = 'cancelled'"
    )
    assert connection.execute(kept).one() == (1201, 13)


def test_of_several_named_jobs_one_that_may_not_keeps_none_back(connection: sa.Connection, make_job: MakeJob) -> None:
    live, ended, missing = make_job(), make_job(status=JobStatus.COMPLETED), uuid4()
    first, second, third = lifecycle.apply(connection, Action.CANCEL, [live, ended, missing])
    assert first.job is not None
    assert first.job.status == JobStatus.CANCELLED
    assert second.refusal == f"Job {ended} is completed; it cannot become cancelled"
    assert third.refusal == f"No job {missing}"


def test_of_several_retries_the_one_that_is_used_up_says_so(database: sa.Engine, make_job: MakeJob) -> None:
    fresh, spent = make_job(status=JobStatus.FAILED), make_job(status=JobStatus.FAILED, retry_count=3)
    with database.begin() as connection:
        first, second = lifecycle.apply(connection, Action.RETRY, [fresh, spent])
    assert first.job is not None
    assert second.refusal is not None
    assert "only by force" in second.refusal


# The whole queue


def test_the_whole_queue_pauses_and_says_by_whom(connection: sa.Connection, make_job: MakeJob) -> None:
    queued = make_job(status=JobStatus.QUEUED)
    paused = lifecycle.pause_queue(connection, "ada")
    assert paused.paused_by == "ada"
    assert paused.reason is not None
    assert "the queue is paused since" in paused.reason
    assert queue.get(connection, queued).status == JobStatus.PENDING, "it had not begun"
    assert lifecycle.pause_queue(connection, "bob") == paused, "the first word counts"
    assert lifecycle.resume_queue(connection).reason is None
