"""What people ask of jobs: cancel, pause, resume, retry, another priority; of one, of many, or of the whole queue.

A run hears of it through its lease: it stops, or suspends its ffmpeg, within a second.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import dispatching, logs, queue
from jobqueue_bridge.errors import (
    FieldProblem,
    InvalidJob,
    JobHasEnded,
    JobNotFound,
    MoveForbidden,
    ParentLost,
    QueueError,
    RetriesUsedUp,
)
from jobqueue_bridge.queue import Filters, Job
from jobqueue_bridge.tables import job_leases, jobs, queue_switch
from jobqueue_bridge.vocabulary import LIVE, MOVES, PRIORITY_HIGHEST, PRIORITY_LOWEST, JobStatus

_CANCELLED_LINE = "--- JOB CANCELLED BY ADMIN ---"
_BATCH = 500
_CONFIRMED_WITHIN_S = 3.0
_LOOK_S = 0.05


class Action(StrEnum):
    """What can be asked of many jobs at once."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


def cancel(connection: sa.Connection, job_id: UUID) -> Job:
    """Whatever it does, it ends. A run that has it stops its ffmpeg and removes what it was writing: `letting_go` tells
    until when. Raises JobNotFound, MoveForbidden where it has ended."""
    job = queue.move(connection, job_id, JobStatus.CANCELLED, cancel_requested_at=sa.func.now())
    logs.append(connection, [job_id], [_CANCELLED_LINE])
    return job


def letting_go(connection: sa.Connection) -> Sequence[UUID]:
    """The cancelled jobs of which something is left still: a process, or an unfinished file."""
    cancelled = sa.and_(jobs.c.id == job_leases.c.job_id, jobs.c.status == JobStatus.CANCELLED.value)
    return connection.scalars(sa.select(job_leases.c.job_id).join(jobs, cancelled)).all()


def wait_until_let_go(engine: sa.Engine, job_id: UUID | None = None) -> Sequence[UUID]:
    """Whether what ran for a cancelled job, or for all of them, has confirmed its end: well under a second, as a rule.
    Returns those that have not within 3 s."""
    deadline_s = time.monotonic() + _CONFIRMED_WITHIN_S
    while True:
        with engine.connect() as connection:
            left = [held for held in letting_go(connection) if job_id in (None, held)]
        if not left or time.monotonic() > deadline_s:
            return left
        time.sleep(_LOOK_S)


def pause(connection: sa.Connection, job_id: UUID) -> Job:
    """A waiting job at once; of a running one ffmpeg is suspended, and the row says what it still holds. Raises
    JobNotFound, MoveForbidden."""
    return queue.move(connection, job_id, JobStatus.PAUSED)


def resume(connection: sa.Connection, job_id: UUID) -> Job:
    """Go on where it was paused: in mid-run, or in the queue. Raises JobNotFound, MoveForbidden."""
    job = _locked(connection, job_id)
    if job.status != JobStatus.PAUSED:
        raise MoveForbidden(job_id, job.status, JobStatus.RUNNING)
    in_mid_run = connection.scalar(sa.select(jobs.c.lease_token.is_not(None)).where(jobs.c.id == job_id))
    return queue.move(connection, job_id, JobStatus.RUNNING if in_mid_run else JobStatus.PENDING)


def retry(connection: sa.Connection, job_id: UUID, *, force: bool = False) -> Job:
    """failed or cancelled → pending, at once. It counts as a retry: beyond `max_retries` only by force.

    It waits for its parent again, if that has not completed; by force not for one that has ended otherwise or is gone.
    Raises JobNotFound, MoveForbidden, RetriesUsedUp, ParentLost, or JobAlreadyLive where another job does the same by
    now.
    """
    job = _locked(connection, job_id)
    if JobStatus.PENDING not in MOVES[job.status] or job.status in LIVE:
        raise MoveForbidden(job_id, job.status, JobStatus.PENDING)
    if job.retry_count >= job.max_retries and not force:
        raise RetriesUsedUp(job_id, job.retry_count, job.max_retries)
    lost = queue.parent_problem(connection, job.parent_id)
    if lost and not force:
        raise ParentLost(job_id, lost)
    again = queue.move(
        connection,
        job_id,
        JobStatus.PENDING,
        retry_count=job.retry_count + 1,
        retry_after=None,
        cancel_requested_at=None,
        progress=0,
        progress_detail=None,
        error=None,
    )
    logs.append(connection, [job_id], [f"--- RETRY ATTEMPT {again.retry_count} ---"])
    return _without_parent(connection, again) if force and again.held else again


