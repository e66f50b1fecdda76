"""What is made of videos by itself: asked for as rows, once for each content, and never over what a person had made."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.scheduler.instigation import InstigatorType, TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from jobqueue_bridge import automation as wanting
from jobqueue_bridge import lifecycle, queue, videos
from jobqueue_bridge.queue import Filters, Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import AUTOMATED, JobStatus, JobType, Origin
from media_pipelines.definitions import defs
from media_pipelines.pipelines import PIPELINES
from media_pipelines.platform import dagster_home
from media_pipelines.sensors import automation
from tests.pipelines.conftest import RunJob, make_clip

AddVideo = Callable[..., UUID]
AddJob = Callable[..., UUID]
THUMBNAIL, VALIDATE = JobType.THUMBNAIL_GENERATE, JobType.VALIDATE


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_AUTOMATION", "thumbnail,video_metadata")


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> str | None:
    result = automation.automation(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    return result.cursor


def _jobs(connection: sa.Connection) -> list[Job]:
    return list(queue.page(connection, Filters(), limit=1000).jobs)


def _asked(connection: sa.Connection) -> list[tuple[str, UUID | None]]:
    return sorted((job.type, job.video_id) for job in _jobs(connection) if job.origin == Origin.AUTOMATION)


@pytest.mark.parametrize("name", AUTOMATED)
def test_what_is_made_by_itself_is_the_asset_of_its_type(name: str) -> None:
    assert PIPELINES[AUTOMATED[name]].asset.key == dg.AssetKey(name)


def test_a_new_video_gets_what_it_lacks_once(
    connection: sa.Connection, add_video: AddVideo, instance: dg.DagsterInstance
) -> None:
    video = add_video(fingerprint="a", is_valid=True)
    cursor = tick(instance)
    assert _asked(connection) == [("thumbnail_generate", video), ("validate", video)]
    assert {(job.priority, job.status) for job in _jobs(connection)} == {(10, JobStatus.PENDING)}
    tick(instance, cursor)
    tick(instance, None)
    tick(instance, "no cursor of Dagster's")
    tick(instance, '{"__class__": "CursorOfAnotherRelease"}')
    assert len(_jobs(connection)) == 2, "whether the cursor was kept or lost with a crash"


def test_what_a_person_had_made_is_not_made_again(
    connection: sa.Connection,
    add_video: AddVideo,
    instance: dg.DagsterInstance,
    run_job: RunJob,
    library: Path,
    ffmpeg: Path,
) -> None:
    """A picture that they chose is there."""
    make_clip(ffmpeg, library / "inbox/original.mp4", seconds=2)
    video = add_video(fingerprint="a", is_valid=True, duration_seconds=2)
    made = run_job("thumbnail_generate", {"videoId": str(video), "timestamp": 1.5})
    assert made.status == JobStatus.COMPLETED
    tick(instance)
    assert _asked(connection) == [("validate", video)]


def test_of_a_changed_file_the_picture_is_taken_where_a_person_chose_it(
    connection: sa.Connection, add_video: AddVideo, add_job: AddJob, instance: dg.DagsterInstance
) -> None:
    video = add_video(fingerprint="a", is_valid=True)
    job = add_job(THUMBNAIL, {"videoId": str(video), "timestamp": 1.5, "width": 320})
    connection.execute(sa.update(jobs).where(jobs.c.id == job).values(status="completed"))
    assert wanting.wanted(connection, THUMBNAIL) == []
    videos.update(connection, video, fingerprint="b")
    tick(instance)
    (asked,) = [job for job in _jobs(connection) if job.type == THUMBNAIL and job.origin == Origin.AUTOMATION]
    assert (asked.params["timestamp"], asked.params["width"]) == (1.5, 320)


@pytest.mark.parametrize("kind", AUTOMATED.values())
def test_whoever_asked_for_the_job_that_completed_its_content_needs_no_other(
    connection: sa.Connection, add_video: AddVideo, add_job: AddJob, kind: JobType
) -> None:
    """A trigger notes it: a new type has to be named there, too."""
    video = add_video(fingerprint="a", is_valid=True)
    job = add_job(kind, {"videoId": str(video)})
    connection.execute(sa.update(jobs).where(jobs.c.id == job).values(status="completed"))
    assert wanting.wanted(connection, kind) == []
    videos.update(connection, video, fingerprint="b")
    assert wanting.wanted(connection, kind) == [video]


def test_a_live_job_of_somebody_else_is_enough(
    connection: sa.Connection, add_video: AddVideo, add_job: AddJob, instance: dg.DagsterInstance
) -> None:
    video = add_video(fingerprint="a", is_valid=True)
    add_job(THUMBNAIL, {"videoId": str(video), "timestamp": 1.5})
    tick(instance)
    assert _asked(connection) == [("validate", video)]


def test_a_content_whose_job_failed_for_good_is_not_asked_for_again_until_it_changes(
    connection: sa.Connection, add_video: AddVideo, instance: dg.DagsterInstance
) -> None:
    video = add_video(fingerprint="a", is_valid=True)
    tick(instance)
    connection.execute(sa.update(jobs).values(status="failed", error="no frame"))
    tick(instance)
    assert len(_jobs(connection)) == 2
    videos.update(connection, video, title="renamed")
    tick(instance)
    assert len(_jobs(connection)) == 2, "the content is the same"
    videos.update(connection, video, fingerprint="b")
    tick(instance)
    assert len(_jobs(connection)) == 4


def test_a_job_that_a_person_cancelled_is_not_asked_for_again(
    connection: sa.Connection, add_video: AddVideo, instance: dg.DagsterInstance
) -> None:
    add_video(fingerprint="a", is_valid=True)
    tick(instance)
    for job in _jobs(connection):
        lifecycle.cancel(connection, job.id)
    tick(instance)
    assert len(_jobs(connection)) == 2


@pytest.mark.parametrize(
    "columns",
    [
        {"is_valid": False},
        {"is_valid": True, "missing_since": sa.func.now()},
    ],
)
def test_nothing_is_asked_of_a_file_that_is_broken_or_gone(
    connection: sa.Connection, add_video: AddVideo, instance: dg.DagsterInstance, columns: dict[str, Any]
) -> None:
    video = add_video(fingerprint="a")
    videos.update(connection, video, **columns)
    tick(instance)
    assert _jobs(connection) == []


def test_a_picture_that_another_program_made_is_left_as_it_is(
    connection: sa.Connection, add_video: AddVideo, instance: dg.DagsterInstance
) -> None:
    video = add_video(fingerprint="a", is_valid=True, thumbnail_path="thumbnails/theirs.jpg")
    tick(instance)
    assert _asked(connection) == [("validate", video)]


def test_a_large_library_is_taken_in_portions(
    connection: sa.Connection, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIA_AUTOMATION", "thumbnail")
    connection.execute(
        sa.text(
            "INSERT INTO videos (path, filename, is_valid, fingerprint) "
            "SELECT 'library/videos/' || n, n, true, n FROM generate_series(1, 1000) n"
        )
    )
    counts = []
    for _ in range(4):
        tick(instance)
        counts.append(len(_jobs(connection)))
    assert counts == [200, 400, 500, 500], "no more than 500 wait"
    connection.execute(sa.text("UPDATE jobs SET status = 'cancelled'"))
    tick(instance)
    assert connection.scalar(sa.text("SELECT count(DISTINCT video_id) FROM jobs")) == 700


def test_without_the_setting_nothing_is_automatic(
    connection: sa.Connection,
    settings: Settings,
    add_video: AddVideo,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [spec.key for spec in defs.resolve_all_asset_specs() if spec.automation_condition] == []
    assert automation.sensors(settings) == []
    monkeypatch.setenv("MEDIA_AUTOMATION", "")
    add_video(fingerprint="a", is_valid=True)
    tick(instance)
    assert _jobs(connection) == []


def test_the_daemon_evaluates_the_conditions_shows_what_they_asked_for_and_launches_nothing(
    settings: Settings, connection: sa.Connection, add_video: AddVideo
) -> None:
    """The real one: its loop, a code server, Dagster's storage on Postgres."""
    dagster_home.render(settings, settings.home / "sock")
    video = add_video(fingerprint="a", is_valid=True)
    definitions = ModuleTarget("media_pipelines.definitions", None, None, "media_pipelines")
    with (
        dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance,
        create_test_daemon_workspace_context(definitions, instance) as context,
    ):
        instance.add_dynamic_partitions("videos", [str(video)])  # as a scan does
        assert instance.schedule_storage is not None
        instance.schedule_storage.wipe()
        runs = instance.get_runs_count()
        (repository,) = context.create_request_context().code_locations[0].get_repositories().values()
        for sensor in repository.get_sensors():
            if sensor.name != "automation":
                instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
        for _ in range(2):
            problems = list(execute_sensor_iteration(context, logging.getLogger("sensors"), None, None))
            assert not any(problems)
        shown = instance.schedule_storage.get_auto_materialize_asset_evaluations(dg.AssetKey("thumbnail"), limit=5)
        (record,) = shown
        (asked_for,) = record.get_evaluation_with_run_ids().evaluation.true_subset.subset_value.key_ranges
        assert (asked_for.start, asked_for.end) == (str(video), str(video))
        (state,) = [
            one
            for one in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
            if one.instigator_name == "automation"
        ]
        assert instance.get_ticks(state.instigator_origin_id, state.selector_id)[0].status == TickStatus.SKIPPED
        assert instance.get_runs_count() == runs
    assert _asked(connection) == [("thumbnail_generate", video), ("validate", video)]
