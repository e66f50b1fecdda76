"""Join randomly chosen videos: choose, join, publish."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.errors import FieldProblem, InvalidJob, VideoNotFound
from jobqueue_bridge.queue import Job
from jobqueue_bridge.videos import Video
from media_pipelines.media import compile as compiling
from media_pipelines.media.errors import MediaError
from media_pipelines.media.probe import Probe
from media_pipelines.ops.outputs import Output, owner, plan_output, publish, removing_partials
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.ops.videos import record_output, table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_JOINED_PERCENT = 98
_PRESET = "medium"
_CRF = 23


@dataclass(frozen=True)
class Compilation:
    """One compilation on its way through the ops."""

    chosen: tuple[tuple[Video, Probe], ...]
    output: Output
    result: Probe | None = None
    how: str = ""


@dg.op(description="Claim the job and choose the videos: the same seed chooses the same ones.")
def choose_sources(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.CompileRandom)
        default = f"compilations/random-{str(attempt.job.id)[:8]}.mp4"
        output = plan_output(attempt, library, wanted.output_path, default)
        # The library may have changed since: what is published was made of what was chosen then.
        candidates = attempt.announced_sources if output.published else _candidates(attempt, wanted, queue)
        chosen = _first_readable(candidates, wanted.count, attempt, queue, library, ffmpeg)
        if not chosen and not output.published:
            raise InvalidJob([FieldProblem("params", "no valid video of the library fits these criteria")])
        for video, probe in chosen:
            attempt.log(f"Chosen: {video.path} ({probe.duration_s or 0:.1f} s)")
        return Compilation(tuple(chosen), output)


def _candidates(attempt: Attempt, wanted: params.CompileRandom, queue: Queue) -> list[UUID]:
    """What fits, shuffled by the seed."""
    with queue.begin() as connection:
        candidates = videos.matching(
            connection,
            min_duration_s=wanted.min_duration,
            max_duration_s=wanted.max_duration,
            orientation=wanted.orientation,
        )
    attempt.log(f"{len(candidates)} videos fit")
    seed = attempt.job.id.int if wanted.seed is None else wanted.seed
    random.Random(seed).shuffle(candidates)  # noqa: S311 - repeatable by design
    return candidates


def _first_readable(
    candidates: Sequence[UUID], count: int, attempt: Attempt, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> list[tuple[Video, Probe]]:
    """Those that are still there and can be read, as many as are wanted."""
    chosen: list[tuple[Video, Probe]] = []
    with ffmpeg.prober() as prober, bounded(attempt.log, "videos passed over") as log_passed_over:
        for video_id in candidates:
            if len(chosen) == count:
                break
            attempt.check()
            try:
                with queue.begin() as connection:
                    video = videos.get(connection, video_id)
                chosen.append((video, prober.probe(library.path(video.path))))
            except (MediaError, VideoNotFound) as error:
                log_passed_over(f"Passed over: {error}")
    return chosen


@dg.op(description="Join the chosen videos: copied where all match, else brought to one shape first. Verified.")
def join_sources(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        if compilation.output.published:
            with ffmpeg.prober() as prober:
                result = prober.probe(compilation.output.target)
            return replace(compilation, result=result, how="an earlier attempt made it")
        sources = [probe for _, probe in compilation.chosen]
        how = compiling.plan(sources).reason
        encoder = ffmpeg.h264_encoder()
        attempt.record_encoder(f"{encoder.name}: {encoder.reason}")
        attempt.log(f"Encoder: {encoder.name} ({encoder.reason}); {how}")
        workdir = _workdir(queue, attempt.job, attempt.job.attempt)
        for earlier in range(1, attempt.job.attempt):
            shutil.rmtree(_workdir(queue, attempt.job, earlier), ignore_errors=True)
        workdir.mkdir(parents=True)
        try:
            with (
                removing_partials(compilation.output, attempt),
                ffmpeg.prober() as prober,
                bounded(attempt.log, "lines of ffmpeg") as on_line,
            ):
                result = compiling.join(
                    ffmpeg.program,
                    prober,
                    sources,
                    compilation.output.partial,
                    workdir=workdir,
                    encoder=encoder,
                    preset=_PRESET,
                    crf=_CRF,
                    on_progress=Reporter(attempt, _JOINED_PERCENT).percent,
                    stop=attempt.stop_reason,
                    on_line=on_line,
                    stall_timeout_s=ffmpeg.stall_timeout_s,
                )
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
        return replace(compilation, result=result, how=how)


def _workdir(queue: Queue, job: Job, attempt: int) -> Path:
    return queue.settings.temp_dir / owner(job.id, attempt)


@dg.op(description="Rename the compilation to its place and write its row.")
def publish_compilation(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, library: Library
) -> dg.Output[None]:
    with job.step(context) as attempt:
        result = compilation.result
        assert result is not None
        source_ids = [str(video.id) for video, _ in compilation.chosen]
        if compilation.output.published:
            source_ids = [str(video_id) for video_id in attempt.announced_sources]
        target = publish(attempt, library, compilation.output, sourceVideoIds=source_ids)
        relative = library.relative(target)
        output_id = record_output(context.instance, queue, relative, target, result, directory_type="compilations")
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
    return dg.Output(
        None,
        metadata={
            "path": relative,
            "duration_s": round(result.duration_s or 0, 3),
            "size_mb": round(result.size_bytes / 1e6, 3),
            "how": compilation.how,
            "cut_list": _cut_list(compilation.chosen),
        },
    )


def _cut_list(chosen: Sequence[tuple[Video, Probe]]) -> dg.MarkdownMetadataValue:
    starts, at_s = [], 0.0
    for _, probe in chosen:
        starts.append(at_s)
        at_s += probe.duration_s or 0
    rows = [
        (f"{start:.2f} s", video.path, f"{probe.duration_s or 0:.2f} s")
        for start, (video, probe) in zip(starts, chosen, strict=True)
    ]
    return table(["from", "video", "lasts"], rows)
