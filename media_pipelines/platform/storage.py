"""Dagster's Postgres storage with a connection pool, and patience with a database that takes no writes for a while.

The stock one opens a connection for every query (SQLAlchemy's NullPool) and looks all tables up at each start of a
process, which costs more than most of the queries. And its run ends with the first event that cannot be stored: an
hour's encode would be handed back for a minute in which a standby was promoted or a disk was full.
"""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import psycopg2.errors
import sqlalchemy as sa
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config

_PATIENCE_S = 60.0
_LOOK_S = 0.5
_CREATION_LOCK = 7_261_114_004
# One table of each of the three storages, the one it makes last.
_PROOFS = ("instance_info", "asset_daemon_asset_evaluations", "event_logs", "dynamic_partitions", "job_ticks")


class PooledPostgresStorage(DagsterPostgresStorage):
    """`dagster.yaml` names it; takes `postgres_url` and `should_autocreate_tables` as the stock storage does."""

    def __init__(
        self, postgres_url: str, should_autocreate_tables: bool, inst_data: ConfigurableClassData | None = None
    ) -> None:
        engine = _engine(postgres_url, os.getpid())
        if should_autocreate_tables:
            _create_tables(engine, postgres_url)
        super().__init__(postgres_url, should_autocreate_tables=False, inst_data=inst_data)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        return cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )


@cache
def _engine(postgres_url: str, process_id: int) -> sa.Engine:
    """One a process: a code server makes an instance for each tick, and each would leave its connections and what
    SQLAlchemy knows of its dialect behind. A forked run has its own."""
    del process_id
    engine = sa.create_engine(
        postgres_url,
        isolation_level="AUTOCOMMIT",
        pool_size=4,
        max_overflow=28,
        pool_pre_ping=True,
        pool_recycle=600,
    )
    sa.event.listen(engine, "do_execute", _execute_patiently)
    return engine


def _execute_patiently(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """A statement that was refused because nothing may be written changed nothing, so it can be sent again."""
    del context
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            cursor.execute(statement, parameters)
            return True
        except psycopg2.errors.ReadOnlySqlTransaction:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_LOOK_S)


def _create_tables(engine: sa.Engine, postgres_url: str) -> None:
    """Once, however many processes start at the same time."""
    with engine.connect() as connection:
        if _complete(connection):
            return
        connection.execute(sa.select(sa.func.pg_advisory_lock(_CREATION_LOCK)))
        try:
            if not _complete(connection):
                DagsterPostgresStorage(postgres_url, should_autocreate_tables=True)
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_CREATION_LOCK)))


def _complete(connection: sa.Connection) -> bool:
    found = connection.execute(sa.select(*(sa.func.to_regclass(name) for name in _PROOFS))).one()
    return all(found)
