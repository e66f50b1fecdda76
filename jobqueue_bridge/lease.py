"""What a running attempt may write: start, beat, progress, log, finish. Each is fenced by attempt and token.

Once the row carries another token, or is no longer running, every call here raises LeaseLost and writes nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import logs, queue
from jobqueue_bridge.devices import gpu_of_first_unit
from jobqueue_bridge.errors import JobPaused, LeaseLost
from jobqueue_bridge.retry import Backoff, FailureKind, Retry, after_failure, after_loss
from jobqueue_bridge.tables import job_attempts, job_leases, job_logs, jobs, jobs_archive, utcnow
from jobqueue_bridge.text import storable
from jobqueue_bridge.vocabulary import ACTIVE, JobStatus, Outcome

_LINE_MAX = 4_000


@dataclass(frozen=True)
class Lease:
    """A run's hold on its job."""

    job_id: UUID
    attempt: int
    token: UUID


def claim(connection: sa.Connection, job_id: UUID, attempt: int, *, run_id: str, host: str) -> Lease | None:
    """Compare-and-set queued → running. None: somebody moved the job; the run has nothing to do.

    An attempt is made once: a row that another program set back to `queued` waits for the next one.
    """
    token = uuid4()
    made = sa.exists().where(job_attempts.c.job_id == job_id, job_attempts.c.attempt == attempt)
    waits_for = sa.func.coalesce(jobs.c.waiting_run_id, run_id)
    claimed = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == JobStatus.QUEUED.value, ~made)
        .where(waits_for == run_id)
        .values(
            status=JobStatus.RUNNING.value,
            lease_token=token,
            run_id=run_id,
            waiting_run_id=None,
            host=host,
            started_at=utcnow(),
            progress=0,
            progress_detail=None,
            error=None,
            retry_after=None,
            cancel_requested_at=None,
        )
    )
    if claimed.rowcount != 1:
        return None
    logs.keep_older(connection, job_id)
    so_far = logs.held(job_id)
    beat_row = pg.insert(job_leases).values(job_id=job_id, attempt=attempt, token=token, **so_far)
    connection.execute(
        beat_row.on_conflict_do_update(
            index_elements=[job_leases.c.job_id],
            set_={"attempt": attempt, "token": token, "heartbeat_at": sa.func.now(), **so_far},
        )
    )
    gpu = sa.select(gpu_of_first_unit(jobs.c.vram_units)).where(jobs.c.id == job_id).scalar_subquery()
    made_now = sa.insert(job_attempts).values(job_id=job_id, attempt=attempt, run_id=run_id, host=host, gpu=gpu)
    connection.execute(made_now)
    return Lease(job_id, attempt, token)


def beat(connection: sa.Connection, lease: Lease, progress: int | None, detail: Mapping[str, Any] | None) -> JobStatus:
    """Say that the attempt lives and how far it is; hear whether the job is running or paused. Raises LeaseLost where
    the attempt has to stop."""
    held = (*_fence(lease), *_holds(lease), jobs.c.id == job_leases.c.job_id)
    alive = sa.update(job_leases).where(*held).values(heartbeat_at=sa.func.clock_timestamp())
    status = connection.scalar(alive.returning(jobs.c.status))
    if status is None:
        raise _lost(connection, lease)
    news: dict[str, Any] = {}
    if progress is not None:
        news = {"progress": max(0, min(100, progress)), "progress_detail": None}
    if detail:
        news["progress_detail"] = dict(detail)
    if news:
        _change(connection, lease, **news)
    return JobStatus(status)


def log(connection: sa.Connection, lease: Lease, lines: Sequence[str], ages_s: Sequence[float] = ()) -> None:
    """Append to the job's log, of which the first and last lines are kept; `ages_s` says how long ago each was noted.
    Raises LeaseLost.

    Whoever moves the job meanwhile waits, so that no line of an attempt comes after the line that says it was moved.
    """
    if not lines:
        return
    hold(connection, lease)
    lines = [storable(line)[:_LINE_MAX] for line in lines]
    age = sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.bindparam("age_s", type_=sa.Double))
    ages = ages_s or [0.0] * len(lines)
    connection.execute(
        sa.insert(job_logs).values(at=sa.func.clock_timestamp() - age),
        [{"job_id": lease.job_id, "line": line, "age_s": age_s} for line, age_s in zip(lines, ages, strict=True)],
    )
    logs.keep_bounded(connection, lease.job_id, lines)


def record_encoder(connection: sa.Connection, lease: Lease, encoder: str) -> None:
    """Which encoder this attempt uses, and why. Raises LeaseLost."""
    _require(connection, lease)
    _note(connection, lease, encoder=storable(encoder))


def record_peak_vram(connection: sa.Connection, lease: Lease, mb: int) -> None:
    """The most GPU memory that this attempt was seen to hold. Raises LeaseLost."""
    _require(connection, lease)
    _note(connection, lease, peak_vram_mb=mb)


