"""Rows for runs that somebody launched in Dagster itself, so that such work waits in the one line, too.

Such a row names its run in `waiting_run_id` and is `held` until that run has come to it (`arrive`). The dispatcher then
admits it like any other and asks for no run: the one that waits claims it. A row whose run is gone is not lost: it is
cancelled with its run, or left to the dispatcher (`let_go`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import archive, lifecycle, queue
from jobqueue_bridge.errors import JobAlreadyLive, JobArchived, JobNotFound
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import job_attempts, jobs
from jobqueue_bridge.vocabulary import FINAL, JobStatus, JobType

NOT_BEGUN = "its run waits in Dagster's queue"
_ARRIVED = "its run waits for it to be admitted"
_UNBEGUN = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.PAUSED)


@dataclass(frozen=True)
class Wanted:
    """One job that a run is to do; `after`: the one of its jobs that it builds upon."""

    job: NewJob
    after: JobType | None = None


def take(
    connection: sa.Connection, run_id: str, wanted: Iterable[Wanted], settings: Settings, *, repeats: str | None = None
) -> list[Job]:
    """A row for each, in the order in which the run does them. `repeats` names the run that this one does again: what
    failed there is retried, what completed is done anew by a job of its own.

    A pending job that does the same is taken over. Raises InvalidJob, or JobAlreadyLive where one is at work.
    """
    taken: dict[JobType, Job] = {}
    before = _of_earlier_run(connection, repeats) if repeats else {}
    for each in wanted:
        kind = JobType(each.job.type)
        parent = taken.get(each.after) if each.after else None
        asked = replace(each.job, waiting_run_id=run_id, parent_id=parent.id if parent else None)
        taken[kind] = _take(connection, asked, before.get(kind), settings)
    return list(taken.values())


def _take(connection: sa.Connection, asked: NewJob, earlier: Job | None, settings: Settings) -> Job:
    if earlier is not None and earlier.status != JobStatus.COMPLETED:
        return _take_over(connection, earlier, asked)
    if earlier is not None:
        asked = replace(asked, params=earlier.params, priority=earlier.priority)
    try:
        with connection.begin_nested():
            return queue.enqueue(connection, asked, settings)
    except JobAlreadyLive as twin:
        return _take_over(connection, queue.get(connection, twin.job_id), asked)


def _take_over(connection: sa.Connection, job: Job, asked: NewJob) -> Job:
    """A job that failed or was cancelled begins again; one that waits for its retry waits for the run instead."""
    if job.status in FINAL:
        job = lifecycle.retry(connection, job.id, force=True)
    run = {"waiting_run_id": asked.waiting_run_id, "run_id": asked.waiting_run_id}
    values = {**run, "held": True, "retry_after": None, "waiting_reason": NOT_BEGUN}
    row = connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job.id, queue.status_in([JobStatus.PENDING]), jobs.c.waiting_run_id.is_(None))
        .values(**values, queue_position=None, parent_id=sa.func.coalesce(jobs.c.parent_id, asked.parent_id))
        .returning(*queue.COLUMNS)
    ).one_or_none()
    if row is None:
        raise JobAlreadyLive(f"{job.type} of the same", job.id)
    queue.append_log(connection, [job.id], [f"Taken over by run {asked.waiting_run_id}, launched in Dagster"])
    return queue.job_of(row)


def _of_earlier_run(connection: sa.Connection, run_id: str) -> dict[JobType, Job]:
    """What a run worked on, by type, whatever has become of it."""
    found = {}
    for job_id in connection.scalars(sa.select(job_attempts.c.job_id).where(job_attempts.c.run_id == run_id)):
        job = queue.get(connection, job_id)
        found[JobType(job.type)] = job
    return found


def params_of(connection: sa.Connection, job_id: UUID) -> Mapping[str, object]:
    """Those of a job in the queue or the archive; of one that is in neither, none."""
    try:
        return queue.get(connection, job_id).params
    except JobArchived:
        return archive.get(connection, job_id).job.params
    except JobNotFound:
        return {}


def of_run(connection: sa.Connection, run_id: str, kind: JobType) -> Job | None:
    """The row that waits for this run to do its job of this type."""
    row = connection.execute(
        sa.select(*queue.COLUMNS).where(jobs.c.waiting_run_id == run_id, jobs.c.type == kind.value)
    ).one_or_none()
    return None if row is None else queue.job_of(row)


def arrive(connection: sa.Connection, job_id: UUID, run_id: str) -> Job | None:
    """The run has come to its job and waits: from here on the dispatcher weighs it. None: the job was moved, and is no
    longer this run's to do."""
    mine = (jobs.c.id == job_id, jobs.c.waiting_run_id == run_id)
    connection.execute(
        sa.update(jobs)
        .where(*mine, queue.status_in([JobStatus.PENDING]), jobs.c.held, ~jobs.c.held_by_parent)
        .values(held=False, waiting_reason=_ARRIVED)
    )
    row = connection.execute(sa.select(*queue.COLUMNS).where(*mine, queue.status_in(_UNBEGUN))).one_or_none()
    return None if row is None else queue.job_of(row)


def let_go(connection: sa.Connection, run_id: str) -> list[Job]:
    """Its run is gone before it came to them: the dispatcher asks for others."""
    rows = connection.execute(
        sa.update(jobs)
        .where(jobs.c.waiting_run_id == run_id, queue.status_in(_UNBEGUN))
        .values(
            waiting_run_id=None,
            run_id=None,
            held=sa.and_(jobs.c.held, jobs.c.held_by_parent),
            status=sa.case((jobs.c.status == JobStatus.QUEUED.value, JobStatus.PENDING.value), else_=jobs.c.status),
            waiting_reason=None,
        )
        .returning(*queue.COLUMNS)
    )
    return [queue.job_of(row) for row in rows]


def cancel(connection: sa.Connection, job_ids: Sequence[UUID]) -> list[UUID]:
    """With their run, which somebody ended in Dagster. Returns those that were not over already."""
    applied = lifecycle.apply(connection, lifecycle.Action.CANCEL, job_ids)
    return [each.id for each in applied if each.job is not None]


@dataclass(frozen=True)
class Waiting:
    """A row that a run is to do, and whether the run has come to it."""

    id: UUID
    run_id: str
    arrived: bool


def waiting(connection: sa.Connection) -> list[Waiting]:
    rows = connection.execute(
        sa.select(jobs.c.id, jobs.c.waiting_run_id, jobs.c.held).where(jobs.c.waiting_run_id.is_not(None))
    )
    return [Waiting(row.id, row.waiting_run_id, not row.held) for row in rows]


def runs_with_work(connection: sa.Connection, run_ids: Collection[str]) -> set[str]:
    """Those of these runs that do a job, or wait to do one."""
    waits = sa.select(jobs.c.waiting_run_id).where(jobs.c.waiting_run_id.in_(list(run_ids)))
    at_work = sa.select(jobs.c.run_id).where(
        queue.status_in([JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED]), jobs.c.run_id.in_(list(run_ids))
    )
    return set(connection.scalars(waits.union(at_work)))
