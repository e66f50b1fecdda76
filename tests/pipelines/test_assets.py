"""What Dagster is told: of videos and what becomes of them, of what jobs make, and of what verifying that has found."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from jobqueue_bridge import file_changes, lease, lifecycle, logs, queue, retention, video_notes, videos
from jobqueue_bridge.findings import Finding, Severity, findings_in
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.tables import videos as videos_table
from jobqueue_bridge.video_notes import What
from jobqueue_bridge.videos import Health
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import library_checks
from media_pipelines.assets.compilations import random_compilation
from media_pipelines.assets.library import library_video
from media_pipelines.definitions import defs
from media_pipelines.journal import Journal
from media_pipelines.ops.scanned import TOLD_AT_MOST
from media_pipelines.sensors.library import carry_notes, library_notes, look, news
from media_pipelines.sensors.library import library_checks as library_checks_sensor
from tests.pipelines.conftest import make_clip

NOISY = "library/videos/it's; [1] 'ü'.mp4"


@pytest.fixture
def clip(ffmpeg: Path, library: Path) -> Path:
    return make_clip(ffmpeg, library / NOISY)


@pytest.fixture
def video(run_job: Any, clip: Path, database: sa.Engine) -> UUID:
    assert run_job("scan", {}).status == JobStatus.COMPLETED
    return video_at(database, NOISY)


def video_at(database: sa.Engine, path: str) -> UUID:
    with database.begin() as connection:
        return videos.find(connection, path).id


def completed(job: Job, database: sa.Engine) -> Job:
    with database.begin() as connection:
        assert job.status == JobStatus.COMPLETED, (job.error, logs.text(connection, job.id))
    return job


def materialized(instance: dg.DagsterInstance, asset: str, partition: object = None) -> dict[str, dg.MetadataValue]:
    """The metadata of the newest one."""
    asked = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=partition and [str(partition)])
    (record,) = instance.fetch_materializations(asked, limit=1).records
    assert record.asset_materialization is not None
    return dict(record.asset_materialization.metadata)


def observed(instance: dg.DagsterInstance, partition: object) -> list[dict[str, Any]]:
    """What was observed of a video, the newest first."""
    asked = dg.AssetRecordsFilter(asset_key=dg.AssetKey("library_video"), asset_partitions=[str(partition)])
    records = instance.fetch_observations(asked, limit=100).records
    return [plain(record.asset_observation.metadata) for record in records if record.asset_observation]


def plain(metadata: Any) -> dict[str, Any]:
    return {name: value.value for name, value in metadata.items()}


def evaluated(instance: dg.DagsterInstance, asset: str, name: str) -> list[dg.AssetCheckEvaluation]:
    """The newest first."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    return [record.evaluation for record in records if record.evaluation is not None]


# What a job has made


def test_a_rendition_tells_its_job_its_sizes_its_encoder_and_what_it_is_made_of(
    run_job: Any, video: UUID, library: Path, database: sa.Engine, instance: dg.DagsterInstance, settings: Settings
) -> None:
    job = completed(run_job("reencode_streaming", {"videoId": str(video)}, priority=3), database)
    metadata = materialized(instance, "streaming_rendition", video)
    told = plain(metadata)
    assert told["job"] == f"http://127.0.0.1:4100/#/jobs?job={job.id}"
    assert (told["priority"], told["attempt"], told["encoder"]) == (3, 1, "libx264")
    assert told["encoder_and_why"].startswith("libx264: ")
    assert told["path"] == job.result["outputPath"]
    assert told["dagster/uri"] == (library / job.result["outputPath"]).resolve().as_uri()
    assert "data:image/jpeg;base64," in told["frame"]
    for plotted in ("took_s", "waited_s", "duration_s", "size_before_mb", "size_after_mb", "saved_percent"):
        assert isinstance(told[plotted], float), plotted
    assert isinstance(metadata["started"], dg.TimestampMetadataValue)
    output = job.result["outputVideoId"]
    assert told["output_video"].endswith(f"/assets/library_video?view=partitions&partition={output}")
    of_output = plain(materialized(instance, "library_video", output))
    assert of_output["source_video"].endswith(f"/assets/library_video?view=partitions&partition={video}")
    assert of_output["source_videos"] == [str(video)]
    assert of_output["job"] == told["job"]