def raise_vram(connection: sa.Connection, lease: Lease, mb: int) -> None:
    """What the job's next attempt reserves. Raises LeaseLost."""
    _change(connection, lease, vram_required=mb)


def hold(connection: sa.Connection, lease: Lease) -> None:
    """Nobody takes the job from this attempt before the transaction ends. Raises LeaseLost."""
    held = sa.select(jobs.c.id).where(*_holds(lease)).with_for_update(key_share=True)
    if connection.execute(held).one_or_none() is None:
        raise _lost(connection, lease)


def announce_output(connection: sa.Connection, lease: Lease, path: str, size_bytes: int, **facts: Any) -> None:
    """Name the file about to be published, so that a later attempt knows it for this job's own. Raises LeaseLost."""
    _change(connection, lease, result={**facts, "publishing": path, "sizeBytes": size_bytes})


def note_checks(connection: sa.Connection, lease: Lease, checks: Sequence[Mapping[str, Any]]) -> None:
    """Beside what the result holds: what checks have found, of an attempt that does not complete. Raises LeaseLost."""
    is_object = sa.func.jsonb_typeof(jobs.c.result) == "object"
    so_far = sa.case((is_object, jobs.c.result), else_=sa.cast({}, pg.JSONB))
    added = sa.cast({"checks": [dict(check) for check in checks]}, pg.JSONB)
    _change(connection, lease, result=so_far.op("||")(added))


def complete(connection: sa.Connection, lease: Lease, result: Mapping[str, Any]) -> None:
    """running → completed, in one fenced statement. Raises LeaseLost or JobPaused."""
    _end(connection, lease, status=JobStatus.COMPLETED.value, progress=100, result=dict(result))
    _close(connection, lease, Outcome.COMPLETED)


def fail(connection: sa.Connection, lease: Lease, error: str, kind: FailureKind, backoff: Backoff) -> Retry | None:
    """running → failed, or pending again with `retry_after`. Returns the retry. Raises LeaseLost or JobPaused."""
    used, allowed = _retries(connection, lease)
    retry = after_failure(kind, used, allowed, backoff)
    error = storable(error)
    if retry is None and kind == "lost":
        error = _last_of(error, lease.attempt)
    lines = ["--- ERROR ---", *error.splitlines()]
    if retry is None:
        log(connection, lease, lines)
        _end(connection, lease, status=JobStatus.FAILED.value, error=error)
    else:
        again = f"Retry {retry.retry_count} of {allowed}" if retry.retry_count > used else "Again, as no retry,"
        log(connection, lease, [*lines, f"{again} in {retry.wait_s:.0f} s"])
        _end(connection, lease, error=error, **_pending_again(retry))
    _close(connection, lease, Outcome.LOST if kind == "lost" else Outcome.FAILED, error)
    return retry


def release(connection: sa.Connection, lease: Lease, reason: str) -> None:
    """running → pending at once, no retry used up: the run was told to stop, the job is as good as before. A paused job
    stays paused, and holds nothing any more. Raises LeaseLost."""
    used, _ = _retries(connection, lease)
    log(connection, lease, [f"Handed back: {reason}"])
    _leave(connection, lease, Retry(used, 0), log=logs.tail(connection, lease.job_id))
    _close(connection, lease, Outcome.RELEASED, storable(reason))


def _leave(connection: sa.Connection, lease: Lease, retry: Retry, **values: Any) -> JobStatus:
    """running → pending, paused → paused: the job is nobody's, and starts from the beginning when its turn comes."""
    paused = jobs.c.status == JobStatus.PAUSED.value
    status = connection.scalar(
        sa.update(jobs)
        .where(jobs.c.id == lease.job_id)
        .values(
            **{
                **values,
                **_pending_again(retry),
                "status": sa.case((paused, jobs.c.status), else_=JobStatus.PENDING.value),
                "lease_token": None,
                "vram_units": None,
                "waiting_reason": None,
            }
        )
        .returning(jobs.c.status)
    )
    return JobStatus(status)


