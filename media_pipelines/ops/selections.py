"""What the jobs that cut films out of an analysed video have in common: joining, publishing, telling why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import dagster as dg

from jobqueue_bridge import videos
from jobqueue_bridge.videos import Video
from media_pipelines.ai.crop import Crop
from media_pipelines.ai.explain import explained
from media_pipelines.ai.interest import Interest
from media_pipelines.ai.segments import Segment
from media_pipelines.left_behind import owner
from media_pipelines.media import files, thumbnail
from media_pipelines.media.commands.pieces import Framing
from media_pipelines.media.cuts import Item
from media_pipelines.media.errors import MediaError
from media_pipelines.media.probe import Probe
from media_pipelines.ops.analysis import Analysed, engines_of, engines_table
from media_pipelines.ops.compilations import JOINED_PERCENT, Compilation, adopted, film_shown, join
from media_pipelines.ops.materialized import video_link
from media_pipelines.ops.outputs import Output, publish
from media_pipelines.ops.videos import record_output, table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_LISTED_AT_MOST = 200
_NAME_BYTES = 200


@dataclass(frozen=True)
class Selection:
    """A film on its way: what it is made of, and where it goes. `output` None: none is wanted."""

    analysed: Analysed
    interest: Interest
    segments: tuple[Segment, ...]
    output: Output | None
    film: Compilation | None = None

    @property
    def video(self) -> Video:
        return self.analysed.video

    @property
    def source(self) -> Probe:
        return self.analysed.source


@dataclass(frozen=True)
class Part:
    """One of several files that a job makes."""

    output: Output
    result: Probe | None = None


def part_of(attempt: Attempt, library: Library, base: str, number: int, suffix: str) -> Part:
    """Named after the job, too: a file of that name is of an earlier attempt of it, and whole."""
    name = f"{base}-{str(attempt.job.id)[:8]}-{number:03d}"
    target = library.path(files.shortened(name, _NAME_BYTES) + suffix)
    mark = owner(attempt.job.id, attempt.job.attempt)
    return Part(Output(files.partial_path(target, mark), target, published=target.is_file(), is_named=True))


def shares(analysed: Analysed, count: int) -> list[tuple[float, float]]:
    """From where to where on the progress bar each of several films is made."""
    each = (JOINED_PERCENT - analysed.since_percent) / max(1, count)
    return [(analysed.since_percent + n * each, analysed.since_percent + (n + 1) * each) for n in range(count)]


def stem(video: Video) -> str:
    return PurePosixPath(video.filename).stem


def film(
    attempt: Attempt,
    selection: Selection,
    items: Sequence[Item],
    queue: Queue,
    ffmpeg: Ffmpeg,
    *,
    preset: str,
    crf: int,
    crossfade_s: float,
    size: tuple[int, int] | None = None,
    since_percent: float | None = None,
    until_percent: float = JOINED_PERCENT,
) -> Selection:
    """Join the items and verify what comes of it, unless an earlier attempt has published it."""
    assert selection.output is not None
    planned = Compilation(((selection.video, selection.source),), selection.output)
    if selection.output.published:
        return replace(selection, film=adopted(planned, ffmpeg))
    made = join(
        attempt,
        planned,
        lambda _: items,
        queue,
        ffmpeg,
        preset=preset,
        crf=crf,
        crossfade_s=crossfade_s,
        size=size,
        since_percent=selection.analysed.since_percent if since_percent is None else since_percent,
        until_percent=until_percent,
    )
    return replace(selection, film=made)


def publish_film(
    context: dg.OpExecutionContext,
    attempt: Attempt,
    output: Output,
    result: Probe,
    source: Video,
    queue: Queue,
    library: Library,
    **columns: Any,
) -> tuple[str, UUID]:
    """Its path in the library, and the id of its row, which names the source."""
    target = publish(attempt, library, output, sourceVideoIds=[str(source.id)])
    relative = library.relative(target)
    output_id = record_output(
        context,
        attempt,
        queue,
        relative,
        target,
        result,
        made_of=[source.id],
        source_video_id=source.id,
        **columns,
    )
    attempt.log(f"Published {relative}: {result.duration_s or 0:.2f} s, {result.size_bytes / 1e6:.1f} MB")
    return relative, output_id


def write_why(attempt: Attempt, library: Library, selection: Selection) -> Path:
    """The picture of why, below thumbnails/. It goes with the next attempt's, which replaces it."""
    target = library.path(f"thumbnails/{attempt.job.id}.why.png")
    files.require_folder(target.parent)
    partial = files.partial_path(target, owner(attempt.job.id, attempt.job.attempt))
    attempt.writes(partial)
    partial.write_bytes(explained(selection.analysed.analysis, selection.interest, selection.segments))
    files.publish(partial, target, replace=True)
    return target


