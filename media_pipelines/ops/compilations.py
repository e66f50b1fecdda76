"""What all compilations have in common: choosing their sources, a place for their pieces, publishing."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.errors import FieldProblem, InvalidJob, VideoNotFound
from jobqueue_bridge.videos import Video
from media_pipelines.left_behind import owner
from media_pipelines.media import compile as compiling
from media_pipelines.media import matching
from media_pipelines.media.blame import blaming_sources
from media_pipelines.media.cuts import Item
from media_pipelines.media.errors import FfmpegFailed, FfmpegStalled, MediaError
from media_pipelines.media.plan import Crf, VideoPlan
from media_pipelines.media.probe import Probe
from media_pipelines.ops.ladder import Ladder
from media_pipelines.ops.materialized import file_at, made, named, video_link
from media_pipelines.ops.outputs import Output, mine, plan_output, publish, removing_partials
from media_pipelines.ops.pictures import frame_of
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.ops.videos import record_output, table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

JOINED_PERCENT = 98
_PROBES_AT_ONCE = 2
_BATCH = 100


@dataclass(frozen=True)
class Compilation:
    """One compilation on its way through the ops. `how` says in words how the sources became one,
    `starts_s` when each begins, where that is not simply the sum of those before."""

    chosen: tuple[tuple[Video, Probe], ...]
    output: Output
    result: Probe | None = None
    how: str = ""
    starts_s: tuple[float, ...] = ()

    @property
    def sources(self) -> tuple[Probe, ...]:
        return tuple(probe for _, probe in self.chosen)


def choose(
    attempt: Attempt,
    name: str,
    wanted: params.Criteria,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
    *,
    count: int,
    named: Sequence[UUID] | None = None,
    output_path: str | None = None,
    at_least: int = 1,
    copies: bool = False,
) -> Compilation:
    """The videos that the params name, all of which must be readable, or as many as are wanted of those that fit.
    `copies`: sources that match are joined as they are, so that a glance at each is enough.

    Raises InvalidJob where fewer than `at_least` come of it, and what a named video's own fault is.
    """
    output = plan_output(attempt, library, output_path, f"compilations/{name}-{str(attempt.job.id)[:8]}.mp4")
    if output.published:
        # The library may have changed since: what is published was made of what was chosen then.
        chosen = _readable(attempt.announced_sources, count, attempt, queue, library, ffmpeg, glance=copies)
        return Compilation(tuple(chosen), output)
    if named is not None:
        chosen = _all_readable(named, attempt, queue, library, ffmpeg)
    else:
        candidates = _candidates(attempt, wanted, queue)
        chosen = _readable(candidates, count, attempt, queue, library, ffmpeg, glance=copies)
        _require(len(chosen), at_least)
        if copies and not matching.plan([probe for _, probe in chosen]).copy:
            chosen = _readable([video.id for video, _ in chosen], count, attempt, queue, library, ffmpeg)
            _require(len(chosen), at_least)
    for video, probe in chosen:
        attempt.log(f"Chosen: {video.path} ({probe.duration_s or 0:.1f} s)")
    return Compilation(tuple(chosen), output)


def _require(found: int, at_least: int) -> None:
    if found >= at_least:
        return
    if not found:
        raise InvalidJob([FieldProblem("params", "no valid video of the library fits these criteria")])
    raise InvalidJob(
        [FieldProblem("params", f"only {found} of the {at_least} videos that are needed fit and can be read")]
    )


def _candidates(attempt: Attempt, wanted: params.Criteria, queue: Queue) -> list[UUID]:
    """What fits, shuffled by the seed."""
    with queue.begin() as connection:
        candidates = videos.matching(
            connection,
            min_duration_s=wanted.min_duration,
            max_duration_s=wanted.max_duration,
            orientation=wanted.orientation,
            directory_type=wanted.directory_type,
            tags=wanted.tags or (),
        )
    attempt.log(f"{len(candidates)} videos fit")
    seed = attempt.job.id.int if wanted.seed is None else wanted.seed
    random.Random(seed).shuffle(candidates)  # noqa: S311 - repeatable by design
    return candidates


def _readable(
    candidates: Sequence[UUID],
    count: int,
    attempt: Attempt,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
    *,
    glance: bool = False,
) -> list[tuple[Video, Probe]]:
    """Those that are still there and can be read, as many as are wanted; at a glance their colours stay unknown."""
    chosen: list[tuple[Video, Probe]] = []
    waiting = iter(candidates)
    with ffmpeg.prober(_PROBES_AT_ONCE) as prober, bounded(attempt.log, "videos passed over") as log_passed_over:
        while batch := list(islice(waiting, min(count - len(chosen), _BATCH))):
            attempt.check()
            known = list(_placed(batch, queue, library, log_passed_over))
            read_many = prober.glance_many if glance else prober.probe_many
            verdicts = read_many([path for _, path in known])
            for (video, _), (_, verdict) in zip(known, verdicts, strict=True):
                if isinstance(verdict, Probe):
                    chosen.append((video, verdict))
                else:
                    log_passed_over(f"Passed over: {verdict}")
    return chosen


def _placed(
    wanted: Sequence[UUID], queue: Queue, library: Library, log_passed_over: Callable[[str], None]
) -> Iterator[tuple[Video, Path]]:
    for video_id in wanted:
        try:
            with queue.begin() as connection:
                video = videos.get(connection, video_id)
            yield video, library.path(video.path)
        except (MediaError, VideoNotFound) as error:
            log_passed_over(f"Passed over: {error}")


def _all_readable(
    named: Sequence[UUID], attempt: Attempt, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> list[tuple[Video, Probe]]:
    with queue.begin() as connection:
        found = [videos.get(connection, video_id) for video_id in named]
    chosen = []
    with ffmpeg.prober(_PROBES_AT_ONCE) as prober:
        verdicts = prober.probe_many([library.path(video.path) for video in found])
        for video, (_, verdict) in zip(found, verdicts, strict=True):
            attempt.check()
            if not isinstance(verdict, Probe):
                raise verdict
            chosen.append((video, verdict))
    return chosen


def adopted(compilation: Compilation, ffmpeg: Ffmpeg) -> Compilation:
    """One that an earlier attempt has published."""
    with ffmpeg.prober() as prober:
        result = prober.probe(compilation.output.target)
    return replace(compilation, result=result, how="an earlier attempt made it")


def ladder(
    attempt: Attempt, ffmpeg: Ffmpeg, sources: Sequence[Probe], size: tuple[int, int], preset: str, crf: int
) -> Ladder:
    """The ways to encode a compilation of these sources as H.264."""
    hdr: Literal["tonemap", "none"] = "tonemap" if any(source.hdr for source in sources) else "none"
    return Ladder(attempt, ffmpeg, VideoPlan("h264", Crf(crf), preset, *size, hdr=hdr), several_sources=True)


def join(
    attempt: Attempt,
    compilation: Compilation,
    items: Callable[[Path], Sequence[Item]],
    queue: Queue,
    ffmpeg: Ffmpeg,
    *,
    preset: str,
    crf: int,
    crossfade_s: float = 0.0,
    size: tuple[int, int] | None = None,
    since_percent: float = 0.0,
    until_percent: float = JOINED_PERCENT,
) -> Compilation:
    """Write the verified partial. `items` makes the pieces' descriptions, given a folder for temporaries."""
    compilation = replace(compilation, output=mine(compilation.output, attempt))
    if size is None:
        common = matching.plan(compilation.sources)
        size = common.width, common.height
    ways = ladder(attempt, ffmpeg, compilation.sources, size, preset, crf)
    with (
        _room_for_pieces(attempt, queue) as workdir,
        removing_partials(compilation.output, attempt),
        ffmpeg.prober() as prober,
        bounded(attempt.log, "lines of ffmpeg") as log_line,
        bounded(attempt.log, "commands") as log_command,
        blaming_sources(prober, compilation.sources) as witness,
    ):
        described = items(workdir)
        while True:
            try:
                joined = compiling.join(
                    ffmpeg.program,
                    prober,
                    described,
                    compilation.output.partial,
                    workdir=workdir,
                    choose_way=ways.way,
                    preset=preset,
                    crf=crf,
                    crossfade_s=crossfade_s,
                    size=size,
                    on_progress=Reporter(attempt, until_percent - since_percent, since_percent).percent,
                    stop=attempt.stop_reason,
                    on_line=witness.beside(log_line),
                    on_command=lambda line: log_command(f"FFmpeg command: {line}"),
                    stall_timeout_s=ffmpeg.stall_timeout_s,
                )
                break
            except (FfmpegFailed, FfmpegStalled) as error:
                if not ways.steps_down(error):
                    raise
    attempt.decided(f"Joined: {joined.how}")
    return replace(compilation, result=joined.result, how=joined.how, starts_s=joined.starts_s)


