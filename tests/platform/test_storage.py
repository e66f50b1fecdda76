"""Dagster's storage while its database takes no writes."""

import threading
from collections.abc import Callable, Iterator

import dagster as dg
import psycopg
import pytest

from jobqueue_bridge.settings import Settings
from media_pipelines.platform import dagster_home
from media_pipelines.platform.postgres import libpq_url


@pytest.fixture
def set_read_only(settings: Settings) -> Iterator[Callable[[str], None]]:
    with psycopg.connect(libpq_url(settings.dagster_url), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")

        def turn(value: str) -> None:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}".encode())
            connection.execute("SELECT pg_reload_conf()")

        yield turn
        turn("off")


def test_the_instance_of_each_tick_uses_the_connections_of_the_one_before(settings: Settings) -> None:
    """With an engine each, those of a busy code server stayed open by the dozen until they were collected."""
    dagster_home.render(settings, settings.home / "sock")
    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    ticks = []
    with psycopg.connect(libpq_url(settings.dagster_url), autocommit=True) as connection:
        opened = [connection.execute(count).fetchone()]
        for _ in range(10):
            with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
                instance.get_run_records(limit=1)
                ticks.append(instance)  # nothing is collected
            opened.append(connection.execute(count).fetchone())
    assert opened[-1] == opened[1], opened


def test_a_write_waits_until_the_database_takes_writes_again(
    settings: Settings, set_read_only: Callable[[str], None]
) -> None:
    dagster_home.render(settings, settings.home / "sock")
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        instance.add_dynamic_partitions("videos", ["before"])
        set_read_only("on")
        later = threading.Timer(1.5, set_read_only, ["off"])
        later.start()
        try:
            instance.add_dynamic_partitions("videos", ["meanwhile"])
        finally:
            later.join()
        assert set(instance.get_dynamic_partitions("videos")) == {"before", "meanwhile"}
