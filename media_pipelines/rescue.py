"""Taking a job from an attempt that died: its process is gone for certain, its row moves on, its files go."""

import logging

from jobqueue_bridge import lease, queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import StaleJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import left_behind, run_process

_logger = logging.getLogger(__name__)


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
    facts = {"job_id": str(job.id), "run_id": job.run_id, "type": rescued.type, "attempt": job.attempt}
    _logger.warning("Taken from its attempt: %s; it is %s now", reason, status, extra=facts)
    left_behind.remove(settings, job.id, job.attempt, rescued.params, list(video.values()))
    return status
