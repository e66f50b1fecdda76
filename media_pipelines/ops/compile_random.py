"""Join randomly chosen videos: choose, join, publish."""

from dataclasses import replace

import dagster as dg

from jobqueue_bridge import params
from media_pipelines.media import compile as compiling
from media_pipelines.ops.compilations import (
    JOINED_PERCENT,
    Compilation,
    adopted,
    choose,
    chosen_encoder,
    cut_list,
    finish,
    frame_of,
    room_for_pieces,
)
from media_pipelines.ops.outputs import removing_partials
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_PRESET = "medium"
_CRF = 23


@dg.op(description="Claim the job and choose the videos: the same seed chooses the same ones.")
def choose_sources(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.CompileRandom)
        return choose(
            attempt,
            "random",
            wanted,
            queue,
            library,
            ffmpeg,
            count=wanted.count,
            output_path=wanted.output_path,
        )


@dg.op(description="Join the chosen videos: copied where all match, else what differs is encoded first. Verified.")
def join_sources(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        if compilation.output.published:
            return adopted(compilation, ffmpeg)
        with (
            room_for_pieces(attempt, queue) as workdir,
            removing_partials(compilation.output, attempt),
            ffmpeg.prober() as prober,
            bounded(attempt.log, "lines of ffmpeg") as on_line,
        ):
            joined = compiling.join(
                ffmpeg.program,
                prober,
                [compiling.Item(source) for source in compilation.sources],
                compilation.output.partial,
                workdir=workdir,
                choose_encoder=lambda: chosen_encoder(attempt, ffmpeg),
                preset=_PRESET,
                crf=_CRF,
                on_progress=Reporter(attempt, JOINED_PERCENT).percent,
                stop=attempt.stop_reason,
                on_line=on_line,
                on_command=lambda line: attempt.log(f"FFmpeg command: {line}"),
                stall_timeout_s=ffmpeg.stall_timeout_s,
            )
        attempt.log(f"Joined: {joined.how}")
        return replace(compilation, result=joined.result, how=joined.how)


@dg.op(description="Rename the compilation to its place and write its row.")
def publish_compilation(
    context: dg.OpExecutionContext,
    compilation: Compilation,
    job: JobRow,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dg.Output[None]:
    with job.step(context) as attempt:
        shown = finish(context, attempt, compilation, queue, library)
    frame = frame_of(compilation, shown["path"], library, ffmpeg)
    return dg.Output(None, metadata={**shown, "frame": frame, "cut_list": cut_list(compilation.chosen)})