def _without_parent(connection: sa.Connection, job: Job) -> Job:
    """The job, lifted where its parent will not complete unless somebody retries that. A live one is waited for."""
    parent = sa.select(jobs.c.status).where(jobs.c.id == job.parent_id)
    if connection.scalar(parent) in LIVE:
        return job
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(held=False))
    logs.append(connection, [job.id], ["By force it runs without its parent"])
    return queue.get(connection, job.id)


def reprioritise(connection: sa.Connection, job_id: UUID, priority: int) -> Job:
    """The order of the queue follows at once. Raises JobNotFound, InvalidJob, JobHasEnded."""
    if not PRIORITY_HIGHEST <= priority <= PRIORITY_LOWEST:
        allowed = f"must be {PRIORITY_HIGHEST} (first) to {PRIORITY_LOWEST} (last), got {priority}"
        raise InvalidJob([FieldProblem("priority", allowed)])
    job = _locked(connection, job_id)
    if job.status not in LIVE:
        raise JobHasEnded(job_id, job.status)
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(priority=priority))
    return replace(job, priority=priority)


def _locked(connection: sa.Connection, job_id: UUID) -> Job:
    """Nobody moves it before the transaction ends. Raises JobNotFound."""
    connection.execute(sa.select(jobs.c.id).where(jobs.c.id == job_id).with_for_update(key_share=True))
    return queue.get(connection, job_id)


# Many at once

# The statuses in which each can be asked for.
APPLIES: Mapping[Action, Sequence[JobStatus]] = MappingProxyType(
    {
        Action.CANCEL: (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED),
        Action.PAUSE: (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.RUNNING),
        Action.RESUME: (JobStatus.PAUSED,),
        Action.RETRY: (JobStatus.FAILED, JobStatus.CANCELLED),
    }
)


@dataclass(frozen=True)
class Applied:
    """What came of one job: the job as it is now, or why it stays as it was."""

    id: UUID
    job: Job | None
    refusal: str | None


def count_for(connection: sa.Connection, action: Action, filters: Filters) -> int:
    """How many jobs the action would change."""
    return sum(queue.count(connection, narrowed) for narrowed in _narrowed(action, filters))


def apply_to_all(
    engine: sa.Engine,
    action: Action,
    filters: Filters,
    *,
    force: bool = False,
    also: Callable[[sa.Connection, Sequence[Applied]], None] = lambda _connection, _applied: None,
) -> Iterator[Applied]:
    """Oldest first, in batches with a transaction each, so that a queue of a million neither waits nor is locked;
    `also` writes in the same ones. Jobs that come while it runs may be left out."""
    for narrowed in _narrowed(action, filters):
        after: tuple[datetime, UUID] | None = None
        while True:
            with engine.begin() as connection:
                batch = queue.oldest(connection, narrowed, after=after, limit=_BATCH)
                applied = apply(connection, action, [job_id for _, job_id in batch], force=force)
                also(connection, applied)
            yield from applied
            if len(batch) < _BATCH:
                break
            after = batch[-1]


def _narrowed(action: Action, filters: Filters) -> list[Filters]:
    statuses = APPLIES[action]
    if filters.status is not None:
        return [filters] if filters.status in statuses else []
    return [replace(filters, status=status) for status in statuses]


