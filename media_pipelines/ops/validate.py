"""Probe a video anew, decode frames of it, and say on its row whether it is sound."""

import dagster as dg

from jobqueue_bridge import params, videos
from media_pipelines.media.errors import MediaError
from media_pipelines.media.probe import Probe
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import broken, row, source_video, table
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_FRAMES = 5


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description=f"Probe the file, decode {_FRAMES} frames spread over it, refresh its row; a broken file fails.",
)
def validate_video(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.Validate)
        video = source_video(queue, wanted.video_id)
        path = library.path(video.path)
        attempt.log(f"Input: {video.path}")
        try:
            with ffmpeg.prober() as prober:
                probe = prober.probe(path, decode_frames=_FRAMES)
        except MediaError as error:
            if error.kind == "permanent":
                with queue.begin() as connection:
                    videos.update(connection, video.id, **broken(error))
            raise
        fresh = {name: value for name, value in row(video.path, path, probe).items() if name not in _KEPT}
        attempt.log(f"{probe.frames_decoded} frames decoded: the video is sound")
        attempt.complete(
            {"valid": True, "framesDecoded": probe.frames_decoded},
            also=lambda connection: videos.update(connection, video.id, **fresh),
        )
    return dg.Output(None, metadata=_shown(video.path, probe))


# What validation leaves alone: a person may have changed it.
_KEPT = frozenset({"path", "filename", "title", "directory_type"})


def _shown(path: str, probe: Probe) -> dict[str, dg.MarkdownMetadataValue | str | float]:
    return {
        "path": path,
        "duration_s": round(probe.duration_s or 0, 3),
        "picture": f"{probe.width}×{probe.height}, {probe.quality}, {probe.orientation}",
        "size_mb": round(probe.size_bytes / 1e6, 3),
        "frames_decoded": probe.frames_decoded,
        "streams": table(
            ["#", "kind", "codec", "language", "channels"],
            [(s.index, s.kind, s.codec, s.language, s.channels) for s in probe.streams],
        ),
    }
