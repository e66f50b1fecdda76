"""The queue as a whole: its switch, its slots, its budget; and who asked for what."""

from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Query, Security
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from jobqueue_bridge import audit, dispatching, lifecycle, queue
from jobqueue_bridge.api import cursors, wire
from jobqueue_bridge.api import wire_actions as wired
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import CurrentSettings, Database, Who
from jobqueue_bridge.api.problems import documented
from jobqueue_bridge.queue import Filters
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus

router = APIRouter(
    prefix="/api/media",
    tags=["queue"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 413, 415, 422, 503),
)


@router.get("/queue")
def get_queue(database: Database, settings: CurrentSettings) -> wired.QueueState:
    """Whether it is paused, and what running jobs hold."""
    with database.connect() as connection:
        return _state(connection, settings, lifecycle.switch(connection))


@router.post("/queue/pause", responses=documented(429))
def pause_queue(database: Database, settings: CurrentSettings, who: Who) -> wired.QueueState:
    """Nothing more is started; what runs goes on. Paused twice, it keeps its first instant."""
    with database.begin() as connection:
        switch = lifecycle.pause_queue(connection, who)
        audit.record(connection, who, "queue.pause")
        return _state(connection, settings, switch)


@router.post("/queue/resume", responses=documented(429))
def resume_queue(database: Database, settings: CurrentSettings, who: Who) -> wired.QueueState:
    with database.begin() as connection:
        switch = lifecycle.resume_queue(connection)
        audit.record(connection, who, "queue.resume")
        return _state(connection, settings, switch)


def _state(connection: sa.Connection, settings: Settings, switch: lifecycle.Switch) -> wired.QueueState:
    slots, used_mb = held(connection, settings)
    return wired.QueueState(
        paused_at=switch.paused_at,
        paused_by=switch.paused_by,
        running=queue.count(connection, Filters(JobStatus.RUNNING)),
        slots=slots,
        vram=wired.Vram(used_mb=used_mb, total_mb=settings.total_vram_mb),
    )


def held(connection: sa.Connection, settings: Settings) -> tuple[dict[Any, wired.Slots], int]:
    """The slots by category, and the megabytes of VRAM, that jobs hold."""
    active = dispatching.active(connection)
    slots = {
        category: wired.Slots(used=sum(job.category == category for job in active), total=total)
        for category, total in settings.slots.items()
    }
    return slots, sum(job.vram_mb for job in active)


class ListEntries(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=False, validate_by_alias=True)

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=1000, pattern=cursors.PATTERN)
    job_id: UUID | None = None
    who: str | None = Field(default=None, max_length=200, pattern=wire.WITHOUT_NUL)
    action: str | None = Field(default=None, max_length=100, pattern=wire.WITHOUT_NUL)


@router.get("/audit")
def list_audit(database: Database, asked: Annotated[ListEntries, Query()]) -> wired.EntryList:
    """Who asked for what, newest first."""
    before = cursors.read_number(asked.cursor) if asked.cursor else None
    with database.connect() as connection:
        found = audit.page(
            connection, limit=asked.limit, before=before, job_id=asked.job_id, who=asked.who, action=asked.action
        )
    return wired.EntryList.of(found, asked.limit)
