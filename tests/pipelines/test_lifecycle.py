"""What becomes of real work when somebody pauses, resumes or cancels it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa

from jobqueue_bridge import lifecycle, logs, queue, videos
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.prober import Prober
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready
from tests.pipelines.conftest import make_clip

_SECONDS = 45
_PATIENCE_S = 60


def _ffmpegs() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "-progress" in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    """Empty of one that has just ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _until(true: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    return found


@contextmanager
def _running(
    run_job: Any, database: sa.Engine, settings: Settings, params: dict[str, Any]
) -> Iterator[tuple[UUID, Any]]:
    """An encode in full swing, and a way to wait for its end."""
    with database.begin() as connection:
        job = queue.enqueue(connection, NewJob("reencode_streaming", params), settings)
    ended: list[Job] = []
    thread = threading.Thread(target=lambda: ended.append(run_job.again(job)), daemon=True)
    thread.start()
    _until(lambda: _row(database, job.id).progress > 0)

    def end() -> Job:
        thread.join(_PATIENCE_S)
        return ended[0]

    try:
        yield job.id, end
    finally:
        thread.join(_PATIENCE_S)


def _row(database: sa.Engine, job_id: UUID) -> Job:
    with database.begin() as connection:
        return queue.get(connection, job_id)


@pytest.fixture
def params(run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine) -> dict[str, Any]:
    """A few seconds of work, however fast the machine is."""
    make_clip(ffmpeg, library / "library/videos/a.mp4", seconds=_SECONDS)
    run_job("scan", {})
    with database.begin() as connection:
        return {"videoId": str(videos.id_by_path(connection, "library/videos/a.mp4")), "preset": "veryslow", "crf": 0}


def test_a_paused_encode_stands_still_and_then_goes_on_to_its_end(
    run_job: Any, params: dict[str, Any], database: sa.Engine, settings: Settings, library: Path
) -> None:
    with _running(run_job, database, settings, params) as (job_id, end):
        with database.begin() as connection:
            lifecycle.pause(connection, job_id)
        _until(lambda: [process.status() for process in _ffmpegs()] == [psutil.STATUS_STOPPED])
        _until(lambda: "Paused" in _log(database, job_id))
        before = _row(database, job_id)
        assert (before.status, "still holds a gpu_encode slot" in str(before.waiting_reason)) == (
            JobStatus.PAUSED,
            True,
        )
        time.sleep(2)
        assert _row(database, job_id).progress == before.progress
        with database.begin() as connection:
            lifecycle.resume(connection, job_id)
        done = end()
    assert done.status == JobStatus.COMPLETED, done.error
    assert "Resumed" in _log(database, job_id)
    with Prober() as prober:
        assert prober.probe(library / done.result["outputPath"]).duration_s == pytest.approx(_SECONDS, abs=0.1)


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_a_cancelled_encode_leaves_nothing(
    run_job: Any, params: dict[str, Any], database: sa.Engine, settings: Settings, library: Path, paused: bool
) -> None:
    with _running(run_job, database, settings, params) as (job_id, end):
        if paused:
            with database.begin() as connection:
                lifecycle.pause(connection, job_id)
            _until(lambda: [process.status() for process in _ffmpegs()] == [psutil.STATUS_STOPPED])
        with database.begin() as connection:
            lifecycle.cancel(connection, job_id)
        cancelled = end()
    assert cancelled.status == JobStatus.CANCELLED
    assert _ffmpegs() == []
    assert not list(library.rglob("*.partial*"))
    assert not list((library / "playback").iterdir())
    assert _log(database, job_id).splitlines()[-1].endswith("--- JOB CANCELLED BY ADMIN ---")
    with database.begin() as connection:
        assert lifecycle.letting_go(connection) == []
        (attempt,) = queue.attempts(connection, job_id)
    assert attempt["outcome"] == "cancelled"


def test_a_cancelled_job_can_be_retried_and_completes(
    run_job: Any, params: dict[str, Any], database: sa.Engine, settings: Settings
) -> None:
    with _running(run_job, database, settings, params) as (job_id, end):
        with database.begin() as connection:
            lifecycle.cancel(connection, job_id)
        end()
    with database.begin() as connection:
        job = lifecycle.retry(connection, job_id)
    done = run_job.again(job)
    assert (done.status, done.attempt, done.retry_count) == (JobStatus.COMPLETED, 2, 1), done.error


def test_a_job_that_ends_just_as_it_is_paused_waits_with_its_end(
    run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_clip(ffmpeg, library / "library/videos/a.mp4")
    real, waits = Attempt.complete, threading.Event()

    def late(attempt: Attempt, *arguments: Any) -> None:
        with database.begin() as connection:
            lifecycle.pause(connection, attempt.job.id)
        waits.set()
        real(attempt, *arguments)

    monkeypatch.setattr(Attempt, "complete", late)
    with database.begin() as connection:
        job = queue.enqueue(connection, NewJob("scan", {}), settings)
    thread = threading.Thread(target=run_job.again, args=(job,), daemon=True)
    thread.start()
    _until(waits.is_set)
    time.sleep(1)
    assert _row(database, job.id).status == JobStatus.PAUSED
    with database.begin() as connection:
        lifecycle.resume(connection, job.id)
    thread.join(_PATIENCE_S)
    assert _row(database, job.id).status == JobStatus.COMPLETED


def test_a_paused_queue_admits_nothing_and_says_why(database: sa.Engine, settings: Settings, library: Path) -> None:
    with database.begin() as connection:
        lifecycle.pause_queue(connection, "ada")
        job = queue.enqueue(connection, NewJob("scan", {}), settings)
    assert admit_ready(settings, Gpu()) == []
    assert "the queue is paused since" in str(_row(database, job.id).waiting_reason)
    with database.begin() as connection:
        lifecycle.resume_queue(connection)
    (dispatched,) = admit_ready(settings, Gpu())
    assert dispatched.job.id == job.id


def _log(database: sa.Engine, job_id: UUID) -> str:
    with database.begin() as connection:
        return logs.text(connection, job_id)
