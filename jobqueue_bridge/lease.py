"""What a running attempt may write: start, beat, progress, log, finish. Each is fenced by attempt and token.

Once the row carries another token, or is no longer running, every call here raises LeaseLost and writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import queue
from jobqueue_bridge.errors import LeaseLost
from jobqueue_bridge.retry import Backoff, FailureKind, Retry, after_failure, after_loss
from jobqueue_bridge.tables import job_attempts, job_leases, job_logs, jobs, utcnow
from jobqueue_bridge.vocabulary import JobStatus, Outcome

LOG_TAIL_BYTES = 10_000
_LINE_MAX = 4_000


@dataclass(frozen=True)
class Lease:
    """A run's hold on its job."""

    job_id: UUID
    attempt: int
    token: UUID


def claim(connection: sa.Connection, job_id: UUID, attempt: int, *, run_id: str, host: str) -> Lease | None:
    """Compare-and-set queued → running. None: somebody moved the job; the run has nothing to do."""
    token = uuid4()
    claimed = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == JobStatus.QUEUED.value)
        .values(
            status=JobStatus.RUNNING.value,
            lease_token=token,
            run_id=run_id,
            host=host,
            started_at=utcnow(),
            completed_at=None,
            progress=0,
            progress_detail=None,
            error=None,
            waiting_reason=None,
            queue_position=None,
            retry_after=None,
        )
    )
    if claimed.rowcount != 1:
        return None
    if attempt == 1:
        _keep_older_log(connection, job_id)
    beat_row = pg.insert(job_leases).values(job_id=job_id, attempt=attempt, token=token)
    connection.execute(
        beat_row.on_conflict_do_update(
            index_elements=[job_leases.c.job_id],
            set_={"attempt": attempt, "token": token, "heartbeat_at": sa.func.now()},
        )
    )
    connection.execute(sa.insert(job_attempts).values(job_id=job_id, attempt=attempt, run_id=run_id, host=host))
    return Lease(job_id, attempt, token)


def _keep_older_log(connection: sa.Connection, job_id: UUID) -> None:
    """What another program wrote into `jobs.log` before this platform first ran the job."""
    older = sa.select(jobs.c.id, jobs.c.log).where(jobs.c.id == job_id, jobs.c.log != "")
    connection.execute(sa.insert(job_logs).from_select(["job_id", "line"], older))


def beat(connection: sa.Connection, lease: Lease, progress: int | None, detail: Mapping[str, Any] | None) -> None:
    """Say that the attempt lives and how far it is. Raises LeaseLost where it has to stop."""
    alive = sa.update(job_leases).where(*_fence(lease)).values(heartbeat_at=sa.func.clock_timestamp())
    if connection.execute(alive).rowcount != 1:
        raise LeaseLost(lease.job_id, lease.attempt, "another attempt holds the job")
    state = connection.execute(
        sa.select(jobs.c.status, jobs.c.lease_token, jobs.c.cancel_requested_at, jobs.c.progress).where(
            jobs.c.id == lease.job_id
        )
    ).one_or_none()
    if state is None:
        raise LeaseLost(lease.job_id, lease.attempt, "the job was deleted")
    if state.lease_token != lease.token or state.status != JobStatus.RUNNING.value:
        raise LeaseLost(lease.job_id, lease.attempt, f"the job was set to {state.status} from outside")
    if progress is not None:
        connection.execute(
            sa.update(jobs)
            .where(*_holds(lease))
            .values(progress=max(0, min(100, progress)), progress_detail=dict(detail) if detail else None)
        )


def log(connection: sa.Connection, lease: Lease, lines: Sequence[str]) -> None:
    """Append to the job's log. Raises LeaseLost."""
    if not lines:
        return
    _require(connection, lease)
    connection.execute(
        sa.insert(job_logs),
        [{"job_id": lease.job_id, "line": line.replace("\0", "�")[:_LINE_MAX]} for line in lines],
    )


def record_encoder(connection: sa.Connection, lease: Lease, encoder: str) -> None:
    connection.execute(
        sa.update(job_attempts)
        .where(job_attempts.c.job_id == lease.job_id, job_attempts.c.attempt == lease.attempt)
        .values(encoder=encoder)
    )


def announce_output(connection: sa.Connection, lease: Lease, path: str, size_bytes: int) -> None:
    """Name the file about to be published, so that a later attempt knows it for this job's own. Raises LeaseLost."""
    _change(connection, lease, result={"publishing": path, "sizeBytes": size_bytes})


def complete(connection: sa.Connection, lease: Lease, result: Mapping[str, Any]) -> None:
    """running → completed, in one fenced statement. Raises LeaseLost."""
    _change(
        connection,
        lease,
        status=JobStatus.COMPLETED.value,
        progress=100,
        completed_at=utcnow(),
        result=dict(result),
        **_let_go(connection, lease.job_id),
    )
    _close(connection, lease, Outcome.COMPLETED)


