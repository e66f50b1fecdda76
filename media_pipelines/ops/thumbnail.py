"""Take a picture of a video, and if wanted small ones of all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.videos import Video
from media_pipelines.left_behind import owner
from media_pipelines.media import files, storyboard, thumbnail
from media_pipelines.media.probe import Probe
from media_pipelines.media.thumbnail import Thumbnail
from media_pipelines.ops import pictures
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.materialized import file_at, made, video_link
from media_pipelines.ops.outputs import remove_left_behind
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import source_video
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_SHEET_PIXELS = 640  # in the Dagster UI; a smaller sheet shows nothing


@dataclass(frozen=True)
class _File:
    """One file on its way to its name."""

    partial: Path
    target: Path


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Take a frame that shows something, write it as thumbnails/<video>.jpg, name it on the video's row; "
    "if wanted, a storyboard beside it.",
)
def take_thumbnail(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.ThumbnailGenerate)
        video = source_video(queue, wanted.video_id)
        folder = library.path("thumbnails")
        files.require_folder(folder)
        remove_left_behind(folder, attempt.job)
        try:
            with ffmpeg.prober() as prober:
                source = prober.probe(library.path(video.path))
            picture = _file(attempt, folder, f"{video.id}.jpg")
            with verifying(context, attempt):
                taken = _take(attempt, wanted, source, picture, ffmpeg)
                sheets = _storyboard(attempt, video, source, folder, ffmpeg) if wanted.storyboard else []
            attempt.check()
            _publish(picture, sheets)
            _remove_older_sheets(folder, video, sheets)
        finally:
            files.remove_partials(folder, owner(attempt.job.id, attempt.job.attempt))
        relative = library.relative(picture.target)
        attempt.log(f"Frame at {taken.at_s:.2f} s, {taken.width}×{taken.height}: {relative}")
        result = {"outputPath": relative, "timestamp": taken.at_s, "width": taken.width, "height": taken.height}
        columns = {"thumbnail_path": relative}
        if sheets:
            columns["storyboard_path"] = library.relative(sheets[-1].target)
            result |= {"storyboardPath": columns["storyboard_path"], "storyboardSheets": len(sheets) - 1}
        attempt.complete(result, also=lambda connection: videos.update(connection, video.id, **columns))
    source_of = {"source": video.path, "source_video": video_link(queue.settings, video.id)}
    return dg.Output(None, metadata=made(attempt, **_shown(library, picture, taken, sheets), **source_of))


def _file(attempt: Attempt, folder: Path, name: str) -> _File:
    partial = files.partial_path(folder / name, owner(attempt.job.id, attempt.job.attempt))
    attempt.writes(partial)
    return _File(partial, folder / name)


def _take(
    attempt: Attempt, wanted: params.ThumbnailGenerate, source: Probe, picture: _File, ffmpeg: Ffmpeg
) -> Thumbnail:
    return thumbnail.take(
        ffmpeg.program,
        source,
        picture.partial,
        at_s=wanted.timestamp,
        width=wanted.width,
        stop=attempt.stop_reason,
    )


def _storyboard(attempt: Attempt, video: Video, source: Probe, folder: Path, ffmpeg: Ffmpeg) -> list[_File]:
    """Its sheets and, last, its index, all still under partial names."""
    plan = storyboard.layout(source)
    scratch = _file(attempt, folder, f"{video.id}.storyboard.jpg").partial
    drawn = storyboard.draw(
        ffmpeg.program,
        source,
        plan,
        scratch,
        stop=attempt.stop_reason,
        stall_timeout_s=ffmpeg.stall_timeout_s,
    )
    sheets = [_file(attempt, folder, f"{video.id}.storyboard-{n:02d}.jpg") for n in range(1, len(drawn) + 1)]
    for sheet, jpeg in zip(sheets, drawn, strict=True):
        sheet.partial.write_bytes(jpeg)
    index = _file(attempt, folder, f"{video.id}.storyboard.vtt")
    index.partial.write_text(storyboard.index(plan, [sheet.target.name for sheet in sheets]))
    attempt.log(f"Storyboard: {plan.tiles} pictures, one every {plan.interval_s:g} s, on {len(sheets)} sheets")
    return [*sheets, index]


def _publish(picture: _File, storyboard: Sequence[_File]) -> None:
    """An index never stands beside sheets of another: the old one goes first, the new one comes last."""
    if storyboard:
        storyboard[-1].target.unlink(missing_ok=True)
    for file in (picture, *storyboard):
        files.publish(file.partial, file.target, replace=True)


def _remove_older_sheets(folder: Path, video: Video, storyboard: Sequence[_File]) -> None:
    """A storyboard of before may have had more of them."""
    if not storyboard:
        return
    kept = {file.target for file in storyboard}
    for sheet in folder.glob(f"{video.id}.storyboard-[0-9]*.jpg"):
        if sheet not in kept and ".partial" not in sheet.name:
            sheet.unlink(missing_ok=True)


def _shown(library: Library, picture: _File, taken: Thumbnail, sheets: Sequence[_File]) -> dict[str, Any]:
    shown = {
        "preview": pictures.shown(picture.target, "frame of the video"),
        **file_at(library, library.relative(picture.target)),
        "timestamp_s": round(taken.at_s, 3),
        "size": f"{taken.width}×{taken.height}",
    }
    if sheets:
        shown["storyboard"] = pictures.shown(sheets[0].target, "first sheet", _SHEET_PIXELS)
        shown["storyboard_path"] = dg.MetadataValue.path(library.relative(sheets[-1].target))
    return shown
