"""A job as a reader of one job wants it: with its log, its attempts and its place in the queue."""

import sqlalchemy as sa

from jobqueue_bridge import queue
from jobqueue_bridge.api import wire


def details(connection: sa.Connection, job: queue.Job) -> wire.JobDetails:
    computed = {
        "queue_position": job.queue_position or queue.position(connection, job),
        "log": queue.log_text(connection, job.id),
        "attempts": queue.attempts(connection, job.id),
    }
    return wire.JobDetails.model_validate({**vars(job), **computed})
