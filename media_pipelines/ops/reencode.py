"""Re-encode a video for the web: probe, encode, verify, publish. The source is only ever read."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.videos import Video
from media_pipelines.media import streaming, verify
from media_pipelines.media.plan import Crf, EncodePlan
from media_pipelines.media.probe import Probe
from media_pipelines.ops.encoding import run_encode
from media_pipelines.ops.outputs import Output, plan_output, publish, removing_partials, require_space
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import record_output, source_video
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue


@dataclass(frozen=True)
class Rendition:
    """One re-encode on its way through the ops."""

    video: Video
    source: Probe
    output: Output
    encoder: str = ""
    result: Probe | None = None


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Claim the job, probe the source, decide where the rendition goes.",
)
def find_source(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Rendition:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.ReencodeStreaming)
        video = source_video(queue, attempt.job.video_id)
        attempt.log(f"Input: {video.path}")
        with ffmpeg.prober() as prober:
            source = prober.probe(library.path(video.path))
        output = plan_output(attempt, library, wanted.output_path, f"playback/{PurePosixPath(video.filename).stem}.mp4")
        attempt.log(f"Output: {library.relative(output.target)}")
        return Rendition(video, source, output)


@dg.op(description="Run ffmpeg: NVENC where a test encode proves it, else libx264. Progress goes to the job's row.")
def encode_rendition(context: dg.OpExecutionContext, rendition: Rendition, job: JobRow, ffmpeg: Ffmpeg) -> Rendition:
    with job.step(context) as attempt:
        if rendition.output.published:
            return rendition
        with removing_partials(rendition.output, attempt):
            require_space(rendition.output, rendition.source.size_bytes)
            plan = _plan(attempt, rendition.source)
            encoded = run_encode(attempt, ffmpeg, rendition.source, rendition.output, plan)
        return replace(rendition, encoder=encoded.encoder)


def _plan(attempt: Attempt, source: Probe) -> EncodePlan:
    wanted = typed(attempt, params.ReencodeStreaming)
    return streaming.rendition(
        source, quality=Crf(wanted.crf), preset=wanted.preset, max_bitrate_kbps=wanted.target_bitrate
    )


@dg.op(description="Read the new file back: it opens, decodes to its end, lasts as long, and has every stream.")
def verify_rendition(context: dg.OpExecutionContext, rendition: Rendition, job: JobRow, ffmpeg: Ffmpeg) -> Rendition:
    with job.step(context) as attempt:
        try:
            with ffmpeg.prober() as prober:
                plan = _plan(attempt, rendition.source)
                result = verify.verify_encode(prober, rendition.source, plan, rendition.output.to_verify)
        except BaseException:
            rendition.output.partial.unlink(missing_ok=True)
            raise
        attempt.log(f"Verified: {result.frames_decoded} frames decoded, {result.duration_s or 0:.2f} s")
        return replace(rendition, result=result)


@dg.op(description="Rename the verified file to its place, write its row, point the source's row at this job.")
def publish_rendition(
    context: dg.OpExecutionContext, rendition: Rendition, job: JobRow, queue: Queue, library: Library
) -> dg.Output[None]:
    with job.step(context) as attempt:
        result = rendition.result
        assert result is not None
        target = publish(attempt, library, rendition.output)
        relative = library.relative(target)
        output_id = record_output(
            context.instance,
            queue,
            relative,
            target,
            result,
            title=rendition.video.title,
            source_video_id=rendition.video.id,
            reencode_job_id=attempt.job.id,
        )
        attempt.log(f"Output file size: {result.size_bytes / 1e6:.1f} MB")
        attempt.complete(
            {
                "outputPath": relative,
                "outputVideoId": str(output_id),
                "encoder": rendition.encoder,
                "sizeBytes": result.size_bytes,
                "sourceSizeBytes": rendition.source.size_bytes,
                "durationSeconds": result.duration_s,
            },
            also=lambda connection: videos.update(connection, rendition.video.id, reencode_job_id=attempt.job.id),
        )
    return dg.Output(None, metadata=_shown(rendition, result, relative))


def _shown(rendition: Rendition, result: Probe, relative: str) -> dict[str, str | float]:
    before, after = rendition.source, result
    return {
        "path": relative,
        "source": rendition.video.path,
        "encoder": rendition.encoder or "(an earlier attempt)",
        "duration_s": round(after.duration_s or 0, 3),
        "picture": f"{after.width}×{after.height}",
        "size_before_mb": round(before.size_bytes / 1e6, 3),
        "size_after_mb": round(after.size_bytes / 1e6, 3),
        "saved_percent": round(100 * (1 - after.size_bytes / before.size_bytes), 1) if before.size_bytes else 0.0,
        "bitrate_before_kbps": before.bitrate_kbps or 0,
        "bitrate_after_kbps": after.bitrate_kbps or 0,
    }
