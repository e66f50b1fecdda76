"""Dagster's Postgres storage with a connection pool.

The stock one opens a connection for every query (SQLAlchemy's NullPool), which costs more than most of the queries.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import pg_url_from_config


class PooledPostgresStorage(DagsterPostgresStorage):
    """`dagster.yaml` names it; takes `postgres_url` and `should_autocreate_tables` as the stock storage does."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        engine = sa.create_engine(
            self.postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=4,
            max_overflow=28,
            pool_pre_ping=True,
            pool_recycle=600,
        )
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = engine

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        return cls(
            inst_data=inst_data,
            postgres_url=pg_url_from_config(config_value),  # type: ignore[arg-type]
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
        )
