"""Re-encode a video for the web: probe, encode, verify, publish. The source is only ever read."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.findings import Finding, Severity
from jobqueue_bridge.videos import Video
from media_pipelines.media import streaming
from media_pipelines.media.plan import Crf, EncodePlan, Target
from media_pipelines.media.probe import Probe
from media_pipelines.ops.checks import report, verifying
from media_pipelines.ops.encoding import Encoded, run_encode, verify_output
from media_pipelines.ops.materialized import file_at, made, video_link
from media_pipelines.ops.order import GOES_ON
from media_pipelines.ops.outputs import Output, mine, plan_output, publish, removing_partials, require_space
from media_pipelines.ops.params import typed
from media_pipelines.ops.pictures import frame_of
from media_pipelines.ops.videos import record_output, source_video
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
    plan: EncodePlan
    encoded: Encoded | None = None
    result: Probe | None = None

    @property
    def encoder(self) -> str:
        return self.encoded.encoder if self.encoded else ""


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
        return Rendition(video, source, output, _plan(wanted, source))


@dg.op(
    tags=GOES_ON,
    description="Run ffmpeg by the best way that a test encode proves, else in software. Progress goes to the row.",
)
def encode_rendition(context: dg.OpExecutionContext, rendition: Rendition, job: JobRow, ffmpeg: Ffmpeg) -> Rendition:
    with job.step(context) as attempt:
        if rendition.output.published:
            return rendition
        wanted = typed(attempt, params.ReencodeStreaming)
        limit = wanted.max_size_percent
        rendition = replace(rendition, output=mine(rendition.output, attempt))
        with removing_partials(rendition.output, attempt):
            require_space(rendition.output, rendition.source.size_bytes)
            encoded = run_encode(
                attempt,
                ffmpeg,
                rendition.source,
                rendition.output,
                rendition.plan,
                max_size_bytes=None if limit is None else rendition.source.size_bytes * limit // 100,
            )
        return replace(rendition, encoded=encoded)


def _plan(wanted: params.ReencodeStreaming, source: Probe) -> EncodePlan:
    quality: Crf | Target = Crf(wanted.crf)
    if wanted.target_vmaf is not None:
        quality = Target("vmaf", wanted.target_vmaf)
    elif wanted.target_xpsnr is not None:
        quality = Target("xpsnr", wanted.target_xpsnr)
    return streaming.rendition(source, quality=quality, preset=wanted.preset, max_bitrate_kbps=wanted.target_bitrate)


@dg.op(
    tags=GOES_ON,
    description="Read the new file back: it opens, decodes to its end, lasts as long, and has every stream.",
)
def verify_rendition(context: dg.OpExecutionContext, rendition: Rendition, job: JobRow, ffmpeg: Ffmpeg) -> Rendition:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.ReencodeStreaming)
        with verifying(context, attempt):
            result = verify_output(
                attempt,
                ffmpeg,
                rendition.source,
                rendition.output,
                rendition.plan,
                encoded=rendition.encoded,
                full=wanted.verify == "full",
                min_vmaf=wanted.min_vmaf,
            )
        report(context, attempt, _compared(rendition.source.size_bytes, result.size_bytes))
        return replace(rendition, result=result)


def _compared(before: int, after: int) -> Finding:
    saved_percent = 100 * (1 - after / before) if before else 0.0
    share = f"{saved_percent:.1f} % smaller" if after < before else f"{-saved_percent:.1f} % larger"
    said = f"{after / 1e6:.2f} MB, the source {before / 1e6:.2f} MB: {share}"
    return Finding("smaller", after < before, Severity.WARN, said)


@dg.op(
    tags=GOES_ON,
    description="Rename the verified file to its place, write its row, point the source's row at this job.",
)
def publish_rendition(
    context: dg.OpExecutionContext, rendition: Rendition, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        result = rendition.result
        assert result is not None
        target = publish(attempt, library, rendition.output)
        relative = library.relative(target)
        output_id = record_output(
            context,
            attempt,
            queue,
            relative,
            target,
            result,
            made_of=[rendition.video.id],
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
                **_quality(rendition.encoded),
            },
            also=lambda connection: videos.update(connection, rendition.video.id, reencode_job_id=attempt.job.id),
        )
    shown = {
        "frame": frame_of(replace(result, path=target), ffmpeg),
        **_shown(rendition, result),
        **file_at(library, relative),
        "output_video": video_link(queue.settings, output_id),
        "source_video": video_link(queue.settings, rendition.video.id),
    }
    return dg.Output(None, metadata=made(attempt, **shown))


def _quality(encoded: Encoded | None) -> dict[str, Any]:
    """What a search for the quality found."""
    if encoded is None or encoded.found is None:
        return {}
    target, best = encoded.found.target, encoded.found.best
    return {"quality": {"metric": target.metric, "wanted": target.score, "score": best.score, "crf": best.crf}}


def _shown(rendition: Rendition, result: Probe) -> dict[str, str | float]:
    before, after = rendition.source, result
    return {
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
