"""What an attempt leaves, hands over and takes over, however it ends."""

import os
import signal
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, logs, queue, videos
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media import files
from media_pipelines.ops import outputs, reencode
from media_pipelines.ops.encoding import Encoded
from media_pipelines.ops.progress import bounded
from media_pipelines.resources import attempt as attempts
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready
from media_pipelines.sensors.reconcile import reconcile
from media_pipelines.tags import ATTEMPT_TAG, ENDED_TAG, JOB_TAG
from tests.pipelines.conftest import add_run, make_clip

HARD_NAMES = (
    "-leading dash.mp4",
    'quo\'te "double" `tick`.mp4',
    "new\nline.mp4",
    "🎬 emoji.mp4",
    "100%d %s {x} \\back.mp4",
    "x" * 252 + ".ts",
    "é" * 125 + ".mp4",
)


def _video(database: sa.Engine, path: str) -> UUID:
    with database.begin() as connection:
        found = videos.id_by_path(connection, path)
    assert found is not None
    return found


def _log(database: sa.Engine, job: Job) -> str:
    with database.begin() as connection:
        return logs.text(connection, job.id)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_a_hard_name_passes_through_every_type(
    name: str, run_job, ffmpeg: Path, library: Path, database: sa.Engine
) -> None:
    made = make_clip(ffmpeg, library / ("library/videos/made" + Path(name).suffix))
    made.rename(made.with_name(name))
    run_job("scan", {})
    video = {"videoId": str(_video(database, f"library/videos/{name}"))}
    for kind, params in {
        "validate": video,
        "thumbnail_generate": video,
        "reencode_streaming": {**video, "preset": "ultrafast"},
        "compile_random": {},
    }.items():
        done = run_job(kind, params)
        assert done.status == JobStatus.COMPLETED, (kind, done.error)
    assert len([*(library / "playback").iterdir()]) == 1


