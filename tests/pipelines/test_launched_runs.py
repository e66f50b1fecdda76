"""Runs that somebody launches in Dagster itself: they take rows, wait in the one line, and end with their jobs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import PARENT_RUN_ID_TAG

from jobqueue_bridge import adoption, lifecycle, logs, queue, retention, videos
from jobqueue_bridge.errors import InvalidJob, JobAlreadyLive
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType, Origin
from media_pipelines.adoption import is_launched_by_hand, kinds_of, tags_for, take_rows
from media_pipelines.definitions import defs
from media_pipelines.pipelines import PIPELINES
from media_pipelines.platform.dequeuing import PromptCoordinatorDaemon
from media_pipelines.resources.gpu import Gpu
from media_pipelines.resources.launched import is_cancelled
from media_pipelines.sensors.dispatch import admit_ready
from media_pipelines.sensors.reconcile import reconcile
from media_pipelines.tags import JOB_TAG
from tests.pipelines.conftest import make_clip

_PATIENCE_S = 60


@pytest.fixture
def video(run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine) -> UUID:
    make_clip(ffmpeg, library / "library/videos/a.mp4")
    run_job("scan", {})
    with database.begin() as connection:
        found = videos.id_by_path(connection, "library/videos/a.mp4")
    assert found is not None
    return found


@pytest.fixture
def dispatching(video: UUID, settings: Settings) -> Iterator[None]:
    """A dispatcher that is at work beside the runs."""
    over = threading.Event()

    def dispatch() -> None:
        while not over.wait(0.05):
            for dispatched in admit_ready(settings, Gpu()):
                assert dispatched.job.run_id, "it would ask for a run although one waits"

    thread = threading.Thread(target=dispatch)
    thread.start()
    yield
    over.set()
    thread.join()


def launch(instance: dg.DagsterInstance, assets: list[str], partition: str, **config: Any) -> dg.ExecuteInProcessResult:
    """As Dagster's UI does it, less its process."""
    instance.add_dynamic_partitions("videos", [partition])
    job = defs.resolve_job_def("__ASSET_JOB").get_subset(asset_selection={dg.AssetKey(asset) for asset in assets})
    return job.execute_in_process(
        run_config={"resources": {"job": {"config": {"params": config}}}} if config else {},
        partition_key=partition,
        instance=instance,
        raise_on_error=False,
    )


@contextmanager
def launched(*arguments: Any, **config: Any) -> Iterator[list[dg.ExecuteInProcessResult]]:
    """The same, beside the test; the list holds its result in the end."""
    results: list[dg.ExecuteInProcessResult] = []
    thread = threading.Thread(target=lambda: results.append(launch(*arguments, **config)), daemon=True)
    thread.start()
    yield results
    thread.join(_PATIENCE_S)
    assert results


def rows(connection: sa.Connection) -> dict[str, Job]:
    found = [queue.job_of(row) for row in connection.execute(sa.select(*queue.COLUMNS).order_by(jobs.c.created_at))]
    return {job.type: job for job in found if job.type != "scan"}


def until(look: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return found


@pytest.mark.usefixtures("dispatching")
def test_a_run_that_is_launched_by_hand_is_a_job(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, library: Path
) -> None:
    result = launch(instance, ["thumbnail"], str(video), width=120)
    assert result.success
    (job,) = rows(connection).values()
    assert (job.type, job.status, job.origin, job.run_id) == (
        "thumbnail_generate",
        JobStatus.COMPLETED,
        Origin.DAGSTER,
        result.run_id,
    )
    assert (job.video_id, job.params["width"], job.waiting_run_id) == (video, 120, None)
    assert (library / f"thumbnails/{video}.jpg").is_file()
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags["media/job_id"], run.tags["media/category"]) == (str(job.id), "cpu")


