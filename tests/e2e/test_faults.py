"""What operators do to a job in mid-run: it is never lost, never published twice, and nothing is left behind."""

import os
import signal
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge.queue import Job
from jobqueue_bridge.vocabulary import JobStatus
from tests.e2e.conftest import Platform, eventually, ffmpeg_processes


def _encoding(platform: Platform, video: UUID, target: str) -> Job:
    params = {"videoId": str(video), "outputPath": target, "preset": "veryfast"}
    job = platform.enqueue("reencode_streaming", params)
    return eventually(lambda: platform.job(job.id), lambda job: job.progress >= 5, timeout_s=60)


def _assert_done(platform: Platform, job: Job, target: str, outcomes: list[str]) -> None:
    done = platform.finished(job.id, 120)
    root = platform.settings.media_library_path
    assert (done.status, done.retry_count) == (JobStatus.COMPLETED, 0), (done.error, platform.log(job.id))
    assert (root / target).is_file()
    assert not list(root.rglob("*.partial*"))
    assert not eventually(lambda: ffmpeg_processes(root), lambda found: not found, timeout_s=10)
    ended = eventually(
        lambda: platform.attempts(job.id), lambda found: all(attempt["ended_at"] for attempt in found), timeout_s=20
    )
    assert [attempt["outcome"] for attempt in ended] == outcomes


def test_a_run_that_is_told_to_stop_hands_its_job_to_the_next(platform: Platform, long_clip: UUID) -> None:
    running = _encoding(platform, long_clip, "playback/told.mp4")
    os.kill(platform.run_pid(running), signal.SIGTERM)
    _assert_done(platform, running, "playback/told.mp4", ["released", "completed"])


def test_a_running_job_that_is_set_to_pending_starts_again_and_is_published_once(
    platform: Platform, long_clip: UUID
) -> None:
    running = _encoding(platform, long_clip, "playback/again.mp4")
    with platform.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET status = 'pending' WHERE status = 'running'"))
    _assert_done(platform, running, "playback/again.mp4", ["lost", "completed"])
