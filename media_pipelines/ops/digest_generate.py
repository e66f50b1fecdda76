"""Make a digest of a video: choose pieces that stand for all of it, join them with chapters, publish."""

import dagster as dg

from jobqueue_bridge import params
from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.digest import digest
from media_pipelines.ai.interest import interest
from media_pipelines.ai.scenes import scenes
from media_pipelines.ai.segments import Segment, total_s
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

# Of a chapter's title, at least that sure.
_SURE = 0.4
_AS_WANTED = 0.95


@dg.op(
    tags=GOES_ON,
    description="Choose pieces of all scenes, the best moments among them, none twice, as long as is wanted.",
)
def choose_pieces(context: dg.OpExecutionContext, analysed: Analysed, job: JobRow, library: Library) -> Selection:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.DigestGenerate)
        analysis = analysed.analysis
        found = interest(analysis)
        made = digest(
            analysis,
            found,
            scenes(analysis),
            wanted.target_length,
            include_highlights=wanted.include_highlights,
            crossfade_s=wanted.crossfade,
        )
        length_s = made.length_s(wanted.crossfade)
        attempt.log(
            f"Digest: {len(made.segments)} pieces, {length_s:.1f} of {wanted.target_length:g} s, "
            f"{made.scenes_covered} of {made.scenes} scenes, {made.duplicates} parts shown elsewhere left out"
        )
        output = plan_output(attempt, library, wanted.output_path, f"digests/{stem(analysed.video)}.digest.mp4")
        return Selection(analysed, found, made.segments, output)


@dg.op(
    tags=GOES_ON,
    description="Cut the pieces, fade picture and sound of each into the next, with a chapter for each scene.",
)
def join_pieces(
    context: dg.OpExecutionContext, selection: Selection, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Selection:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.DigestGenerate)
        titles = _titles(selection) if wanted.chapters else [None] * len(selection.segments)
        items = [
            Item(selection.source, title, start_s=one.start_s, length_s=one.length_s)
            for one, title in zip(selection.segments, titles, strict=True)
        ]
        with verifying(context, attempt):
            return film(
                attempt, selection, items, queue, ffmpeg,
                preset=wanted.preset, crf=wanted.crf, crossfade_s=wanted.crossfade,
            )  # fmt: skip


def _titles(selection: Selection) -> list[str | None]:
    """One where a scene is seen first."""
    analysis = selection.analysed.analysis
    of_shot = {shot: n for n, scene in enumerate(scenes(analysis)) for shot in scene.shots}
    titles: list[str | None] = []
    last = None
    for segment in selection.segments:
        scene = of_shot[segment.shot]
        titles.append(None if scene == last else _title(scene, segment, _surest_tag(analysis, segment.shot)))
        last = scene
    return titles


def _surest_tag(analysis: Analysis, shot: int) -> str | None:
    sure = [tag for tag in analysis.tags if tag.shot == shot and tag.score >= _SURE]
    return max(sure, key=lambda tag: tag.score).name if sure else None


def _title(scene: int, segment: Segment, tag: str | None) -> str:
    minutes, seconds = divmod(round(segment.start_s), 60)
    return f"Scene {scene + 1} at {minutes}:{seconds:02d}" + (f", {tag}" if tag else "")


@dg.op(
    tags=GOES_ON, description="Rename the digest to its place, write its row and its poster, and why it is as it is."
)
def publish_digest(
    context: dg.OpExecutionContext,
    selection: Selection,
    job: JobRow,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.DigestGenerate)
        assert selection.film is not None
        assert selection.film.result is not None
        result = selection.film.result
        why = write_why(attempt, library, selection)
        planned_s, noted = total_s(selection.segments, wanted.crossfade), told(selection)
        if planned_s < _AS_WANTED * wanted.target_length:
            line = f"{planned_s:.1f} of {wanted.target_length:g} s: there is no more to show that is not shown already"
            noted["notes"] = [*noted.get("notes", ()), line]
        relative, output_id = publish_film(
            context, attempt, selection.film.output, result, selection.video, queue, library,
            title=f"{selection.video.title or stem(selection.video)}: digest",
        )  # fmt: skip
        if wanted.poster:
            note_thumbnail(queue, output_id, take_poster(attempt, ffmpeg, library, selection, output_id))
        attempt.complete(
            {
                "outputPath": relative,
                "outputVideoId": str(output_id),
                "whyPath": library.relative(why),
                "targetSeconds": wanted.target_length,
                "plannedSeconds": round(planned_s, 3),
                **film_facts(result),
                **noted,
            }
        )
    about = {**shown(selection, why, queue), **shown_film(selection, relative, library, ffmpeg)}
    output = video_link(queue.settings, output_id)
    return dg.Output(None, metadata=made(attempt, **about, output_video=output))
