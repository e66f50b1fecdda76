"""What goes over the wire: camelCase names, instants in UTC with a Z. The specification's names and shapes are kept."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from jobqueue_bridge import insights, params, queue, stats, videos
from jobqueue_bridge.api import cursors
from jobqueue_bridge.listing import Listed, Order, Wanted
from jobqueue_bridge.params.fields import Crf, Kbps, Mp4Path, Preset
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.text import instant
from jobqueue_bridge.vocabulary import (
    NEEDS,
    PRIORITY_DEFAULT,
    PRIORITY_HIGHEST,
    PRIORITY_LOWEST,
    JobStatus,
    JobType,
    ResourceCategory,
)

PAGE_MAX = 1_000_000_000  # so that no offset exceeds a bigint
LIMIT_MAX = 500


Instant = Annotated[
    datetime,
    PlainSerializer(instant, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-02-13T10:30:00.000Z"]}),
]


def _whole(value: Any) -> Any:
    """JSON's 5.0 is its 5; true and "5" are no numbers."""
    if isinstance(value, bool | str):
        raise ValueError(f"must be a whole number, got {value!r}"[:100])
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Priority = Annotated[
    int, Field(ge=PRIORITY_HIGHEST, le=PRIORITY_LOWEST, description="1 is first."), BeforeValidator(_whole)
]
_EXAMPLE_ID = "550e8400-e29b-41d4-a716-446655440000"
_EXAMPLE_VIDEO_ID = "660e8400-e29b-41d4-a716-446655440001"


# Asking


class Request(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, extra="forbid")


class CreateJob(Request):
    """A job of any type. Where category and VRAM are left out, the type's own are taken."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "reencode_streaming",
                    "params": {"videoId": _EXAMPLE_VIDEO_ID, "targetBitrate": 2000},
                    "priority": 5,
                }
            ]
        }
    )

    type: str = Field(max_length=100, description=f"One of {', '.join(sorted(params.MODELS))}.")
    params: dict[str, Any] = Field(default_factory=dict, description="What the type accepts.")
    priority: Priority = PRIORITY_DEFAULT
    resource_category: ResourceCategory | None = None
    vram_required: Annotated[Whole, Field(ge=0, description="MB.")] | None = None
    max_retries: Whole = Field(default=3, ge=0, le=100)
    parent_id: UUID | None = Field(default=None, description="A job that must complete first; until then this waits.")

    def asked(self) -> queue.NewJob:
        return queue.NewJob(**dict(self))


class CreateReencode(Request):
    """`reencode_streaming` for one video of the library."""

    video_id: UUID = Field(examples=[_EXAMPLE_VIDEO_ID])
    target_bitrate: Kbps = 2000
    preset: Preset = "medium"
    crf: Crf = 23
    output_path: Mp4Path | None = Field(default=None, description="Default: playback/, named after the source.")
    priority: Priority = PRIORITY_DEFAULT

    def asked(self, video: videos.Video) -> queue.NewJob:
        asked = self.model_dump(mode="json", by_alias=True, exclude={"priority"}, exclude_none=True)
        return queue.NewJob(
            JobType.REENCODE_STREAMING.value, {**asked, "inputPath": video.path}, priority=self.priority
        )


def _none_if_empty(value: Any) -> Any:
    """A form's "all" arrives as an empty string."""
    return None if value == "" else value


def _or_empty(text_format: str) -> Any:
    schema = {"anyOf": [{"type": "string", "format": text_format}, {"type": "string", "maxLength": 0}]}
    return _Words(_none_if_empty, schema)


@dataclass(frozen=True)
class _Words:
    """Both of an Annotated's two marks in one."""

    parse: Callable[[Any], Any]
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.parse, handler(source))

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del handler
        return self.schema


def one_or_more(words: type[StrEnum]) -> Any:
    """A query parameter that may be given again, or hold several words with commas between them."""

    def parse(value: Any) -> Any:
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list | tuple) or not all(isinstance(item, str) for item in given):
            raise ValueError(f"must be one or more of {', '.join(words)}")
        named = [word for item in given for word in item.split(",") if word]
        for word in named:
            if word not in set(words):
                raise ValueError(f"must be one or more of {', '.join(words)}, got {word[:80]!r}")
        return tuple(dict.fromkeys(words(word) for word in named))

    word = "|".join(words)
    items = {"type": "string", "pattern": f"^(({word})?(,({word})?)*)$"}
    schema = {"type": "array", "items": items, "description": f"One or more, with commas, of {', '.join(words)}."}
    return _Words(parse, schema)


