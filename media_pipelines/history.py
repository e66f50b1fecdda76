"""Dagster's own history: old runs go with their events, except those that say what exists.

`delete_run` takes a run's materializations along, and a partition without one looks as if it was never made. So the run
of each partition's newest materialization stays, however old it is.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from media_pipelines.run_process import forget_step_outputs

_BATCH = 50
_FINISHED = [
    status.value for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
]
_MATERIALIZED = dg.DagsterEventType.ASSET_MATERIALIZATION.value


@dataclass(frozen=True)
class Forgotten:
    """How far a purge came: `behind` is Dagster's number of the last run that was looked at."""

    runs: int
    behind: int
    is_done: bool


def purge_runs(
    instance: dg.DagsterInstance, step_outputs_dir: Path, older_than_days: float, behind: int, deadline_s: float
) -> Forgotten:
    """Delete finished runs that were last updated longer ago, from behind that number on; begins no batch after the
    deadline, of `time.monotonic()`."""
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    deleted = 0
    while time.monotonic() < deadline_s:
        batch = _next(instance, before, behind)
        if not batch:
            return Forgotten(deleted, behind, is_done=True)
        kept = _say_what_exists(instance, [run_id for _, run_id in batch])
        for number, run_id in batch:
            if run_id not in kept:
                instance.delete_run(run_id)
                deleted += 1
            forget_step_outputs(step_outputs_dir, run_id)
            behind = number
    return Forgotten(deleted, behind, is_done=False)


def _next(instance: dg.DagsterInstance, before: datetime, behind: int) -> Sequence[tuple[int, str]]:
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    runs = RunsTable.c
    finished = sa.select(runs.id, runs.run_id).where(
        runs.id > behind, runs.status.in_(_FINISHED), runs.update_timestamp < before.replace(tzinfo=None)
    )
    with storage.connect() as connection:
        rows = connection.execute(finished.order_by(runs.id).limit(_BATCH)).all()
    return [(row.id, row.run_id) for row in rows]


def _say_what_exists(instance: dg.DagsterInstance, run_ids: Collection[str]) -> set[str]:
    """Those whose materialization of a partition, or of an asset without any, is its newest."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    this, newer = SqlEventLogStorageTable.alias("this"), SqlEventLogStorageTable.alias("newer")
    same_asset = sa.and_(
        newer.c.asset_key == this.c.asset_key, newer.c.dagster_event_type == _MATERIALIZED, newer.c.id > this.c.id
    )
    # two statements' worth of index look-ups: one equality that covers null would use none
    is_outdone = sa.or_(
        sa.exists().where(same_asset, newer.c.partition == this.c.partition),
        sa.and_(this.c.partition.is_(None), sa.exists().where(same_asset, newer.c.partition.is_(None))),
    )
    newest = sa.select(this.c.run_id).where(
        this.c.run_id.in_(run_ids), this.c.dagster_event_type == _MATERIALIZED, ~is_outdone
    )
    with storage.index_connection() as connection:
        return set(connection.scalars(newest))
