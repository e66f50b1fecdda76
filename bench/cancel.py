"""(e) Running re-encodes that are cancelled: from the request until no process of theirs is left."""

import statistics
import time
from uuid import UUID

import psutil

from bench.figures import Figure, percentile
from bench.jobs import clip, scanned
from jobqueue_bridge import lifecycle, queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import run_process

_JOBS = 30
_SECONDS = 120
_P95_S = 2.0
_LOOK_S = 0.01


def measure(settings: Settings) -> list[Figure]:
    """One after the other, each in full swing when it is cancelled."""
    path = settings.media_library_path / "library/bench-cancel/long.mp4"
    clip(settings, path, f"testsrc2=s=640x360:r=25:d={_SECONDS}", _SECONDS)
    [video_id] = scanned(settings, [path])
    took_s = [_cancelled(settings, video_id, number) for number in range(_JOBS)]
    p95 = percentile(took_s, 95)
    what = f"{_JOBS} running re-encodes: request → no process left"
    return [
        Figure(f"{what}, median", f"{statistics.median(took_s):.2f} s"),
        Figure(f"{what}, 95th percentile", f"{p95:.2f} s", f"< {_P95_S} s", p95 < _P95_S),
    ]


def _cancelled(settings: Settings, video_id: UUID, number: int) -> float:
    params = {"videoId": str(video_id), "outputPath": f"playback/cancel-{number}.mp4", "preset": "veryslow"}
    engine = engine_for(settings)
    with engine.begin() as connection:
        job_id = queue.enqueue(connection, NewJob("reencode_streaming", params), settings).id
    while True:
        with engine.begin() as connection:
            job = queue.get(connection, job_id)
        if job.status == JobStatus.RUNNING and job.progress > 0 and job.run_id:
            break
        time.sleep(0.1)
    pid = run_process.pid_of(settings.runs_dir, job.run_id)
    assert pid is not None
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert len(processes) > 1
    asked_s = time.monotonic()
    with engine.begin() as connection:
        lifecycle.cancel(connection, job_id)
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
        time.sleep(_LOOK_S)
    return time.monotonic() - asked_s