_INSTANT_TEXT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _moment(value: Any) -> Any:
    """RFC 3339, and nothing else that Python would take for an instant."""
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _INSTANT_TEXT.fullmatch(value):
        raise ValueError("must be an instant such as 2026-02-13T10:30:00Z")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("is no instant that there is") from error


Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
WITHOUT_NUL = r"^[^\x00]*$"
SearchText = Annotated[
    str,
    Field(
        max_length=200,
        pattern=WITHOUT_NUL,
        description="The beginning of a job's id, a part of its type or of its video's path or title, or words of its "
        "error.",
    ),
]


class _Paged(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=False, validate_by_alias=True)

    page: int = Field(default=1, ge=1, le=PAGE_MAX)
    limit: int = Field(default=20, ge=1, le=LIMIT_MAX, description="Results per page.")
    cursor: str | None = Field(
        default=None,
        max_length=1000,
        pattern=cursors.PATTERN,
        description="`nextCursor` of the page before: rows that come or go meanwhile neither repeat nor hide another.",
    )

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit


class ListJobs(_Paged):
    status: Annotated[tuple[JobStatus, ...], one_or_more(JobStatus)] = ()
    type: Annotated[tuple[JobType, ...], one_or_more(JobType)] = ()
    resource_category: Annotated[tuple[ResourceCategory, ...], one_or_more(ResourceCategory)] = ()
    video_id: Annotated[UUID | None, _or_empty("uuid")] = None
    parent_id: Annotated[UUID | None, _or_empty("uuid")] = None
    created_from: Annotated[Moment | None, _or_empty("date-time")] = None
    created_to: Annotated[Moment | None, _or_empty("date-time")] = Field(default=None, description="Exclusive.")
    text: Annotated[SearchText | None, BeforeValidator(_none_if_empty)] = None
    sort: Order = Order.NEWEST

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            self.status,
            self.type,
            self.resource_category,
            self.video_id,
            self.created_from,
            self.created_to,
            self.text,
            self.parent_id,
        )


class ListVideos(_Paged):
    search: str | None = Field(
        default=None, max_length=500, pattern=WITHOUT_NUL, description="Part of a path or title, ignoring case."
    )
    tag: str | None = Field(
        default=None, max_length=200, pattern=WITHOUT_NUL, description="Only those in which `tag_generation` saw it."
    )


# Answering


class Wire(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        from_attributes=True,
        ser_json_inf_nan="null",
    )


class Job(Wire):
    """A job's row. Another program may have written it, so what the specification leaves open is open here."""

    id: UUID = Field(examples=[_EXAMPLE_ID])
    type: str = Field(examples=["reencode_streaming"])
    status: JobStatus
    progress: int = Field(description="Per cent.", examples=[45])
    progress_detail: Any = Field(description="fps, speed, eta_s, out_time_s, size_bytes, as far as they are known.")
    params: Any = Field(examples=[{"videoId": _EXAMPLE_VIDEO_ID, "targetBitrate": 2000}])
    resource_category: str = Field(examples=["gpu_encode"])
    vram_required: int = Field(description="MB.", examples=[4000])
    priority: int = Field(description="1 is first, 10 last.", examples=[5])
    queue_position: int | None = Field(description="From 1, while pending.")
    waiting_reason: str | None = Field(description="What a pending job waits for.")
    created_at: Instant | None
    started_at: Instant | None
    completed_at: Instant | None
    retry_count: int
    max_retries: int
    retry_after: Instant | None
    attempt: int
    run_id: str | None = Field(description="The Dagster run of the latest attempt.")
    host: str | None
    gpu: int | None = Field(description="Of a job that holds VRAM: on which GPU.")
    video_id: UUID | None
    origin: str = Field(description="Who asked: api, cli, schedule, inbox, folder, chain, dagster, sql.")
    error: str | None
    result: Any = Field(description="What it made. `checks`: what verifying that has found, also of a failed job.")
    parent_id: UUID | None = Field(description="The job that must complete first.")
    held: bool = Field(default=False, description="Waits for its parent, or for whoever lifts it: not admitted so far.")
    version: int = Field(description="Grows with every change: of two states of a job, the higher one is the later.")


