"""A job as a reader of one job wants it: with its log, its attempts and its place in the queue."""

from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import archive, dispatching, logs, queue
from jobqueue_bridge.api import wire
from jobqueue_bridge.errors import JobArchived
from jobqueue_bridge.products import product_path


def details(connection: sa.Connection, job: queue.Job, dagster: str) -> wire.JobDetails:
    """`dagster`: the address of its UI."""
    computed = {
        **links(job, dagster),
        "queue_position": job.queue_position or dispatching.position(connection, job),
        "log": logs.text(connection, job.id),
        "attempts": queue.attempts(connection, job.id),
    }
    return wire.JobDetails.model_validate({**vars(job), **computed})


def details_of(connection: sa.Connection, job_id: UUID, dagster: str = "") -> wire.JobDetails:
    """From the queue or from the archive. Raises JobNotFound."""
    try:
        return details(connection, queue.get(connection, job_id), dagster)
    except JobArchived:
        return archived_details(archive.get(connection, job_id), dagster)


def archived_details(found: archive.Archived, dagster: str) -> wire.JobDetails:
    return wire.JobDetails.model_validate({**vars(found.job), **vars(found), **links(found.job, dagster)})


def links(job: queue.Job, dagster: str) -> dict[str, str | None]:
    """Where the Dagster UI shows a job's run and what it makes, once there is a run."""
    if job.run_id is None:
        return {"dagster_url": None, "asset_url": None}
    product = product_path(job.type, job.partition_key or job.video_id or job.id)
    return {"dagster_url": f"{dagster}runs/{job.run_id}", "asset_url": product and dagster + product}


def log_of(connection: sa.Connection, job_id: UUID, tail: int | None = None) -> str:
    """The log, or its last lines; of an archived job the end that was kept. Raises JobNotFound."""
    try:
        return logs.text(connection, queue.get(connection, job_id).id, tail=tail)
    except JobArchived:
        return archived_log(archive.get(connection, job_id), tail)


def archived_log(found: archive.Archived, tail: int | None = None) -> str:
    return found.log if tail is None else "\n".join(found.log.splitlines()[-tail:])
