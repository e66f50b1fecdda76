"""Cut clips out of a video, each a film of its own: choose, cut and reframe, publish."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import dagster as dg

from jobqueue_bridge import params
from jobqueue_bridge.errors import FieldProblem, InvalidJob
from media_pipelines.ai.clips import clips
from media_pipelines.ai.crop import crop
from media_pipelines.ai.interest import interest
from media_pipelines.ai.scenes import scenes
from media_pipelines.media.cuts import Item
from media_pipelines.ops.analysis import Analysed
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.materialized import made
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.params import typed
from media_pipelines.ops.selections import (
    Part,
    Selection,
    film,
    framing,
    part_of,
    publish_film,
    segment_of,
    shape_of,
    shares,
    shown,
    stem,
    told,
    write_why,
)
from media_pipelines.ops.videos import table
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue


@dataclass(frozen=True)
class Clips:
    """Clips on their way, best first."""

    selection: Selection
    parts: tuple[Part, ...]


@dg.op(tags=GOES_ON, description="Choose the most interesting stretches that begin and end at shots or in pauses.")
def choose_clips(context: dg.OpExecutionContext, analysed: Analysed, job: JobRow, library: Library) -> Clips:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.ClipGenerate)
        analysis = analysed.analysis
        found = interest(analysis)
        chosen = clips(
            analysis,
            found,
            scenes(analysis),
            count=wanted.count,
            min_s=wanted.min_length,
            max_s=wanted.max_length,
        )
        if not chosen:
            raise InvalidJob([FieldProblem("params", "no stretch of this video is as long as the clips shall be")])
        attempt.log(f"{len(chosen)} of {wanted.count} clips found")
        base = f"clips/{stem(analysed.video)}.clip"
        parts = tuple(part_of(attempt, library, base, n, ".mp4") for n in range(1, len(chosen) + 1))
        return Clips(Selection(analysed, found, tuple(chosen), None), parts)


@dg.op(tags=GOES_ON, description="Encode each clip, in the wanted shape around the faces, and verify it.")
def cut_clips(context: dg.OpExecutionContext, chosen: Clips, job: JobRow, queue: Queue, ffmpeg: Ffmpeg) -> Clips:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.ClipGenerate)
        selection = chosen.selection
        source, analysis = selection.source, selection.analysed.analysis
        aspect = None if wanted.aspect == "source" else Fraction(*map(int, wanted.aspect.split(":")))
        size = shape_of(source, aspect, wanted.height)
        parts = []
        for part, segment, (since, until) in zip(
            chosen.parts, selection.segments, shares(selection.analysed, len(chosen.parts)), strict=True
        ):
            seen = framing(crop(analysis, segment.start_s, segment.end_s, aspect, source.sar)) if aspect else None
            item = Item(source, start_s=segment.start_s, length_s=segment.length_s, framing=seen)
            with verifying(context, attempt):
                cut = film(
                    attempt, replace(selection, output=part.output), [item], queue, ffmpeg,
                    preset=wanted.preset, crf=wanted.crf, crossfade_s=0, size=size,
                    since_percent=since, until_percent=until,
                )  # fmt: skip
            assert cut.film is not None
            parts.append(replace(part, result=cut.film.result))
        return replace(chosen, parts=tuple(parts))


@dg.op(tags=GOES_ON, description="Rename the clips to their places and write their rows.")
def publish_clips(
    context: dg.OpExecutionContext, chosen: Clips, job: JobRow, queue: Queue, library: Library
) -> dg.Output[None]:
    with job.step(context) as attempt:
        selection = chosen.selection
        why = write_why(attempt, library, selection)
        title = selection.video.title or stem(selection.video)
        listed: list[dict[str, Any]] = []
        for n, (part, segment) in enumerate(zip(chosen.parts, selection.segments, strict=True), 1):
            assert part.result is not None
            path, video_id = publish_film(
                context, attempt, part.output, part.result, selection.video, queue, library, title=f"{title}: clip {n}"
            )
            listed.append({"path": path, "videoId": str(video_id), **segment_of(segment)})
        attempt.complete(
            {
                "outputPath": listed[0]["path"],
                "outputVideoId": listed[0]["videoId"],
                "clips": listed,
                "whyPath": library.relative(why),
                **told(selection),
            }
        )
    rows = [(one["path"], f"{one['startSeconds']:.2f} s", f"{one['endSeconds']:.2f} s") for one in listed]
    about = {**shown(selection, why, queue), "clips": table(["clip", "from", "to"], rows), "files": len(rows)}
    return dg.Output(None, metadata=made(attempt, **about))
