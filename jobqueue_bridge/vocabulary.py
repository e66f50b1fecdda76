"""The words of the queue: job types, statuses, resource categories, what a type needs, legal moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class JobType(StrEnum):
    SCAN = "scan"
    PUBLIC_SCAN = "public_scan"
    VALIDATE = "validate"
    REENCODE_STREAMING = "reencode_streaming"
    COMPILE_RANDOM = "compile_random"
    COMPILE_QUAD = "compile_quad"
    COMPILE_MEGA = "compile_mega"
    COMPILE_GIF = "compile_gif"
    DIGEST_GENERATE = "digest_generate"
    CLIP_GENERATE = "clip_generate"
    HIGHLIGHT_GENERATE = "highlight_generate"
    TAG_GENERATION = "tag_generation"
    SCENE_EXTRACT = "scene_extract"
    THUMBNAIL_GENERATE = "thumbnail_generate"
    MOVE_TO_LIBRARY = "move_to_library"
    TRANSCODE = "transcode"
    LIBRARY_REPORT = "library_report"


class JobStatus(StrEnum):
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


class ResourceCategory(StrEnum):
    CPU = "cpu"
    GPU_ENCODE = "gpu_encode"
    GPU_AI = "gpu_ai"


class Origin(StrEnum):
    """Who asked for a job."""

    API = "api"
    CLI = "cli"
    SCHEDULE = "schedule"
    AUTOMATION = "automation"
    INBOX = "inbox"
    FOLDER = "folder"  # a file below library/ that came, changed or vanished
    CHAIN = "chain"  # the scan that found a new video
    DAGSTER = "dagster"
    SQL = "sql"  # a plain INSERT by another program


class RunEvent(StrEnum):
    """What webhooks can be told of runs; of jobs they are told their statuses."""

    FAILED = "run.failed"


class Outcome(StrEnum):
    """How one attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # the run died or its lease ran out, and the job was rescued
    RELEASED = "released"  # handed back unfinished, on shutdown for instance


@dataclass(frozen=True)
class Need:
    """What a job of one type holds while it runs."""

    category: ResourceCategory
    vram_mb: int


_CPU, _ENCODE, _AI = ResourceCategory.CPU, ResourceCategory.GPU_ENCODE, ResourceCategory.GPU_AI

# Source: the job types table of the Media Job Queue specification; two are ours: `transcode`, which
# needs what a re-encode does, and `library_report`, which reads the database.
NEEDS: Mapping[JobType, Need] = MappingProxyType(
    {
        JobType.SCAN: Need(_CPU, 0),
        JobType.PUBLIC_SCAN: Need(_CPU, 0),
        JobType.VALIDATE: Need(_CPU, 0),
        JobType.REENCODE_STREAMING: Need(_ENCODE, 4000),
        JobType.COMPILE_RANDOM: Need(_ENCODE, 2000),
        JobType.COMPILE_QUAD: Need(_ENCODE, 4000),
        JobType.COMPILE_MEGA: Need(_ENCODE, 6000),
        JobType.COMPILE_GIF: Need(_CPU, 0),
        JobType.DIGEST_GENERATE: Need(_AI, 8000),
        JobType.CLIP_GENERATE: Need(_AI, 6000),
        JobType.HIGHLIGHT_GENERATE: Need(_AI, 8000),
        JobType.TAG_GENERATION: Need(_AI, 6000),
        JobType.SCENE_EXTRACT: Need(_AI, 8000),
        JobType.THUMBNAIL_GENERATE: Need(_CPU, 0),
        JobType.MOVE_TO_LIBRARY: Need(_CPU, 0),
        JobType.TRANSCODE: Need(_ENCODE, 4000),
        JobType.LIBRARY_REPORT: Need(_CPU, 0),
    }
)

# What may be made of each video by itself, by the name of its asset in Dagster.
AUTOMATED: Mapping[str, JobType] = MappingProxyType(
    {"thumbnail": JobType.THUMBNAIL_GENERATE, "video_metadata": JobType.VALIDATE}
)

_S = JobStatus
MOVES: Mapping[JobStatus, frozenset[JobStatus]] = MappingProxyType(
    {
        # pending → failed: params that can never work, found when the dispatcher reads a plain INSERT
        _S.PENDING: frozenset({_S.QUEUED, _S.CANCELLED, _S.PAUSED, _S.FAILED}),
        # queued → pending: the run that was asked for never came
        _S.QUEUED: frozenset({_S.RUNNING, _S.PENDING, _S.CANCELLED, _S.PAUSED, _S.FAILED}),
        # running → pending: a retry, a rescue, a hand-back
        _S.RUNNING: frozenset({_S.COMPLETED, _S.FAILED, _S.PENDING, _S.CANCELLED, _S.PAUSED}),
        _S.PAUSED: frozenset({_S.PENDING, _S.RUNNING, _S.CANCELLED, _S.FAILED}),
        _S.FAILED: frozenset({_S.PENDING}),
        _S.CANCELLED: frozenset({_S.PENDING}),
        _S.COMPLETED: frozenset(),
    }
)

FINAL: frozenset[JobStatus] = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})
LIVE: frozenset[JobStatus] = frozenset(JobStatus) - FINAL
ACTIVE: frozenset[JobStatus] = frozenset({_S.QUEUED, _S.RUNNING})

PRIORITY_HIGHEST = 1
PRIORITY_LOWEST = 10
PRIORITY_DEFAULT = 5