def take_poster(
    attempt: Attempt, ffmpeg: Ffmpeg, library: Library, selection: Selection, output_id: UUID
) -> dict[str, str]:
    """A frame of the best segment as the thumbnail of what was made: columns of its row. None is no reason to fail."""
    best = max(selection.segments, key=lambda one: one.score, default=None)
    target = library.path(f"thumbnails/{output_id}.jpg")
    partial = files.partial_path(target, owner(attempt.job.id, attempt.job.attempt))
    if best is None:
        return {}
    attempt.writes(partial)
    try:
        files.require_folder(target.parent)
        at_s = (best.start_s + best.end_s) / 2
        thumbnail.take(ffmpeg.program, selection.source, partial, at_s=at_s, stop=attempt.stop_reason)
        files.publish(partial, target, replace=True)
    except (MediaError, OSError) as error:
        files.remove_quietly(partial)
        attempt.log(f"No poster: {error}")
        return {}
    return {"thumbnail_path": library.relative(target)}


def note_thumbnail(queue: Queue, output_id: UUID, columns: dict[str, str]) -> None:
    if columns:
        with queue.begin() as connection:
            videos.update(connection, output_id, **columns)


def told(selection: Selection) -> dict[str, Any]:
    """What the job's result says of what was chosen, and by whom."""
    analysis = selection.analysed.analysis
    return {
        "sourceVideoIds": [str(selection.video.id)],
        "segments": [segment_of(one) for one in selection.segments[:_LISTED_AT_MOST]],
        "analysis": "stored" if selection.analysed.known else "made",
        "engines": engines_of(analysis),
        **({"notes": list(analysis.notes)} if analysis.notes else {}),
    }


def segment_of(segment: Segment) -> dict[str, Any]:
    return {
        "startSeconds": round(segment.start_s, 3),
        "endSeconds": round(segment.end_s, 3),
        "score": round(segment.score, 3),
        "reasons": dict(segment.reasons),
    }


def film_facts(result: Probe) -> dict[str, Any]:
    return {"sizeBytes": result.size_bytes, "durationSeconds": result.duration_s}


def shown(selection: Selection, why: Path, queue: Queue) -> dict[str, Any]:
    """Metadata for the Dagster UI."""
    return {
        "why": dg.MetadataValue.md(f"![score over time, and what was chosen]({_inline(why)})"),
        "chosen": segments_table(selection.segments),
        "engines": engines_table(selection.analysed.analysis),
        "source": selection.video.path,
        "source_video": video_link(queue.settings, selection.video.id),
    }


def _inline(picture: Path) -> str:
    import base64

    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def shown_film(selection: Selection, relative: str, library: Library, ffmpeg: Ffmpeg) -> dict[str, Any]:
    assert selection.film is not None
    assert selection.film.result is not None
    result = selection.film.result
    return {**film_shown(library, relative, result, ffmpeg), "how": selection.film.how}


def segments_table(segments: Sequence[Segment]) -> dg.MarkdownMetadataValue:
    rows = [
        (
            f"{one.start_s:.2f} s",
            f"{one.end_s:.2f} s",
            f"{one.score:.2f}",
            ", ".join(f"{name} {value:.2f}" for name, value in one.reasons.items()),
        )
        for one in segments[:_LISTED_AT_MOST]
    ]
    return table(["from", "to", "score", "because of"], rows)


def framing(crop: Crop) -> Framing | None:
    """None where the whole picture is seen. Between two shots it jumps."""
    if crop.is_whole:
        return None
    points: list[tuple[float, float, float]] = []
    for path in crop.paths:
        if points:
            points.append((path[0].at_s, points[-1][1], points[-1][2]))
        points += [(point.at_s, point.x, point.y) for point in path]
    return Framing(crop.width, crop.height, tuple(points))


def shape_of(source: Probe, aspect: Fraction | None, height: int | None) -> tuple[int, int] | None:
    """Width and height of a film of that aspect, even, not larger than the source unless asked for; None: the
    source's own."""
    if aspect is None and height is None:
        return None
    shown = Fraction(source.width, source.height) * source.sar
    wanted = aspect or shown
    own = min(Fraction(source.height), source.width * source.sar / wanted)
    tall = Fraction(height) if height else own
    return _even(tall * wanted), _even(tall)


def _even(pixels: Fraction) -> int:
    return max(2, round(pixels / 2) * 2)
