"""Bring a database to the current schema: a fresh one, or one in which another program made the spec's `jobs`."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import DAGSTER_SCHEMA, Settings
from jobqueue_bridge.tables import job_types
from jobqueue_bridge.vocabulary import NEEDS

VERSION_TABLE = "media_pipelines_version"
# Any constant will do; two platforms that start at once on one database must not migrate at once.
_MIGRATION_LOCK = 7_261_114_001


def migrate(settings: Settings) -> None:
    """Idempotent; safe to call from several processes at once. Raises DatabaseUnreachable."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine_for(settings).connect() as lock:
        lock.execute(sa.select(sa.func.pg_advisory_lock(_MIGRATION_LOCK)))
        try:
            with engine_for(settings).begin() as connection:
                connection.execute(sa.schema.CreateSchema(DAGSTER_SCHEMA, if_not_exists=True))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                _publish_needs(connection)
        finally:
            lock.execute(sa.select(sa.func.pg_advisory_unlock(_MIGRATION_LOCK)))


def _publish_needs(connection: sa.Connection) -> None:
    """The table that the insert trigger reads, so that a plain INSERT gets its type's category and VRAM."""
    rows = [
        {"type": kind.value, "resource_category": need.category.value, "vram_mb": need.vram_mb}
        for kind, need in NEEDS.items()
    ]
    connection.execute(sa.delete(job_types))
    connection.execute(sa.insert(job_types), rows)
