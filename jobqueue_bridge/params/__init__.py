"""What each job type accepts: one model a type, with defaults and limits.

JSON names are camelCase, as in the specification; unknown names are refused, so that a typo is not a silent default.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from jobqueue_bridge.errors import FieldProblem, InvalidJob
from jobqueue_bridge.params.compilations import CompileMega, CompileQuad, CompileRandom, Criteria
from jobqueue_bridge.params.fields import Params
from jobqueue_bridge.params.insights import (
    ClipGenerate,
    DigestGenerate,
    HighlightGenerate,
    SceneExtract,
    TagGeneration,
)
from jobqueue_bridge.params.library import DirectoryScan, LibraryReport, MoveToLibrary, PublicScan, Scan, Validate
from jobqueue_bridge.params.renditions import CompileGif, ReencodeStreaming, ThumbnailGenerate
from jobqueue_bridge.params.transcode import Transcode
from jobqueue_bridge.text import storable
from jobqueue_bridge.vocabulary import JobType

__all__ = [
    "MODELS",
    "ClipGenerate",
    "CompileGif",
    "CompileMega",
    "CompileQuad",
    "CompileRandom",
    "Criteria",
    "DigestGenerate",
    "DirectoryScan",
    "HighlightGenerate",
    "LibraryReport",
    "MoveToLibrary",
    "Params",
    "PublicScan",
    "ReencodeStreaming",
    "Scan",
    "SceneExtract",
    "TagGeneration",
    "ThumbnailGenerate",
    "Transcode",
    "Validate",
    "job_type",
    "parse",
]

MODELS: Mapping[JobType, type[Params]] = MappingProxyType(
    {
        JobType.SCAN: Scan,
        JobType.PUBLIC_SCAN: PublicScan,
        JobType.VALIDATE: Validate,
        JobType.THUMBNAIL_GENERATE: ThumbnailGenerate,
        JobType.REENCODE_STREAMING: ReencodeStreaming,
        JobType.COMPILE_RANDOM: CompileRandom,
        JobType.COMPILE_QUAD: CompileQuad,
        JobType.COMPILE_MEGA: CompileMega,
        JobType.COMPILE_GIF: CompileGif,
        JobType.DIGEST_GENERATE: DigestGenerate,
        JobType.CLIP_GENERATE: ClipGenerate,
        JobType.HIGHLIGHT_GENERATE: HighlightGenerate,
        JobType.TAG_GENERATION: TagGeneration,
        JobType.SCENE_EXTRACT: SceneExtract,
        JobType.MOVE_TO_LIBRARY: MoveToLibrary,
        JobType.TRANSCODE: Transcode,
        JobType.LIBRARY_REPORT: LibraryReport,
    }
)


def job_type(name: str) -> JobType:
    """Raises InvalidJob where nothing of that name can be run."""
    try:
        return JobType(name)
    except ValueError as error:
        known = ", ".join(sorted(MODELS))
        raise InvalidJob([FieldProblem("type", f"unknown job type {name!r}; known: {known}")]) from error


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
