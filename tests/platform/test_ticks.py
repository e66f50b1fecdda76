"""A sensor or schedule that fails is named by `doctor`, with what was raised."""

import logging
from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from jobqueue_bridge.settings import Settings
from media_pipelines.platform import dagster_home
from media_pipelines.platform.ticks import failing


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    dagster_home.render(settings, settings.home / "sock")
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        assert instance.schedule_storage is not None
        instance.schedule_storage.wipe()
        yield instance


def test_what_fails_is_named_until_it_works_again(
    settings: Settings, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    definitions = ModuleTarget("media_pipelines.definitions", None, None, "media_pipelines")
    with create_test_daemon_workspace_context(definitions, instance) as context:
        (repository,) = context.create_request_context().code_locations[0].get_repositories().values()
        for sensor in repository.get_sensors():
            if sensor.name != "reconcile":
                instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
        with database.begin() as connection:
            connection.execute(sa.text("ALTER TABLE job_leases RENAME TO elsewhere"))
        try:
            list(execute_sensor_iteration(context, logging.getLogger("sensors"), None, None))
        finally:
            with database.begin() as connection:
                connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO job_leases"))
        (found,) = failing(settings)
        assert found.startswith("reconcile failed at ")
        assert 'relation "job_leases" does not exist' in found

        for state in instance.all_instigator_state():
            if state.instigator_name == "reconcile":
                rested = state.instigator_data._replace(last_tick_timestamp=0.0, last_tick_start_timestamp=0.0)  # type: ignore[union-attr]
                instance.update_instigator_state(state.with_data(rested))
        list(execute_sensor_iteration(context, logging.getLogger("sensors"), None, None))
    assert failing(settings) == []