def fail(connection: sa.Connection, lease: Lease, error: str, kind: FailureKind, backoff: Backoff) -> Retry | None:
    """running → failed, or pending again with `retry_after`. Returns the retry. Raises LeaseLost."""
    job = queue.get(connection, lease.job_id)
    retry = after_failure(kind, job.retry_count, job.max_retries, backoff)
    if retry is None:
        log(connection, lease, ["--- ERROR ---", *error.splitlines()])
        _change(
            connection,
            lease,
            status=JobStatus.FAILED.value,
            error=error,
            completed_at=utcnow(),
            **_let_go(connection, lease.job_id),
        )
    else:
        again = f"Retry {retry.retry_count} of {job.max_retries} in {retry.wait_s:.0f} s"
        log(connection, lease, ["--- ERROR ---", *error.splitlines(), again])
        _change(connection, lease, error=error, **_pending_again(retry), **_let_go(connection, lease.job_id))
    _close(connection, lease, Outcome.LOST if kind == "lost" else Outcome.FAILED, error)
    return retry


def release(connection: sa.Connection, lease: Lease, reason: str) -> None:
    """running → pending at once, no retry used up: the run was told to stop, the job is as good as before."""
    job = queue.get(connection, lease.job_id)
    log(connection, lease, [f"Handed back: {reason}"])
    _change(connection, lease, **_pending_again(Retry(job.retry_count, 0)), **_let_go(connection, lease.job_id))
    _close(connection, lease, Outcome.RELEASED, reason)


def rescue(connection: sa.Connection, stale: queue.StaleJob, reason: str) -> JobStatus | None:
    """Take a job from an attempt that died: pending at once, or failed when its retries are used up.

    None: the attempt ended by itself meanwhile.
    """
    row = connection.execute(
        sa.select(jobs.c.lease_token, jobs.c.retry_count, jobs.c.max_retries)
        .where(
            jobs.c.id == stale.id,
            jobs.c.attempt == stale.attempt,
            jobs.c.status.in_([JobStatus.QUEUED.value, JobStatus.RUNNING.value, JobStatus.PAUSED.value]),
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        return None
    lease = Lease(stale.id, stale.attempt, row.lease_token)
    retry = after_loss(row.retry_count or 0, 3 if row.max_retries is None else row.max_retries)
    connection.execute(sa.insert(job_logs).values(job_id=stale.id, line=f"Attempt {stale.attempt} lost: {reason}"))
    if retry is None:
        message = f"{reason}; this was the last of {stale.attempt} attempts"
        values: dict[str, Any] = {
            "status": JobStatus.FAILED.value,
            "error": message,
            "completed_at": utcnow(),
        }
    else:
        values = _pending_again(retry)
    connection.execute(
        sa.update(jobs).where(jobs.c.id == stale.id).values(**values, **_let_go(connection, lease.job_id))
    )
    connection.execute(sa.delete(job_leases).where(job_leases.c.job_id == stale.id))
    _close_attempt(connection, lease, Outcome.LOST, reason)
    return JobStatus(values["status"])


def _fence(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        job_leases.c.job_id == lease.job_id,
        job_leases.c.attempt == lease.attempt,
        job_leases.c.token == lease.token,
    )


def _holds(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        jobs.c.id == lease.job_id,
        jobs.c.attempt == lease.attempt,
        jobs.c.lease_token == lease.token,
        jobs.c.status == JobStatus.RUNNING.value,
    )


def _require(connection: sa.Connection, lease: Lease) -> None:
    if connection.scalar(sa.select(jobs.c.id).where(*_holds(lease))) is None:
        raise LeaseLost(lease.job_id, lease.attempt, "the job is no longer this attempt's")


def _change(connection: sa.Connection, lease: Lease, **values: Any) -> None:
    if connection.execute(sa.update(jobs).where(*_holds(lease)).values(**values)).rowcount != 1:
        raise LeaseLost(lease.job_id, lease.attempt, "the job is no longer this attempt's")


def _pending_again(retry: Retry) -> dict[str, Any]:
    wait = sa.func.make_interval(0, 0, 0, 0, 0, 0, retry.wait_s)
    return {
        "status": JobStatus.PENDING.value,
        "retry_count": retry.retry_count,
        "retry_after": sa.type_coerce(utcnow() + wait, jobs.c.retry_after.type) if retry.wait_s else None,
        "progress": 0,
        "progress_detail": None,
    }


def _let_go(connection: sa.Connection, job_id: UUID) -> dict[str, Any]:
    """What a row loses with its lease; and the log's tail, which readers of the row alone rely on."""
    return {
        "lease_token": None,
        "vram_units": None,
        "log": _log_tail(connection, job_id),
        "waiting_reason": None,
        "queue_position": None,
    }


def _log_tail(connection: sa.Connection, job_id: UUID) -> str:
    newest = connection.scalars(
        sa.select(queue.log_line())
        .where(job_logs.c.job_id == job_id)
        .order_by(job_logs.c.seq.desc())
        .limit(LOG_TAIL_BYTES // 22)  # no line is shorter than its time stamp
    ).all()
    return "\n".join(reversed(newest)).encode()[-LOG_TAIL_BYTES:].decode(errors="ignore")


def _close(connection: sa.Connection, lease: Lease, outcome: Outcome, error: str | None = None) -> None:
    connection.execute(sa.delete(job_leases).where(*_fence(lease)))
    _close_attempt(connection, lease, outcome, error)


def _close_attempt(connection: sa.Connection, lease: Lease, outcome: Outcome, error: str | None) -> None:
    connection.execute(
        sa.update(job_attempts)
        .where(job_attempts.c.job_id == lease.job_id, job_attempts.c.attempt == lease.attempt)
        .values(ended_at=sa.func.now(), outcome=outcome.value, error=error)
    )
