"""The specification's endpoints for jobs."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response, Security
from fastapi.responses import PlainTextResponse

from jobqueue_bridge import queue, videos
from jobqueue_bridge.api import wire
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import CurrentSettings, Database
from jobqueue_bridge.api.problems import documented
from jobqueue_bridge.api.reading import details_of, log_of

router = APIRouter(
    prefix="/api/media/jobs",
    tags=["jobs"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 413, 415, 422, 503),
)

JobId = Annotated[UUID, Path(alias="id")]


@router.get("")
def list_jobs(database: Database, asked: Annotated[wire.ListJobs, Query()]) -> wire.JobList:
    """Newest first."""
    with database.connect() as connection:
        found = queue.page(connection, asked.filters, limit=asked.limit, offset=asked.offset)
    return wire.JobList.of(asked, found)


@router.get("/stats")
def queue_statistics(database: Database, settings: CurrentSettings) -> wire.Stats:
    with database.connect() as connection:
        return wire.Stats.of(queue.stats(connection), settings)


@router.get("/types")
def list_job_types() -> list[wire.JobTypeDetails]:
    """What can be asked for: each type's needs, and its params as a JSON Schema, with defaults and limits."""
    return wire.job_types()


@router.post("", status_code=201, responses=documented(409))
def create_job(database: Database, settings: CurrentSettings, asked: wire.CreateJob, response: Response) -> wire.Job:
    """409 with `jobId` where a live job does exactly this already."""
    with database.begin() as connection:
        job = queue.enqueue(connection, asked.asked(), settings)
    return _created(job, response)


@router.post("/reencode", status_code=201, responses=documented(404, 409))
def create_reencode_job(
    database: Database, settings: CurrentSettings, asked: wire.CreateReencode, response: Response
) -> wire.Job:
    with database.begin() as connection:
        video = videos.get(connection, asked.video_id)
        job = queue.enqueue(connection, asked.asked(video), settings)
    return _created(job, response)


def _created(job: queue.Job, response: Response) -> wire.Job:
    response.headers["Location"] = f"{router.prefix}/{job.id}"
    return wire.Job.model_validate(job)


@router.get("/{id}", responses=documented(404))
def get_job(database: Database, job_id: JobId) -> wire.JobDetails:
    """The job with its log, its attempts and, while it is pending, its place in the queue; also from the archive."""
    with database.connect() as connection:
        return details_of(connection, job_id)


@router.get("/{id}/log", response_class=PlainTextResponse, responses=documented(404))
def get_job_log(
    database: Database,
    job_id: JobId,
    tail: Annotated[int | None, Query(ge=1, le=1_000_000, description="Only the last so many lines.")] = None,
) -> PlainTextResponse:
    with database.connect() as connection:
        return PlainTextResponse(log_of(connection, job_id, tail))
