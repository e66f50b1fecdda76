"""Reading `jobs_archive`: what became of a job that ended long ago. `retention.py` puts them there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import queue
from jobqueue_bridge.errors import AmbiguousJob, JobArchived, JobNotFound
from jobqueue_bridge.queue import Job
from jobqueue_bridge.tables import job_attempts, jobs, jobs_archive
from jobqueue_bridge.text import id_range


@dataclass(frozen=True)
class Archived:
    """A job as it was when it was archived; of its log the end."""

    job: Job
    attempts: list[dict[str, Any]]
    log: str
    archived_at: datetime


def get(connection: sa.Connection, job_id: UUID) -> Archived:
    """Raises JobNotFound."""
    return _between(connection, job_id, (job_id, job_id))


def find(connection: sa.Connection, reference: str) -> Archived:
    """By id or the first characters of it. Raises JobNotFound or AmbiguousJob."""
    ids = id_range(reference)
    if ids is None:
        raise JobNotFound(reference)
    return _between(connection, reference, ids)


def find_job(connection: sa.Connection, job_id: UUID) -> Job | None:
    """In the queue or in the archive; None: in neither."""
    try:
        return queue.get(connection, job_id)
    except JobArchived:
        return get(connection, job_id).job
    except JobNotFound:
        return None


def find_id(connection: sa.Connection, reference: str) -> UUID:
    """A job's id, in the queue or in the archive. Raises JobNotFound or AmbiguousJob."""
    try:
        return queue.find(connection, reference).id
    except JobArchived as archived:
        return UUID(archived.reference)


def _between(connection: sa.Connection, reference: str | UUID, ids: tuple[UUID, UUID]) -> Archived:
    row_then = _as_rows_of(jobs, sa.func.jsonb_populate_record, jobs_archive.c.job)
    rows = connection.execute(
        sa.select(*queue.columns_of(row_then), jobs_archive.c.log.label("log_then"), jobs_archive.c.archived_at)
        .select_from(jobs_archive)
        .join(row_then, sa.true())
        .where(jobs_archive.c.id.between(*ids))
        .order_by(jobs_archive.c.id)
        .limit(3)
    ).all()
    if not rows:
        raise JobNotFound(reference)
    if len(rows) > 1:
        raise AmbiguousJob(str(reference), [row.id for row in rows])
    *values, log, archived_at = rows[0]
    job = queue.job_of(values)
    return Archived(job, _attempts(connection, job.id), log, archived_at)


def _attempts(connection: sa.Connection, job_id: UUID) -> list[dict[str, Any]]:
    rows_then = _as_rows_of(job_attempts, sa.func.jsonb_populate_recordset, jobs_archive.c.attempts)
    rows = connection.execute(
        sa.select(rows_then)
        .select_from(jobs_archive)
        .join(rows_then, sa.true())
        .where(jobs_archive.c.id == job_id)
        .order_by(rows_then.c.attempt)
    )
    return [dict(row._mapping) for row in rows]


def _as_rows_of(table: sa.Table, populate: Any, stored: sa.Column[Any]) -> sa.TableValuedAlias:
    """What was stored as JSON, with the types of the table as it is today."""
    row_type: sa.ColumnElement[Any] = sa.literal_column(f"NULL::{table.name}")
    rows: sa.TableValuedAlias = populate(row_type, stored).table_valued(
        *(sa.column(column.name, column.type) for column in table.columns)
    )
    return rows.alias(f"{table.name}_then")
