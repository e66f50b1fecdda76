"""Find shots and scenes, export them, and if wanted write each scene as a file of its own."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from jobqueue_bridge import insights, params
from jobqueue_bridge.insights import ShotRow
from media_pipelines.ai.analysis import Analysis
from media_pipelines.ai.exports import export
from media_pipelines.ai.interest import Interest, interest
from media_pipelines.ai.scenes import Scene, scenes
from media_pipelines.ai.segments import Segment
from media_pipelines.left_behind import owner
from media_pipelines.media import extract, files
from media_pipelines.media.cuts import Item
from media_pipelines.media.probe import Probe
from media_pipelines.ops.analysis import Analysed
from media_pipelines.ops.checks import verifying
from media_pipelines.ops.compilations import JOINED_PERCENT
from media_pipelines.ops.materialized import made
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.outputs import removing_partials
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import Reporter
from media_pipelines.ops.selections import (
    Part,
    Selection,
    film,
    part_of,
    publish_film,
    shares,
    shown,
    stem,
    told,
    write_why,
)
from media_pipelines.ops.videos import table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_LISTED_AT_MOST = 200


@dataclass(frozen=True)
class Extraction:
    """Scenes on their way; `parts` are the files that are made of them, if any are wanted."""

    analysed: Analysed
    scenes: tuple[Scene, ...]
    interest: Interest
    parts: tuple[Part, ...] = ()

    @property
    def selection(self) -> Selection:
        """The shots that stand for the scenes, as what was chosen."""
        analysis = self.analysed.analysis
        chosen = tuple(_segment(analysis, self.interest, scene) for scene in self.scenes)
        return Selection(self.analysed, self.interest, chosen, None)


def _segment(analysis: Analysis, found: Interest, scene: Scene) -> Segment:
    shot = analysis.shots[scene.key_shot]
    score, reasons = found.mean(shot.start_s, shot.end_s), found.reasons(shot.start_s, shot.end_s)
    return Segment(shot.start_s, shot.end_s, scene.key_shot, shot.start_s, shot.end_s, score, reasons)


@dg.op(tags=GOES_ON, description="Group shots that look alike and follow each other to scenes.")
def group_shots(context: dg.OpExecutionContext, analysed: Analysed, job: JobRow) -> Extraction:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.SceneExtract)
        analysis = analysed.analysis
        found = scenes(analysis, wanted.similarity, wanted.min_scene_length)
        kinds = [shot.transition_in for shot in analysis.shots[1:]]
        attempt.log(
            f"{len(analysis.shots)} shots ({kinds.count('cut')} cuts, {kinds.count('dissolve')} dissolves, "
            f"{kinds.count('fade')} fades) in {len(found)} scenes"
        )
        return Extraction(analysed, found, interest(analysis))


@dg.op(tags=GOES_ON, description="Write each scene as a file, copied or encoded; nothing where no files are wanted.")
def write_scene_files(
    context: dg.OpExecutionContext, extraction: Extraction, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Extraction:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.SceneExtract)
        if wanted.files == "none":
            return extraction
        parts = []
        for (n, scene), (since, until) in zip(
            enumerate(extraction.scenes, 1), shares(extraction.analysed, len(extraction.scenes)), strict=True
        ):
            part = _planned(attempt, library, extraction, n, wanted.files)
            with verifying(context, attempt):
                parts.append(_written(attempt, part, scene, extraction, wanted, queue, ffmpeg, since, until))
        return replace(extraction, parts=tuple(parts))


def _planned(attempt: Attempt, library: Library, extraction: Extraction, number: int, how: str) -> Part:
    video = extraction.analysed.video
    suffix = Path(video.path).suffix if how == "copy" else ".mp4"
    return part_of(attempt, library, f"scenes/{stem(video)}.scene", number, suffix)


def _written(
    attempt: Attempt,
    part: Part,
    scene: Scene,
    extraction: Extraction,
    wanted: params.SceneExtract,
    queue: Queue,
    ffmpeg: Ffmpeg,
    since: float,
    until: float,
) -> Part:
    if part.output.published or wanted.files == "exact":
        planned = Selection(extraction.analysed, extraction.interest, (), part.output)
        item = Item(extraction.analysed.source, start_s=scene.start_s, length_s=scene.length_s)
        made = film(
            attempt, planned, [item], queue, ffmpeg,
            preset=wanted.preset, crf=wanted.crf, crossfade_s=0, since_percent=since, until_percent=until,
        )  # fmt: skip
        assert made.film is not None
        return replace(part, result=made.film.result)
    return replace(part, result=_copied(attempt, part, scene, extraction, ffmpeg, since, until))


def _copied(
    attempt: Attempt, part: Part, scene: Scene, extraction: Extraction, ffmpeg: Ffmpeg, since: float, until: float
) -> Probe:
    with removing_partials(part.output, attempt), ffmpeg.prober() as prober:
        return extract.copy_part(
            ffmpeg.program,
            prober,
            extraction.analysed.source,
            scene.start_s,
            scene.length_s,
            part.output.partial,
            on_progress=Reporter(attempt, until - since, since).ffmpeg,
            stop=attempt.stop_reason,
            on_command=lambda line: attempt.log(f"FFmpeg command: {line}"),
            stall_timeout_s=ffmpeg.stall_timeout_s,
        )


@dg.op(tags=GOES_ON, description="Write the lists, the pictures and the rows of shots and scenes; publish the files.")
def publish_scenes(
    context: dg.OpExecutionContext, extraction: Extraction, job: JobRow, queue: Queue, library: Library
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.SceneExtract)
        analysis, video = extraction.analysed.analysis, extraction.analysed.video
        attempt.progress(JOINED_PERCENT)
        written = dict(_exports(attempt, library, extraction, wanted))
        pictures = list(_pictures(attempt, library, extraction))
        published = [
            publish_film(context, attempt, part.output, part.result, video, queue, library)
            for part in extraction.parts
            if part.result is not None
        ]
        why = write_why(attempt, library, extraction.selection)
        rows = _rows(extraction)
        attempt.complete(
            {
                "scenes": [_told(n, scene) for n, scene in enumerate(extraction.scenes[:_LISTED_AT_MOST], 1)],
                "sceneCount": len(extraction.scenes),
                "shotCount": len(analysis.shots),
                "exports": written,
                "thumbnails": pictures[:_LISTED_AT_MOST],
                "files": [{"path": path, "videoId": str(video_id)} for path, video_id in published],
                "whyPath": library.relative(why),
                **{name: value for name, value in told(extraction.selection).items() if name != "segments"},
            },
            also=lambda connection: insights.replace_shots(connection, video.id, rows),
        )
    return dg.Output(
        None,
        metadata=made(
            attempt,
            **shown(extraction.selection, why, queue),
            **{"dagster/partition_row_count": len(rows)},
            scenes=_table(extraction),
            shots=len(analysis.shots),
            scene_count=len(extraction.scenes),
            files=len(published),
            exports=dg.MetadataValue.json(written),
        ),
    )


def _exports(
    attempt: Attempt, library: Library, extraction: Extraction, wanted: params.SceneExtract
) -> Iterator[tuple[str, str]]:
    video = extraction.analysed.video
    for kind in dict.fromkeys(wanted.exports):
        text = export(kind, extraction.analysed.analysis, extraction.scenes, video.filename)
        yield kind, _put(attempt, library, f"{_base(extraction)}.{kind}", text.encode())


def _base(extraction: Extraction) -> str:
    """One name for each video, so that the next extraction replaces this one's."""
    video = extraction.analysed.video
    return f"scenes/{files.shortened(stem(video), 180)}-{str(video.id)[:8]}"


