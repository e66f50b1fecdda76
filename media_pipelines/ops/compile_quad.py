"""Four videos as one grid: choose, encode, publish."""

import shlex
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import dagster as dg

from jobqueue_bridge import params
from media_pipelines.media import quad
from media_pipelines.media.blame import Witness, blaming_sources
from media_pipelines.media.commands.pieces import shape
from media_pipelines.media.encoders import Way
from media_pipelines.media.errors import FfmpegFailed, FfmpegStalled
from media_pipelines.media.ffmpeg import run
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.compilations import JOINED_PERCENT, Compilation, adopted, choose, finish, ladder
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.outputs import mine, removing_partials, require_space
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.ops.videos import table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_CELL_NAMES = ("upper left", "upper right", "lower left", "lower right")


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Claim the job and find its four videos: those that are named, or four that fit the criteria.",
)
def choose_cells(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.CompileQuad)
        return choose(
            attempt,
            "quad",
            wanted,
            queue,
            library,
            ffmpeg,
            count=quad.CELLS,
            named=wanted.sources,
            output_path=wanted.output_path,
            at_least=quad.CELLS,
        )


@dg.op(
    tags=GOES_ON,
    description="Scale, pad and stack the four pictures and mix their sound, in one pass of ffmpeg. Verified.",
)
def encode_grid(context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, ffmpeg: Ffmpeg) -> Compilation:
    with job.step(context) as attempt:
        if compilation.output.published:
            return adopted(compilation, ffmpeg)
        wanted = typed(attempt, params.CompileQuad)
        compilation = replace(compilation, output=mine(compilation.output, attempt))
        grid = quad.grid(
            compilation.sources,
            shape(wanted.width // 2, wanted.height // 2, wanted.fps),
            audio=wanted.audio,
            length=wanted.length,
        )
        how = _how(grid)
        attempt.decided(how)
        ways = ladder(attempt, ffmpeg, compilation.sources, (grid.width, grid.height), wanted.preset, wanted.crf)
        with (
            removing_partials(compilation.output, attempt),
            ffmpeg.prober() as prober,
            blaming_sources(prober, compilation.sources) as witness,
        ):
            require_space(compilation.output, max(source.size_bytes for source in compilation.sources))
            while True:
                try:
                    _run(attempt, ffmpeg, grid, compilation.output.partial, ways.way(), wanted, witness)
                    break
                except (FfmpegFailed, FfmpegStalled) as error:
                    if not ways.steps_down(error):
                        raise
            with verifying(context, attempt):
                result = quad.verified(prober, grid, compilation.output.partial)
        return replace(compilation, result=result, how=how)


def _run(
    attempt: Attempt,
    ffmpeg: Ffmpeg,
    grid: quad.Grid,
    partial: Path,
    way: Way,
    wanted: params.CompileQuad,
    witness: Witness,
) -> None:
    command = quad.command(ffmpeg.program, grid, partial, way=way, preset=wanted.preset, crf=wanted.crf)
    attempt.log("FFmpeg command: " + shlex.join(command))
    with bounded(attempt.log, "lines of ffmpeg") as log_line:
        run(
            command,
            duration_s=grid.duration_s,
            on_progress=Reporter(attempt, JOINED_PERCENT).ffmpeg,
            stop=attempt.stop_reason,
            stall_timeout_s=ffmpeg.stall_timeout_s,
            on_line=witness.beside(log_line),
        )


def _how(grid: quad.Grid) -> str:
    def cells(numbers: tuple[int, ...]) -> str:
        return ", ".join(_CELL_NAMES[n] for n in numbers)

    sound = f"sound of {cells(grid.heard)}" if grid.heard else "no sound"
    again = f"; {cells(grid.looped)} start again" if grid.looped else ""
    return f"{grid.width}×{grid.height} at {_rate(grid.cell.fps)} fps, {sound}{again}"


def _rate(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".")


@dg.op(tags=GOES_ON, description="Rename the grid to its place and write its row.")
def publish_grid(
    context: dg.OpExecutionContext,
    compilation: Compilation,
    job: JobRow,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dg.Output[None]:
    with job.step(context) as attempt:
        shown = finish(context, attempt, compilation, queue, library, ffmpeg)
    rows = [
        (name, video.path, f"{probe.width}×{probe.height}", f"{probe.duration_s or 0:.2f} s")
        for name, (video, probe) in zip(_CELL_NAMES, compilation.chosen, strict=False)
    ]
    cells = table(["cell", "video", "size", "lasts"], rows)
    return dg.Output(None, metadata={**shown, "cells": cells})
