"""Every statement on `drains`: what each `jobs start` at work may admit, which jobs count for it, how they ended.

Functions take a connection; the caller owns the transaction.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import dispatching, limits, queue
from jobqueue_bridge.tables import drain_jobs, drains, jobs, utcnow
from jobqueue_bridge.vocabulary import ACTIVE, FINAL, JobStatus

FORGOTTEN_AFTER_S = 24 * 3600.0
EXPIRES_AFTER_S = 120.0
"""A drain that has not beaten for so long bounds nothing: its process was killed. Longer than a database's absence."""
_ERRORS_SHOWN = 20


@dataclass(frozen=True)
class Terms:
    """What a drain may do. `limited`: nothing is admitted but within its limits while it is in force."""

    id: UUID
    name: str
    limited: bool
    platform: str | None = None
    """The platform that lives only for this drain, or ends with it; it leaves with that platform."""
    max_jobs: int | None = None
    ends_in_s: float | None = None
    cpu_cores: int | None = None


def open_drain(connection: sa.Connection, terms: Terms, *, patience_s: float = 0) -> None:
    """Begin. `patience_s`: how much later than usual its first beat may come, while a platform starts."""
    connection.execute(sa.delete(drains).where(~_beaten_within(FORGOTTEN_AFTER_S)))
    dispatching.wait_for_dispatch(connection)
    row = {
        "id": terms.id,
        "name": terms.name,
        "limited": terms.limited,
        "platform": terms.platform,
        "max_jobs": terms.max_jobs,
        "ends_at": None if terms.ends_in_s is None else _in(terms.ends_in_s),
        "cpu_cores": terms.cpu_cores,
        "heartbeat_at": _in(patience_s),
    }
    connection.execute(pg.insert(drains).values(row).on_conflict_do_nothing())
    if terms.max_jobs is None:  # one without such a limit stays until these have ended, too
        active = sa.select(sa.literal(terms.id, sa.Uuid), jobs.c.id).where(_is_active(), ~_counts_elsewhere())
        own = pg.insert(drain_jobs).from_select(["drain_id", "job_id"], active)
        connection.execute(own.on_conflict_do_nothing())


def _counts_elsewhere() -> sa.ColumnElement[bool]:
    return sa.exists().where(drain_jobs.c.job_id == jobs.c.id, drain_jobs.c.drain_id == drains.c.id, _alive())


def end_within(connection: sa.Connection, drain_id: UUID, seconds: float) -> None:
    """Its end comes after so many seconds from now, or at the time that is set already, whichever is first."""
    connection.execute(
        sa.update(drains).where(drains.c.id == drain_id).values(ends_at=sa.func.least(drains.c.ends_at, _in(seconds)))
    )


def close(connection: sa.Connection, drain_id: UUID, *, hand_back: bool) -> None:
    """Admit nothing more. `hand_back`: what was admitted and does not run yet is pending again."""
    dispatching.wait_for_dispatch(connection)
    connection.execute(
        sa.update(drains)
        .where(drains.c.id == drain_id)
        .values(closed_at=sa.func.coalesce(drains.c.closed_at, sa.func.now()))
    )
    if hand_back:
        queue.return_queued_to_pending(connection, sa.select(drain_jobs.c.job_id).where(_is_of(drain_id)))


def close_all(connection: sa.Connection) -> None:
    """As `close`, for every drain there is and whatever else waits for its run: the platform is about to stop."""
    dispatching.wait_for_dispatch(connection)
    connection.execute(sa.update(drains).where(drains.c.closed_at.is_(None)).values(closed_at=sa.func.now()))
    queue.return_queued_to_pending(connection, sa.select(jobs.c.id))


def remove_of(connection: sa.Connection, platform: str) -> None:
    """Those that an earlier life of a platform left."""
    connection.execute(sa.delete(drains).where(drains.c.platform == platform))


def remove(connection: sa.Connection, drain_id: UUID) -> None:
    connection.execute(sa.delete(drains).where(drains.c.id == drain_id))