def test_a_compilation_has_a_partition_of_its_own_and_names_its_sources(
    run_job: Any, video: UUID, ffmpeg: Path, library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    make_clip(ffmpeg, library / "library/videos/other.mp4", color="blue")
    run_job("scan", {})
    job = completed(run_job("compile_random", {"count": 2}), database)
    told = plain(materialized(instance, "random_compilation", job.id))
    assert told["sources"] == 2
    assert sorted(told["source_videos"]) == sorted(job.result["sourceVideoIds"])
    assert [(one.passed, one.partition) for one in evaluated(instance, "random_compilation", "verified")] == [
        (True, str(job.id))
    ]


@pytest.mark.parametrize(
    ("kind", "asset", "checks"),
    [
        ("validate", "video_metadata", ["sound"]),
        ("thumbnail_generate", "thumbnail", ["verified"]),
        ("compile_gif", "gif", ["verified"]),
        ("reencode_streaming", "streaming_rendition", ["verified", "smaller"]),
        ("tag_generation", "tags", []),
        ("scene_extract", "scenes", []),
    ],
)
def test_what_verifying_found_stands_on_the_job_and_in_dagster(
    run_job: Any, video: UUID, database: sa.Engine, instance: dg.DagsterInstance, kind: str, asset: str,
    checks: list[str],
) -> None:  # fmt: skip
    job = completed(run_job(kind, {"videoId": str(video)}), database)
    assert [finding.name for finding in findings_in(job.result)] == checks
    for name in checks:
        (found,) = evaluated(instance, asset, name)
        (finding,) = [one for one in findings_in(job.result) if one.name == name]
        assert (found.passed, found.partition, found.description) == (
            finding.passed,
            str(video),
            finding.description,
        )
        assert str(job.id) in str(found.metadata["job"].value)
    assert "took_s" in materialized(instance, asset, video)


def test_a_verification_that_fails_fails_the_job_and_is_a_failed_check(
    run_job: Any, video: UUID, library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    """It looks too little like its source. The next attempt, of which less is asked, passes."""
    job = run_job("reencode_streaming", {"videoId": str(video), "crf": 51, "minVmaf": 99})
    assert job.status == JobStatus.FAILED
    assert "was rejected" in job.error
    (wrong,) = findings_in(job.result)
    assert (wrong.name, wrong.passed, wrong.severity) == ("verified", False, Severity.ERROR)
    assert "VMAF" in wrong.description
    (found,) = evaluated(instance, "streaming_rendition", "verified")
    assert (found.passed, found.severity, found.description) == (
        False,
        dg.AssetCheckSeverity.ERROR,
        wrong.description,
    )
    assert not list((library / "playback").rglob("*.mp4"))

    with database.begin() as connection:
        connection.execute(sa.update(jobs).values(params=jobs.c.params.op("-")("minVmaf")))
        lifecycle.retry(connection, job.id)
    job = completed(run_job.again(job), database)
    assert next(one for one in findings_in(job.result) if one.name == "verified").passed
    assert [one.passed for one in evaluated(instance, "streaming_rendition", "verified")] == [True, False]


def test_a_broken_video_is_a_failed_check_of_its_metadata(
    run_job: Any, video: UUID, clip: Path, instance: dg.DagsterInstance
) -> None:
    clip.write_bytes(b"no video at all" * 1000)
    job = run_job("validate", {"videoId": str(video)})
    assert job.status == JobStatus.FAILED
    assert [(one.name, one.passed) for one in findings_in(job.result)] == [("sound", False)]
    (found,) = evaluated(instance, "video_metadata", "sound")
    assert not found.passed


def test_what_an_attempt_was_about_to_publish_survives_the_checks_of_one_that_fails(
    run_job: Any, video: UUID, database: sa.Engine, add_job: Any, connection: sa.Connection
) -> None:
    """The next attempt finds its own file by it."""
    announced = {"publishing": "playback/a.mp4", "sizeBytes": 1}
    job = add_job("compile_random", result=announced)
    connection.execute(sa.update(jobs).where(jobs.c.id == job).values(status="queued", attempt=1))
    held = lease.claim(connection, job, 1, run_id="r", host="h")
    assert held is not None
    lease.note_checks(connection, held, [Finding("verified", False, Severity.ERROR, "no").to_json()])
    result = queue.get(connection, job).result
    assert result is not None
    assert {name: result[name] for name in announced} == announced
    connection.execute(sa.update(jobs).where(jobs.c.id == job).values(result=sa.cast("[1]", sa.JSON)))
    lease.note_checks(connection, held, [])
    assert queue.get(connection, job).result == {"checks": []}, "what another program wrote there is no object"


# Videos and what becomes of them


def test_a_scan_tells_of_new_changed_moved_missing_and_returned_files(
    run_job: Any, video: UUID, clip: Path, ffmpeg: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    assert plain(materialized(instance, "library_video", video))["what"] == "new"
    make_clip(ffmpeg, clip.with_name("kept.mp4"), color="green")  # else its folder would be empty
    make_clip(ffmpeg, tmp_path / "longer.mp4", seconds=2).rename(clip)
    run_job("scan", {})
    assert plain(materialized(instance, "library_video", video))["what"] == "changed"
    clip.rename(clip.with_name("b.mp4"))
    run_job("scan", {})
    (seen, *_) = observed(instance, video)
    assert (seen["what"], seen["path"], seen["moved_from"]) == ("moved", "library/videos/b.mp4", NOISY)
    away = clip.with_name("b.mp4").rename(tmp_path / "away.mp4")
    run_job("scan", {})
    (seen, *_) = observed(instance, video)
    assert seen["what"] == "missing"
    assert abs(seen["missing_since"] - datetime.now(UTC).timestamp()) < 60
    away.rename(clip.with_name("b.mp4"))
    run_job("scan", {})
    assert [one["what"] for one in observed(instance, video)] == ["returned", "missing", "moved"]


def test_a_scan_of_many_files_tells_the_first_ones_only(
    run_job: Any, clip: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    gone = [{"path": f"library/videos/{n}.mp4", "filename": f"{n}.mp4", "size_bytes": 9} for n in range(200)]
    with database.begin() as connection:
        videos.upsert(connection, gone)
    job = completed(run_job("scan", {}), database)
    assert job.result["missing"] == 200
    key = dg.AssetKey("library_video")
    assert len(instance.fetch_observations(key, limit=1000).records) == TOLD_AT_MOST
    assert plain(materialized(instance, "library_scan"))["missing"] == 200


def test_a_video_that_is_moved_or_encoded_in_its_place_keeps_its_partition(
    run_job: Any, video: UUID, database: sa.Engine, instance: dg.DagsterInstance, settings: Settings
) -> None:
    moved = completed(run_job("move_to_library", {"videoId": str(video), "directoryType": "curated"}), database)
    (seen, *_) = observed(instance, video)
    assert (seen["what"], seen["moved_from"], seen["path"]) == ("moved", NOISY, moved.result["path"])
    policy = {"target_video_codec": "hevc", "target_crf": 40, "preset": "ultrafast", "on_larger": "keep-result"}
    done = completed(run_job("transcode", {"videoId": str(video), "policy": policy}), database)
    told = plain(materialized(instance, "library_video", video))
    assert (told["what"], told["video_codec"]) == ("encoded anew in its place", "hevc")
    assert told["backup"] == done.result["backupPath"]
    assert str(done.id) in told["job"]

    journal = Journal(database, settings.media_library_path)
    with database.begin() as connection:
        change = file_changes.latest_done(connection, video)
    assert change is not None
    journal.undo(change)
    assert carry_notes(settings, instance) == [f"{change.path} is restored"]
    assert plain(materialized(instance, "library_video", video))["what"] == "restored"
    assert carry_notes(settings, instance) == [], "told once"


def test_a_video_that_was_forgotten_by_whatever_program_loses_its_partition(
    run_job: Any, video: UUID, clip: Path, ffmpeg: Path, database: sa.Engine, instance: dg.DagsterInstance,
    settings: Settings,
) -> None:  # fmt: skip
    other = make_clip(ffmpeg, clip.with_name("other.mp4"), color="blue")
    run_job("scan", {})
    kept = video_at(database, "library/videos/other.mp4")
    assert set(instance.get_dynamic_partitions("videos")) == {str(video), str(kept)}
    with database.begin() as connection:
        videos.update(connection, video, missing_since=datetime.now(UTC))
        assert videos.forget(connection, video)
    carry_notes(settings, instance)
    assert instance.get_dynamic_partitions("videos") == [str(kept)]
    assert observed(instance, video)[0] | {"at": 0} == {"what": "forgotten", "path": NOISY, "at": 0}
    with database.begin() as connection:
        connection.execute(sa.text("DELETE FROM videos"))
    assert len(carry_notes(settings, instance)) == 1
    assert instance.get_dynamic_partitions("videos") == []
    assert other.exists()


def test_a_note_stays_until_dagster_was_told(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    with database.begin() as connection:
        video_notes.note(connection, uuid4(), What.FORGOTTEN, "a\nb.mp4")
    with dg.DagsterInstance.local_temp() as broken:
        storage = broken.event_log_storage
        assert isinstance(storage, SqlEventLogStorage)
        with storage.index_connection() as index:
            index.exec_driver_sql("DROP TABLE event_logs")
        with pytest.raises(sa.exc.OperationalError):
            carry_notes(settings, broken)
    assert carry_notes(settings, instance) == ["a\nb.mp4 is forgotten"]


# How the library is as a whole


def test_every_scan_answers_the_checks_of_the_whole_library(
    run_job: Any, video: UUID, clip: Path, ffmpeg: Path, instance: dg.DagsterInstance
) -> None:
    for name in library_checks.QUESTIONS:
        assert evaluated(instance, "library_scan", name)[0].passed, name
    for n in range(9):
        make_clip(ffmpeg, clip.with_name(f"{n}.mp4"), seconds=0.2, color=f"0x{n}{n}00ff")
    clip.with_name("broken.mp4").write_bytes(b"no video" * 999)
    run_job("thumbnail_generate", {"videoId": str(video)})
    run_job("scan", {})
    found = {name: evaluated(instance, "library_scan", name)[0] for name in library_checks.QUESTIONS}
    assert {name: one.passed for name, one in found.items()} == {
        "readable": False, "present": True, "pictured": False, "scanned": True,
    }  # fmt: skip
    assert found["readable"].severity == dg.AssetCheckSeverity.ERROR, "one in eleven"
    assert found["pictured"].severity == dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize(
    ("health", "failed"),
    [
        (Health(0, 0, 0, 0, 0), {}),
        (Health(1000, 1, 0, 900, 0), {"readable": Severity.WARN}),
        (Health(1000, 51, 0, 900, 0), {"readable": Severity.ERROR}),
        (Health(1000, 0, 1, 900, 900), {"present": Severity.WARN}),
        (Health(1000, 0, 101, 800, 0), {"present": Severity.ERROR}),
        (Health(1000, 0, 0, 900, 1), {"pictured": Severity.WARN}),
        (Health(1000, 0, 1000, 0, 0), {"present": Severity.ERROR}),
    ],
)
def test_a_file_here_and_there_is_worth_a_look_and_many_are_an_error(
    health: Health, failed: dict[str, Severity]
) -> None:
    now = datetime.now(UTC)
    found = library_checks.findings(health, now, now)
    assert {one.name: one.severity for one in found if not one.passed} == failed
    assert [one.name for one in found] == list(library_checks.QUESTIONS)


@pytest.mark.parametrize(
    ("age", "passed", "severity"),
    [
        (timedelta(minutes=1), True, Severity.WARN),
        (timedelta(hours=25), False, Severity.WARN),
        (timedelta(days=8), False, Severity.ERROR),
    ],
)
def test_a_library_wants_a_scan_a_day(age: timedelta, passed: bool, severity: Severity) -> None:
    now = datetime.now(UTC)
    found = library_checks.findings(Health(1, 0, 0, 1, 0), now - age, now)[-1]
    assert (found.name, found.passed, found.severity) == ("scanned", passed, severity)
    assert not library_checks.findings(Health(1, 0, 0, 1, 0), None, now)[-1].passed


def test_the_newest_scan_of_a_whole_folder_is_found_also_in_the_archive(
    run_job: Any, video: UUID, clip: Path, database: sa.Engine
) -> None:
    with database.begin() as connection:
        whole = queue.last_scan_at(connection)
    assert whole is not None
    completed(run_job("scan", {"path": NOISY}), database)
    with database.begin() as connection:
        assert queue.last_scan_at(connection) == whole, "a scan of one file is none of the library"
        assert queue.last_scan_at(connection) == whole
    assert sum(retention.archive_finished(database)) == 2
    with database.begin() as connection:
        assert queue.last_scan_at(connection) == whole


def test_a_finding_is_told_when_it_changes_and_then_once_in_a_while(
    database: sa.Engine, settings: Settings, add_video: Any
) -> None:
    add_video(is_valid=True, missing_since=datetime.now(UTC))
    now = datetime.now(UTC)
    told, before = news(look(settings), {}, now)
    assert {finding.name for finding in told} == {"readable", "present", "pictured", "scanned"}
    before = json.loads(json.dumps(before))
    told, before = news(look(settings), before, now + timedelta(hours=1))
    assert told == []
    with database.begin() as connection:
        connection.execute(sa.update(videos_table).values(missing_since=None))
    told, before = news(look(settings), before, now + timedelta(hours=2))
    assert [finding.name for finding in told] == ["present"]
    told, before = news(look(settings), before, now + timedelta(hours=12))
    assert "present" not in {finding.name for finding in told}
    assert len(told) == 3


def test_the_sensors_tell_dagster_and_request_no_run(
    run_job: Any, video: UUID, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    with dg.build_sensor_context(instance=instance) as context:
        result = library_checks_sensor(context)
    assert isinstance(result, dg.SensorResult)
    assert not result.run_requests
    assert {event.check_name for event in result.asset_events} == set(library_checks.QUESTIONS)
    with dg.build_sensor_context(instance=instance, cursor=result.cursor) as context:
        again = library_checks_sensor(context)
    assert isinstance(again, dg.SensorResult)
    assert again.asset_events == []
    with database.begin() as connection:
        connection.execute(sa.delete(videos_table))
    with dg.build_sensor_context(instance=instance) as context:
        assert library_notes(context).skip_message == f"Told: {NOISY} is forgotten."
        assert library_notes(context).skip_message == "Nothing happened."


def check_by_hand(instance: dg.DagsterInstance, asset: str, name: str) -> dg.AssetCheckEvaluation:
    """As the Checks tab does."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), name)
    by_hand = dg.define_asset_job("by_hand", selection=dg.AssetSelection.checks(key))
    resolved = dg.Definitions(
        assets=defs.assets, asset_checks=defs.asset_checks, jobs=[by_hand], resources=defs.resources
    ).resolve_job_def("by_hand")
    result = resolved.execute_in_process(instance=instance)
    (found,) = result.get_asset_check_evaluations()
    return found


def test_checks_can_be_executed_by_hand(
    run_job: Any, video: UUID, library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    assert check_by_hand(instance, "library_scan", "scanned").passed
    assert check_by_hand(instance, "library_scan", "present").passed
    never = check_by_hand(instance, "gif", "verified")
    assert (never.passed, never.severity, never.description) == (
        False,
        dg.AssetCheckSeverity.WARN,
        "No job has answered it yet",
    )
    job = completed(run_job("compile_gif", {"videoId": str(video)}), database)
    assert check_by_hand(instance, "gif", "verified").passed
    (library / job.result["outputPath"]).unlink()
    gone = check_by_hand(instance, "gif", "verified")
    assert not gone.passed
    assert gone.description == f"{job.result['outputPath']} is gone"
    run_job("reencode_streaming", {"videoId": str(video), "crf": 51, "minVmaf": 99})
    failed = check_by_hand(instance, "streaming_rendition", "verified")
    assert (failed.passed, "VMAF" in str(failed.description)) == (False, True)


# The graph


def test_a_run_of_a_pipeline_executes_no_check(run_job: Any, video: UUID, instance: dg.DagsterInstance) -> None:
    run_job("thumbnail_generate", {"videoId": str(video)})
    (run, *_) = instance.get_runs(dg.RunsFilter(job_name="thumbnail_generate"))
    steps = {record.dagster_event.step_key for record in instance.all_logs(run.run_id) if record.is_dagster_event}
    assert {step for step in steps if step} == {"thumbnail.take_thumbnail"}


def test_a_compilation_depends_on_all_videos_and_nothing_on_what_was_not_made() -> None:
    graph = defs.resolve_asset_graph()
    for node in graph.asset_nodes:
        for parent in node.parent_keys:
            assert graph.has(parent), f"{node.key} depends on {parent}, which is no asset"
    assert library_video.key in random_compilation.dependency_keys
    assert not graph.get(dg.AssetKey("library_video")).is_executable
    assert not graph.get(dg.AssetKey("video_analysis")).is_executable
