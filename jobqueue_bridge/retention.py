"""Keeping the queue lean: finished jobs move to `jobs_archive`, old months of that go.

In batches, with a commit each: no statement touches all rows, and whoever is killed has lost nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import logs, queue
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import file_changes, job_attempts, job_leases, job_logs, jobs, jobs_archive, utcnow
from jobqueue_bridge.vocabulary import FINAL, JobStatus

BATCH = 1000
# Dropping a month needs the archive for itself, for a moment; whoever reads it for longer comes first.
_DROP_PATIENCE = "5s"
_NOT_AVAILABLE = "55P03"
FINISHED = tuple(status for status in JobStatus if status in FINAL)

# As the index `jobs_ended` has it. An adopted row may not say when it ended.
_ended_at = sa.func.coalesce(jobs.c.completed_at, jobs.c.created_at)


@dataclass(frozen=True)
class Purged:
    """What one purge did. `is_done`: False where its time was over first."""

    archived: int = 0
    dropped_months: tuple[str, ...] = ()
    is_done: bool = True


def purge(
    engine: sa.Engine,
    settings: Settings,
    *,
    deadline_s: float | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> Purged:
    """Archive what ended more than `retention_days` ago, drop months beyond `archive_months`.

    `deadline_s`, of `time.monotonic()`: begin no batch after it. `on_batch` hears how many jobs each batch moved.
    """
    archived = 0
    for moved in archive_finished(engine, settings.retention_days):
        archived += moved
        if on_batch:
            on_batch(moved)
        if deadline_s is not None and time.monotonic() > deadline_s:
            return Purged(archived, is_done=False)
    return Purged(archived, tuple(_drop_old_months(engine, settings.archive_months)))


def archive_finished(
    engine: sa.Engine,
    older_than_days: float | None = None,
    statuses: Sequence[JobStatus] = FINISHED,
    *,
    batch: int = BATCH,
) -> Iterator[int]:
    """Move jobs that ended longer ago than that into the archive; yields how many after each batch is committed.

    Jobs that something live needs stay, and so do rows that somebody else works on at the moment.
    """
    for status in statuses:
        after: tuple[datetime, UUID] | None = None
        while True:
            with engine.begin() as connection:
                chosen = connection.execute(_next(status, older_than_days, after, batch)).all()
                if not chosen:
                    break
                _make_months(connection, {row.day for row in chosen})
                connection.execute(_move([row.id for row in chosen]))
            after = (chosen[-1].ended_at, chosen[-1].id)
            yield len(chosen)


def count_finished(
    connection: sa.Connection, older_than_days: float | None = None, statuses: Sequence[JobStatus] = FINISHED
) -> int:
    """How many jobs `archive_finished` would move."""
    counts = [
        sa.select(sa.func.count()).select_from(jobs).where(*_may_go(status, older_than_days)).scalar_subquery()
        for status in statuses
    ]
    return sum(connection.execute(sa.select(*counts)).one())


def _next(
    status: JobStatus, older_than_days: float | None, after: tuple[datetime, UUID] | None, batch: int
) -> sa.Select[tuple[UUID, datetime, date]]:
    """Oldest first, from behind the last of the batch before: what stays is passed over once."""
    chosen = sa.select(
        jobs.c.id,
        sa.type_coerce(_ended_at, jobs.c.created_at.type).label("ended_at"),
        sa.cast(_placed_at(_ended_at), sa.Date).label("day"),
    ).where(*_may_go(status, older_than_days))
    if after is not None:
        ended_at, job_id = after
        behind = sa.tuple_(sa.literal(ended_at, jobs.c.created_at.type), sa.literal(job_id))
        chosen = chosen.where(sa.tuple_(_ended_at, jobs.c.id) > behind)
    return chosen.order_by(_ended_at, jobs.c.id).limit(batch).with_for_update(skip_locked=True)


def _may_go(status: JobStatus, older_than_days: float | None) -> list[sa.ColumnElement[bool]]:
    conditions = [
        # written out, so that the partial index also fits a prepared plan
        jobs.c.status == sa.bindparam("ended", status.value, literal_execute=True, unique=True),
        ~_is_needed(),
    ]
    if older_than_days is not None:
        age = sa.func.make_interval(0, 0, 0, 0, 0, 0, older_than_days * 86_400)
        conditions.append(_ended_at < sa.type_coerce(utcnow() - age, jobs.c.created_at.type))
    return conditions


def _is_needed() -> sa.ColumnElement[bool]:
    """A live job names it as its parent, a change of a file that it made is unsettled, or its run is still ending."""
    child = jobs.alias("child")
    live: list[Any] = [sa.literal_column(f"'{status.value}'") for status in queue.LIVE_IN_INDEX]
    return sa.or_(
        sa.exists().where(child.c.parent_id == jobs.c.id, child.c.status.in_(live)),
        sa.exists().where(file_changes.c.job_id == jobs.c.id, file_changes.c.state.in_(["intended", "undoing"])),
        sa.exists().where(job_leases.c.job_id == jobs.c.id),
    )


def _placed_at(ended_at: sa.ColumnElement[datetime]) -> sa.ColumnElement[datetime]:
    """Another program's row may say that it ended in the year 294276, or never."""
    return sa.func.greatest(sa.func.least(ended_at, utcnow()), sa.literal_column("timestamp '1970-01-01'"))


