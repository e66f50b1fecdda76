"""The nightly purge, on the storage that the platform has: old runs go, what they say exists does not."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.runs.schema import RunsTable

from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs, jobs_archive
from media_pipelines.history import purge_runs
from media_pipelines.platform.dagster_home import render
from media_pipelines.sensors.purge import latest_night, nightly_purge, purge_a_part
from tests.pipelines.conftest import add_run

PARTITIONS = dg.DynamicPartitionsDefinition(name="kept_partitions")


@dg.asset(partitions_def=PARTITIONS)
def of_a_video() -> None: ...


@dg.asset
def of_all() -> None: ...


@pytest.fixture
def stored(settings: Settings, library: Path, database: sa.Engine) -> Iterator[dg.DagsterInstance]:
    """An instance on Postgres, as `up` configures it, without any run."""
    home = render(settings, settings.home / "no-socket").parent
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.run_storage.wipe()
        instance.event_log_storage.wipe()
        yield instance


def make(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str | None = None) -> str:
    if partition:
        instance.add_dynamic_partitions("kept_partitions", [partition])
    return dg.materialize([asset], partition_key=partition, instance=instance).run_id


def age(instance: dg.DagsterInstance, days: float = 40) -> None:
    long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.update(RunsTable).values(update_timestamp=long_ago))


def runs(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def soon() -> float:
    return time.monotonic() + 60


def test_old_runs_go_and_the_newest_of_each_partition_stays(stored: dg.DagsterInstance, tmp_path: Path) -> None:
    first, second = make(stored, of_a_video, "a"), make(stored, of_a_video, "a")
    other, whole, whole_again = make(stored, of_a_video, "b"), make(stored, of_all), make(stored, of_all)
    failed = add_run(stored, {}, dg.DagsterRunStatus.FAILURE).run_id
    for run_id in (first, failed):
        (tmp_path / run_id).mkdir()
    age(stored)
    young = make(stored, of_a_video, "c")
    (tmp_path / young).mkdir()

    forgotten = purge_runs(stored, tmp_path, 30, 0, soon())

    assert (forgotten.runs, forgotten.is_done) == (3, True)
    assert runs(stored) == {second, other, whole_again, young}
    assert [folder.name for folder in tmp_path.iterdir()] == [young]
    assert stored.get_materialized_partitions(dg.AssetKey("of_a_video")) == {"a", "b", "c"}
    latest = stored.get_latest_materialization_event(dg.AssetKey("of_all"))
    assert latest is not None
    assert latest.run_id == whole_again
    with stored.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        left = set(connection.scalars(sa.select(SqlEventLogStorageTable.c.run_id).distinct()))
    assert left == runs(stored)
    assert not {first, whole, failed} & left


@pytest.mark.parametrize("status", ["STARTING", "STARTED", "CANCELING", "NOT_STARTED"])
def test_a_run_that_has_not_ended_stays_however_old_it_is(
    stored: dg.DagsterInstance, status: str, tmp_path: Path
) -> None:
    run = add_run(stored, {}, dg.DagsterRunStatus[status])
    age(stored)
    assert purge_runs(stored, tmp_path, 30, 0, soon()).runs == 0
    assert runs(stored) == {run.run_id}


def test_a_purge_whose_time_is_over_goes_on_where_it_stopped(stored: dg.DagsterInstance, tmp_path: Path) -> None:
    for _ in range(60):
        add_run(stored, {}, dg.DagsterRunStatus.SUCCESS)
    age(stored)
    none = purge_runs(stored, tmp_path, 30, 0, time.monotonic() - 1)
    assert (none.runs, none.behind, none.is_done) == (0, 0, False)
    numbers = sorted(record.storage_id for record in stored.get_run_records())
    rest = purge_runs(stored, tmp_path, 30, numbers[3], soon())
    assert (rest.runs, rest.behind, rest.is_done) == (56, numbers[-1], True)
    assert len(runs(stored)) == 4


def test_one_night_purges_jobs_and_runs_once(
    stored: dg.DagsterInstance,
    settings: Settings,
    connection: sa.Connection,
    add_job: Callable[..., object],
) -> None:
    add_job(status="completed")
    connection.execute(sa.update(jobs).values(completed_at=datetime.now(UTC) - timedelta(days=31)))
    add_run(stored, {}, dg.DagsterRunStatus.SUCCESS)
    age(stored)
    said, cursor = purge_a_part(stored, settings, None, soon())
    assert said == "Jobs archived: 1; months dropped: 0; runs deleted: 1."
    assert connection.scalar(sa.select(sa.func.count()).select_from(jobs_archive)) == 1
    add_run(stored, {}, dg.DagsterRunStatus.SUCCESS)
    age(stored)
    assert purge_a_part(stored, settings, cursor, soon()) == ("Done for this night.", cursor)
    yesterday = json.dumps({"done": "2020-01-01"})
    assert "runs deleted: 1." in purge_a_part(stored, settings, yesterday, soon())[0]


def test_the_purge_can_be_switched_off(stored: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_AUTO_PURGE", "false")
    context = dg.build_sensor_context(instance=stored, cursor="as it was")
    result = nightly_purge(context)
    assert isinstance(result, dg.SensorResult)
    assert result.cursor == "as it was"
    assert "MEDIA_AUTO_PURGE" in str(result.skip_reason)


@pytest.mark.parametrize(
    ("now", "night"),
    [
        ("2026-03-29T04:29", "2026-03-28"),
        ("2026-03-29T04:30", "2026-03-29"),
        ("2026-03-29T23:59", "2026-03-29"),
        ("2026-10-25T00:00", "2026-10-24"),
    ],
)
def test_a_night_begins_at_the_time_of_the_setting(settings: Settings, now: str, night: str) -> None:
    local = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert latest_night(settings, local) == night