class Attempt(Wire):
    """One run of a job."""

    attempt: int
    run_id: str | None
    host: str | None
    encoder: str | None
    started_at: Instant
    ended_at: Instant | None
    outcome: str | None = Field(description="completed, failed, cancelled, lost or released; null while it runs.")
    error: str | None
    peak_vram_mb: int | None
    gpu: int | None = Field(description="Whose VRAM it was given; null: it needed none.")


class JobDetails(Job):
    log: str = Field(examples=["[2026-02-13 10:30:15] Starting re-encode\n[2026-02-13 10:30:20] Progress: 5%"])
    attempts: list[Attempt]
    archived_at: Instant | None = Field(default=None, description="Since when it can only be read, by its id.")
    waiting_run_id: str | None = Field(
        default=None, description="The run, launched in Dagster itself, that waits to do the job."
    )
    partition_key: str | None = Field(
        default=None, description="The partition that it makes in Dagster, where that is not its video's or its own."
    )
    dagster_url: str | None = Field(default=None, description="The run of the latest attempt, in the Dagster UI.")
    asset_url: str | None = Field(
        default=None, description="What the job makes, in the Dagster UI: the asset, in the partition of its video."
    )


class Pagination(Wire):
    page: int | None = Field(description="Null where a cursor was given.")
    limit: int
    total: int
    total_is_exact: bool = Field(default=True, description="False: there are more than `total`.")
    total_pages: int
    next_cursor: str | None = Field(default=None, description="For `cursor`; null on the last page.")

    @classmethod
    def of(cls, asked: _Paged, total: int, end: str | None, *, is_exact: bool = True) -> Self:
        return cls(
            page=None if asked.cursor else asked.page,
            limit=asked.limit,
            total=total,
            total_is_exact=is_exact,
            total_pages=-(-total // asked.limit),
            next_cursor=end,
        )


class JobList(Wire):
    data: list[Job]
    pagination: Pagination

    @classmethod
    def of(cls, asked: ListJobs, found: Listed) -> "JobList":
        end = cursors.written(found.end) if found.end else None
        return cls(
            data=_each(Job, found.jobs), pagination=Pagination.of(asked, found.total, end, is_exact=found.is_exact)
        )


class GpuStats(Wire):
    """Of the jobs that run; what does not say on which GPU it is counts on the first."""

    gpu: int = Field(description="As nvidia-smi numbers it, where nothing else is configured.")
    name: str
    vram_used: int = Field(description="MB that running jobs declare.")
    vram_available: int = Field(description="MB of its budget.")

    @classmethod
    def each_of(cls, used_mb: Mapping[int | None, int], settings: Settings) -> "list[GpuStats]":
        unsaid = {settings.devices[0].index: used_mb.get(None, 0)}
        return [
            cls(
                gpu=device.index,
                name=device.name,
                vram_used=used_mb.get(device.index, 0) + unsaid.get(device.index, 0),
                vram_available=device.vram_mb,
            )
            for device in settings.devices
        ]


class Stats(Wire):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pending": 12,
                    "queued": 2,
                    "running": 3,
                    "completed": 1458,
                    "failed": 23,
                    "cancelled": 4,
                    "paused": 1,
                    "totalVramUsed": 12000,
                    "totalVramAvailable": 16000,
                    "gpus": [{"gpu": 0, "name": "", "vramUsed": 12000, "vramAvailable": 16000}],
                    "averageProcessingTime": 245.3,
                    "jobsByType": {"reencode_streaming": 45, "scan": 8, "compile_random": 12},
                }
            ]
        }
    )

    pending: int
    queued: int
    running: int
    completed: int
    failed: int
    cancelled: int
    paused: int
    total_vram_used: int = Field(description="MB that running jobs declare.")
    total_vram_available: int = Field(description="MB of the whole budget.")
    gpus: list[GpuStats]
    average_processing_time: float = Field(description="Seconds from start to end, of the newest completed jobs.")
    jobs_by_type: dict[str, int]

    @classmethod
    def of(cls, found: stats.Stats, settings: Settings) -> "Stats":
        return cls(
            **{status.value: count for status, count in found.by_status.items()},
            total_vram_used=found.vram_used_mb,
            total_vram_available=settings.total_vram_mb,
            gpus=GpuStats.each_of(found.vram_used_mb_by_gpu, settings),
            average_processing_time=round(found.average_processing_s, 1),
            jobs_by_type=found.by_type,
        )


