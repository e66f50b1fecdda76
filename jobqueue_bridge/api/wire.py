"""What goes over the wire: camelCase names, instants in UTC with a Z. The specification's names and shapes are kept."""

import inspect
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from jobqueue_bridge import params, queue, videos
from jobqueue_bridge.params.fields import Crf, Kbps, Mp4Path, Preset
from jobqueue_bridge.settings import Settings
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


def _with_z(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    PlainSerializer(_with_z, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-02-13T10:30:00.000Z"]}),
]
Priority = Annotated[int, Field(strict=True, ge=PRIORITY_HIGHEST, le=PRIORITY_LOWEST, description="1 is first.")]
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
    vram_required: Annotated[int, Field(strict=True, ge=0, description="MB.")] | None = None
    max_retries: int = Field(default=3, strict=True, ge=0, le=100)

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


class _Paged(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=False, validate_by_alias=True)

    page: int = Field(default=1, ge=1, le=PAGE_MAX)
    limit: int = Field(default=20, ge=1, le=LIMIT_MAX, description="Results per page.")

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit


class ListJobs(_Paged):
    status: Annotated[JobStatus | None, BeforeValidator(_none_if_empty)] = None
    type: Annotated[JobType | None, BeforeValidator(_none_if_empty)] = None
    resource_category: Annotated[ResourceCategory | None, BeforeValidator(_none_if_empty)] = None
    video_id: Annotated[UUID | None, BeforeValidator(_none_if_empty)] = None

    @property
    def filters(self) -> queue.Filters:
        return queue.Filters(self.status, self.type and self.type.value, self.resource_category, self.video_id)


class ListVideos(_Paged):
    search: str | None = Field(default=None, max_length=500, description="Part of a path or title, ignoring case.")


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
    origin: str = Field(description="Who asked: api, cli, schedule, inbox, dagster, sql.")
    error: str | None
    result: Any
    parent_id: UUID | None


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


class Pagination(Wire):
    page: int
    limit: int
    total: int
    total_pages: int

    @classmethod
    def of(cls, asked: _Paged, total: int) -> "Pagination":
        return cls(page=asked.page, limit=asked.limit, total=total, total_pages=-(-total // asked.limit))


class JobList(Wire):
    data: list[Job]
    pagination: Pagination

    @classmethod
    def of(cls, asked: ListJobs, found: queue.Page) -> "JobList":
        return cls(data=_each(Job, found.jobs), pagination=Pagination.of(asked, found.total))


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
    def of(cls, found: queue.Stats, settings: Settings) -> "Stats":
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
    reencode_job_id: UUID | None
    source_video_id: UUID | None
    created_at: Instant
    updated_at: Instant


class VideoList(Wire):
    data: list[Video]
    pagination: Pagination

    @classmethod
    def of(cls, asked: ListVideos, found: videos.Page) -> "VideoList":
        return cls(data=_each(Video, found.videos), pagination=Pagination.of(asked, found.total))


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
