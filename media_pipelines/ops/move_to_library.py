"""Move a video to another folder of the library: its row, with all that hangs on it, follows."""

from itertools import count
from pathlib import Path

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.file_changes import FileChange
from jobqueue_bridge.videos import Video
from media_pipelines.media import files
from media_pipelines.media.errors import TargetExists
from media_pipelines.ops.materialized import file_at, made, video_event, video_link
from media_pipelines.ops.originals import finished_change, move_original
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import source_video
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Move the file, by rename or by a verified copy, with its subtitles and .nfo; point its row there.",
)
def move_video(context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.MoveToLibrary)
        change = finished_change(attempt, queue, library)
        video = source_video(queue, wanted.video_id)
        came_from = change.path if change else video.path
        if change is None:
            change = _move(attempt, wanted, video, queue, library)
        lies_at = change.target if change else video.path
        attempt.complete({"path": lies_at, "movedFrom": came_from, "moved": change is not None})
    about = made(attempt, **file_at(library, lies_at), moved_from=dg.MetadataValue.path(came_from))
    if change is not None:
        video_event(context, video.id, dg.AssetObservation, what="moved", **about)
    return dg.Output(None, metadata={**about, "source_video": video_link(queue.settings, video.id)})


def _move(
    attempt: Attempt, wanted: params.MoveToLibrary, video: Video, queue: Queue, library: Library
) -> FileChange | None:
    """None: nothing is to be done."""
    path = library.path(video.path)
    target = library.path(f"{wanted.directory}/{_name(wanted, path)}")
    if target == path:
        attempt.log(f"{video.path} lies there already")
        return None
    if _is_taken(target, video, queue, library):
        if wanted.on_collision == "skip" and target.is_file() and files.same_content(path, target):
            attempt.log(f"{library.relative(target)} has the same content: {video.path} stays where it is")
            return None
        if wanted.on_collision != "rename":
            raise TargetExists(target)
        target = _free_target(target, video, queue, library)
    return move_original(attempt, queue, library, video, target)


def _name(wanted: params.MoveToLibrary, path: Path) -> str:
    name = wanted.filename or path.name
    return name if name.lower().endswith(path.suffix.lower()) else name + path.suffix


def _free_target(target: Path, video: Video, queue: Queue, library: Library) -> Path:
    """A name like the target's that neither a file nor a row has."""
    tags = (str(video.id)[:8] + (f"-{number}" if number > 1 else "") for number in count(1))
    likes = (target.with_name(f"{target.stem}.{tag}{target.suffix}") for tag in tags)
    candidates = (files.free_name(like, str(video.id)[:8]) for like in likes)
    return next(free for free in candidates if not _is_taken(free, video, queue, library))


def _is_taken(target: Path, video: Video, queue: Queue, library: Library) -> bool:
    """By a file, or by the row of a video that is missing at the moment and may return."""
    with queue.begin() as connection:
        of_row = videos.id_by_path(connection, library.relative(target))
    return target.exists() or of_row not in (None, video.id)
