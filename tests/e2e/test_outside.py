"""What other programs do to the table, and to the folders."""

from uuid import UUID

import psutil
import sqlalchemy as sa

from jobqueue_bridge.vocabulary import JobStatus
from tests.e2e.conftest import Platform, eventually, ffmpeg_processes, make_clip


def test_a_plain_insert_becomes_a_run_like_any_other(platform: Platform) -> None:
    (platform.settings.media_library_path / "library/videos").mkdir(parents=True, exist_ok=True)
    with platform.engine.begin() as connection:
        job_id: UUID = connection.execute(
            sa.text("INSERT INTO jobs (type, params, resource_category) VALUES ('scan', '{}', 'cpu') RETURNING id")
        ).scalar_one()
    assert platform.finished(job_id, 60).status == JobStatus.COMPLETED


def test_an_outside_update_stops_the_run_and_its_ffmpeg(platform: Platform, long_clip: UUID) -> None:
    params = {"videoId": str(long_clip), "outputPath": "playback/stopped.mp4", "preset": "veryslow"}
    job = platform.enqueue("reencode_streaming", params)
    running = eventually(lambda: platform.job(job.id), lambda job: job.progress >= 3, timeout_s=120)
    pid = platform.run_pid(running)
    root = platform.settings.media_library_path
    assert ffmpeg_processes(root)

    with platform.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET status = 'failed' WHERE status = 'running'"))

    assert not eventually(lambda: ffmpeg_processes(root), lambda found: not found, timeout_s=20)
    eventually(lambda: psutil.pid_exists(pid), lambda alive: not alive, timeout_s=20)
    assert platform.job(job.id).status == JobStatus.FAILED
    assert not (root / "playback/stopped.mp4").exists()
    assert not list(root.rglob("*.partial*"))
    attempts = eventually(lambda: platform.attempts(job.id), lambda found: found[0]["ended_at"], timeout_s=30)
    assert [attempt["outcome"] for attempt in attempts] == ["failed"]


def test_a_file_that_lands_in_the_inbox_becomes_a_video(platform: Platform) -> None:
    root = platform.settings.media_library_path
    make_clip(root / 'inbox/-landed "here".mp4', 1, "160x90")
    look = sa.text("SELECT is_valid FROM videos WHERE path = 'inbox/-landed \"here\".mp4'")

    def is_valid() -> bool | None:
        with platform.engine.begin() as connection:
            return connection.scalar(look)

    assert eventually(is_valid, bool, timeout_s=60)
