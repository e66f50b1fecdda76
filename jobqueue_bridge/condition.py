"""What tells whether the queue's tables are in good condition: dead rows, old transactions, jobs that wait, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from jobqueue_bridge.settings import DAGSTER_SCHEMA
from jobqueue_bridge.stats import oldest_ready
from jobqueue_bridge.tables import (
    job_attempts,
    job_leases,
    job_logs,
    job_tallies,
    jobs,
    jobs_archive,
    utcnow,
)
from jobqueue_bridge.vocabulary import ACTIVE

_TABLES = (jobs, job_leases, job_attempts, job_logs, job_tallies)


@dataclass(frozen=True)
class Rows:
    """As Postgres counts them."""

    live: int
    dead: int


@dataclass(frozen=True)
class OldestTransaction:
    pid: int
    program: str
    age_s: float


@dataclass(frozen=True)
class Waiting:
    """The oldest job that could start, and what else is going on. Seconds; None: there is none."""

    oldest_ready_s: float | None
    last_start_s: float | None
    active: int


@dataclass(frozen=True)
class Condition:
    rows: Mapping[str, Rows]
    transaction: OldestTransaction | None
    waiting: Waiting
    queue_bytes: int
    archive_bytes: int
    dagster_bytes: int


def look(connection: sa.Connection) -> Condition:
    return Condition(
        rows=_rows(connection),
        transaction=_oldest_transaction(connection),
        waiting=waiting(connection),
        queue_bytes=sum(_size(connection, table.name) for table in _TABLES),
        archive_bytes=_archive_size(connection),
        dagster_bytes=_schema_size(connection, DAGSTER_SCHEMA),
    )


def waiting(connection: sa.Connection) -> Waiting:
    """By the indexes of the ready and the newest jobs alone."""
    oldest = oldest_ready()
    newest = sa.select(jobs.c.started_at).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(1000).subquery()
    last = sa.select(sa.func.max(newest.c.started_at)).scalar_subquery()
    active = sa.or_(*(jobs.c.status == sa.literal_column(f"'{status.value}'") for status in sorted(ACTIVE)))
    count = sa.select(sa.func.count()).select_from(jobs).where(active).scalar_subquery()
    row = connection.execute(
        sa.select(sa.func.extract("epoch", utcnow() - oldest), sa.func.extract("epoch", utcnow() - last), count)
    ).one()
    oldest_s, last_s = (None if seconds is None else float(seconds) for seconds in row[:2])
    return Waiting(oldest_s, last_s, row[2])


def _rows(connection: sa.Connection) -> dict[str, Rows]:
    stats = sa.table("pg_stat_user_tables", *map(sa.column, ("relid", "n_live_tup", "n_dead_tup")), schema="pg_catalog")
    found = {}
    for table in _TABLES:
        row = connection.execute(
            sa.select(stats.c.n_live_tup, stats.c.n_dead_tup).where(stats.c.relid == sa.func.to_regclass(table.name))
        ).one_or_none()
        found[table.name] = Rows(row[0], row[1]) if row else Rows(0, 0)
    return found


def _oldest_transaction(connection: sa.Connection) -> OldestTransaction | None:
    """Of another session on this database: it keeps every row that died since from being cleared away."""
    names = ("pid", "application_name", "xact_start", "datname", "backend_type")
    activity = sa.table("pg_stat_activity", *map(sa.column, names), schema="pg_catalog")
    age = sa.cast(sa.func.clock_timestamp() - activity.c.xact_start, sa.Interval)
    row = connection.execute(
        sa.select(activity.c.pid, activity.c.application_name, age.label("age"))
        .where(
            activity.c.xact_start.is_not(None),
            activity.c.datname == sa.func.current_database(),
            activity.c.pid != sa.func.pg_backend_pid(),
            activity.c.backend_type == "client backend",
        )
        .order_by(activity.c.xact_start)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    age_s = row.age.total_seconds() if isinstance(row.age, timedelta) else 0.0
    return OldestTransaction(row.pid, row.application_name or "a program without a name", age_s)


def _size(connection: sa.Connection, table: str) -> int:
    return int(connection.scalar(sa.select(sa.func.pg_total_relation_size(sa.func.to_regclass(table)))) or 0)


def _archive_size(connection: sa.Connection) -> int:
    month = sa.func.pg_partition_tree(sa.func.to_regclass(jobs_archive.name)).table_valued(sa.column("relid", sa.Text))
    size = sa.func.sum(sa.func.pg_total_relation_size(month.c.relid))
    return int(connection.scalar(sa.select(size)) or 0)


def _schema_size(connection: sa.Connection, schema: str) -> int:
    classes = sa.table("pg_class", *map(sa.column, ("oid", "relnamespace", "relkind")), schema="pg_catalog")
    size = sa.func.sum(sa.func.pg_total_relation_size(classes.c.oid))
    tables = sa.select(size).where(classes.c.relkind == "r", classes.c.relnamespace == sa.func.to_regnamespace(schema))
    return int(connection.scalar(tables) or 0)