def test_two_sources_of_one_name_are_published_under_two(
    run_job, ffmpeg: Path, library: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(ffmpeg, library / "library/videos/same.mp4")
    run_job("scan", {})
    encode = reencode.run_encode

    def meanwhile(*arguments: Any, **options: Any) -> Encoded:
        (library / "playback/same.mp4").write_bytes(b"of another job, which was faster")
        return encode(*arguments, **options)

    monkeypatch.setattr(reencode, "run_encode", meanwhile)
    done = run_job("reencode_streaming", {"videoId": str(_video(database, "library/videos/same.mp4"))})
    assert done.status == JobStatus.COMPLETED, done.error
    assert done.result["outputPath"] == f"playback/same.{str(done.id)[:8]}.mp4"
    assert (library / "playback/same.mp4").read_bytes() == b"of another job, which was faster"


def test_an_attempt_that_lost_its_job_leaves_the_next_ones_file_alone(
    run_job, ffmpeg: Path, library: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator sets a running job to pending; the next attempt starts while the first is still ending."""
    make_clip(ffmpeg, library / "library/videos/a.mp4")
    run_job("scan", {})
    encode, nested = reencode.run_encode, []

    def set_back(*arguments: Any, **options: Any) -> Encoded:
        if nested:
            encoded = encode(*arguments, **options)
            nested.append(arguments[3].partial)
            first_may_end.set()
            first_ended.wait(20)
            return encoded
        nested.append(None)
        with database.begin() as connection:
            connection.execute(sa.text("UPDATE jobs SET status = 'pending' WHERE type = 'reencode_streaming'"))
            (job,) = connection.execute(sa.text("SELECT id FROM jobs WHERE type = 'reencode_streaming'")).scalars()
        again = threading.Thread(target=lambda: results.append(run_job.again(_get(database, job))))
        again.start()
        threads.append(again)
        first_may_end.wait(20)
        return encode(*arguments, **options)

    results: list[Job] = []
    threads: list[threading.Thread] = []
    first_may_end, first_ended = threading.Event(), threading.Event()
    monkeypatch.setattr(reencode, "run_encode", set_back)
    run_job("reencode_streaming", {"videoId": str(_video(database, "library/videos/a.mp4"))})
    first_ended.set()
    threads[0].join()
    (second,) = results
    assert (second.status, second.attempt) == (JobStatus.COMPLETED, 2), second.error
    assert [path.name for path in (library / "playback").iterdir()] == ["a.mp4"]


def _get(database: sa.Engine, job_id: UUID) -> Job:
    with database.begin() as connection:
        return queue.get(connection, job_id)


PHASES = {
    "while it is claimed": (attempts, "claim"),
    "before it encodes": (reencode, "run_encode"),
    "while it verifies": (reencode, "verify_output"),
    "while it publishes": (outputs.files, "flush"),
    "when it has published": (reencode, "record_output"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_told_to_stop_hands_its_job_back(
    phase: str, run_job, ffmpeg: Path, library: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(ffmpeg, library / "library/videos/a.mp4")
    run_job("scan", {})
    module, name = PHASES[phase]
    real = getattr(module, name)

    def told_to_stop(*arguments: Any, **options: Any) -> Any:
        if phase == "while it is claimed":
            from media_pipelines.resources import job as doorway

            monkeypatch.setattr(doorway, "claim", real)
        monkeypatch.setattr(module, name, real)
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    if phase == "while it is claimed":
        monkeypatch.setattr("media_pipelines.resources.job.claim", told_to_stop)
    else:
        monkeypatch.setattr(module, name, told_to_stop)
    job = run_job("reencode_streaming", {"videoId": str(_video(database, "library/videos/a.mp4"))})
    assert (job.status, job.retry_count, job.retry_after) == (JobStatus.PENDING, 0, None), _log(database, job)
    assert "Handed back" in _log(database, job)
    assert not list(library.rglob("*.partial*"))
    done = run_job.again(job)
    assert done.status == JobStatus.COMPLETED, done.error
    assert [path.name for path in (library / "playback").iterdir()] == ["a.mp4"], "published once"


def test_a_run_that_is_told_to_stop_before_it_begins_costs_no_retry(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = _overdue(database, settings, max_retries=0)
    run = add_run(instance, {JOB_TAG: str(job.id), ATTEMPT_TAG: "1"}, dg.DagsterRunStatus.CANCELED)
    instance.add_run_tags(run.run_id, {ENDED_TAG: run.run_id})
    reconcile(dg.build_sensor_context(instance=instance))
    assert _get(database, job.id).status == JobStatus.PENDING


def test_a_run_that_somebody_ends_in_dagsters_queue_ends_its_job(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = _overdue(database, settings, max_retries=0)
    add_run(instance, {JOB_TAG: str(job.id), ATTEMPT_TAG: "1"}, dg.DagsterRunStatus.CANCELED)
    reconcile(dg.build_sensor_context(instance=instance))
    assert _get(database, job.id).status == JobStatus.CANCELLED


def test_a_run_that_fails_before_it_begins_costs_one(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = _overdue(database, settings, max_retries=0)
    add_run(instance, {JOB_TAG: str(job.id), ATTEMPT_TAG: "1"}, dg.DagsterRunStatus.FAILURE)
    reconcile(dg.build_sensor_context(instance=instance))
    assert _get(database, job.id).status == JobStatus.FAILED


def _overdue(database: sa.Engine, settings: Settings, **options: Any) -> Job:
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("scan", {}, **options), settings)
    (dispatched,) = admit_ready(settings, Gpu())
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET admitted_at = now() - interval '1 minute'"))
    return dispatched.job


def test_what_a_dead_attempt_left_is_removed_with_its_rescue(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance, library: Path
) -> None:
    job = _overdue(database, settings)
    with database.begin() as connection:
        assert lease.claim(connection, job.id, 1, run_id="gone", host=os.uname().nodename)
    mark = outputs.owner(job.id, 1)
    (library / "playback").mkdir()
    left = files.partial_path(library / "playback/a.mp4", mark)
    left.write_bytes(b"half")
    (settings.temp_dir / mark / "join-x").mkdir(parents=True)
    reconcile(dg.build_sensor_context(instance=instance))
    assert _get(database, job.id).status == JobStatus.PENDING
    assert not left.exists()
    assert not (settings.temp_dir / mark).exists()


def test_what_a_dead_transcode_left_in_the_temporary_directory_and_at_its_destination_is_removed(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance, library: Path, tmp_path: Path,
    add_video: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MEDIA_TEMP_DIRECTORY", str(tmp_path / "fast"))
    policy = {"destination": "library/[done]/{title} ({year})"}
    params = {"videoId": str(add_video("inbox/film.mp4")), "policy": policy}
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("transcode", params, max_retries=0), settings)
    (dispatched,) = admit_ready(settings, Gpu())
    job = dispatched.job
    with database.begin() as connection:
        assert lease.claim(connection, job.id, 1, run_id="gone", host=os.uname().nodename)
    mark, other = outputs.owner(job.id, 1), outputs.owner(job.id, 2)
    folders = (tmp_path / "fast", library / "library/[done]/Film (1999)")
    for folder in folders:
        folder.mkdir(parents=True)
        for name in (mark, other):
            files.partial_path(folder / "film.mkv", name).write_bytes(b"half")
    reconcile(dg.build_sensor_context(instance=instance))
    assert _get(database, job.id).status == JobStatus.FAILED
    for folder in folders:
        assert list(folder.iterdir()) == [files.partial_path(folder / "film.mkv", other)]


def test_a_live_run_of_another_host_is_left_to_its_lease(
    database: sa.Engine, settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _overdue(database, settings)
    run = add_run(instance, {JOB_TAG: str(job.id), ATTEMPT_TAG: "1"}, dg.DagsterRunStatus.STARTED)
    with database.begin() as connection:
        assert lease.claim(connection, job.id, 1, run_id=run.run_id, host="elsewhere")
    monkeypatch.setattr("media_pipelines.sensors.reconcile._RUN_STARTS_WITHIN_S", -1)
    reconcile(dg.build_sensor_context(instance=instance))
    assert _get(database, job.id).status == JobStatus.RUNNING
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status == dg.DagsterRunStatus.STARTED


def test_a_compilation_that_was_published_is_adopted_with_the_videos_it_was_made_of(
    run_job, ffmpeg: Path, library: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for color in ("red", "blue"):
        make_clip(ffmpeg, library / f"library/videos/{color}.mp4", color=color)
    run_job("scan", {})
    before = {str(_video(database, f"library/videos/{color}.mp4")) for color in ("red", "blue")}

    def die(*_: Any) -> None:
        raise OSError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr("media_pipelines.ops.compilations.record_output", die)
        job = run_job("compile_random", {"outputPath": "compilations/c.mp4", "count": 2})
    assert job.status == JobStatus.PENDING
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET retry_after = NULL"))
        connection.execute(sa.text("UPDATE videos SET is_valid = false WHERE path LIKE '%red%'"))
    done = run_job.again(job)
    assert done.status == JobStatus.COMPLETED, done.error
    assert set(done.result["sourceVideoIds"]) == before


def test_a_flood_of_warnings_is_cut(run_job) -> None:
    lines: list[str] = []
    with bounded(lines.append, "lines of ffmpeg") as log:
        for number in range(100_000):
            log(f"warning {number}")
    assert len(lines) == 1001
    assert lines[-1] == "… and 99000 more lines of ffmpeg"
