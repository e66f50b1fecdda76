"""Where an output goes, and how it gets there: a partial beside its target, verified, announced, renamed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobqueue_bridge.queue import Job
from media_pipelines.left_behind import owner
from media_pipelines.media import files
from media_pipelines.media.errors import OutputGone, TargetExists
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.library import Library

# Space that an encode may need beside its source, and a reserve. Source: what ab-av1 and Tdarr users report.
_SPACE_FACTOR = 0.96


@dataclass(frozen=True)
class Output:
    """One file that a job makes. `published`: an earlier attempt of the same job has put it there already;
    `is_named`: the params ask for this very name."""

    partial: Path
    target: Path
    published: bool
    is_named: bool

    @property
    def to_verify(self) -> Path:
        return self.target if self.published else self.partial


def remove_left_behind(folder: Path, job: Job) -> None:
    """What the attempts before this one left half-written."""
    for earlier in range(1, job.attempt):
        files.remove_partials(folder, owner(job.id, earlier))


def plan_output(attempt: Attempt, library: Library, asked_for: str | None, default: str) -> Output:
    """The target that the params ask for, or a free name like the default.

    Raises TargetExists where the params name a file that is there and is not this job's own, PathOutsideLibrary.
    """
    announced, mark = attempt.announced_output, owner(attempt.job.id, attempt.job.attempt)
    if announced is not None:
        target = library.path(announced[0])
        if target.is_file() and target.stat().st_size == announced[1]:
            attempt.log(f"An earlier attempt has published {announced[0]}")
            return Output(files.partial_path(target, mark), target, published=True, is_named=True)
    target = library.path(asked_for or default)
    if asked_for is None:
        target = files.free_name(target, _tag(attempt.job))
    elif target.exists():
        raise TargetExists(target)
    return Output(files.partial_path(target, mark), target, published=False, is_named=asked_for is not None)


def mine(output: Output, attempt: Attempt) -> Output:
    """Under this attempt's partial name: a step that is executed again gets what an earlier run has planned."""
    return replace(output, partial=files.partial_path(output.target, owner(attempt.job.id, attempt.job.attempt)))


def require_made(output: Output) -> None:
    """Raises OutputGone: what a run has not published goes with it."""
    if not output.to_verify.is_file():
        raise OutputGone(output.target)


def _tag(job: Job) -> str:
    return str(job.id)[:8]


@contextmanager
def removing_partials(output: Output, attempt: Attempt) -> Iterator[None]:
    """Makes the folder; removes what earlier attempts left, and this one's partial unless the block ends well and the
    attempt goes on to complete."""
    folder, job = output.target.parent, attempt.job
    files.require_folder(folder)
    remove_left_behind(folder, job)
    attempt.writes(output.partial)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            files.remove_partials(folder, owner(job.id, job.attempt))
        raise


def require_space(output: Output, source_bytes: int) -> None:
    """Raises DiskFull before any work is done."""
    files.require_free_space(output.target.parent, int(source_bytes * _SPACE_FACTOR))


def publish(attempt: Attempt, library: Library, output: Output, **facts: Any) -> Path:
    """Announce, with `facts` for an attempt that finds it published; then rename, never over a file that is there.

    Returns where it is: a name of our own choice that was free when the work began may be taken by now. Raises
    LeaseLost, TargetExists, OutputGone.
    """
    if output.published:
        return output.target
    require_made(output)
    target = output.target
    try:
        files.flush(output.partial)  # before the lease is looked at: it can take minutes
        while True:
            attempt.announce_output(library.relative(target), output.partial.stat().st_size, **facts)
            try:
                files.publish(output.partial, target)
            except TargetExists:
                if output.is_named:
                    raise
                target = files.free_name(output.target, _tag(attempt.job))
            else:
                return target
    except BaseException:
        files.remove_quietly(output.partial)
        raise