@pytest.mark.usefixtures("dispatching")
def test_a_run_of_several_assets_is_a_job_for_each(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection
) -> None:
    result = launch(instance, ["video_metadata", "thumbnail"], str(video))
    assert result.success
    found = rows(connection)
    assert {kind: job.status for kind, job in found.items()} == {
        "validate": JobStatus.COMPLETED,
        "thumbnail_generate": JobStatus.COMPLETED,
    }
    assert {job.run_id for job in found.values()} == {result.run_id}


def test_it_waits_for_a_slot_and_says_for_which(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings, add_job: Any
) -> None:
    holders = [add_job("compile_random", {"outputPath": f"compilations/{n}.mp4"}) for n in range(2)]
    (running := [entry.job.id for entry in admit_ready(settings, Gpu())])
    assert set(running) == set(holders)
    with launched(instance, ["streaming_rendition"], str(video)) as results:
        job = until(lambda: rows(connection).get("reencode_streaming"))
        until(lambda: not queue.get(connection, job.id).held)
        assert admit_ready(settings, Gpu()) == []
        waits = queue.get(connection, job.id)
        assert waits.status == JobStatus.PENDING
        assert "gpu_encode slots are taken" in str(waits.waiting_reason)
        lifecycle.apply(connection, lifecycle.Action.CANCEL, holders)
        (admitted,) = admit_ready(settings, Gpu())
        assert (admitted.job.id, admitted.job.run_id) == (job.id, waits.waiting_run_id)
    assert results[0].success
    assert queue.get(connection, job.id).status == JobStatus.COMPLETED


def test_a_job_that_is_cancelled_while_its_run_waits_ends_the_run(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, library: Path
) -> None:
    with launched(instance, ["thumbnail"], str(video)) as results:
        job = until(lambda: rows(connection).get("thumbnail_generate"))
        until(lambda: not queue.get(connection, job.id).held)
        lifecycle.apply(connection, lifecycle.Action.CANCEL, [job.id])
    ended = instance.get_run_by_id(results[0].run_id)
    assert ended is not None
    assert ended.status == dg.DagsterRunStatus.CANCELED
    assert queue.get(connection, job.id).status == JobStatus.CANCELLED
    assert not (library / "thumbnails").exists()


def test_a_second_run_that_does_the_same_is_refused(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    queue.enqueue(connection, NewJob("thumbnail_generate", {"videoId": str(video)}), settings)
    (at_work,) = admit_ready(settings, Gpu())
    result = launch(instance, ["thumbnail"], str(video))
    assert not result.success
    failure = result.all_events and [event for event in result.all_events if event.is_step_failure]
    assert str(at_work.job.id) in str(failure)
    assert len(connection.execute(sa.select(jobs.c.id).where(jobs.c.type == "thumbnail_generate")).all()) == 1


@pytest.mark.usefixtures("dispatching")
def test_a_pending_job_that_does_the_same_is_taken_over(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    with connection.begin() if not connection.in_transaction() else connection.begin_nested():
        lifecycle.pause_queue(connection, "a test")
        pending = queue.enqueue(connection, NewJob("thumbnail_generate", {"videoId": str(video)}), settings)
    with launched(instance, ["thumbnail"], str(video)) as results:
        until(lambda: queue.get(connection, pending.id).waiting_run_id)
        lifecycle.resume_queue(connection)
    assert results[0].success
    done = queue.get(connection, pending.id)
    assert (done.status, done.run_id) == (JobStatus.COMPLETED, results[0].run_id)


def a_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    location = GrpcServerCodeLocationOrigin(host="localhost", socket="/nowhere")
    origin = RemoteRepositoryOrigin(location, "__repository__").get_job_origin("__ASSET_JOB")
    run = dg.DagsterRun("__ASSET_JOB", str(uuid4()), tags=tags, status=status, remote_job_origin=origin)
    return instance.add_run(run)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (dg.DagsterRunStatus.CANCELED, JobStatus.CANCELLED),
        (dg.DagsterRunStatus.FAILURE, JobStatus.PENDING),
        (None, JobStatus.PENDING),
    ],
    ids=["cancelled", "failed", "deleted"],
)
def test_a_job_whose_run_is_over_before_it_began_is_not_left_waiting(
    video: UUID,
    instance: dg.DagsterInstance,
    connection: sa.Connection,
    settings: Settings,
    ended: dg.DagsterRunStatus | None,
    expected: JobStatus,
) -> None:
    """A failed run leaves it to the dispatcher: nothing is lost because Dagster could not launch something, or because
    it is another Dagster that looks, whose storage knows nothing of it."""
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
    (job,) = take_rows(run, [JobType.VALIDATE], settings)
    assert admit_ready(settings, Gpu()) == []
    _reconcile(instance)
    assert queue.get(connection, job.id).status == JobStatus.PENDING
    if ended is None:
        instance.delete_run(run.run_id)
    elif ended == dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run)
    else:
        instance.report_run_failed(run)
    _reconcile(instance)
    after = queue.get(connection, job.id)
    assert (after.status, after.waiting_run_id) == (expected, None)
    assert len(admit_ready(settings, Gpu())) == (expected == JobStatus.PENDING)


