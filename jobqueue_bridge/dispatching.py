"""Who is next: the head of the line, what holds a slot now, and the moves of whoever admits or refuses.

The dispatcher alone admits (`media_pipelines/sensors/dispatch.py`); what it weighs is in `admission.py`.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import admission, logs
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.queue import COLUMNS, Checked, Job, holds_lease, job_of, status_in
from jobqueue_bridge.tables import jobs, utcnow
from jobqueue_bridge.vocabulary import ACTIVE, JobStatus, ResourceCategory

_WEIGHED_PER_CATEGORY = 200
_POSITIONS_WRITTEN = 50
_DISPATCH_LOCK = 7_261_114_002


def lock_dispatch(connection: sa.Connection) -> bool:
    """One dispatcher at a time, until the transaction ends. False: another one is at it."""
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_DISPATCH_LOCK))))


def wait_for_dispatch(connection: sa.Connection) -> None:
    """No dispatcher is at work from here until the transaction ends: the next one sees what was changed."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_DISPATCH_LOCK)))


def ready(connection: sa.Connection) -> list[Job]:
    """The head of each category's line, in order; and whatever names a category that doesn't exist."""
    heads = [
        sa.select(*COLUMNS)
        .where(is_ready(), jobs.c.resource_category == category.value)
        .order_by(jobs.c.priority, jobs.c.created_at, jobs.c.id)
        .limit(_WEIGHED_PER_CATEGORY)
        for category in ResourceCategory
    ]
    known: sa.BindParameter[Any] = sa.bindparam(
        "known", [*map(str, ResourceCategory)], expanding=True, literal_execute=True
    )
    strays = sa.select(*COLUMNS).where(is_ready(), jobs.c.resource_category.not_in(known)).limit(10)
    found = [job_of(row) for head in (*heads, strays) for row in connection.execute(head)]
    return sorted(found, key=lambda job: (job.priority, job.created_at, job.id))


def is_ready() -> sa.ColumnElement[bool]:
    """Pending, held by nobody, and waiting for no time to come."""
    return sa.and_(
        status_in([JobStatus.PENDING]),
        ~jobs.c.held,
        sa.or_(jobs.c.retry_after.is_(None), jobs.c.retry_after <= utcnow()),
    )


def seconds_to_next_retry(connection: sa.Connection) -> float | None:
    """Until the next pending job's time comes; None: none waits for a time, or only held ones do."""
    due = sa.select(sa.func.min(jobs.c.retry_after)).where(
        status_in([JobStatus.PENDING]), ~jobs.c.held, jobs.c.retry_after > utcnow()
    )
    seconds = connection.scalar(sa.select(sa.func.extract("epoch", due.scalar_subquery() - utcnow())))
    return None if seconds is None else float(seconds)


def active(connection: sa.Connection) -> list[admission.ActiveJob]:
    """Every job that holds a slot. A job paused in mid-run holds its own, too: its process still has the memory."""
    holds = sa.or_(status_in(ACTIVE), holds_lease())
    rows = connection.execute(
        sa.select(
            jobs.c.id,
            jobs.c.type,
            jobs.c.resource_category,
            jobs.c.vram_required,
            jobs.c.vram_units,
            jobs.c.run_id,
        )
        .where(holds, jobs.c.resource_category.in_([category.value for category in ResourceCategory]))
        .order_by(jobs.c.status == JobStatus.QUEUED.value, jobs.c.started_at, jobs.c.id)
    )
    return [
        admission.ActiveJob(
            row.id,
            row.type,
            ResourceCategory(row.resource_category),
            row.vram_required or 0,
            tuple(row.vram_units or ()),
            row.run_id,
        )
        for row in rows
    ]


def admit(connection: sa.Connection, admitted: admission.Admitted, checked: Checked) -> Job | None:
    """pending → queued with the next attempt number. None: somebody moved the job meanwhile, or is about to."""
    row = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id.in_(_pending_and_unlocked([admitted.id])))
        .values(
            status=JobStatus.QUEUED.value,
            attempt=jobs.c.attempt + 1,
            vram_units=list(admitted.units),
            admitted_at=sa.func.now(),
            video_id=sa.func.coalesce(jobs.c.video_id, checked.video_id),
            run_id=jobs.c.waiting_run_id,
        )
        .returning(*COLUMNS)
    ).one_or_none()
    return None if row is None else job_of(row)


def _pending_and_unlocked(ids: Sequence[UUID]) -> sa.Select[tuple[UUID]]:
    """A row that somebody holds in an open transaction must not make the dispatcher wait for its end."""
    return (
        sa.select(jobs.c.id)
        .where(jobs.c.id.in_(ids), status_in([JobStatus.PENDING]), ~jobs.c.held)
        .with_for_update(skip_locked=True)
    )


def refuse(connection: sa.Connection, job_id: UUID, error: InvalidJob) -> None:
    """A row that another program inserted and that can never run: failed, saying why. Nothing if it was moved."""
    message = str(error)
    refused = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id.in_(_pending_and_unlocked([job_id])))
        .values(status=JobStatus.FAILED.value, error=message)
    )
    if refused.rowcount:
        logs.append(connection, [job_id], ["--- ERROR ---", message])


def note_waiting(connection: sa.Connection, ready_jobs: Sequence[Job], waiting: Sequence[admission.Waiting]) -> None:
    """Write reasons and positions of the head of the line, and only those that changed."""
    known = {job.id: (job.waiting_reason, job.queue_position) for job in ready_jobs}
    head = list(enumerate(waiting[:_POSITIONS_WRITTEN], start=1))
    changed = [(entry.id, entry.reason, at) for at, entry in head if known.get(entry.id) != (entry.reason, at)]
    if changed:
        _note_changed(connection, changed)
    pushed_back = (
        sa.select(jobs.c.id)
        .where(status_in([JobStatus.PENDING]), jobs.c.queue_position.is_not(None))
        .where(jobs.c.id.not_in([entry.id for _, entry in head]))
        .with_for_update(skip_locked=True)
    )
    connection.execute(
        sa.update(jobs).where(jobs.c.id.in_(pushed_back)).values(waiting_reason=None, queue_position=None)
    )


def _note_changed(connection: sa.Connection, changed: Sequence[tuple[UUID, str, int]]) -> None:
    note = sa.values(
        sa.column("id", sa.Uuid), sa.column("reason", sa.Text), sa.column("position", sa.Integer), name="note"
    ).data(list(changed))
    connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == note.c.id, jobs.c.id.in_(_pending_and_unlocked([entry[0] for entry in changed])))
        .values(waiting_reason=note.c.reason, queue_position=note.c.position)
    )


def position(connection: sa.Connection, job: Job) -> int | None:
    """Where a pending job stands, from 1, computed now; None for any other, and for one that is held."""
    if job.status != JobStatus.PENDING or job.held:
        return None
    # OFFSET 0 keeps the comparison out: with it, an index of all jobs, ended ones too, looks cheaper than it is
    line = sa.select(jobs.c.priority, jobs.c.created_at, jobs.c.id).where(is_ready()).offset(0).subquery()
    ahead = sa.tuple_(*line.c) < sa.tuple_(
        sa.literal(job.priority), sa.literal(job.created_at, jobs.c.created_at.type), sa.literal(job.id)
    )
    return (connection.scalar(sa.select(sa.func.count()).select_from(line).where(ahead)) or 0) + 1
