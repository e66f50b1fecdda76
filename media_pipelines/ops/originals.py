"""What jobs do to originals: only through the journal, so that a crash loses none of them."""

from pathlib import Path
from typing import Any

from jobqueue_bridge import file_changes, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.file_changes import FileChange
from jobqueue_bridge.videos import Video
from media_pipelines.journal import Journal
from media_pipelines.left_behind import owner
from media_pipelines.media import replace
from media_pipelines.media.probe import Probe
from media_pipelines.media.replace import Identity
from media_pipelines.ops.videos import directory_type, facts
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

# Of the old content: nobody knows them of the new one yet.
_UNKNOWN: dict[str, Any] = {"sha256": None, "phash": None, "fingerprint": None}


def journal(queue: Queue, library: Library) -> Journal:
    return Journal(engine_for(queue.settings), library.root)


def finished_change(attempt: Attempt, queue: Queue, library: Library) -> FileChange | None:
    """The change that an earlier attempt of this job has made, after what it left half-done is settled. Ask for it
    first of all: where there is one, only completing the job is left to do."""
    for note in journal(queue, library).recover_abandoned(attempt.job.id):
        attempt.log(f"Left by an earlier attempt: {note}")
    with queue.begin() as connection:
        return file_changes.done_by(connection, attempt.job.id)


def replace_original(
    attempt: Attempt,
    queue: Queue,
    library: Library,
    video: Video,
    partial: Path,
    target: Path,
    *,
    source: Identity,
    result: Probe,
    keep_original: bool,
) -> FileChange:
    """Let a verified partial take the place of a video's file, and its row follow, whatever crashes meanwhile.

    `source`: what `replace.seen` said about the file before it was probed. `target`: the file's own path, or one with
    another extension beside it. Where the original is kept it is named on the change (`backup`), and
    `media-pipelines restore` brings it back. Call `attempt.complete` next.

    Raises SourceChanged (transient), TargetExists, PathTaken, LeaseLost, ChangeUnderWay, OSError: then all is as it
    was.
    """
    attempt.check()
    path = library.path(video.path)
    relative = library.relative(target)
    with queue.begin() as connection:
        videos.require_free(connection, relative, video.id)
    change = journal(queue, library).replace(
        attempt.lease,
        video.id,
        path=path,
        target=target,
        partial=partial,
        expected=source,
        keep_original=keep_original,
        mark=owner(attempt.job.id, attempt.job.attempt),
        columns={
            **facts(result),
            **_UNKNOWN,
            "directory_type": directory_type(relative),
            "reencode_job_id": attempt.job.id,
        },
    )
    kept = f"the original is kept as {change.backup}" if change.backup else "the original is gone"
    attempt.log(f"{change.target} is the new file; {kept}")
    return change


def move_original(attempt: Attempt, queue: Queue, library: Library, video: Video, target: Path) -> FileChange:
    """Let a video's file go to a free name, and its row follow, whatever crashes meanwhile.

    Raises SourceChanged, TargetExists, NotWritable, DiskFull, CopyDiffers, LeaseLost, ChangeUnderWay or OSError: then
    all is as it was.
    """
    path = library.path(video.path)
    to_do_bytes = 2 * max(1, replace.seen(path).size_bytes)  # written, then read back
    done_bytes = 0

    def count(more_bytes: int) -> None:
        nonlocal done_bytes
        attempt.check()
        done_bytes += more_bytes
        attempt.progress(min(99.0, 100 * done_bytes / to_do_bytes), size_bytes=done_bytes)

    change = journal(queue, library).move(
        attempt.lease,
        video.id,
        path=path,
        target=target,
        mark=owner(attempt.job.id, attempt.job.attempt),
        columns={"directory_type": directory_type(library.relative(target))},
        on_bytes=count,
    )
    attempt.log(f"{change.path} is {change.target} now")
    for here, there in change.facts["sidecars"]:
        moved = library.path(there).exists() and not library.path(here).exists()
        attempt.log(f"{here} {'came along' if moved else 'stays: its new name is taken'}")
    return change
