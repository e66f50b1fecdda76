"""Sensors: what they put into the queue, what they request, what they put right."""

import os
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import sqlalchemy as sa

from jobqueue_bridge import dispatching, lease, queue
from jobqueue_bridge.queue import Filters, Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready, dispatch, run_request
from media_pipelines.sensors.reconcile import reconcile
from tests.pipelines.conftest import add_run


def _jobs(database: sa.Engine) -> list[Job]:
    with database.begin() as connection:
        return list(queue.page(connection, Filters(), limit=100).jobs)


def test_the_dispatcher_requests_a_run_for_each_admitted_row(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    with database.begin() as connection:
        job = queue.enqueue(connection, NewJob("compile_random", {"count": 2}, vram_required=2500), settings)
    result = dispatch(dg.build_sensor_context(instance=instance, resources={"gpu": Gpu()}))
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert request.run_key == f"{job.id}:1"
    assert request.job_name == "compile_random"
    assert [tag for tag in request.tags if "vram" in tag] == ["media/vram_u00", "media/vram_u01", "media/vram_u02"]
    assert all(type(value) is str for pair in request.tags.items() for value in pair)
    (row,) = _jobs(database)
    assert (row.status, row.attempt) == (JobStatus.QUEUED, 1)


def _in_hours(begins: int, ends: int) -> str:
    """A window from so many hours from now to so many, by the clock of UTC."""
    now = datetime.now(UTC)
    return f"{now + timedelta(hours=begins):%H:%M}-{now + timedelta(hours=ends):%H:%M}"


def test_outside_its_hours_a_category_waits_and_says_until_when(database: sa.Engine, settings: Settings) -> None:
    with database.begin() as connection:
        encode = queue.enqueue(connection, NewJob("compile_random", {"count": 2}), settings)
        scan = queue.enqueue(connection, NewJob("scan", {}), settings)
    closed = settings.model_copy(update={"windows": {"gpu_encode": (_in_hours(2, 4),)}, "timezone": "UTC"})
    (dispatched,) = admit_ready(closed, Gpu())
    assert dispatched.job.id == scan.id
    with database.begin() as connection:
        waiting = queue.get(connection, encode.id)
    begins = datetime.now(UTC) + timedelta(hours=2)
    assert (waiting.status, waiting.queue_position) == (JobStatus.PENDING, 1)
    assert waiting.waiting_reason is not None
    assert waiting.waiting_reason.startswith("gpu_encode jobs start between ")
    assert f"the next begins at {begins:%Y-%m-%d %H:}" in waiting.waiting_reason

    open_ = settings.model_copy(update={"windows": {"gpu_encode": (_in_hours(-2, 2),)}, "timezone": "UTC"})
    (dispatched,) = admit_ready(open_, Gpu())
    assert (dispatched.job.id, dispatched.job.waiting_reason) == (encode.id, None)


def test_a_job_that_runs_when_its_hours_end_keeps_its_slot_and_runs_on(database: sa.Engine, settings: Settings) -> None:
    with database.begin() as connection:
        job = queue.enqueue(connection, NewJob("compile_random", {"count": 2}), settings)
    (dispatched,) = admit_ready(settings, Gpu())
    closed = settings.model_copy(update={"windows": {"gpu_encode": (_in_hours(2, 4),)}, "timezone": "UTC"})
    with database.begin() as connection:
        assert lease.claim(connection, job.id, dispatched.job.attempt, run_id="r", host="h")
        queue.enqueue(connection, NewJob("compile_random", {"count": 3}), settings)
    assert admit_ready(closed, Gpu()) == []
    with database.begin() as connection:
        assert queue.get(connection, job.id).status == JobStatus.RUNNING
        assert [active.id for active in dispatching.active(connection)] == [job.id]


def test_what_waited_for_its_hours_is_overdue_only_when_it_waits_on(database: sa.Engine, settings: Settings) -> None:
    """A big job from before does not keep the GPU from others the moment that its hours begin."""
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("compile_random", {"count": 2}, vram_required=12000), settings)
        connection.execute(sa.text("UPDATE jobs SET created_at = created_at - interval '12 hours'"))
        small = queue.enqueue(connection, NewJob("compile_random", {"count": 3}, vram_required=4000), settings)
        holder = queue.enqueue(
            connection, NewJob("compile_random", {"count": 4}, vram_required=8000, priority=1), settings
        )
    opened = settings.model_copy(update={"windows": {"gpu_encode": (_in_hours(0, 4),)}, "timezone": "UTC"})
    assert {entry.job.id for entry in admit_ready(opened, Gpu())} == {holder.id, small.id}


def test_the_dispatcher_wakes_for_a_row_that_comes_while_it_waits(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    import threading

    def insert() -> None:
        time.sleep(0.5)
        with database.begin() as connection:
            connection.execute(
                sa.text("INSERT INTO jobs (type, params, resource_category) VALUES ('scan', '{}', 'cpu')")
            )

    later = threading.Thread(target=insert)
    later.start()
    result = dispatch(dg.build_sensor_context(instance=instance, resources={"gpu": Gpu()}))
    later.join()
    assert isinstance(result, dg.SensorResult), "it returned at the NOTIFY, not at the end of its wait"


def test_a_row_whose_run_never_came_is_pending_again(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = _admitted(database, settings)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET admitted_at = now() - interval '1 minute'"))
    reconcile(dg.build_sensor_context(instance=instance))
    (row,) = _jobs(database)
    assert (row.id, row.status, row.retry_count) == (job.id, JobStatus.PENDING, 0)


def test_a_job_that_has_not_beaten_is_rescued_at_the_second_look(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = _admitted(database, settings)
    with database.begin() as connection:
        assert lease.claim(connection, job.id, 1, run_id="of another host", host="elsewhere")
        connection.execute(sa.text("UPDATE job_leases SET heartbeat_at = now() - interval '1 hour'"))
    first = reconcile(dg.build_sensor_context(instance=instance))
    assert _jobs(database)[0].status == JobStatus.RUNNING, "the database may just have come back"
    assert isinstance(first, dg.SensorResult)
    reconcile(dg.build_sensor_context(instance=instance, cursor=first.cursor))
    row = _jobs(database)[0]
    assert (row.status, row.retry_count) == (JobStatus.PENDING, 1)


def _admitted(database: sa.Engine, settings: Settings) -> Job:
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("scan", {}), settings)
    (dispatched,) = admit_ready(settings, Gpu())
    assert run_request(dispatched).partition_key is None
    return dispatched.job


def test_what_a_run_left_that_was_killed_after_its_end_is_removed(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    settings.runs_dir.mkdir(parents=True, exist_ok=True)
    ended, young = settings.runs_dir / "ended", settings.runs_dir / "just-started"
    unfinished = settings.runs_dir / add_run(instance, {}, dg.DagsterRunStatus.STARTED).run_id
    for lock in (ended, young, unfinished):
        lock.write_text("4194304")
    for lock in (ended, unfinished):
        os.utime(lock, (time.time() - 60, time.time() - 60))
    try:
        reconcile(dg.build_sensor_context(instance=instance))
        assert not ended.exists()
        assert young.exists()
        assert unfinished.exists()
    finally:
        young.unlink(missing_ok=True)
        unfinished.unlink(missing_ok=True)
