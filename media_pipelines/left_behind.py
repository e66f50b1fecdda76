"""Unfinished files: which attempt they belong to, and what is done with those of an attempt that is over."""

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from jobqueue_bridge import file_changes, lease
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.lease import Holding
from jobqueue_bridge.settings import Settings
from media_pipelines import run_process
from media_pipelines.journal import Journal
from media_pipelines.media import files
from media_pipelines.media.errors import PathOutsideLibrary

_OWNER = r"(?P<job>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(?P<attempt>[1-9][0-9]{0,8})"
_PARTIAL = re.compile(rf".*\.{_OWNER}\.partial(?:\.[^.]*)?", re.DOTALL)
_FOLDER = re.compile(_OWNER)
# Where jobs write unless they are told otherwise.
_MADE_IN = ("playback", "compilations", "gifs", "thumbnails", "digests", "highlights", "clips", "scenes")
# Of a job that this database does not know: another platform may be at work in the same library.
_STRANGERS_AFTER = timedelta(days=1)

Owner = tuple[UUID, int]


def owner(job_id: UUID, attempt: int) -> str:
    """What marks the unfinished files of one attempt. The one before it may still be ending, and cleans up, too."""
    return f"{job_id}-{attempt}"


def remove(settings: Settings, job_id: UUID, attempt: int, params: Any, sources: Sequence[str]) -> None:
    """A dead attempt's unfinished files, where they are written and beside its sources. The job may be cancelled
    before another attempt could do it. First the journal: a partial that is named there is a matter of its own."""
    _ = list(Journal(engine_for(settings), settings.media_library_path).recover_abandoned(job_id))
    mark = owner(job_id, attempt)
    shutil.rmtree(settings.temp_dir / mark, ignore_errors=True)
    if settings.temp_directory:
        with suppress(OSError):
            files.remove_partials(Path(settings.temp_directory), mark)
    folders = {*_MADE_IN, *(path.rpartition("/")[0] or "." for path in sources)}
    asked_for = params.get("outputPath") if isinstance(params, dict) else None
    if isinstance(asked_for, str):
        folders.add(asked_for.rpartition("/")[0] or ".")
    with suppress(OSError):
        folders |= _destinations(params, settings.media_library_path)
    for folder in folders:
        with suppress(PathOutsideLibrary, OSError):  # the job is healed; what cannot be tidied must not stop the rest
            files.remove_partials(files.resolve_inside(settings.media_library_path, folder), mark)


def _destinations(params: Any, root: Path) -> set[str]:
    """The folders that a policy's destination may have led to: a placeholder stands for any name."""
    policy = params.get("policy") if isinstance(params, dict) else None
    template = policy.get("destination") if isinstance(policy, dict) else None
    if not isinstance(template, str):
        return set()
    parts = [re.sub(r"(\{\w+\})+", "*", glob.escape(part)) for part in template.split("/") if part.strip()]
    return {str(folder.relative_to(root)) for folder in (root.glob("/".join(parts)) if parts else ())}


@dataclass(frozen=True)
class Orphan:
    """An unfinished file, or a folder of such, whose attempt is over."""

    path: Path
    job_id: UUID
    attempt: int
    size_bytes: int
    modified_at: datetime

    def remove(self) -> None:
        """Raises OSError; that somebody else removed it is fine."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def orphans(settings: Settings, older_than_days: float = 0) -> list[Orphan]:
    """Everything below the library and in the folders for temporary files that bears an attempt's mark, and whose
    attempt is over for certain."""
    found = [orphan for path, mark in _marked(settings) if (orphan := _look_at(path, mark)) is not None]
    with engine_for(settings).connect() as connection:
        holders = lease.holders(connection, {orphan.job_id for orphan in found})
        unsettled = file_changes.unsettled(connection)
    young = datetime.now(UTC) - timedelta(days=older_than_days)
    return [
        orphan
        for orphan in found
        if (orphan.job_id, orphan.attempt) not in unsettled
        and orphan.modified_at <= young
        and _is_over(settings, orphan, holders.get(orphan.job_id))
    ]


def _is_over(settings: Settings, orphan: Orphan, holder: Holding | None) -> bool:
    if holder is None:
        return orphan.modified_at <= datetime.now(UTC) - _STRANGERS_AFTER
    if holder.attempt != orphan.attempt:
        return holder.attempt > orphan.attempt
    if holder.run_id is not None and run_process.pid_of(settings.runs_dir, holder.run_id) is not None:
        return False
    return not holder.is_active


def _marked(settings: Settings) -> Iterator[tuple[Path, re.Match[str]]]:
    folders = [settings.media_library_path, *([Path(settings.temp_directory)] if settings.temp_directory else [])]
    for folder in dict.fromkeys(folders):
        yield from _matching(_PARTIAL, _files_below(folder, recursive=folder == settings.media_library_path))
    with suppress(OSError):
        yield from _matching(_FOLDER, sorted(settings.temp_dir.iterdir()))


def _matching(pattern: re.Pattern[str], paths: Iterable[Path]) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in paths:
        if mark := pattern.fullmatch(path.name):
            yield path, mark


def _files_below(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Links are not followed: what they lead to is not below it."""
    for inner, folders, names in os.walk(folder):
        yield from (Path(inner, name) for name in names)
        if not recursive:
            folders.clear()


def _look_at(path: Path, mark: re.Match[str]) -> Orphan | None:
    """None: it is gone, or a link."""
    try:
        inner = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
        states = [one.lstat() for one in inner]
    except OSError:
        return None
    if path.is_symlink():
        return None
    modified_at = max(files.modified_at(state) for state in states)
    return Orphan(path, UUID(mark["job"]), int(mark["attempt"]), sum(state.st_size for state in states), modified_at)
