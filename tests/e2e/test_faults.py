"""What operators do to a job in mid-run: it is never lost, never published twice, and nothing is left behind."""

import os
import signal
import time
from contextlib import suppress
from uuid import UUID

import psutil
import sqlalchemy as sa

from jobqueue_bridge import lease
from jobqueue_bridge.queue import Job, StaleJob
from jobqueue_bridge.vocabulary import JobStatus
from tests.e2e.conftest import Platform, eventually, ffmpeg_processes


def _encoding(platform: Platform, video: UUID, target: str, preset: str = "veryfast") -> Job:
    params = {"videoId": str(video), "outputPath": target, "preset": preset}
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


def test_a_run_that_wakes_up_after_its_job_was_given_to_another_publishes_nothing(
    platform: Platform, long_clip: UUID
) -> None:
    running = _encoding(platform, long_clip, "playback/asleep.mp4")
    process = psutil.Process(platform.run_pid(running))
    process.suspend()
    try:
        with platform.engine.begin() as connection:  # as the reconciler of another host does, which cannot kill here
            stale = StaleJob(running.id, running.attempt, running.run_id, running.host, silent_s=60)
            assert lease.rescue(connection, stale, "no beat for 60 s") == JobStatus.PENDING
        platform.finished(running.id, 120)
        published = platform.settings.media_library_path / "playback/asleep.mp4"
        seen = published.stat()
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()
    eventually(process.is_running, lambda alive: not alive, timeout_s=60)
    now = published.stat()
    assert (now.st_ino, now.st_mtime_ns) == (seen.st_ino, seen.st_mtime_ns)
    assert [path.name for path in published.parent.glob("asleep*")] == ["asleep.mp4"]
    assert [attempt["outcome"] for attempt in platform.attempts(running.id)] == ["lost", "completed"]
    eventually(lambda: ffmpeg_processes(published.parent), lambda found: not found, timeout_s=10)


def test_a_job_that_kills_its_runs_fails_and_says_so(platform: Platform, long_clip: UUID) -> None:
    params = {"videoId": str(long_clip), "outputPath": "playback/poison.mp4", "preset": "veryslow"}
    job = platform.enqueue("reencode_streaming", params, max_retries=1)

    def killed_again() -> Job:
        seen = platform.job(job.id)
        if seen.status == JobStatus.RUNNING:
            with suppress(AssertionError, ProcessLookupError):
                os.kill(platform.run_pid(seen), signal.SIGKILL)
        return seen

    failed = eventually(killed_again, lambda seen: seen.status == JobStatus.FAILED, timeout_s=120)
    assert failed.error == "the run's process died; this was the last of 2 attempts"
    assert [attempt["outcome"] for attempt in platform.attempts(job.id)] == ["lost", "lost"]
    assert not list(platform.settings.media_library_path.glob("playback/poison*"))


def test_an_encode_outlasts_a_database_that_freezes_and_then_takes_no_writes(
    platform: Platform, long_clip: UUID
) -> None:
    running = _encoding(platform, long_clip, "playback/outlasted.mp4", preset="medium")
    server = psutil.Process(platform.pid_of("postgres"))
    frozen = [server, *server.children()]
    for process in frozen:
        process.suspend()
    time.sleep(5)
    for process in frozen:
        process.resume()
    _set_read_only(platform, "on")
    root = platform.settings.media_library_path
    eventually(lambda: ffmpeg_processes(root), lambda found: not found, timeout_s=60)
    time.sleep(2)  # what the run writes at its end meets a database that refuses it
    _set_read_only(platform, "off")
    _assert_done(platform, running, "playback/outlasted.mp4", ["completed"])
    assert "the database took none" in platform.log(running.id)


def _set_read_only(platform: Platform, value: str) -> None:
    with platform.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("SET default_transaction_read_only = off"))
        connection.execute(sa.text(f"ALTER SYSTEM SET default_transaction_read_only = {value}"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
