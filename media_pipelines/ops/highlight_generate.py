"""Rank the moments of a video and join the best to a reel: choose, join, publish."""

import dagster as dg

from jobqueue_bridge import params
from media_pipelines.ai.highlights import moments, reel
from media_pipelines.ai.interest import Weights, interest
from media_pipelines.media.cuts import Item
from media_pipelines.ops.analysis import Analysed
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.materialized import made, video_link
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.outputs import plan_output
from media_pipelines.ops.params import typed
from media_pipelines.ops.selections import (
    Selection,
    film,
    film_facts,
    note_thumbnail,
    publish_film,
    segment_of,
    shown,
    shown_film,
    stem,
    take_poster,
    told,
    write_why,
)
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_RANKED_AT_MOST = 50


@dg.op(
    tags=GOES_ON, description="Rank all moments by what moves, is loud, shows faces or is new; take the best of them."
)
def choose_moments(context: dg.OpExecutionContext, analysed: Analysed, job: JobRow, library: Library) -> Selection:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.HighlightGenerate)
        found = interest(analysed.analysis, Weights(wanted.motion, wanted.loudness, wanted.faces, wanted.novelty))
        ranked = moments(analysed.analysis, found, min_s=wanted.min_moment, max_s=wanted.max_moment)
        chosen = reel(
            analysed.analysis,
            found,
            ranked,
            wanted.target_length,
            min_s=wanted.min_moment,
            crossfade_s=wanted.crossfade,
        )
        attempt.log(f"Highlights: {len(chosen)} of {len(ranked)} moments")
        output = None
        if wanted.reel:
            default = f"highlights/{stem(analysed.video)}.highlights.mp4"
            output = plan_output(attempt, library, wanted.output_path, default)
        return Selection(analysed, found, tuple(chosen), output)


@dg.op(
    tags=GOES_ON,
    description="Cut the moments and join them in the order of the video; nothing where no reel is wanted.",
)
def join_moments(
    context: dg.OpExecutionContext, selection: Selection, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Selection:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.HighlightGenerate)
        if selection.output is None:
            return selection
        items = [Item(selection.source, start_s=one.start_s, length_s=one.length_s) for one in selection.segments]
        with verifying(context, attempt):
            return film(
                attempt, selection, items, queue, ffmpeg,
                preset=wanted.preset, crf=wanted.crf, crossfade_s=wanted.crossfade,
            )  # fmt: skip


@dg.op(
    tags=GOES_ON,
    description="Rename the reel to its place and write its row; list the ranked moments with their reasons.",
)
def publish_highlights(
    context: dg.OpExecutionContext,
    selection: Selection,
    job: JobRow,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.HighlightGenerate)
        why = write_why(attempt, library, selection)
        result = {"whyPath": library.relative(why), "targetSeconds": wanted.target_length, **told(selection)}
        metadata = shown(selection, why, queue)
        ranked = moments(
            selection.analysed.analysis, selection.interest, min_s=wanted.min_moment, max_s=wanted.max_moment
        )
        result["moments"] = [segment_of(one) for one in ranked[:_RANKED_AT_MOST]]
        if selection.film is not None and selection.film.result is not None:
            relative, output_id = publish_film(
                context, attempt, selection.film.output, selection.film.result, selection.video, queue, library,
                title=f"{selection.video.title or stem(selection.video)}: highlights",
            )  # fmt: skip
            note_thumbnail(queue, output_id, take_poster(attempt, ffmpeg, library, selection, output_id))
            of_film = film_facts(selection.film.result)
            metadata["output_video"] = video_link(queue.settings, output_id)
            result = {"outputPath": relative, "outputVideoId": str(output_id), **of_film, **result}
        attempt.complete(result)
    if selection.film is not None:
        metadata |= shown_film(selection, relative, library, ffmpeg)
    return dg.Output(None, metadata=made(attempt, **metadata))