def test_a_priority_that_is_changed_counts_in_dagsters_queue(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    def launched(kind: JobType) -> tuple[str, UUID]:
        run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
        (job,) = take_rows(run, [kind], settings)
        instance.add_run_tags(run.run_id, tags_for(run, [job]))
        return run.run_id, job.id

    def in_order() -> list[str]:
        runs = [run for run_id in (first, second) if (run := instance.get_run_by_id(run_id)) is not None]
        return [run.run_id for run in PromptCoordinatorDaemon(interval_seconds=1)._priority_sort(runs)]

    (first, _), (second, job_id) = launched(JobType.VALIDATE), launched(JobType.THUMBNAIL_GENERATE)
    assert in_order() == [first, second]
    lifecycle.reprioritise(connection, job_id, 1)
    assert in_order() == [second, first]


def test_a_queued_run_whose_job_is_cancelled_is_cancelled(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
    (job,) = take_rows(run, [JobType.VALIDATE], settings)
    instance.add_run_tags(run.run_id, {"media/adopted": run.run_id})
    lifecycle.apply(connection, lifecycle.Action.CANCEL, [job.id])
    _reconcile(instance)
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    assert after.status == dg.DagsterRunStatus.CANCELED


def _reconcile(instance: dg.DagsterInstance) -> None:
    reconcile(dg.build_sensor_context(instance=instance))


def test_what_waits_for_its_parent_is_wanted_now_by_whoever_launches_it(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    """Else its parent would lift it while its run still waits in Dagster, and it would keep a slot for nobody."""
    parent = queue.enqueue(connection, NewJob("validate", {"videoId": str(video)}), settings)
    child = queue.enqueue(
        connection, NewJob("thumbnail_generate", {"videoId": str(video)}, parent_id=parent.id), settings
    )
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
    (taken,) = take_rows(run, [JobType.THUMBNAIL_GENERATE], settings)
    assert (taken.id, taken.parent_id, taken.held) == (child.id, None, True)
    (admitted,) = admit_ready(settings, Gpu())
    assert admitted.job.id == parent.id
    connection.execute(sa.update(jobs).where(jobs.c.id == parent.id).values(status="completed"))
    assert admit_ready(settings, Gpu()) == []
    assert adoption.arrive(connection, child.id, run.run_id)
    assert [entry.job.id for entry in admit_ready(settings, Gpu())] == [child.id]


def test_a_run_that_asks_again_gets_the_rows_that_it_has(
    video: UUID, instance: dg.DagsterInstance, settings: Settings
) -> None:
    """Whoever submitted it died right after the rows were made, and Dagster submits it once more."""
    run = a_run(instance, dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": str(video)})
    kinds = [JobType.VALIDATE, JobType.THUMBNAIL_GENERATE]
    assert {job.id for job in take_rows(run, kinds, settings)} == {job.id for job in take_rows(run, kinds, settings)}


def test_other_params_than_a_waiting_job_has_are_not_passed_over(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    queue.enqueue(connection, NewJob("thumbnail_generate", {"videoId": str(video), "width": 100}), settings)
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
    wider = {"resources": {"job": {"config": {"params": {"width": 200}}}}}
    with pytest.raises(JobAlreadyLive):
        take_rows(run._replace(run_config=wider), [JobType.THUMBNAIL_GENERATE], settings)


def test_a_run_that_ended_itself_cancels_no_job(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    """As after a database that stood still for longer than a lease: the run gives up, the job is rescued."""
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    instance.add_run_tags(run.run_id, {"media/ended_by_itself": run.run_id})
    instance.report_run_canceled(run)
    assert not is_cancelled(instance, run.run_id)
    terminated = a_run(instance, dg.DagsterRunStatus.STARTED, **{"media/ended_by_itself": run.run_id})
    instance.report_run_canceled(terminated)
    assert is_cancelled(instance, terminated.run_id), "the tag was copied by a re-execution"


@pytest.mark.usefixtures("dispatching")
def test_one_asset_is_made_after_another(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    """In between, a run would hold one job's slot and wait for another's: here for the only one that there is."""
    assets = ["scenes", "tags", "highlights"]
    result = launch(instance, assets, str(video))
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    made = [event.step_key.partition(".")[0] for event in result.all_events if event.is_step_start and event.step_key]
    made = [name for name in made if name in assets]
    assert [name for at, name in enumerate(made) if name not in made[:at]] == [
        name for at, name in enumerate(made) if at == 0 or made[at - 1] != name
    ]
    assert {job.status for job in rows(connection).values()} == {JobStatus.COMPLETED}


def test_a_re_execution_retries_what_failed(
    video: UUID,
    instance: dg.DagsterInstance,
    connection: sa.Connection,
    settings: Settings,
    run_job: Any,
    library: Path,
) -> None:
    (library / "thumbnails").write_text("a file where a folder must be")
    failed = run_job("thumbnail_generate", {"videoId": str(video)}, max_retries=0)
    assert failed.status == JobStatus.FAILED
    again = a_run(instance, dg.DagsterRunStatus.QUEUED, **{PARENT_RUN_ID_TAG: failed.run_id, "media/job_id": "copied"})
    again = again._replace(parent_run_id=failed.run_id)
    assert is_launched_by_hand(again)
    (job,) = take_rows(again, [JobType.THUMBNAIL_GENERATE], settings)
    assert (job.id, job.status, job.waiting_run_id) == (failed.id, JobStatus.PENDING, again.run_id)
    assert "--- RETRY ATTEMPT 1 ---" in logs.text(connection, failed.id)


def test_a_re_execution_of_what_completed_is_a_job_of_its_own(
    video: UUID, instance: dg.DagsterInstance, settings: Settings, run_job: Any
) -> None:
    done = run_job("thumbnail_generate", {"videoId": str(video), "width": 99}, priority=3)
    again = a_run(instance, dg.DagsterRunStatus.QUEUED)._replace(parent_run_id=done.run_id)
    (job,) = take_rows(again, [JobType.THUMBNAIL_GENERATE], settings)
    assert job.id != done.id
    assert (job.params["width"], job.priority, job.video_id) == (99, 3, video)


def test_a_re_execution_of_what_has_been_archived_does_it_as_it_was_done(
    video: UUID, instance: dg.DagsterInstance, database: sa.Engine, settings: Settings, run_job: Any, library: Path
) -> None:
    (library / "thumbnails").write_text("a file where a folder must be")
    failed = run_job("thumbnail_generate", {"videoId": str(video), "width": 99}, max_retries=0, priority=3)
    assert failed.status == JobStatus.FAILED
    assert sum(retention.archive_finished(database)) == 2, "the scan's, too"
    again = a_run(instance, dg.DagsterRunStatus.QUEUED, **{JOB_TAG: str(failed.id)})
    again = again._replace(parent_run_id=failed.run_id)
    (job,) = take_rows(again, [JobType.THUMBNAIL_GENERATE], settings)
    assert job.id != failed.id
    assert (job.params["width"], job.priority, job.video_id) == (99, 3, video)


def test_a_partition_of_another_kind_of_compilation_is_refused(
    instance: dg.DagsterInstance, settings: Settings, add_job: Any
) -> None:
    first = add_job("compile_random", {"count": 7})
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(first)})
    with pytest.raises(InvalidJob, match="was made by a compile_random job"):
        take_rows(run, [JobType.COMPILE_MEGA], settings)


def test_a_run_of_a_compilation_makes_that_partition_anew(
    instance: dg.DagsterInstance, settings: Settings, run_job: Any, add_job: Any, database: sa.Engine
) -> None:
    first = add_job("compile_random", {"count": 7})
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(first)})
    with database.begin() as connection:
        lifecycle.apply(connection, lifecycle.Action.CANCEL, [first])
    (job,) = take_rows(run, [JobType.COMPILE_RANDOM], settings)
    assert (job.params["count"], job.partition_key) == (7, str(first))
    assert PIPELINES[JobType.COMPILE_RANDOM].partition_key(job) == str(first)


@pytest.mark.parametrize(
    ("partition", "config", "said"),
    [
        ("nonsense", {}, "params.videoId"),
        (str(UUID(int=1)), {}, "there is no video"),
        (None, {"width": 0}, "params.width"),
    ],
)
def test_what_cannot_be_a_job_is_refused_with_the_reason(
    video: UUID,
    instance: dg.DagsterInstance,
    connection: sa.Connection,
    settings: Settings,
    partition: str | None,
    config: dict[str, Any],
    said: str,
) -> None:
    run = a_run(instance, dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": partition or str(video)})
    run = run._replace(run_config={"resources": {"job": {"config": {"params": config}}}})
    with pytest.raises(InvalidJob, match=said):
        take_rows(run, [JobType.THUMBNAIL_GENERATE], settings)
    assert rows(connection) == {}


def test_params_of_several_jobs_are_given_by_type(
    video: UUID, instance: dg.DagsterInstance, settings: Settings
) -> None:
    run = a_run(instance, dg.DagsterRunStatus.NOT_STARTED, **{"dagster/partition": str(video)})
    kinds = [JobType.VALIDATE, JobType.THUMBNAIL_GENERATE]
    config = {"resources": {"job": {"config": {"params": {"thumbnail_generate": {"width": 77}}}}}}
    _, picture = take_rows(run._replace(run_config=config), kinds, settings)
    assert picture.params["width"] == 77
    with pytest.raises(InvalidJob, match="several jobs"):
        take_rows(
            run._replace(run_config={"resources": {"job": {"config": {"params": {"width": 5}}}}}), kinds, settings
        )


def test_a_run_at_work_keeps_others_from_its_job(
    video: UUID, instance: dg.DagsterInstance, connection: sa.Connection, settings: Settings
) -> None:
    run = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
    take_rows(run, [JobType.VALIDATE], settings)
    other = a_run(instance, dg.DagsterRunStatus.QUEUED, **{"dagster/partition": str(video)})
    with pytest.raises(JobAlreadyLive):
        take_rows(other, [JobType.VALIDATE], settings)


def test_the_plan_of_a_run_names_its_jobs(instance: dg.DagsterInstance) -> None:
    key = str(uuid4())
    instance.add_dynamic_partitions("videos", [key])
    job = defs.resolve_job_def("__ASSET_JOB")
    wanted = {dg.AssetKey(name) for name in ("streaming_rendition", "thumbnail")}
    run = instance.create_run_for_job(job.get_subset(asset_selection=wanted), tags={"dagster/partition": key})
    assert run.execution_plan_snapshot_id is not None
    kinds = kinds_of(instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id))
    assert kinds == [JobType.REENCODE_STREAMING, JobType.THUMBNAIL_GENERATE]
