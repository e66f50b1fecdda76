"""Join randomly chosen videos: choose, join, publish."""

import dagster as dg

from jobqueue_bridge import params
from media_pipelines.media.cuts import Item
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.compilations import Compilation, adopted, choose, cut_list, finish, join
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.params import typed
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_PRESET = "medium"
_CRF = 23


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Claim the job and choose the videos: the same seed chooses the same ones.",
)
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
            copies=True,
        )


@dg.op(
    tags=GOES_ON,
    description="Join the chosen videos: copied where all match, else what differs is encoded first. Verified.",
)
def join_sources(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        if compilation.output.published:
            return adopted(compilation, ffmpeg)
        items = [Item(source) for source in compilation.sources]
        with verifying(context, attempt):
            return join(attempt, compilation, lambda _: items, queue, ffmpeg, preset=_PRESET, crf=_CRF)


@dg.op(tags=GOES_ON, description="Rename the compilation to its place and write its row.")
def publish_compilation(
    context: dg.OpExecutionContext,
    compilation: Compilation,
    job: JobRow,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dg.Output[None]:
    with job.step(context) as attempt:
        shown = finish(context, attempt, compilation, queue, library, ffmpeg)
    return dg.Output(None, metadata={**shown, "cut_list": cut_list(compilation.chosen)})
