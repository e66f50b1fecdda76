"""Taking a job from an attempt that died: its process is gone for certain, its row moves on, its files go."""

from jobqueue_bridge import lease, queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import StaleJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import left_behind, run_process


def rescue(settings: Settings, job: StaleJob, reason: str) -> JobStatus | None:
    """What the job is now. None: the attempt ended by itself meanwhile."""
    pid = run_process.pid_of(settings.runs_dir, job.run_id) if job.run_id else None
    if pid is not None:
        run_process.kill_group(pid)
    with engine_for(settings).begin() as connection:
        status = lease.rescue(connection, job, reason)
        if status is None:
            return None
        rescued = queue.get(connection, job.id)
        video = videos.paths(connection, [rescued.video_id]) if rescued.video_id else {}
    left_behind.remove(settings, job.id, job.attempt, rescued.params, list(video.values()))
    return status