def _make_months(connection: sa.Connection, days: set[date]) -> None:
    for first in sorted({day.replace(day=1) for day in days}):
        connection.execute(sa.select(sa.func.jobs_archive_make_month(first)))


def _move(ids: Sequence[UUID]) -> sa.Insert:
    """jobs → jobs_archive in one statement. Attempts and log go with their row, after they have been read here."""
    gone = (
        sa.delete(jobs)
        .where(jobs.c.id == sa.any_(sa.cast(list(ids), pg.ARRAY(sa.Uuid))))
        .returning(
            jobs.c.id,
            jobs.c.type,
            jobs.c.status,
            jobs.c.created_at,
            _placed_at(_ended_at).label("completed_at"),
            sa.func.to_jsonb(jobs.table_valued()).op("-")("log").label("job"),
            jobs.c.log,
        )
        .cte("gone")
    )
    in_order = pg.aggregate_order_by(sa.func.to_jsonb(job_attempts.table_valued()), job_attempts.c.attempt)
    attempts = sa.select(sa.func.jsonb_agg(in_order)).where(job_attempts.c.job_id == gone.c.id).scalar_subquery()
    moved = sa.select(
        gone.c.id,
        gone.c.type,
        gone.c.status,
        gone.c.created_at,
        gone.c.completed_at,
        gone.c.job,
        sa.func.coalesce(attempts, sa.literal_column("'[]'::jsonb")),
        sa.func.coalesce(_log_tail(gone), gone.c.log, ""),
    )
    return sa.insert(jobs_archive).from_select(
        ["id", "type", "status", "created_at", "completed_at", "job", "attempts", "log"], moved
    )


def _log_tail(gone: sa.CTE) -> sa.ScalarSelect[str]:
    """As `logs.tail`, within a statement about many jobs; null where the job has no lines."""
    newest = (
        sa.select(job_logs.c.seq, logs.stamped().label("line"))
        .where(job_logs.c.job_id == gone.c.id)
        .order_by(job_logs.c.seq.desc())
        .limit(logs.TAIL_BYTES // 22)
        .correlate(gone)
        .subquery("newest")
    )
    text = sa.func.string_agg(newest.c.line, pg.aggregate_order_by(sa.literal("\n"), newest.c.seq))
    return sa.select(sa.func.right(text, logs.TAIL_BYTES)).select_from(newest).scalar_subquery()


def _drop_old_months(engine: sa.Engine, archive_months: int) -> Iterator[str]:
    """Whole months that ended longer ago; 0: none ever."""
    if not archive_months:
        return
    before = sa.cast(utcnow() - sa.func.make_interval(0, archive_months), sa.Date)
    while True:
        try:
            with engine.begin() as connection:
                connection.execute(sa.select(sa.func.set_config("lock_timeout", _DROP_PATIENCE, True)))
                dropped = connection.scalar(sa.select(sa.func.jobs_archive_drop_oldest(before)))
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != _NOT_AVAILABLE:
                raise
            return  # next time
        if dropped is None:
            return
        yield str(dropped)
