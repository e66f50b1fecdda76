"""What each job type accepts: one model a type, with defaults and limits. A type without a model can't be run yet.

JSON names are camelCase, as in the specification; unknown names are refused, so that a typo is not a silent default.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from jobqueue_bridge.errors import FieldProblem, InvalidJob
from jobqueue_bridge.text import storable
from jobqueue_bridge.vocabulary import JobType

_MAX_PATH_BYTES = 4096
_MAX_NAME_BYTES = 255


def _below_the_library(path: str) -> str:
    """A path relative to the library root, written in the one way that `videos.path` and unique keys know.

    Whether symlinks lead out of the root is checked where files are touched.
    """
    if "\0" in path:
        raise ValueError("must not contain a NUL character")
    if path.startswith("/"):
        raise ValueError("must be relative to the library root, not absolute")
    parts = path.split("/")
    if ".." in parts:
        raise ValueError("must stay inside the library root ('..' is not allowed)")
    if not path.strip("/. "):
        raise ValueError("must name something below the library root")
    try:
        encoded = [part.encode() for part in parts]
    except UnicodeEncodeError as error:
        raise ValueError("must be valid UTF-8") from error
    if max(map(len, encoded)) > _MAX_NAME_BYTES or len(path.encode()) > _MAX_PATH_BYTES:
        raise ValueError(f"is too long (a name may have {_MAX_NAME_BYTES} bytes, a path {_MAX_PATH_BYTES})")
    return "/".join(part for part in parts if part not in ("", "."))


def _video_file(path: str) -> str:
    if not path.lower().endswith(".mp4"):
        raise ValueError("must end in .mp4")
    return path


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


LibraryPath = Annotated[str, Field(min_length=1), AfterValidator(_below_the_library)]
Mp4Path = Annotated[LibraryPath, AfterValidator(_video_file)]
DirectoryType = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
Int = Annotated[int, BeforeValidator(_no_boolean)]
Crf = Annotated[Int, Field(ge=0, le=51, description="Constant rate factor: 0 is lossless, 51 the worst.")]
Kbps = Annotated[Int, Field(ge=100, le=200_000)]
Seconds = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Params(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, extra="forbid", frozen=True
    )

    def unique_key(self) -> str | None:
        """What at most one live job may do at a time; None: any number may."""
        return None

    def video_ids(self) -> tuple[UUID, ...]:
        """The videos that this job is about, as far as the params name them."""
        return ()


class DirectoryScan(Params):
    """What both kinds of scan have in common."""

    skip_existing: bool = Field(
        default=True, description="Leave files alone whose size and time are as the library knows them."
    )

    @property
    def directory(self) -> str:
        """The folder to look through, relative to the library root."""
        raise NotImplementedError


class Scan(DirectoryScan):
    """Look through one directory of the library for new videos."""

    directory_type: DirectoryType = Field(default="videos", description="The folder below library/.")
    path: LibraryPath | None = Field(
        default=None, description="A folder or file to scan instead, relative to the library root."
    )

    @property
    def directory(self) -> str:
        return self.path or f"library/{self.directory_type}"

    def unique_key(self) -> str | None:
        return f"scan:{self.directory}:{self.skip_existing}"


class PublicScan(DirectoryScan):
    """Look through the public gallery for new videos."""

    directory_type: DirectoryType = Field(default="public", description="The folder below library/.")

    @property
    def directory(self) -> str:
        return f"library/{self.directory_type}"

    def unique_key(self) -> str | None:
        return f"public_scan:{self.directory}:{self.skip_existing}"


class _OneVideo(Params):
    video_id: UUID

    def video_ids(self) -> tuple[UUID, ...]:
        return (self.video_id,)


class Validate(_OneVideo):
    """Probe a video, decode frames of it and refresh its row."""

    def unique_key(self) -> str | None:
        return f"validate:{self.video_id}"


class ThumbnailGenerate(_OneVideo):
    """Take one frame of a video as a JPEG."""

    timestamp: Seconds | None = Field(default=None, description="Seconds into the video; default: 25 % of it.")
    width: Int = Field(default=640, ge=16, le=7680, description="Pixels; the height follows.")

    def unique_key(self) -> str | None:
        return f"thumbnail_generate:{self.video_id}"


class ReencodeStreaming(Params):
    """Convert a video to H.264 and AAC in a fast-start MP4. The source is never touched."""

    video_id: UUID | None = None
    input_path: LibraryPath | None = Field(default=None, description="Instead of videoId, or the same video's path.")
    output_path: Mp4Path | None = Field(default=None, description="Default: playback/, named after the source.")
    target_bitrate: Kbps = Field(default=2000, description="Upper bound of the video bit rate, kbit/s.")
    preset: Preset = "medium"
    crf: Crf = 23

    @model_validator(mode="after")
    def _names_a_source(self) -> "ReencodeStreaming":
        if self.video_id is None and self.input_path is None:
            raise ValueError("videoId or inputPath is required")
        return self

    def unique_key(self) -> str | None:
        source = self.video_id or self.input_path
        return f"reencode_streaming:{source}:{self.output_path or ''}"

    def video_ids(self) -> tuple[UUID, ...]:
        return (self.video_id,) if self.video_id else ()


class CompileRandom(Params):
    """Join randomly chosen videos into one."""

    count: Int = Field(default=10, ge=1, le=1000, description="How many videos; fewer if fewer fit.")
    min_duration: Seconds | None = Field(default=None, description="Seconds that a source must last at least.")
    max_duration: Seconds | None = Field(default=None, description="Seconds that a source may last at most.")
    orientation: Literal["landscape", "portrait", "square"] | None = None
    output_path: Mp4Path | None = Field(default=None, description="Default: compilations/random-<job>.mp4.")
    seed: Int | None = Field(
        default=None,
        ge=0,
        le=2**53,
        description="The same seed picks the same videos; default: from the job's id.",
    )

    @model_validator(mode="after")
    def _durations_in_order(self) -> "CompileRandom":
        if self.min_duration is not None and self.max_duration is not None and self.min_duration > self.max_duration:
            raise ValueError("minDuration must not exceed maxDuration")
        return self

    def unique_key(self) -> str | None:
        return f"compile_random:{self.output_path}" if self.output_path else None


MODELS: Mapping[JobType, type[Params]] = MappingProxyType(
    {
        JobType.SCAN: Scan,
        JobType.PUBLIC_SCAN: PublicScan,
        JobType.VALIDATE: Validate,
        JobType.THUMBNAIL_GENERATE: ThumbnailGenerate,
        JobType.REENCODE_STREAMING: ReencodeStreaming,
        JobType.COMPILE_RANDOM: CompileRandom,
    }
)


def job_type(name: str) -> JobType:
    """Raises InvalidJob where nothing of that name can be run."""
    runnable = ", ".join(sorted(MODELS))
    try:
        found = JobType(name)
    except ValueError as error:
        raise InvalidJob([FieldProblem("type", f"unknown job type {name!r}; known: {runnable}")]) from error
    if found not in MODELS:
        raise InvalidJob([FieldProblem("type", f"{name} is not available in this version; available: {runnable}")])
    return found


def parse(kind: JobType, raw: Any) -> Params:
    """Raises InvalidJob that names every bad field, what is allowed and what came."""
    if not isinstance(raw, Mapping):
        raise InvalidJob([FieldProblem("params", f"must be a JSON object, got {_json_kind(raw)}")])
    try:
        return MODELS[kind].model_validate(raw)
    except ValidationError as error:
        raise InvalidJob([_problem(item) for item in error.errors()]) from error


def _json_kind(value: Any) -> str:
    names: list[tuple[Any, str]] = [
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (list, "an array"),
    ]
    return next((name for kind, name in names if isinstance(value, kind)), "null")


def _problem(item: Any) -> FieldProblem:
    where = ".".join(["params", *(storable(str(part))[:80] for part in item["loc"])])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown parameter"
    elif item["type"] not in ("missing", "value_error"):
        message = f"{message} (got {str(item['input'])[:80]!r})"
    return FieldProblem(where, message)