class JobTypeDetails(Wire):
    type: JobType
    description: str
    resource_category: ResourceCategory
    vram_required: int = Field(description="MB.", examples=[4000])
    params: dict[str, Any] = Field(description="JSON Schema (draft 2020-12) of the params.")


def job_types() -> list[JobTypeDetails]:
    """Those that can be run, by name."""
    return [
        JobTypeDetails(
            type=kind,
            description=inspect.getdoc(model) or "",
            resource_category=NEEDS[kind].category,
            vram_required=NEEDS[kind].vram_mb,
            params=model.model_json_schema(by_alias=True),
        )
        for kind, model in sorted(params.MODELS.items())
    ]


class Video(Wire):
    id: UUID = Field(examples=[_EXAMPLE_VIDEO_ID])
    path: str = Field(description="Relative to the library root.", examples=["inbox/original.mp4"])
    filename: str
    title: str | None
    producer: str | None
    creator: str | None
    directory_type: str | None
    size_bytes: int | None
    mtime: Instant | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    orientation: str | None
    quality: str | None
    fps: float | None
    video_codec: str | None
    audio_codec: str | None
    has_audio: bool | None
    bitrate_kbps: int | None
    is_valid: bool | None
    invalid_reason: str | None
    tags: list[str]
    thumbnail_path: str | None
    storyboard_path: str | None = None
    reencode_job_id: UUID | None
    source_video_id: UUID | None
    created_at: Instant
    updated_at: Instant


class Shot(Wire):
    number: int
    scene: int = Field(description="Shots of one place share a scene; both count from 1.")
    start_seconds: float
    end_seconds: float
    transition: str = Field(description="How it begins.", examples=["cut"])

    @classmethod
    def of(cls, row: insights.ShotRow) -> "Shot":
        return cls(
            number=row.number,
            scene=row.scene,
            start_seconds=row.start_s,
            end_seconds=row.end_s,
            transition=row.transition,
        )


class TagSpan(Wire):
    start_seconds: float
    end_seconds: float
    score: float


class Tag(Wire):
    name: str = Field(examples=["beach"])
    score: float = Field(description="How sure the model is where it is surest, from 0 to 1.")
    count: int = Field(description="In how many shots.")
    seconds: float
    spans: list[TagSpan]
    model: str

    @classmethod
    def of(cls, row: insights.TagRow) -> "Tag":
        spans = [TagSpan(start_seconds=start, end_seconds=end, score=score) for start, end, score in row.spans]
        return cls(**{**vars(row), "spans": spans})


class VideoInsights(Wire):
    """What analysis has seen; empty where no job has looked yet."""

    shots: list[Shot] = Field(description="In their order, from `scene_extract`.")
    tags: list[Tag] = Field(description="The surest first, from `tag_generation`.")


class VideoList(Wire):
    data: list[Video]
    pagination: Pagination

    @classmethod
    def of(cls, asked: ListVideos, found: videos.Page) -> "VideoList":
        end = cursors.written_video(found.end) if found.end else None
        return cls(data=_each(Video, found.videos), pagination=Pagination.of(asked, found.total, end))


Answer = TypeVar("Answer", bound=Wire)


def _each(model: type[Answer], rows: Sequence[object]) -> list[Answer]:
    return [model.model_validate(row) for row in rows]


DatabaseState = Literal["ok", "unreachable", "not migrated"]


class Health(Wire):
    status: Literal["ok", "unavailable"]
    database: DatabaseState


class FieldError(Wire):
    field: str = Field(examples=["params.crf"])
    problem: str = Field(examples=["Input should be less than or equal to 51 (got '99')"])


class Problem(Wire):
    """RFC 9457, as `application/problem+json`."""

    type: str = Field(examples=["urn:media-pipelines:problem:invalid-job"])
    title: str = Field(examples=["Unprocessable Entity"])
    status: int = Field(examples=[422])
    detail: str
    errors: list[FieldError] | None = Field(default=None, description="With 422: what is wrong with which field.")
    job_id: UUID | None = Field(default=None, description="With 409: the job that forbids it.")
    job_status: JobStatus | None = Field(default=None, description="With 409: the state that forbids it.")
    wanted: JobStatus | None = Field(default=None, description="With 409: the state that was asked for.")
