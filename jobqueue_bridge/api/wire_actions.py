"""What goes over the wire when somebody acts: on one job, on many, on the queue; and who it was."""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from jobqueue_bridge import audit
from jobqueue_bridge.api import cursors
from jobqueue_bridge.api.wire import WITHOUT_NUL, Instant, Job, Moment, Priority, Request, SearchText, Whole, Wire
from jobqueue_bridge.lifecycle import Action, Applied
from jobqueue_bridge.listing import Wanted
from jobqueue_bridge.vocabulary import JobStatus, JobType, ResourceCategory

BULK_MOST = 1000
_IDS_MOST = 500


class ChangeJob(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 1}]})

    priority: Priority


class RetryJob(Request):
    force: bool = Field(
        default=False,
        strict=True,
        description="Also where all retries are used up; without the parent where that has ended otherwise than well.",
    )


class JobWithLog(Job):
    log: str


class CancelledJob(JobWithLog):
    released: bool = Field(description="Whatever ran has let go: no process and no unfinished file is left.")


class BulkFilter(Request):
    """All that fit; an empty one fits all."""

    status: list[JobStatus] = Field(default_factory=list, max_length=20)
    type: list[JobType] = Field(default_factory=list, max_length=50)
    resource_category: list[ResourceCategory] = Field(default_factory=list, max_length=10)
    video_id: UUID | None = None
    parent_id: UUID | None = None
    created_from: Moment | None = None
    created_to: Moment | None = None
    text: Annotated[SearchText, Field(min_length=1)] | None = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            tuple(self.status),
            tuple(self.type),
            tuple(self.resource_category),
            self.video_id,
            self.created_from,
            self.created_to,
            self.text,
            self.parent_id,
        )


BulkAction = Literal["cancel", "pause", "resume", "retry", "priority"]


class BulkRequest(Request):
    """One action on many jobs, which are named or chosen by a filter."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"action": "retry", "filter": {"status": ["failed"], "type": ["reencode_streaming"]}}],
            "oneOf": [{"required": ["ids"]}, {"required": ["filter"]}],
            "if": {"properties": {"action": {"const": "priority"}}},
            "then": {"required": ["priority"]},
            "else": {"not": {"required": ["priority"]}},
            "dependentRequired": {"cursor": ["filter"]},
        }
    )

    action: BulkAction
    ids: Annotated[list[UUID], Field(min_length=1, max_length=_IDS_MOST)] | SkipJsonSchema[None] = None
    filter: BulkFilter | SkipJsonSchema[None] = None
    priority: Priority | SkipJsonSchema[None] = Field(default=None, description="With the action `priority`.")
    force: bool = Field(default=False, strict=True, description="With `retry`: also where all retries are used up.")
    limit: Whole = Field(default=BULK_MOST, ge=1, le=BULK_MOST, description="How many at most, oldest first.")
    cursor: Annotated[str, Field(max_length=1000, pattern=cursors.PATTERN)] | SkipJsonSchema[None] = Field(
        default=None, description="`nextCursor` of the answer before: goes on behind the jobs that it told of."
    )
    dry_run: bool = Field(default=False, strict=True, description="Only tell how many the filter finds.")

    @field_validator("ids", "filter", "priority", "cursor", mode="before")
    @classmethod
    def _is_left_out_or_said(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out")
        return value

    @model_validator(mode="after")
    def _names_jobs_in_one_way(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("either ids or filter is required, and not both")
        if self.cursor is not None and self.filter is None:
            raise ValueError("cursor is given with a filter, and only there")
        if (self.action == "priority") != (self.priority is not None):
            raise ValueError("priority is given with the action priority, and only there")
        return self

    @property
    def moves(self) -> Action | None:
        """None: it is about the priority."""
        return None if self.action == "priority" else Action(self.action)


class BulkResult(Wire):
    id: UUID
    ok: bool
    status: JobStatus | None = Field(description="As it is now; null where it was refused.")
    problem: str | None

    @classmethod
    def of(cls, applied: Applied) -> Self:
        return cls(
            id=applied.id,
            ok=applied.job is not None,
            status=applied.job and applied.job.status,
            problem=applied.refusal,
        )


class BulkAnswer(Wire):
    action: BulkAction
    dry_run: bool
    matched: int = Field(description="How many were named or found; counting stops at 10,000.")
    done: int
    refused: int
    remaining: int = Field(
        description="How many the filter finds behind these: `nextCursor` goes on with them. Counting stops at 10,000, "
        "of a text at 1,000."
    )
    next_cursor: str | None = Field(description="For `cursor`; null where nothing is left.")
    results: list[BulkResult]


class Slots(Wire):
    used: int
    total: int


class Vram(Wire):
    used_mb: int = Field(description="What jobs that hold a slot declare.")
    total_mb: int


class QueueState(Wire):
    paused_at: Instant | None
    paused_by: str | None
    running: int
    slots: dict[ResourceCategory, Slots]
    vram: Vram


class Entry(Wire):
    """Who asked for what, and when."""

    id: int
    at: Instant
    who: str
    action: str = Field(examples=["job.cancel"])
    job_id: UUID | None
    details: dict[str, Any]


class EntriesPagination(Wire):
    limit: int
    next_cursor: str | None


class EntryList(Wire):
    data: list[Entry]
    pagination: EntriesPagination

    @classmethod
    def of(cls, found: audit.Page, limit: int) -> Self:
        end = None if found.end is None else cursors.written_number(found.end)
        entries = [Entry.model_validate(entry) for entry in found.entries]
        return cls(data=entries, pagination=EntriesPagination(limit=limit, next_cursor=end))


class SignIn(Request):
    code: str = Field(
        min_length=1,
        max_length=4000,
        pattern=WITHOUT_NUL,
        description="From the link that `media-pipelines up` prints.",
    )


class Session(Wire):
    name: str
    role: str
    expires_at: Instant
    renewable: bool = Field(description="Whether `POST /session/renew` gives a fresh token.")
    dagster_url: str = Field(examples=["http://127.0.0.1:3000"])
    version: str


class NewSession(Session):
    token: str
