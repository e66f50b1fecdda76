"""A platform that lets its running jobs finish as it stops, and one that was started for a drain."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, queue
from jobqueue_bridge.drains import Terms
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import drains, jobs
from media_pipelines.platform import drained
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready

Add = Callable[..., UUID]


@pytest.fixture
def running(connection: sa.Connection, settings: Settings, add_job: Add) -> lease.Lease:
    """A job that a run holds, beside one that was admitted and has not begun."""
    job_id = add_job("scan")
    add_job("public_scan")
    assert len(admit_ready(settings, Gpu())) == 2
    held = lease.claim(connection, job_id, 1, run_id="run", host="here")
    assert held is not None
    return held


def statuses(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.select(jobs.c.status).order_by(jobs.c.created_at)))


def test_it_waits_until_what_runs_has_ended_and_lets_nothing_begin(
    connection: sa.Connection, settings: Settings, running: lease.Lease
) -> None:
    told: list[tuple[int, float]] = []
    seen: list[list[str]] = []

    def no_hurry(seconds: float) -> bool:
        assert admit_ready(settings, Gpu()) == []
        seen.append(statuses(connection))
        lease.complete(connection, running, {})
        return False

    drained.let_finish(settings, no_hurry, lambda jobs, seconds: told.append((jobs, seconds)))

    assert seen == [["running", "pending"]]
    assert told == [(1, settings.shutdown_timeout_seconds)]
    assert admit_ready(settings, Gpu()) == [], "it stays so until the platform starts again"


def test_a_second_signal_ends_the_waiting(connection: sa.Connection, settings: Settings, running: lease.Lease) -> None:
    drained.let_finish(settings, lambda seconds: True, lambda jobs, seconds: None)
    assert statuses(connection) == ["running", "pending"]


def test_so_does_the_end_of_the_time_for_it(
    connection: sa.Connection, settings: Settings, running: lease.Lease
) -> None:
    hasty = settings.model_copy(update={"shutdown_timeout_seconds": 0.0})
    drained.let_finish(hasty, lambda seconds: pytest.fail("it has no time to wait"), lambda jobs, seconds: None)
    assert queue.get(connection, running.job_id).status == "running"


def test_a_platform_that_starts_again_begins_anew(
    connection: sa.Connection, settings: Settings, running: lease.Lease
) -> None:
    drained.let_finish(settings, lambda seconds: True, lambda jobs, seconds: None)
    drained.begin(settings, None)
    assert len(admit_ready(settings, Gpu())) == 1


def test_one_that_is_started_for_a_drain_admits_within_its_terms(
    connection: sa.Connection, settings: Settings, add_job: Add
) -> None:
    add_job("scan")
    add_job("public_scan")
    terms = Terms(uuid4(), "`jobs start`", limited=True, platform=drained.name_of(settings), max_jobs=1, cpu_cores=2)

    drained.begin(settings, drained.from_text(drained.to_text(terms)))

    assert len(admit_ready(settings, Gpu())) == 1
    assert connection.scalar(sa.select(drains.c.id)) == terms.id
