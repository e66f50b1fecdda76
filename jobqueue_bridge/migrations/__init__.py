"""Bring a database to the current schema: a fresh one, or one in which another program made the spec's `jobs`."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from jobqueue_bridge.database import engine_for, require_database
from jobqueue_bridge.errors import FieldProblem, InvalidSettings
from jobqueue_bridge.settings import DAGSTER_SCHEMA, Settings
from jobqueue_bridge.tables import job_types, jobs
from jobqueue_bridge.vocabulary import NEEDS, JobStatus

_SPECIFIED = [column.name for column in jobs.columns][: list(jobs.columns.keys()).index("retry_after") + 1]
# Any constant will do; two platforms that start at once on one database must not migrate at once.
_MIGRATION_LOCK = 7_261_114_001


def migrate(settings: Settings) -> None:
    """Idempotent; safe to call from several processes at once.

    Raises DatabaseUnreachable, or InvalidSettings where the database holds a `jobs` table that is something else.
    """
    require_database(settings)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine_for(settings).connect() as lock:
        lock.execute(sa.select(sa.func.pg_advisory_lock(_MIGRATION_LOCK)))
        try:
            with engine_for(settings).begin() as connection:
                _refuse_foreign_table(connection)
                connection.execute(sa.schema.CreateSchema(DAGSTER_SCHEMA, if_not_exists=True))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                _publish_needs(connection)
        finally:
            lock.execute(sa.select(sa.func.pg_advisory_unlock(_MIGRATION_LOCK)))


def _refuse_foreign_table(connection: sa.Connection) -> None:
    inspector = sa.inspect(connection)
    if not inspector.has_table(jobs.name):
        return
    missing = set(_SPECIFIED) - {column["name"] for column in inspector.get_columns(jobs.name)}
    if missing:
        listed = ", ".join(sorted(missing))
        problem = f"its table `jobs` is no media job queue: it lacks {listed}. Use another database"
        raise InvalidSettings([FieldProblem("DATABASE_URL", problem)])


def _publish_needs(connection: sa.Connection) -> None:
    """The table that the insert trigger reads, so that a plain INSERT gets its type's category and VRAM."""
    rows = [
        {"type": kind.value, "resource_category": need.category.value, "vram_mb": need.vram_mb}
        for kind, need in NEEDS.items()
    ]
    connection.execute(sa.delete(job_types))
    connection.execute(sa.insert(job_types), rows)
    connection.execute(  # old rows that leave it open
        sa.update(jobs)
        .where(
            jobs.c.status == JobStatus.PENDING.value, jobs.c.vram_required.is_(None), jobs.c.type == job_types.c.type
        )
        .values(vram_required=job_types.c.vram_mb)
    )
