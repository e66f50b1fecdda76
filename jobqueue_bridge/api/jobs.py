"""Jobs, listed, read and asked for."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Header, Query, Request, Response, Security
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from jobqueue_bridge import audit, idempotency, listing, queue, stats, videos
from jobqueue_bridge.api import cursors, wire, wire_stats
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dagster_address import dagster_address
from jobqueue_bridge.api.dependencies import CurrentSettings, Database, JobId, Me, ReadingTurns, Who
from jobqueue_bridge.api.job_routes import JobRoute
from jobqueue_bridge.api.problems import documented
from jobqueue_bridge.api.reading import details_of, log_of
from jobqueue_bridge.api.streams import followed_log
from jobqueue_bridge.api.whole_queue import held
from jobqueue_bridge.vocabulary import JobType, ResourceCategory

router = APIRouter(
    route_class=JobRoute,
    prefix="/api/media/jobs",
    tags=["jobs"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 413, 415, 422, 503),
)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+( [\x21-\x7e]+)*$",
        description="Sent again with the same body within 24 hours, the first answer comes again and nothing is made.",
    ),
]


@router.get("", response_model=wire.JobList)
async def list_jobs(turns: ReadingTurns, database: Database, asked: Annotated[wire.ListJobs, Query()]) -> Response:
    """Newest first, unless `sort` says otherwise. Pages by number shift when jobs arrive; those by `cursor` do not."""
    return await turns.run(partial(_listed, database, asked))


def _listed(database: sa.Engine, asked: wire.ListJobs) -> Response:
    place = cursors.read(asked.cursor, asked.sort) if asked.cursor else None
    with database.connect() as connection:
        if place is not None:
            found = listing.page_after(connection, asked.wanted, place, limit=asked.limit)
        else:
            found = listing.page(connection, asked.wanted, asked.sort, limit=asked.limit, offset=asked.offset)
    return _as_it_is(wire.JobList.of(asked, found))


def _as_it_is(answer: wire.Wire) -> Response:
    """What was just made need not be checked once more, as FastAPI would."""
    return Response(answer.model_dump_json(by_alias=True), media_type="application/json")


@router.get("/stats", response_model=wire_stats.FullStats)
def queue_statistics(request: Request, database: Database, settings: CurrentSettings) -> Response:
    """Sums that are kept up to date, so that a table of a million rows answers at once."""

    def count() -> bytes:
        with database.connect() as connection:
            slots, _ = held(connection, settings)
            found = wire_stats.full(connection, stats.read(connection), slots, settings)
        return found.model_dump_json(by_alias=True).encode()

    return Response(request.app.state.shared_stats.get(count), media_type="application/json")


@router.get("/stats/history")
def queue_history(
    database: Database,
    hours: Annotated[int, Query(ge=1, le=744)] = 24,
    kind: Annotated[JobType | None, Query(alias="type")] = None,
    category: Annotated[ResourceCategory | None, Query(alias="resourceCategory")] = None,
) -> wire_stats.Chart:
    """What ended in each hour, how long it ran and how long it had waited; the last one is not over yet."""
    with database.connect() as connection:
        return wire_stats.chart(connection, datetime.now(UTC), hours, kind and kind.value, category and category.value)


@router.get("/types")
def list_job_types() -> list[wire.JobTypeDetails]:
    """What can be asked for: each type's needs, and its params as a JSON Schema, with defaults and limits."""
    return wire.job_types()


@dataclass(frozen=True)
class Creation:
    """What every request for a new job comes with, whatever it asks for."""

    database: Database
    settings: CurrentSettings
    who: Who
    response: Response
    idempotency_key: IdempotencyKey = None

    def answer(self, asked: wire.Request, wanted: Callable[[sa.Connection], queue.NewJob]) -> wire.Job:
        """The job; to a key that was used, the answer that was given then. Raises InvalidJob, JobAlreadyLive,
        KeyReused, and what `wanted` raises."""
        key = self.idempotency_key
        with self.database.begin() as connection:
            earlier = idempotency.earlier_answer(connection, self.who, key, _digest(asked)) if key else None
            if earlier is not None:
                self.response.headers["Idempotent-Replayed"] = "true"
                answer = wire.Job.model_validate(earlier)
            else:
                answer = wire.Job.model_validate(queue.enqueue(connection, wanted(connection), self.settings))
                audit.record(connection, self.who, "job.create", answer.id, type=answer.type)
                if key:
                    idempotency.remember(connection, self.who, key, answer.model_dump(mode="json"))
        self.response.headers["Location"] = f"{router.prefix}/{answer.id}"
        return answer


@router.post("", status_code=201, responses=documented(409, 429))
def create_job(creation: Annotated[Creation, Depends()], asked: wire.CreateJob) -> wire.Job:
    """409 with `jobId` where a live job does exactly this already."""
    return creation.answer(asked, lambda _: asked.asked())


@router.post("/reencode", status_code=201, responses=documented(404, 409, 429))
def create_reencode_job(creation: Annotated[Creation, Depends()], asked: wire.CreateReencode) -> wire.Job:
    """`reencode_streaming` of one video, by its id."""
    return creation.answer(asked, lambda connection: asked.asked(videos.get(connection, asked.video_id)))


def _digest(asked: wire.Request) -> str:
    """Of the request as it was understood, so that white space makes no other request of it."""
    meant = json.dumps([type(asked).__name__, asked.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(meant.encode()).hexdigest()


@router.get("/{id}", response_model=wire.JobDetails, responses=documented(404))
async def get_job(
    request: Request, turns: ReadingTurns, database: Database, settings: CurrentSettings, job_id: JobId
) -> Response:
    """The job with its log, its attempts and, while it is pending, its place in the queue; also from the archive."""
    dagster = dagster_address(settings, request.headers.get("host", ""))
    return await turns.run(partial(_detailed, database, job_id, dagster))


def _detailed(database: sa.Engine, job_id: UUID, dagster: str) -> Response:
    with database.connect() as connection:
        return _as_it_is(details_of(connection, job_id, dagster))


@router.get(
    "/{id}/log",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented(404)},
)
async def get_job_log(
    request: Request,
    database: Database,
    me: Me,
    job_id: JobId,
    tail: Annotated[int | None, Query(ge=1, le=1_000_000, description="Only the last so many lines.")] = None,
    follow: Annotated[bool, Query(description="Stay, and end when the job has ended.")] = False,
) -> Response:
    """The log as text."""
    if follow:
        return await followed_log(request, database, me, job_id, tail)
    return PlainTextResponse(await run_in_threadpool(_log, database, job_id, tail))


def _log(database: sa.Engine, job_id: UUID, tail: int | None) -> str:
    with database.connect() as connection:
        return log_of(connection, job_id, tail)