def rescue(connection: sa.Connection, stale: queue.StaleJob, reason: str) -> JobStatus | None:
    """Take a job from an attempt that died: pending at once (a paused one stays paused), or failed when its retries
    are used up.

    None: the attempt ended by itself meanwhile.
    """
    row = connection.execute(
        sa.select(jobs.c.lease_token, jobs.c.retry_count, jobs.c.max_retries)
        .where(
            jobs.c.id == stale.id,
            jobs.c.attempt == stale.attempt,
            sa.or_(
                jobs.c.status.in_([JobStatus.QUEUED.value, JobStatus.RUNNING.value]),
                sa.and_(jobs.c.status == JobStatus.PAUSED.value, jobs.c.lease_token.is_not(None)),
            ),
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        return None
    lease = Lease(stale.id, stale.attempt, row.lease_token)
    retry = after_loss(row.retry_count or 0, 3 if row.max_retries is None else row.max_retries)
    reason = storable(reason)
    logs.append(connection, [stale.id], [f"Attempt {stale.attempt} lost: {reason}"])
    if retry is None:
        status = JobStatus.FAILED
        message = _last_of(reason, stale.attempt)
        connection.execute(sa.update(jobs).where(jobs.c.id == stale.id).values(status=status.value, error=message))
    else:
        status = _leave(connection, lease, retry)
    connection.execute(sa.delete(job_leases).where(job_leases.c.job_id == stale.id))
    _close_attempt(connection, lease, Outcome.LOST, reason)
    return status


def _last_of(reason: str, attempt: int) -> str:
    """Of a job that dies again and again, in the first line of what it says."""
    first, newline, rest = reason.partition("\n")
    return f"{first}; this was the last of {attempt} attempts{newline}{rest}"


@dataclass(frozen=True)
class Holding:
    """A job's latest attempt, and whether it is at work or about to be."""

    attempt: int
    run_id: str | None
    is_active: bool


def holders(connection: sa.Connection, job_ids: Collection[UUID]) -> dict[UUID, Holding]:
    """Of the jobs that are in the queue or the archive."""
    wanted = sa.any_(sa.cast(list(job_ids), pg.ARRAY(sa.Uuid)))
    leased = sa.exists().where(job_leases.c.job_id == jobs.c.id)
    is_active = sa.or_(jobs.c.status.in_([status.value for status in ACTIVE]), jobs.c.lease_token.is_not(None), leased)
    queued = sa.select(jobs.c.id, jobs.c.attempt, jobs.c.run_id, is_active).where(jobs.c.id == wanted)
    job = jobs_archive.c.job
    archived = sa.select(jobs_archive.c.id, job["attempt"].as_integer(), job["run_id"].as_string(), sa.false()).where(
        jobs_archive.c.id == wanted
    )
    return {row[0]: Holding(*row[1:]) for row in connection.execute(archived.union_all(queued))}


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
        jobs.c.status.in_([JobStatus.RUNNING.value, JobStatus.PAUSED.value]),
    )


def _require(connection: sa.Connection, lease: Lease) -> None:
    _retries(connection, lease)


def _retries(connection: sa.Connection, lease: Lease) -> tuple[int, int]:
    """Used and allowed. Raises LeaseLost."""
    row = connection.execute(sa.select(jobs.c.retry_count, jobs.c.max_retries).where(*_holds(lease))).one_or_none()
    if row is None:
        raise _lost(connection, lease)
    return row.retry_count or 0, 3 if row.max_retries is None else row.max_retries


def _change(connection: sa.Connection, lease: Lease, **values: Any) -> None:
    if connection.execute(sa.update(jobs).where(*_holds(lease)).values(**values)).rowcount != 1:
        raise _lost(connection, lease)


def _end(connection: sa.Connection, lease: Lease, **values: Any) -> None:
    """Change the row for the last time. The log's tail goes with it, for readers of the row alone."""
    hold(connection, lease)
    running = (*_holds(lease), jobs.c.status == JobStatus.RUNNING.value)
    tail = logs.tail(connection, lease.job_id)
    if connection.execute(sa.update(jobs).where(*running).values(log=tail, **values)).rowcount != 1:
        raise JobPaused(lease.job_id)


def _lost(connection: sa.Connection, lease: Lease) -> LeaseLost:
    row = connection.execute(sa.select(jobs.c.status, jobs.c.attempt).where(jobs.c.id == lease.job_id)).one_or_none()
    if row is None:
        reason = "the job was deleted"
    elif row.attempt != lease.attempt or row.status == JobStatus.RUNNING.value:
        reason = "another attempt holds the job"
    else:
        reason = f"the job was set to {row.status} from outside"
    return LeaseLost(lease.job_id, lease.attempt, reason)


def _pending_again(retry: Retry) -> dict[str, Any]:
    wait = sa.func.make_interval(0, 0, 0, 0, 0, 0, retry.wait_s)
    return {
        "status": JobStatus.PENDING.value,
        "retry_count": retry.retry_count,
        "retry_after": sa.type_coerce(utcnow() + wait, jobs.c.retry_after.type) if retry.wait_s else None,
        "progress": 0,
        "progress_detail": None,
    }


def _close(connection: sa.Connection, lease: Lease, outcome: Outcome, error: str | None = None) -> None:
    connection.execute(sa.delete(job_leases).where(*_fence(lease)))
    _close_attempt(connection, lease, outcome, error)


def _close_attempt(connection: sa.Connection, lease: Lease, outcome: Outcome, error: str | None) -> None:
    _note(connection, lease, ended_at=sa.func.now(), outcome=outcome.value, error=error)


def _note(connection: sa.Connection, lease: Lease, **values: Any) -> None:
    """On the attempt's own row."""
    connection.execute(
        sa.update(job_attempts)
        .where(job_attempts.c.job_id == lease.job_id, job_attempts.c.attempt == lease.attempt)
        .values(**values)
    )
