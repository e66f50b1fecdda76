"""Take a picture of a video."""

import base64
import io
from pathlib import Path

import dagster as dg

from jobqueue_bridge import params, videos
from media_pipelines.media import files, thumbnail
from media_pipelines.ops.outputs import owner, remove_left_behind
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import source_video
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_PREVIEW_PIXELS = 320


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Take a frame that is not black, write it as thumbnails/<video>.jpg, name it on the video's row.",
)
def take_thumbnail(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.ThumbnailGenerate)
        video = source_video(queue, wanted.video_id)
        target = library.path(f"thumbnails/{video.id}.jpg")
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_left_behind(target.parent, attempt.job)
        partial = files.partial_path(target, owner(attempt.job.id, attempt.job.attempt))
        try:
            with ffmpeg.prober() as prober:
                source = prober.probe(library.path(video.path))
            taken = thumbnail.take(
                ffmpeg.program,
                source,
                partial,
                at_s=wanted.timestamp,
                width=wanted.width,
                stop=attempt.stop_reason,
            )
            attempt.check()
            files.publish(partial, target, replace=True)
        finally:
            partial.unlink(missing_ok=True)
        relative = library.relative(target)
        attempt.log(f"Frame at {taken.at_s:.2f} s, {taken.width}×{taken.height}: {relative}")
        attempt.complete(
            {"outputPath": relative, "timestamp": taken.at_s, "width": taken.width, "height": taken.height},
            also=lambda connection: videos.update(connection, video.id, thumbnail_path=relative),
        )
    return dg.Output(
        None,
        metadata={
            "preview": dg.MetadataValue.md(f"![frame of the video]({preview(target)})"),
            "path": relative,
            "timestamp_s": round(taken.at_s, 3),
            "size": f"{taken.width}×{taken.height}",
        },
    )


def preview(picture: Path) -> str:
    """A small copy as a data URI: the Dagster UI shows it without asking anybody."""
    from PIL import Image

    with Image.open(picture) as image:
        image.thumbnail((_PREVIEW_PIXELS, _PREVIEW_PIXELS))
        small = io.BytesIO()
        image.convert("RGB").save(small, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode()
