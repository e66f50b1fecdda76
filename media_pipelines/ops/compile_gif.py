"""Make an animated picture of a part of a video."""

import shlex
from pathlib import PurePosixPath

import dagster as dg

from jobqueue_bridge import params
from media_pipelines.media import gif
from media_pipelines.media.blame import blaming_sources
from media_pipelines.media.probe import Probe
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.materialized import file_at, made, video_link
from media_pipelines.ops.outputs import Output, plan_output, publish, removing_partials
from media_pipelines.ops.params import typed
from media_pipelines.ops.pictures import shown
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.ops.videos import source_video
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_MADE_PERCENT = 95


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Seek, encode, decode every frame of the result, rename it to its place below gifs/.",
)
def make_gif(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.CompileGif)
        video = source_video(queue, wanted.video_id)
        default = f"gifs/{PurePosixPath(video.filename).stem}.{wanted.format}"
        output = plan_output(attempt, library, wanted.output_path, default)
        with ffmpeg.prober() as prober:
            source = prober.probe(library.path(video.path))
            planned = gif.plan(
                source,
                kind=wanted.format,
                start_s=wanted.start,
                duration_s=wanted.duration,
                width=wanted.width,
                fps=wanted.fps,
                loop=wanted.loop,
            )
            if not output.published:
                with (
                    removing_partials(output, attempt),
                    blaming_sources(prober, [source]),
                    verifying(context, attempt),
                ):
                    planned = _made(attempt, source, planned, output, wanted.max_bytes, ffmpeg).animation
        target = publish(attempt, library, output)
        relative = library.relative(target)
        size_bytes = target.stat().st_size
        facts = {"width": planned.width, "height": planned.height, "fps": planned.fps}
        attempt.log(f"{planned.width}×{planned.height} at {planned.fps:.3g} fps, {size_bytes} bytes: {relative}")
        attempt.complete(
            {"outputPath": relative, "sizeBytes": size_bytes, "durationSeconds": planned.duration_s, **facts}
        )
    return dg.Output(
        None,
        metadata=made(
            attempt,
            preview=shown(target, "its first frame"),
            **file_at(library, relative),
            source=video.path,
            source_video=video_link(queue.settings, video.id),
            from_s=planned.start_s,
            duration_s=round(planned.duration_s, 3),
            picture=f"{planned.width}×{planned.height}",
            fps=planned.fps,
            size_mb=round(size_bytes / 1e6, 3),
        ),
    )


def _made(
    attempt: Attempt,
    source: Probe,
    planned: gif.Animation,
    output: Output,
    max_bytes: int | None,
    ffmpeg: Ffmpeg,
) -> gif.Made:
    with bounded(attempt.log, "lines of ffmpeg") as on_line:
        return gif.make(
            ffmpeg.program,
            source,
            planned,
            output.partial,
            max_bytes=max_bytes,
            on_progress=Reporter(attempt, _MADE_PERCENT).ffmpeg,
            stop=attempt.stop_reason,
            on_line=on_line,
            on_command=lambda command: _log_command(attempt, command),
            stall_timeout_s=ffmpeg.stall_timeout_s,
        )


def _log_command(attempt: Attempt, command: list[str]) -> None:
    attempt.log("FFmpeg command: " + shlex.join(command))
