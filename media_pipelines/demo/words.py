"""How jobs of the demo read: a name, a note, a result in half a line."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from jobqueue_bridge.queue import Job
from jobqueue_bridge.vocabulary import JobStatus, JobType
from media_pipelines.cli.job_text import file_of
from media_pipelines.cli.printable import clock, pace, printable, size
from media_pipelines.cli.watching import waiting_note

COLOURS = {
    JobStatus.PENDING: "yellow",
    JobStatus.QUEUED: "cyan",
    JobStatus.RUNNING: "bright_cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "magenta",
    JobStatus.PAUSED: "magenta",
}


def what(job: Job, paths: Mapping[UUID, str]) -> str:
    """The file or the folder that a job is about; a compilation has the library."""
    if job.type == JobType.COMPILE_RANDOM:
        return f"{job.params.get('count')} of the library"
    if job.type == JobType.COMPILE_QUAD:
        return "four of the library"
    if job.type == JobType.SCAN and "path" in job.params:
        return printable(str(job.params["path"]))
    return printable(file_of(job, paths))


def note(job: Job, paths: Mapping[UUID, str]) -> str:
    """What somebody who watches wants to know now."""
    match job.status:
        case JobStatus.RUNNING:
            return _piece(job.progress_detail) + pace(job.progress_detail)
        case JobStatus.PENDING:
            return printable(waiting_note(job))
        case JobStatus.QUEUED:
            return "admitted, its run starts"
        case JobStatus.COMPLETED:
            return outcome(job)
        case _:
            return _without_path(printable(" ".join((job.error or "").split())), what(job, paths))


def _without_path(error: str, name: str) -> str:
    """An error on a file begins with its whole path, and the row has its name already."""
    return error.rpartition(f"/{name} ")[2]


def _piece(detail: Any) -> str:
    given = detail if isinstance(detail, dict) else {}
    return f"part {given['piece']} of {given['pieces']}  " if "piece" in given and "pieces" in given else ""


def outcome(job: Job) -> str:
    """What a completed job has made: "12.3 MB → 4.1 MB, libx264"."""
    return _OUTCOMES[JobType(job.type)](job.result or {}) if JobType(job.type) in _OUTCOMES else ""


def _scan(result: Mapping[str, Any]) -> str:
    counted = ("found", "new", "invalid", "skipped")
    return ", ".join(f"{result[name]} {name}" for name in counted if result.get(name)) or "nothing found"


def _validate(result: Mapping[str, Any]) -> str:
    return f"sound, {result.get('framesDecoded')} frames decoded"


def _thumbnail(result: Mapping[str, Any]) -> str:
    return f"{result.get('width')}×{result.get('height')} from {result.get('timestamp', 0):.2f} s"


def _reencode(result: Mapping[str, Any]) -> str:
    before, after = result.get("sourceSizeBytes", 0), result.get("sizeBytes", 0)
    return f"{size(before)} → {size(after)}, {result.get('encoder') or 'published before'}"


def _compile(result: Mapping[str, Any]) -> str:
    return (
        f"{len(result.get('sourceVideoIds', ()))} videos joined, {clock(result.get('durationSeconds') or 0)}, "
        f"{size(result.get('sizeBytes', 0))}"
    )


def _grid(result: Mapping[str, Any]) -> str:
    return f"a grid of four, {clock(result.get('durationSeconds') or 0)}, {size(result.get('sizeBytes', 0))}"


def _animation(result: Mapping[str, Any]) -> str:
    picture = f"{result.get('width')}×{result.get('height')} at {result.get('fps', 0):.3g} fps"
    return f"{picture}, {clock(result.get('durationSeconds') or 0)}, {size(result.get('sizeBytes', 0))}"


def _digest(result: Mapping[str, Any]) -> str:
    segments = len(result.get("segments", ()))
    pieces = "1 piece" if segments == 1 else f"{segments} pieces"
    return f"{pieces}, {clock(result.get('durationSeconds') or 0)}, {size(result.get('sizeBytes', 0))}"


_OUTCOMES = {
    JobType.DIGEST_GENERATE: _digest,
    JobType.SCAN: _scan,
    JobType.PUBLIC_SCAN: _scan,
    JobType.VALIDATE: _validate,
    JobType.THUMBNAIL_GENERATE: _thumbnail,
    JobType.REENCODE_STREAMING: _reencode,
    JobType.COMPILE_RANDOM: _compile,
    JobType.COMPILE_QUAD: _grid,
    JobType.COMPILE_GIF: _animation,
}


def waited_s(job: Job) -> float | None:
    """From the row's appearance to its last start."""
    return None if job.started_at is None else max(0.0, (job.started_at - job.created_at).total_seconds())


def ran_s(job: Job) -> float | None:
    if job.started_at is None or job.completed_at is None:
        return None
    return max(0.0, (job.completed_at - job.started_at).total_seconds())


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f} s" if value < 60 else clock(value)


def video_width(terminal_width: int) -> int:
    """Columns for the name of a file."""
    return min(34, max(14, terminal_width // 4))
