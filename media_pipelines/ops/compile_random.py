"""Join randomly chosen videos: choose, join, publish."""

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.errors import FieldProblem, InvalidJob
from jobqueue_bridge.videos import Video
from media_pipelines.media import compile as compiling
from media_pipelines.media.errors import MediaError
from media_pipelines.media.probe import Probe
from media_pipelines.ops.outputs import Output, plan_output, publish, removing_partials
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import Reporter
from media_pipelines.ops.videos import VIDEO_PARTITIONS, add_partitions, row, table
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
        chosen = _choose(attempt, wanted, queue, library, ffmpeg)
        for video, probe in chosen:
            attempt.log(f"Chosen: {video.path} ({probe.duration_s or 0:.1f} s)")
        default = f"compilations/random-{str(attempt.job.id)[:8]}.mp4"
        return Compilation(tuple(chosen), plan_output(attempt, library, wanted.output_path, default))


def _choose(
    attempt: Attempt, wanted: params.CompileRandom, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> list[tuple[Video, Probe]]:
    """Those of the shuffled candidates that can still be read, as many as are wanted. Raises InvalidJob: none is."""
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
    chosen: list[tuple[Video, Probe]] = []
    with ffmpeg.prober() as prober, queue.begin() as connection:
        for video_id in candidates:
            if len(chosen) == wanted.count:
                break
            attempt.check()
            video = videos.get(connection, video_id)
            try:
                chosen.append((video, prober.probe(library.path(video.path))))
            except MediaError as error:
                attempt.log(f"Passed over: {error}")
    if not chosen:
        raise InvalidJob([FieldProblem("params", "no valid video of the library fits these criteria")])
    return chosen


@dg.op(description="Join the chosen videos: copied where all match, else brought to one shape first. Verified.")
def join_sources(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, ffmpeg: Ffmpeg
) -> Compilation:
    with job.step(context) as attempt:
        sources = [probe for _, probe in compilation.chosen]
        how = compiling.plan(sources).reason
        if compilation.output.published:
            with ffmpeg.prober() as prober:
                return replace(compilation, result=prober.probe(compilation.output.target), how=how)
        encoder = ffmpeg.h264_encoder()
        attempt.record_encoder(f"{encoder.name}: {encoder.reason}")
        attempt.log(f"Encoder: {encoder.name} ({encoder.reason}); {how}")
        workdir = queue.settings.temp_dir / str(attempt.job.id)
        shutil.rmtree(workdir, ignore_errors=True)
        workdir.mkdir(parents=True)
        try:
            with removing_partials(compilation.output, attempt.job), ffmpeg.prober() as prober:
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
                    on_line=attempt.log,
                    stall_timeout_s=ffmpeg.stall_timeout_s,
                )
        finally:
            shutil.rmtree(workdir, ignore_errors=True)
        return replace(compilation, result=result, how=how)


@dg.op(description="Rename the compilation to its place and write its row.")
def publish_compilation(
    context: dg.OpExecutionContext, compilation: Compilation, job: JobRow, queue: Queue, library: Library
) -> dg.Output[None]:
    with job.step(context) as attempt:
        result = compilation.result
        assert result is not None
        target = compilation.output.target
        publish(attempt, library, compilation.output)
        relative = library.relative(target)
        with queue.begin() as connection:
            facts = row(relative, target, replace(result, path=target))
            output_id = videos.upsert(connection, [{**facts, "directory_type": "compilations"}])[relative]
        add_partitions(context.instance, VIDEO_PARTITIONS, [str(output_id)])
        attempt.log(f"Output file size: {result.size_bytes / 1e6:.1f} MB")
        attempt.complete(
            {
                "outputPath": relative,
                "outputVideoId": str(output_id),
                "sourceVideoIds": [str(video.id) for video, _ in compilation.chosen],
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
