"""Rows for runs that somebody launched in Dagster itself, so that such work waits in the one line, too.

Such a row names its run in `waiting_run_id` and is `held` until that run has come to it (`arrive`). The dispatcher then
admits it like any other and asks for no run: the one that waits claims it. A row whose run is gone is not lost: it is
cancelled with its run, or left to the dispatcher (`let_go`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import archive, lifecycle, logs, queue
from jobqueue_bridge.errors import JobAlreadyLive, JobArchived
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import job_attempts, jobs
from jobqueue_bridge.vocabulary import FINAL, JobStatus, JobType

_ARRIVED = "its run waits for it to be admitted"
_UNBEGUN = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.PAUSED)


def take(
    connection: sa.Connection,
    run_id: str,
    wanted: Iterable[NewJob],
    settings: Settings,
    *,
    repeats: str | None = None,
    repeated: Sequence[UUID] = (),
) -> list[Job]:
    """A row for each; those that the run has already, if it asks again. `repeats` names the run that this one does
    again, `repeated` the jobs that it is known to have done: what failed there is retried, what completed or has been
    archived is done anew by a job of its own.

    A pending job that does the same is taken over. Raises InvalidJob, or JobAlreadyLive where one is at work, or waits
    to do it with other params.
    """
    if mine := _of_run(connection, run_id):
        return mine
    before = _of_earlier_run(connection, repeats, repeated) if repeats else {}
    return [
        _take(connection, replace(job, waiting_run_id=run_id), before.get(JobType(job.type)), settings)
        for job in wanted
    ]


def _take(connection: sa.Connection, asked: NewJob, earlier: Job | None, settings: Settings) -> Job:
    if earlier is not None and earlier.status != JobStatus.COMPLETED and _is_within(asked.params, earlier.params):
        with suppress(JobArchived):
            return _take_over(connection, earlier, asked)
    if earlier is not None:
        asked = replace(asked, params={**earlier.params, **asked.params}, priority=earlier.priority)
    try:
        return queue.enqueue(connection, asked, settings)
    except JobAlreadyLive as twin:
        job = queue.get(connection, twin.job_id)
        if not _is_within(asked.params, job.params):
            raise
        return _take_over(connection, job, asked)


def _is_within(asked: Mapping[str, Any], of_job: Mapping[str, Any]) -> bool:
    """Whether the job does what is asked for: what is not said may be as it is there."""
    return asked.items() <= of_job.items()


def _take_over(connection: sa.Connection, job: Job, asked: NewJob) -> Job:
    """A job that failed or was cancelled begins again; one that waits for its retry, or for its parent, waits for the
    run instead: whoever launched it wants it now."""
    if job.status in FINAL:
        job = lifecycle.retry(connection, job.id, force=True)
    mine = (jobs.c.id == job.id, queue.status_in([JobStatus.PENDING]), jobs.c.waiting_run_id.is_(None))
    connection.execute(sa.update(jobs).where(*mine).values(parent_id=None))  # which lifts what its parent held
    run = {"waiting_run_id": asked.waiting_run_id, "run_id": asked.waiting_run_id}
    row = connection.execute(
        sa.update(jobs)
        .where(*mine)
        .values(**run, held=True, retry_after=None, waiting_reason=queue.NOT_BEGUN, queue_position=None)
        .returning(*queue.COLUMNS)
    ).one_or_none()
    if row is None:
        raise JobAlreadyLive(f"{job.type} of the same", job.id)
    logs.append(connection, [job.id], [f"Taken over by run {asked.waiting_run_id}, launched in Dagster"])
    return queue.job_of(row)


def _of_run(connection: sa.Connection, run_id: str) -> list[Job]:
    rows = connection.execute(sa.select(*queue.COLUMNS).where(jobs.c.waiting_run_id == run_id).order_by(jobs.c.type))
    return [queue.job_of(row) for row in rows]


def _of_earlier_run(connection: sa.Connection, run_id: str, job_ids: Sequence[UUID]) -> dict[JobType, Job]:
    """What a run worked on, by type, whatever has become of it. Only `job_ids` finds what has been archived."""
    attempted = connection.scalars(sa.select(job_attempts.c.job_id).where(job_attempts.c.run_id == run_id)).all()
    found = [archive.find_job(connection, job_id) for job_id in {*job_ids, *attempted}]
    return {JobType(job.type): job for job in found if job is not None}


def of_run(connection: sa.Connection, run_id: str, kind: JobType) -> Job | None:
    """The row that waits for this run to do its job of this type."""
    return next((job for job in _of_run(connection, run_id) if job.type == kind), None)


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


def priorities(connection: sa.Connection) -> dict[str, int]:
    """By run, the highest that the rows which wait for it have now: 1 goes before 2."""
    rows = connection.execute(
        sa.select(jobs.c.waiting_run_id, sa.func.min(jobs.c.priority).label("priority"))
        .where(jobs.c.waiting_run_id.is_not(None))
        .group_by(jobs.c.waiting_run_id)
    )
    return {row.waiting_run_id: row.priority for row in rows}