def others(connection: sa.Connection, drain_id: UUID) -> list[str]:
    """The names of the other drains that somebody stands behind."""
    names = sa.select(drains.c.name).where(drains.c.id != drain_id, _alive()).order_by(drains.c.opened_at)
    return list(connection.scalars(names))


def in_force(connection: sa.Connection, ready: Collection[UUID]) -> list[limits.Drain]:
    """The eldest first. Of the jobs that count for one, only the ready ones are named."""
    ended = sa.or_(drains.c.closed_at.is_not(None), drains.c.ends_at <= sa.func.now())
    rows = connection.execute(
        sa.select(drains, sa.func.coalesce(ended, False).label("over")).where(_alive()).order_by(drains.c.opened_at)
    ).all()
    if not rows:
        return []
    held: dict[UUID, set[UUID]] = {row.id: set() for row in rows}
    mine = sa.select(drain_jobs.c.drain_id, drain_jobs.c.job_id).where(
        drain_jobs.c.drain_id.in_(list(held)), drain_jobs.c.job_id.in_(list(ready))
    )
    for drain_id, job_id in connection.execute(mine):
        held[drain_id].add(job_id)
    return [
        limits.Drain(row.id, row.name, row.limited, row.over, row.max_jobs, frozenset(held[row.id]), row.counted)
        for row in rows
    ]


def count(connection: sa.Connection, shares: Mapping[UUID, UUID]) -> None:
    """Job → drain, of jobs just admitted; one that counts already counts no second time."""
    if not shares:
        return
    counted = connection.execute(_insert(shares.items()).returning(drain_jobs.c.drain_id)).scalars().all()
    for drain_id in set(counted):
        connection.execute(
            sa.update(drains).where(drains.c.id == drain_id).values(counted=drains.c.counted + counted.count(drain_id))
        )


def note_refused(connection: sa.Connection, refused: Iterable[UUID], found: Sequence[limits.Drain]) -> None:
    """Jobs that ended without ever running: a drain tells of them, and they take no room of its limit."""
    drain = next((drain for drain in found if not drain.over), None)
    pairs = [(job_id, drain.id) for job_id in refused] if drain else []
    if pairs:
        connection.execute(_insert(pairs))


def _insert(pairs: Iterable[tuple[UUID, UUID]]) -> Any:
    rows = [{"job_id": job_id, "drain_id": drain_id} for job_id, drain_id in pairs]
    return pg.insert(drain_jobs).values(rows).on_conflict_do_nothing()


def cores_for(connection: sa.Connection, job_id: UUID) -> int | None:
    """How many cores a job may use; None: as many as there are."""
    fewest = sa.select(sa.func.min(drains.c.cpu_cores)).join(drain_jobs, drain_jobs.c.drain_id == drains.c.id)
    found = connection.scalar(fewest.where(drain_jobs.c.job_id == job_id, drains.c.cpu_cores.is_not(None), _alive()))
    return None if found is None else int(found)


@dataclass(frozen=True)
class State:
    """The queue around a drain at one moment: one statement, so that no job is missed on its way from here to there."""

    ready: bool
    active: int
    own_active: int
    counted: int
    past_end: bool
    waiting: int
    held: int
    """Of those that wait: for their parent, or for whoever holds them."""
    retrying: int
    next_retry_at: datetime | None
    paused: int
    why_blocked: str | None
    """What the first in line waits for."""


def _waits_for_its_run() -> sa.ColumnElement[bool]:
    """A run that was launched in Dagster is still to come to it."""
    return sa.and_(jobs.c.waiting_run_id.is_not(None), ~jobs.c.held_by_parent)


