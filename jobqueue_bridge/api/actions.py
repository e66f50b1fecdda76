"""What somebody asks of jobs that are there: one at a time, or many at once. Each leaves its entry in the audit log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Security

from jobqueue_bridge import audit, lifecycle, listing, logs, queue
from jobqueue_bridge.api import cursors, wire
from jobqueue_bridge.api import wire_actions as wired
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import Database, JobId, Who
from jobqueue_bridge.api.job_routes import JobRoute
from jobqueue_bridge.api.problems import documented
from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.lifecycle import Action, Applied

router = APIRouter(
    route_class=JobRoute,
    prefix="/api/media/jobs",
    tags=["actions"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)


@router.patch("/{id}")
def change_job(database: Database, job_id: JobId, who: Who, asked: wired.ChangeJob) -> wire.Job:
    """Another priority; the order of the queue follows at once. 409 where the job has ended."""
    with database.begin() as connection:
        job = lifecycle.reprioritise(connection, job_id, asked.priority)
        audit.record(connection, who, "job.priority", job_id, priority=asked.priority)
    return wire.Job.model_validate(job)


@router.post("/{id}/cancel")
def cancel_job(database: Database, job_id: JobId, who: Who) -> wired.CancelledJob:
    """Whatever it does, it ends: ffmpeg and its children are stopped, what they were writing is removed. The answer
    waits for that, up to 3 s, and `released` tells whether it has come about."""
    with database.begin() as connection:
        job = lifecycle.cancel(connection, job_id)
        audit.record(connection, who, "job.cancel", job_id)
        log = logs.text(connection, job_id)
    released = not lifecycle.wait_until_let_go(database, job_id)
    return wired.CancelledJob.model_validate({**vars(job), "log": log, "released": released})


@router.post("/{id}/pause")
def pause_job(database: Database, job_id: JobId, who: Who) -> wire.Job:
    """A waiting job waits on; of a running one ffmpeg is suspended, and `waitingReason` says what it still holds."""
    return _moved(database, job_id, who, "job.pause", lifecycle.pause)


@router.post("/{id}/resume")
def resume_job(database: Database, job_id: JobId, who: Who) -> wire.Job:
    """Goes on where it was paused: `pending` in the queue, or `running` in mid-run."""
    return _moved(database, job_id, who, "job.resume", lifecycle.resume)


def _moved(
    database: sa.Engine, job_id: UUID, who: str, action: str, move: Callable[[sa.Connection, UUID], queue.Job]
) -> wire.Job:
    with database.begin() as connection:
        job = move(connection, job_id)
        audit.record(connection, who, action, job_id)
    return wire.Job.model_validate(job)


@router.post("/{id}/retry")
def retry_job(database: Database, job_id: JobId, who: Who, asked: wired.RetryJob | None = None) -> wired.JobWithLog:
    """A failed or cancelled job is pending again, at once; that counts as a retry. 409 where they are used up, unless
    forced."""
    force = asked is not None and asked.force
    with database.begin() as connection:
        job = lifecycle.retry(connection, job_id, force=force)
        audit.record(connection, who, "job.retry", job_id, force=force)
        log = logs.text(connection, job_id)
    return wired.JobWithLog.model_validate({**vars(job), "log": log})


@router.post("/bulk")
def act_on_many(database: Database, who: Who, asked: wired.BulkRequest) -> wired.BulkAnswer:
    """One action on many jobs, oldest first, each for itself: one that is refused keeps none of the others back. What a
    filter finds beyond the limit is counted in `remaining`; `nextCursor` goes on with it, also past those that were
    refused, until it is null."""
    with database.begin() as connection:
        chosen = _chosen(connection, asked)
        applied = [] if asked.dry_run else _applied(connection, asked, chosen.ids)
        if not asked.dry_run:
            _record(connection, who, asked, chosen.matched, applied)
    done = sum(one.job is not None for one in applied)
    return wired.BulkAnswer(
        action=asked.action,
        dry_run=asked.dry_run,
        matched=chosen.matched,
        done=done,
        refused=len(applied) - done,
        remaining=chosen.remaining,
        next_cursor=cursors.written(chosen.end) if chosen.end else None,
        results=[wired.BulkResult.of(one) for one in applied],
    )


@dataclass(frozen=True)
class _Chosen:
    """Jobs, how many there are of them in all, and where the next ones begin."""

    ids: Sequence[UUID]
    matched: int
    remaining: int = 0
    end: listing.Place | None = None


def _chosen(connection: sa.Connection, asked: wired.BulkRequest) -> _Chosen:
    """Of a filter's jobs only those that the action applies to."""
    if asked.filter is None:
        ids = list(dict.fromkeys(asked.ids or ()))
        return _Chosen(ids, len(ids))
    wanted = asked.filter.wanted
    applies = lifecycle.APPLIES[asked.moves] if asked.moves else lifecycle.APPLIES[Action.CANCEL]
    statuses = tuple(status for status in applies if status in (wanted.statuses or applies))
    if not statuses:
        return _Chosen([], 0)
    narrowed = replace(wanted, statuses=statuses)
    if asked.cursor:
        place = cursors.read(asked.cursor, listing.Order.OLDEST)
        found = listing.page_after(connection, narrowed, place, limit=asked.limit)
    else:
        found = listing.page(connection, narrowed, listing.Order.OLDEST, limit=asked.limit)
    remaining = listing.count_behind(connection, narrowed, found.end) if found.end and not asked.dry_run else 0
    return _Chosen([job.id for job in found.jobs], found.total, remaining, None if asked.dry_run else found.end)


def _applied(connection: sa.Connection, asked: wired.BulkRequest, ids: Sequence[UUID]) -> list[Applied]:
    if asked.moves is not None:
        return lifecycle.apply(connection, asked.moves, ids, force=asked.force)
    return [_reprioritised(connection, job_id, asked.priority or 0) for job_id in ids]


def _reprioritised(connection: sa.Connection, job_id: UUID, priority: int) -> Applied:
    try:
        return Applied(job_id, lifecycle.reprioritise(connection, job_id, priority), None)
    except QueueError as error:
        return Applied(job_id, None, str(error))


def _record(
    connection: sa.Connection, who: str, asked: wired.BulkRequest, matched: int, applied: Sequence[Applied]
) -> None:
    done = sum(one.job is not None for one in applied)
    details = {"priority": asked.priority} if asked.priority is not None else {}
    request = asked.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"ids", "cursor"})
    audit.record_all(connection, who, "job.bulk", [(None, {**request, "matched": matched, "done": done})])
    audit.record_applied(connection, who, asked.action, applied, bulk=True, **details)
