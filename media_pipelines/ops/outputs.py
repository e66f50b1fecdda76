"""Where an output goes, and how it gets there: a partial beside its target, verified, announced, renamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobqueue_bridge.queue import Job
from media_pipelines.media import files
from media_pipelines.media.errors import TargetExists
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.library import Library

# Space that an encode may need beside its source, and a reserve. Source: what ab-av1 and Tdarr users report.
_SPACE_FACTOR = 0.96


@dataclass(frozen=True)
class Output:
    """One file that a job makes. `published`: an earlier attempt of the same job has put it there already."""

    partial: Path
    target: Path
    published: bool

    @property
    def to_verify(self) -> Path:
        return self.target if self.published else self.partial


def plan_output(attempt: Attempt, library: Library, asked_for: str | None, default: str) -> Output:
    """The target that the params ask for, or a free name like the default.

    Raises TargetExists where the params name a file that is there and is not this job's own, PathOutsideLibrary.
    """
    announced = attempt.announced_output
    if announced is not None:
        target = library.path(announced[0])
        if target.is_file() and target.stat().st_size == announced[1]:
            attempt.log(f"An earlier attempt has published {announced[0]}")
            return Output(files.partial_path(target, str(attempt.job.id)), target, published=True)
    target = library.path(asked_for or default)
    if asked_for is None:
        target = files.free_name(target, str(attempt.job.id)[:8])
    elif target.exists():
        raise TargetExists(target)
    return Output(files.partial_path(target, str(attempt.job.id)), target, published=False)


@contextmanager
def removing_partials(output: Output, job: Job) -> Iterator[None]:
    """Makes the folder; removes what earlier attempts left, and this one's partial unless the block ends well."""
    output.target.parent.mkdir(parents=True, exist_ok=True)
    files.remove_partials(output.target.parent, str(job.id))
    try:
        yield
    except BaseException:
        files.remove_partials(output.target.parent, str(job.id))
        raise


def require_space(output: Output, source_bytes: int) -> None:
    """Raises DiskFull before any work is done."""
    files.require_free_space(output.target.parent, int(source_bytes * _SPACE_FACTOR))


def publish(attempt: Attempt, library: Library, output: Output) -> None:
    """Announce, then rename; never over a file that is there. Raises LeaseLost, TargetExists."""
    if output.published:
        return
    try:
        attempt.announce_output(library.relative(output.target), output.partial.stat().st_size)
        files.publish(output.partial, output.target)
    except BaseException:
        output.partial.unlink(missing_ok=True)
        raise
