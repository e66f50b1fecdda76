"""`kill -9` of everything in turn, each while a re-encode is at about half: the job always ends well."""

from collections.abc import Callable
from uuid import UUID

import psutil
import pytest

from jobqueue_bridge.queue import Job
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.prober import Prober
from tests.e2e.conftest import ENCODE_SECONDS, Platform, eventually, ffmpeg_processes, kill

Victim = Callable[[Platform, Job], int]


def _ffmpeg_of(platform: Platform, job: Job) -> int:
    return next(
        child.pid
        for child in psutil.Process(platform.run_pid(job)).children(recursive=True)
        if "ffmpeg" in child.name()
    )


# victim → (how its pid is found, how many attempts the job needs)
VICTIMS: dict[str, tuple[Victim, int]] = {
    "the run": (lambda platform, job: platform.run_pid(job), 2),
    "its ffmpeg": (_ffmpeg_of, 2),
    "the daemon": (lambda platform, job: platform.pid_of("daemon"), 1),
    "the code server": (lambda platform, job: platform.pid_of("code-server"), 1),
    "the API": (lambda platform, job: platform.pid_of("api"), 1),
    "Postgres": (lambda platform, job: platform.pid_of("postgres"), 1),
}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_reencode_survives_the_kill_of(victim: str, platform: Platform, long_clip: UUID) -> None:
    find, attempts_needed = VICTIMS[victim]
    target = f"playback/{victim.replace(' ', '-')}.mp4"
    params = {"videoId": str(long_clip), "outputPath": target, "preset": "medium"}
    job = platform.enqueue("reencode_streaming", params)

    half = eventually(lambda: platform.job(job.id), lambda job: job.progress >= 40, timeout_s=120)
    assert half.status == JobStatus.RUNNING
    kill(find(platform, half))

    done = platform.finished(job.id, timeout_s=240)
    assert done.status == JobStatus.COMPLETED, (done.error, platform.log(job.id))
    _assert_published_once(platform, target)
    attempts = platform.attempts(job.id)
    assert len(attempts) == attempts_needed, attempts
    assert [attempt["outcome"] for attempt in attempts] == ["lost"] * (attempts_needed - 1) + ["completed"]
    assert all(attempt["ended_at"] for attempt in attempts)
    eventually(lambda: platform.command("status").returncode, lambda code: code == 0, timeout_s=60)


def test_an_analysis_goes_on_where_the_kill_of_its_run_ended_it(platform: Platform, film: UUID) -> None:
    job = platform.enqueue("digest_generate", {"videoId": str(film), "targetLength": 5, "preset": "ultrafast"})
    analyses = platform.settings.home / "analyses"
    eventually(lambda: list(analyses.glob("*.parts/0*.npz")), bool, timeout_s=120)
    kill(platform.run_pid(platform.job(job.id)))

    done = platform.finished(job.id, timeout_s=240)

    assert done.status == JobStatus.COMPLETED, (done.error, platform.log(job.id))
    assert [attempt["outcome"] for attempt in platform.attempts(job.id)] == ["lost", "completed"]
    assert "which an earlier attempt has analysed" in platform.log(job.id)
    assert not list(analyses.glob("*.parts"))
    with Prober() as prober:
        made = prober.probe(platform.settings.media_library_path / done.result["outputPath"], decode_frames=5)
    assert made.duration_s == pytest.approx(5, rel=0.05)


def _assert_published_once(platform: Platform, target: str) -> None:
    root = platform.settings.media_library_path
    with Prober() as prober:
        assert prober.probe(root / target, decode_frames=5).duration_s == pytest.approx(ENCODE_SECONDS, abs=0.5)
    with platform.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM videos WHERE path = %s", (target,)).scalar()
    assert rows == 1
    assert not list(root.rglob("*.partial*"))
    assert not eventually(lambda: ffmpeg_processes(root), lambda found: not found, timeout_s=10)