def _pictures(attempt: Attempt, library: Library, extraction: Extraction) -> Iterator[str]:
    for n, scene in enumerate(extraction.scenes, 1):
        jpeg = extraction.analysed.analysis.thumbnails[scene.key_shot]
        if jpeg:
            yield _put(attempt, library, f"{_base(extraction)}/scene-{n:04d}.jpg", jpeg)


def _put(attempt: Attempt, library: Library, relative: str, content: bytes) -> str:
    """A small file in place of the one of before."""
    target = library.path(relative)
    files.require_folder(target.parent)
    partial = files.partial_path(target, owner(attempt.job.id, attempt.job.attempt))
    try:
        partial.write_bytes(content)
        files.publish(partial, target, replace=True)
    except BaseException:
        files.remove_quietly(partial)
        raise
    return relative


def _rows(extraction: Extraction) -> list[ShotRow]:
    shots = extraction.analysed.analysis.shots
    return [
        ShotRow(n + 1, number, round(shots[n].start_s, 3), round(shots[n].end_s, 3), shots[n].transition_in)
        for number, scene in enumerate(extraction.scenes, 1)
        for n in scene.shots
    ]


def _told(number: int, scene: Scene) -> dict[str, Any]:
    return {
        "scene": number,
        "startSeconds": round(scene.start_s, 3),
        "endSeconds": round(scene.end_s, 3),
        "shots": len(scene.shots),
    }


def _table(extraction: Extraction) -> dg.MarkdownMetadataValue:
    rows = [
        (n, f"{scene.start_s:.2f} s", f"{scene.end_s:.2f} s", len(scene.shots))
        for n, scene in enumerate(extraction.scenes[:_LISTED_AT_MOST], 1)
    ]
    return table(["scene", "from", "to", "shots"], rows)
