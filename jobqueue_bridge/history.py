"""What became of jobs: sums by the hour and of all time, which a trigger on `jobs` appends and `fold` adds up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.tables import job_hours, job_outcomes_new, job_totals, utcnow

HOURS_KEPT = timedelta(days=32)
_FOLDED_ABOVE = 500
_SUMS = ("jobs", "run_s", "runs", "wait_s", "waits", "bytes_saved")
_KIND = ("type", "resource_category", "outcome")


@dataclass(frozen=True)
class Sums:
    """Of jobs of one kind that ended. Seconds, bytes."""

    type: str
    resource_category: str
    outcome: str
    jobs: int
    run_s: float
    runs: int
    wait_s: float
    waits: int
    bytes_saved: int


@dataclass(frozen=True)
class Hour:
    at: datetime
    sums: Sequence[Sums]


def totals(connection: sa.Connection) -> list[Sums]:
    """Of all time, the archive included."""
    return _sums(connection, _both(job_totals).subquery(), [])


def since(connection: sa.Connection, begin: datetime, end: datetime) -> Mapping[datetime, Sequence[Sums]]:
    """By the hour, of hours that begin in this time; at most HOURS_KEPT back."""
    rows = _both(job_hours, "hour").subquery()
    grouped = [rows.c.hour, *(rows.c[name] for name in _KIND)]
    found = connection.execute(
        sa.select(*grouped, *_added(rows)).where(rows.c.hour >= begin, rows.c.hour < end).group_by(*grouped)
    )
    hours: dict[datetime, list[Sums]] = {}
    for hour, *values in found:
        hours.setdefault(hour, []).append(_of(values))
    return hours


def ended(connection: sa.Connection, *since: datetime) -> list[Mapping[str, int]]:
    """How many jobs ended so, from each of these hours on; the first is the earliest."""
    rows = _both(job_hours, "hour").subquery()
    counts = [sa.func.coalesce(sa.func.sum(rows.c.jobs).filter(rows.c.hour >= begin), 0) for begin in since]
    found = connection.execute(
        sa.select(rows.c.outcome, *counts).where(rows.c.hour >= since[0]).group_by(rows.c.outcome)
    ).all()
    return [{row[0]: int(row[place]) for row in found} for place in range(1, len(since) + 1)]


def fold(connection: sa.Connection) -> None:
    """Many outcomes into one sum for each kind and hour, and for each kind. Sums stay exact whoever reads or folds at
    the same time. Hours that nobody asks for any more go."""
    waiting = sa.select(sa.func.count()).select_from(
        sa.select(job_outcomes_new.c.jobs).limit(_FOLDED_ABOVE + 1).subquery()
    )
    if (connection.scalar(waiting) or 0) <= _FOLDED_ABOVE:
        return
    taken = connection.execute(sa.delete(job_outcomes_new).returning(*job_outcomes_new.c)).mappings().all()
    _add(connection, job_hours, ("hour", *_KIND), taken)
    _add(connection, job_totals, _KIND, taken)
    oldest = utcnow() - sa.func.make_interval(0, 0, 0, HOURS_KEPT.days)
    connection.execute(sa.delete(job_hours).where(job_hours.c.hour < sa.type_coerce(oldest, job_hours.c.hour.type)))


def _add(connection: sa.Connection, table: sa.Table, key: Sequence[str], rows: Sequence[Mapping[Any, Any]]) -> None:
    summed: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        of_kind = tuple(row[name] for name in key)
        before = summed.setdefault(of_kind, {**dict(zip(key, of_kind, strict=True)), **dict.fromkeys(_SUMS, 0)})
        for name in _SUMS:
            before[name] += row[name]
    statement = pg.insert(table)
    added = {name: table.c[name] + statement.excluded[name] for name in _SUMS}
    # in one order, so that two who fold at once do not wait for each other for ever
    values = [summed[of_kind] for of_kind in sorted(summed)]
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=added), values)


def _both(folded: sa.Table, *more: str) -> sa.CompoundSelect[Any]:
    names = (*more, *_KIND, *_SUMS)
    tables = (folded, job_outcomes_new)
    return sa.union_all(*(sa.select(*(table.c[name] for name in names)) for table in tables))


def _sums(connection: sa.Connection, rows: sa.FromClause, conditions: Sequence[sa.ColumnElement[bool]]) -> list[Sums]:
    grouped = [rows.c[name] for name in _KIND]
    found = connection.execute(sa.select(*grouped, *_added(rows)).where(*conditions).group_by(*grouped))
    return [_of(list(row)) for row in found]


def _added(rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [sa.func.sum(rows.c[name]) for name in _SUMS]


def _of(values: Sequence[Any]) -> Sums:
    kind, category, outcome, count, run_s, runs, wait_s, waits, saved = values
    return Sums(kind, category, outcome, int(count), float(run_s), int(runs), float(wait_s), int(waits), int(saved))