@contextmanager
def _room_for_pieces(attempt: Attempt, queue: Queue) -> Iterator[Path]:
    """A folder of this attempt's own for temporaries, gone in the end, as is what earlier attempts left."""
    for earlier in range(1, attempt.job.attempt):
        shutil.rmtree(_workdir(attempt, queue, earlier), ignore_errors=True)
    workdir = _workdir(attempt, queue, attempt.job.attempt)
    workdir.mkdir(parents=True)
    try:
        yield workdir
    finally:
        shutil.rmtree(workdir, ignore_errors=True)


def _workdir(attempt: Attempt, queue: Queue, number: int) -> Path:
    return queue.settings.temp_dir / owner(attempt.job.id, number)


def finish(
    context: dg.OpExecutionContext,
    attempt: Attempt,
    compilation: Compilation,
    queue: Queue,
    library: Library,
    ffmpeg: Ffmpeg,
) -> dict[str, Any]:
    """Publish the verified file, write its row, complete the job. Returns what the Dagster UI shows of it."""
    result = compilation.result
    assert result is not None
    source_ids = [str(video.id) for video, _ in compilation.chosen]
    if compilation.output.published:
        source_ids = [str(video_id) for video_id in attempt.announced_sources]
    target = publish(attempt, library, compilation.output, sourceVideoIds=source_ids)
    relative = library.relative(target)
    output_id = record_output(
        context, attempt, queue, relative, target, result, made_of=source_ids, directory_type="compilations"
    )
    attempt.log(f"Output file size: {result.size_bytes / 1e6:.1f} MB")
    attempt.complete(
        {
            "outputPath": relative,
            "outputVideoId": str(output_id),
            "sourceVideoIds": source_ids,
            "sizeBytes": result.size_bytes,
            "durationSeconds": result.duration_s,
        }
    )
    shown = {
        **film_shown(library, relative, result, ffmpeg),
        "how": compilation.how,
        "sources": len(source_ids),
        "source_videos": named(source_ids),
        "output_video": video_link(queue.settings, output_id),
    }
    return made(attempt, **shown)


def film_shown(library: Library, relative: str, result: Probe, ffmpeg: Ffmpeg) -> dict[str, Any]:
    """Of a film that was published."""
    return {
        "frame": frame_of(replace(result, path=library.path(relative)), ffmpeg),
        **file_at(library, relative),
        "duration_s": round(result.duration_s or 0, 3),
        "picture": f"{result.width}×{result.height}",
        "size_mb": round(result.size_bytes / 1e6, 3),
        "bitrate_kbps": result.bitrate_kbps or 0,
    }


def cut_list(chosen: Sequence[tuple[Video, Probe]]) -> dg.MarkdownMetadataValue:
    starts, at_s = [], 0.0
    for _, probe in chosen:
        starts.append(at_s)
        at_s += probe.duration_s or 0
    rows = [
        (f"{start:.2f} s", video.path, f"{probe.duration_s or 0:.2f} s")
        for start, (video, probe) in zip(starts, chosen, strict=True)
    ]
    return table(["from", "video", "lasts"], rows)
