"""What params are made of: the types of their fields, with limits, and the two models that all others extend."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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


def _plain_name(name: str) -> str:
    """Scans pass over hidden and unfinished files, so none may be made of a video."""
    if "/" in name:
        raise ValueError("must be a name, not a path; subdirectory takes folders")
    if name.startswith(".") or ".partial" in name.lower():
        raise ValueError("must not begin with a dot nor contain '.partial'")
    return name


def _video_file(path: str) -> str:
    if not path.lower().endswith(".mp4"):
        raise ValueError("must end in .mp4")
    return path


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


LibraryPath = Annotated[
    str, Field(min_length=1, json_schema_extra={"format": "library-path"}), AfterValidator(_below_the_library)
]
FileName = Annotated[LibraryPath, AfterValidator(_plain_name)]
Mp4Path = Annotated[LibraryPath, AfterValidator(_video_file)]
DirectoryType = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Preset = Annotated[
    Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"],
    Field(description="How long the encoder looks for savings, in x264's words."),
]
Orientation = Literal["landscape", "portrait", "square"]
_OF_VIDEO: dict[str, Any] = {"x-ref": "video"}  # for forms: a choice of the library's videos
SomeVideo = Annotated[UUID, Field(json_schema_extra=_OF_VIDEO)]
VideoId = Annotated[UUID, Field(description="The video's id in the library.", json_schema_extra=_OF_VIDEO)]
Int = Annotated[int, BeforeValidator(_no_boolean)]
Crf = Annotated[Int, Field(ge=0, le=51, description="Constant rate factor: 0 is lossless, 51 the worst.")]
Vmaf = Annotated[float, BeforeValidator(_no_boolean), Field(ge=1, le=100, allow_inf_nan=False)]
Decibel = Annotated[float, BeforeValidator(_no_boolean), Field(ge=10, le=100, allow_inf_nan=False)]
Kbps = Annotated[Int, Field(ge=100, le=200_000)]
Number = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0, le=1_000_000, allow_inf_nan=False)]


_LIMITS = {"ge": "minimum", "le": "maximum", "gt": "exclusiveMinimum", "lt": "exclusiveMaximum"}


def _name_limits(schema: Any) -> None:
    """In place, at every depth: "ge" → "minimum"."""
    if isinstance(schema, dict):
        for ours, standard in _LIMITS.items():
            if isinstance(schema.get(ours), int | float):
                schema[standard] = schema.pop(ours)
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _name_limits(part)


class Params(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, validate_by_alias=True, extra="forbid", frozen=True
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Pydantic leaves limits that stand behind a validator under their Python names."""
        schema = handler(core_schema)
        _name_limits(handler.resolve_ref_schema(schema))
        return schema

    def unique_key(self) -> str | None:
        """What at most one live job may do at a time; None: any number may."""
        return None

    def video_ids(self) -> tuple[UUID, ...]:
        """The videos that this job is about, as far as the params name them."""
        return ()


class OneVideo(Params):
    """A job about one video that is known by its id."""

    video_id: VideoId

    def video_ids(self) -> tuple[UUID, ...]:
        return (self.video_id,)