def apply(connection: sa.Connection, action: Action, job_ids: Sequence[UUID], *, force: bool = False) -> list[Applied]:
    """To these jobs, each for itself: one that may not, or is not there, keeps none of the others back."""
    _lock_in_order(connection, job_ids)
    if action == Action.RETRY:
        return [_retried(connection, job_id, force=force) for job_id in job_ids]
    moved = {job.id: job for job in _moved(connection, action, job_ids)}
    return [
        Applied(job_id, moved[job_id], None) if job_id in moved else _refused(connection, action, job_id)
        for job_id in job_ids
    ]


def _lock_in_order(connection: sa.Connection, job_ids: Sequence[UUID]) -> None:
    """The eldest first: a parent that ends meanwhile then goes on to its children in the same order, so that neither of
    the two waits for the other for ever."""
    wanted = jobs.c.id == sa.any_(sa.cast(list(job_ids), pg.ARRAY(sa.Uuid)))
    connection.execute(
        sa.select(jobs.c.id).where(wanted).order_by(jobs.c.created_at, jobs.c.id).with_for_update(key_share=True)
    )


def _moved(connection: sa.Connection, action: Action, job_ids: Sequence[UUID]) -> list[Job]:
    match action:
        case Action.CANCEL:
            cancelled = queue.move_all(connection, job_ids, JobStatus.CANCELLED, cancel_requested_at=sa.func.now())
            logs.append(connection, [job.id for job in cancelled], [_CANCELLED_LINE])
            return cancelled
        case Action.PAUSE:
            return queue.move_all(connection, job_ids, JobStatus.PAUSED)
        case Action.RESUME:
            paused, leased = jobs.c.status == JobStatus.PAUSED.value, jobs.c.lease_token.is_not(None)
            return [
                *queue.move_all(connection, job_ids, JobStatus.RUNNING, paused, leased),
                *queue.move_all(connection, job_ids, JobStatus.PENDING, paused, ~leased),
            ]
        case _:
            raise ValueError(action)


_WANTED: Mapping[Action, JobStatus] = MappingProxyType(
    {
        Action.CANCEL: JobStatus.CANCELLED,
        Action.PAUSE: JobStatus.PAUSED,
        Action.RESUME: JobStatus.RUNNING,
        Action.RETRY: JobStatus.PENDING,
    }
)


def _refused(connection: sa.Connection, action: Action, job_id: UUID) -> Applied:
    try:
        current = queue.get(connection, job_id).status
    except JobNotFound as error:
        return Applied(job_id, None, str(error))
    return Applied(job_id, None, str(MoveForbidden(job_id, current, _WANTED[action])))


def _retried(connection: sa.Connection, job_id: UUID, *, force: bool) -> Applied:
    try:
        with connection.begin_nested():
            return Applied(job_id, retry(connection, job_id, force=force), None)
    except QueueError as error:
        return Applied(job_id, None, str(error))


# The whole queue


@dataclass(frozen=True)
class Switch:
    """Since when nothing more is admitted, and who said so; None: the queue runs."""

    paused_at: datetime | None
    paused_by: str | None

    @property
    def reason(self) -> str | None:
        """What a job waits for while the queue is paused."""
        if self.paused_at is None:
            return None
        return f"the queue is paused since {self.paused_at:%Y-%m-%d %H:%M} UTC, by {self.paused_by}"


def switch(connection: sa.Connection) -> Switch:
    row = connection.execute(sa.select(queue_switch.c.paused_at, queue_switch.c.paused_by)).one()
    return Switch(row.paused_at, row.paused_by)


def pause_queue(connection: sa.Connection, by: str) -> Switch:
    """Nothing more is admitted, and what was admitted and has not begun goes back in line. What runs goes on. Paused
    twice, it keeps its first instant."""
    dispatching.wait_for_dispatch(connection)
    connection.execute(
        sa.update(queue_switch).where(queue_switch.c.paused_at.is_(None)).values(paused_at=sa.func.now(), paused_by=by)
    )
    queue.return_queued_to_pending(connection, sa.select(jobs.c.id))
    return switch(connection)


def resume_queue(connection: sa.Connection) -> Switch:
    connection.execute(sa.update(queue_switch).values(paused_at=None, paused_by=None))
    return switch(connection)
