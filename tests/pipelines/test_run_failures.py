"""A run that fails is told to those who asked for it, once, and reads well in Dagster."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.sensor import execute_sensor_iteration

from jobqueue_bridge import webhooks
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus
from jobqueue_bridge.webhook_target import Webhook
from media_pipelines.media.errors import DiskFull, FfmpegFailed, FfmpegStalled, OutputRejected
from media_pipelines.platform import dagster_home
from media_pipelines.resources.failure import code_in, failure_of
from media_pipelines.sensors.run_failures import run_failures
from media_pipelines.tags import ATTEMPT_TAG, JOB_TAG, TYPE_TAG
from tests.pipelines.conftest import RunJob, add_run, make_clip

Told = Callable[..., Settings]
URL = "https://receiver.example/"


@pytest.fixture
def told(settings: Settings, database: sa.Engine) -> Iterator[Told]:
    """Settings that name a webhook, in force."""

    def named(**columns: Any) -> Settings:
        with_hook = settings.model_copy(update={"webhooks": (Webhook(url=URL, **columns),)})
        with database.begin() as connection:
            webhooks.sync(connection, with_hook)
        return with_hook

    yield named
    with database.begin() as connection:
        webhooks.sync(connection, settings)


def messages(database: sa.Engine) -> list[dict[str, Any]]:
    """The oldest first, without those of statuses on the way."""
    with database.begin() as connection:
        return [message.payload for message in reversed(webhooks.newest(connection, 100))]


def look(instance: dg.DagsterInstance) -> None:
    """What the sensor makes of the latest run that failed."""
    (run,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
    (record,) = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    assert record.event_log_entry.dagster_event is not None
    context = dg.build_run_status_sensor_context(
        "run_failures", record.event_log_entry.dagster_event, instance, run
    ).for_run_failure()
    run_failures(context)


@pytest.fixture
def video(library: Path, ffmpeg: Path, add_video: Callable[..., UUID]) -> UUID:
    make_clip(ffmpeg, library / "inbox/original.mp4")
    return add_video(is_valid=True, duration_seconds=1, width=160, height=90)


@pytest.fixture
def broken_encoder(ffmpeg: Path, tmp_path: Path) -> Iterator[None]:
    """Whatever is encoded below playback/ fails, with words that Markdown would take for its own."""
    script = tmp_path / "ffmpeg"
    words = "[libx264 @ 0x1] [error] it said ```no``` to <b>$1</b>"
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *playback*) echo \'{words}\' >&2; exit 187 ;; esac\nexec {ffmpeg} "$@"\n'
    )
    script.chmod(0o755)
    os.environ["FFMPEG_BINARY"] = str(script)
    yield
    del os.environ["FFMPEG_BINARY"]


def test_a_failed_encode_tells_what_to_do_the_command_and_what_ffmpeg_said(
    run_job: RunJob, video: UUID, broken_encoder: None, told: Told, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    told(events=["run.failed"])
    job = run_job("reencode_streaming", {"videoId": str(video)})
    assert job.status == JobStatus.PENDING, "it has retries left"
    look(instance)
    (message,) = messages(database)
    data = message["data"]
    assert message["type"] == "run.failed"
    assert (data["jobId"], data["attempt"], data["jobStatus"]) == (str(job.id), 1, "pending")
    assert (data["pipeline"], data["type"]) == ("reencode_streaming", "reencode_streaming")
    assert data["step"].endswith("encode_rendition")
    assert data["error"] == (
        "ffmpeg failed with exit code 187: it said ```no``` to <b>$1</b>. It is tried again while it has retries left."
    )
    assert data["ffmpegCommand"].startswith("/")
    assert " libx264 " in data["ffmpegCommand"]
    assert data["stderrTail"] == "[libx264 @ 0x1] [error] it said ```no``` to <b>$1</b>"
    assert data["runUrl"] == f"http://127.0.0.1:3000/runs/{data['runId']}"
    assert data["jobUrl"] == f"http://127.0.0.1:4100/#/jobs?job={job.id}"


def test_the_run_tells_its_steps_and_what_was_decided_and_no_progress(
    run_job: RunJob, video: UUID, instance: dg.DagsterInstance
) -> None:
    job = run_job("reencode_streaming", {"videoId": str(video), "preset": "ultrafast"})
    (run,) = instance.get_runs(limit=1)
    told = [entry for entry in instance.all_logs(run.run_id) if not entry.is_dagster_event]
    lines = [entry.user_message for entry in told if entry.level >= logging.INFO]
    assert lines[0] == f"find_source: attempt 1 of job {job.id} (reencode_streaming)"
    assert lines[1].startswith("find_source: done after ")
    assert [line.partition(":")[0] for line in lines] == [
        *("find_source", "find_source"),
        *("encode_rendition", "Encoder", "encode_rendition"),
        *("verify_rendition", "Verified", "verify_rendition"),
        *("publish_rendition", "publish_rendition"),
    ]
    (encoder,) = [line for line in lines if line.startswith("Encoder: ")]
    assert "(" in encoder, "with the reason"


# Who is told


def _fail(connection: sa.Connection, instance: dg.DagsterInstance, job_id: UUID | None, **columns: Any) -> None:
    """A run of this job that failed before it claimed it, and what became of the row."""
    tags = {} if job_id is None else {JOB_TAG: str(job_id), ATTEMPT_TAG: "1", TYPE_TAG: "compile_random"}
    run = add_run(instance, tags, dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run, "The run's process is gone.")
    if job_id is not None:
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**columns))


@pytest.mark.parametrize(
    ("events", "columns", "expected"),
    [
        (["run.failed", "failed"], {"attempt": 1, "status": "failed"}, ["job.failed"]),
        (["run.failed", "failed"], {"attempt": 1, "status": "pending"}, ["run.failed"]),
        (["run.failed", "failed"], {"attempt": 2, "status": "failed"}, ["job.failed", "run.failed"]),
        (["run.failed"], {"attempt": 1, "status": "failed"}, ["run.failed"]),
        (["failed"], {"attempt": 1, "status": "pending"}, []),
        (None, {"attempt": 1, "status": "pending"}, []),
    ],
    ids=["ended-with-it", "tried-again", "ended-with-a-later-one", "runs-only", "jobs-only", "as-before"],
)
def test_an_attempt_that_the_jobs_status_tells_of_is_not_told_twice(
    connection: sa.Connection,
    database: sa.Engine,
    told: Told,
    instance: dg.DagsterInstance,
    add_job: Callable[..., UUID],
    events: list[str] | None,
    columns: dict[str, Any],
    expected: list[str],
) -> None:
    told(**({} if events is None else {"events": events}))
    _fail(connection, instance, add_job(), **columns)
    look(instance)
    assert [message["type"] for message in messages(database)] == expected


def test_a_run_without_a_job_is_told_to_those_who_hear_of_every_type(
    connection: sa.Connection, database: sa.Engine, told: Told, instance: dg.DagsterInstance
) -> None:
    told(events=["run.failed"], types=["transcode"])
    _fail(connection, instance, None)
    look(instance)
    assert messages(database) == []
    told(events=["run.failed"])
    look(instance)
    (message,) = messages(database)
    assert (message["data"]["jobId"], message["data"]["step"], message["data"]["jobUrl"]) == (None, None, None)
    assert message["data"]["error"] == "The run's process is gone."


def test_a_run_is_told_once_however_often_the_sensor_comes_to_it(
    connection: sa.Connection, database: sa.Engine, told: Told, instance: dg.DagsterInstance
) -> None:
    told(events=["run.failed"])
    _fail(connection, instance, None)
    for _ in range(3):
        look(instance)
    assert len(messages(database)) == 1


def test_a_re_execution_is_not_taken_for_the_job_whose_tags_it_has_copied(
    connection: sa.Connection,
    database: sa.Engine,
    told: Told,
    instance: dg.DagsterInstance,
    add_job: Callable[..., UUID],
) -> None:
    told(events=["run.failed"])
    tags = {JOB_TAG: str(add_job()), ATTEMPT_TAG: "1", TYPE_TAG: "compile_random"}
    first = add_run(instance, tags, dg.DagsterRunStatus.FAILURE)
    again = dg.DagsterRun(
        job_name="scan", tags=tags, status=dg.DagsterRunStatus.STARTED,
        parent_run_id=first.run_id, root_run_id=first.run_id,
    )  # fmt: skip
    instance.report_run_failed(instance.add_run(again), "it never began")
    look(instance)
    (message,) = messages(database)
    assert (message["data"]["runId"], message["data"]["jobId"]) == (again.run_id, None)


@pytest.mark.parametrize(
    "tags",
    [
        {JOB_TAG: "no id", ATTEMPT_TAG: "one", TYPE_TAG: "no type"},
        {JOB_TAG: "00000000-0000-4000-8000-000000000000", ATTEMPT_TAG: "9" * 30, TYPE_TAG: "scan"},
    ],
)
def test_whatever_somebody_wrote_into_the_tags_of_a_run_it_is_told(
    database: sa.Engine, told: Told, instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    told(events=["run.failed"])
    instance.report_run_failed(add_run(instance, tags, dg.DagsterRunStatus.STARTED), "gone\0 for \ud800good")
    look(instance)
    assert len(messages(database)) == 1


def test_the_daemon_tells_a_run_that_could_not_be_launched(
    settings: Settings, connection: sa.Connection, database: sa.Engine, told: Told
) -> None:
    """By the real loop and a code server, from a run that no process has ever worked on."""
    told(events=["run.failed"])
    dagster_home.render(settings, settings.home / "sock")
    definitions = ModuleTarget("media_pipelines.definitions", None, None, "media_pipelines")
    with (
        dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance,
        create_test_daemon_workspace_context(definitions, instance) as context,
    ):
        assert instance.schedule_storage is not None
        instance.schedule_storage.wipe()
        (repository,) = context.create_request_context().code_locations[0].get_repositories().values()
        for sensor in repository.get_sensors():
            if sensor.name != "run_failures":
                instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
        for number in range(3):
            assert not any(execute_sensor_iteration(context, logging.getLogger("sensors"), None, None))
            if number == 0:  # from then on the sensor listens
                _fail(connection, instance, None)
            _let_pass(instance)
    assert [message["type"] for message in messages(database)] == ["run.failed"]


def _let_pass(instance: dg.DagsterInstance) -> None:
    """The seconds for which a sensor rests."""
    for state in instance.all_instigator_state():
        if state.instigator_name == "run_failures":
            rested = state.instigator_data._replace(last_tick_timestamp=0.0, last_tick_start_timestamp=0.0)  # type: ignore[union-attr]
            instance.update_instigator_state(state.with_data(rested))


# How a failure reads


def test_a_full_disk_says_that_space_is_to_be_freed() -> None:
    error = DiskFull(Path("/media"), 2_000_000, 1_000_000)
    said = str(failure_of(error, str(error), error.kind).description)
    assert said.startswith("/media needs 2.0 MB of disk, 1.0 MB are free. Free some disk space")


def test_what_no_retry_cures_says_so_on_the_first_line() -> None:
    error = OutputRejected(Path("a.mp4"), ("it has no sound",))
    failure = failure_of(error, str(error), error.kind)
    assert "Trying again does not help" in str(failure.description).splitlines()[0]
    assert code_in(str(failure.metadata["problems"].value)) == "it has no sound"
    assert failure.allow_retries is False


def test_a_stall_tells_its_command_too() -> None:
    error = FfmpegStalled(["ffmpeg", "-i", "a b.mp4"], 300)
    assert failure_of(error, str(error), error.kind).metadata["ffmpeg command"].value == "ffmpeg -i 'a b.mp4'"


@pytest.mark.parametrize("line", ["```", "`````` and ```", "", "# no heading", "x" * 5_000])
def test_what_ffmpeg_said_stays_what_it_is(line: str) -> None:
    error = FfmpegFailed(["ffmpeg"], 1, ["first", line])
    shown = str(failure_of(error, str(error), error.kind).metadata["stderr tail"].value)
    fence = shown.splitlines()[0].removesuffix("text")
    assert code_in(shown) == f"first\n{line[:500]}"
    assert fence not in line


def test_the_text_of_another_error_is_told_in_full() -> None:
    failure = failure_of(ValueError("one\ntwo"), "one\ntwo", "transient")
    assert failure.description == "one. It is tried again while it has retries left.\ntwo"
