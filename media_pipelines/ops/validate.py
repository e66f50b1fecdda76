"""Probe a video anew, decode frames of it, and say on its row whether it is sound."""

from pathlib import Path
from typing import Any

import dagster as dg

from jobqueue_bridge import params, videos
from media_pipelines.media import files, phash, replace
from media_pipelines.media.errors import MediaError
from media_pipelines.media.probe import Probe
from media_pipelines.ops.checks import sounding
from media_pipelines.ops.materialized import file_at, made, video_link
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import broken, row, source_video, table
from media_pipelines.resources.attempt import Attempt
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
        before = replace.found(path)
        try:
            with sounding(context, attempt), ffmpeg.prober() as prober:
                probe = prober.probe(path, decode_frames=_FRAMES)
        except MediaError as error:
            if error.kind == "permanent" and before is not None and replace.found(path) is not None:
                with queue.begin() as connection:
                    videos.update(connection, video.id, **broken(error))
            raise
        fresh = {name: value for name, value in row(video.path, path, probe).items() if name not in _KEPT}
        fresh |= _hashes(attempt, wanted, path, ffmpeg)
        if fresh["fingerprint"] != video.fingerprint:
            fresh.setdefault("sha256", None)
        if before is not None:
            replace.require_unchanged(path, before)
        attempt.log(f"{probe.frames_decoded} frames decoded: the video is sound")
        attempt.complete(
            {"valid": True, "framesDecoded": probe.frames_decoded, "sha256": fresh.get("sha256")},
            also=lambda connection: videos.update(connection, video.id, **fresh),
        )
    about = {**file_at(library, video.path), **_shown(probe), "sha256": fresh.get("sha256")}
    about["source_video"] = video_link(queue.settings, video.id)
    return dg.Output(None, metadata=made(attempt, **about))


def _hashes(attempt: Attempt, wanted: params.Validate, path: Path, ffmpeg: Ffmpeg) -> dict[str, str | None]:
    """Of the pictures, and of the whole content where it is asked for."""
    try:
        with ffmpeg.prober() as prober:
            hashes: dict[str, str | None] = {"phash": phash.of(prober, path) or None}
    except MediaError as error:
        attempt.log(f"No picture hash: {error}")
        hashes = {"phash": None}
    if wanted.checksum:
        hashes["sha256"] = _checksum(attempt, path)
        attempt.log(f"SHA-256: {hashes['sha256']}")
    return hashes


def _checksum(attempt: Attempt, path: Path) -> str:
    size_bytes, read_bytes = max(1, path.stat().st_size), 0

    def count(more_bytes: int) -> None:
        nonlocal read_bytes
        attempt.check()
        read_bytes += more_bytes
        attempt.progress(min(99.0, 100 * read_bytes / size_bytes), size_bytes=read_bytes)

    return files.sha256(path, count)


# What validation leaves alone: a person may have changed it.
_KEPT = frozenset({"path", "filename", "title", "directory_type"})


def _shown(probe: Probe) -> dict[str, Any]:
    return {
        "duration_s": round(probe.duration_s or 0, 3),
        "picture": f"{probe.width}×{probe.height}, {probe.quality}, {probe.orientation}",
        "size_mb": round(probe.size_bytes / 1e6, 3),
        "bitrate_kbps": probe.bitrate_kbps or 0,
        "frames_decoded": probe.frames_decoded,
        "streams": table(
            ["#", "kind", "codec", "language", "channels"],
            [(s.index, s.kind, s.codec, s.language, s.channels) for s in probe.streams],
        ),
    }