def beat(connection: sa.Connection, drain_id: UUID) -> State | None:
    """Say that somebody stands behind the drain, and look. None: it was taken for dead and is gone."""
    alive = sa.update(drains).where(drains.c.id == drain_id).values(heartbeat_at=sa.func.clock_timestamp())
    if connection.execute(alive).rowcount != 1:
        return None
    own = sa.exists().where(drain_jobs.c.job_id == jobs.c.id, _is_of(drain_id))
    pending, retrying = queue.status_in([JobStatus.PENDING]), sa.and_(~jobs.c.held, jobs.c.retry_after > utcnow())
    next_retry = sa.select(sa.func.min(jobs.c.retry_after)).where(pending, retrying)
    line = (jobs.c.priority, jobs.c.created_at, jobs.c.id)
    row = connection.execute(
        sa.select(
            sa.or_(sa.exists().where(dispatching.is_ready()), sa.exists().where(pending, _waits_for_its_run())).label(
                "ready"
            ),
            _number(_is_active()).label("active"),
            _number(_is_active(), own).label("own_active"),
            drains.c.counted,
            sa.func.coalesce(drains.c.ends_at <= sa.func.clock_timestamp(), False).label("past_end"),
            queue.tally(JobStatus.PENDING).label("waiting"),
            _number(pending, jobs.c.held).label("held"),
            _number(pending, retrying).label("retrying"),
            next_retry.scalar_subquery().label("next_retry_at"),
            _number(queue.status_in([JobStatus.PAUSED])).label("paused"),
            sa.select(jobs.c.waiting_reason)
            .where(pending, jobs.c.queue_position.is_not(None))
            .order_by(*line)
            .limit(1)
            .scalar_subquery()
            .label("why_blocked"),
        ).where(drains.c.id == drain_id)
    ).one()
    return State(**row._mapping)


def _number(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).select_from(jobs).where(*conditions).scalar_subquery()


def newer(connection: sa.Connection, drain_id: UUID, seq: int) -> list[tuple[int, UUID]]:
    """Jobs that came to a drain after `seq`, each with its own number, for following."""
    rows = connection.execute(
        sa.select(drain_jobs.c.seq, drain_jobs.c.job_id)
        .where(_is_of(drain_id), drain_jobs.c.seq > seq)
        .order_by(drain_jobs.c.seq)
        .limit(1000)
    )
    return [(row.seq, row.job_id) for row in rows]


@dataclass(frozen=True)
class Ends:
    """How the jobs of a drain ended."""

    completed: int
    failed: int
    cancelled: int
    retrying: int
    """Failed, and pending again for another attempt."""
    unfinished: int
    """Handed back, paused or still running."""
    errors: Sequence[queue.Job]
    """The newest of those that failed or will be tried again."""


def ends(connection: sa.Connection, drain_id: UUID) -> Ends:
    own = sa.select(jobs.c.id).join(drain_jobs, drain_jobs.c.job_id == jobs.c.id).where(_is_of(drain_id))
    retries = sa.and_(jobs.c.status == JobStatus.PENDING.value, jobs.c.error.is_not(None))
    kind = sa.case((retries, "retrying"), (jobs.c.status.in_([*FINAL]), jobs.c.status), else_="unfinished")
    rows = connection.execute(sa.select(kind.label("kind"), sa.func.count()).where(jobs.c.id.in_(own)).group_by(kind))
    numbers = {str(row[0]): int(row[1]) for row in rows}
    bad = own.where(sa.or_(retries, jobs.c.status == JobStatus.FAILED.value)).order_by(drain_jobs.c.seq.desc())
    errors = queue.get_all(connection, connection.scalars(bad.limit(_ERRORS_SHOWN)).all())
    names = ("completed", "failed", "cancelled", "retrying", "unfinished")
    return Ends(**{name: numbers.get(name, 0) for name in names}, errors=errors)


def _alive() -> sa.ColumnElement[bool]:
    return _beaten_within(EXPIRES_AFTER_S)


def _beaten_within(seconds: float) -> sa.ColumnElement[bool]:
    return drains.c.heartbeat_at > _in(-seconds)


def _in(seconds: float) -> sa.ColumnElement[datetime]:
    return sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _is_of(drain_id: UUID) -> sa.ColumnElement[bool]:
    return drain_jobs.c.drain_id == drain_id


def _is_active() -> sa.ColumnElement[bool]:
    return queue.status_in(ACTIVE)
