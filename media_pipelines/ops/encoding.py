"""Carrying out an encode plan inside an attempt: down the ladder of encoders, with every step on the job's record."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from media_pipelines.media import encoders
from media_pipelines.media.commands.rendition import encode
from media_pipelines.media.encoders import Encoder, Way
from media_pipelines.media.errors import FfmpegFailed, FfmpegStalled
from media_pipelines.media.ffmpeg import Progress, run
from media_pipelines.media.plan import EncodePlan
from media_pipelines.media.probe import Probe
from media_pipelines.ops.outputs import Output
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg

# The share of the progress bar that encoding takes; verifying and publishing have the rest.
ENCODED_PERCENT = 97.0


@dataclass(frozen=True)
class Encoded:
    """What was done: the way that worked, and the plan as it was carried out."""

    way: Way
    plan: EncodePlan

    @property
    def encoder(self) -> str:
        return self.way.encoder.name


def run_encode(
    attempt: Attempt,
    ffmpeg: Ffmpeg,
    source: Probe,
    output: Output,
    plan: EncodePlan,
    *,
    share_percent: float = ENCODED_PERCENT,
    watch: Callable[[Progress], None] | None = None,
) -> Encoded:
    """Write `output.partial` by the first way that works: hardware for decoding and encoding, hardware for encoding
    alone, software. Which one it was, and why the better ones were not, stands in the job's log and its attempt.

    Call it within `removing_partials`, after `require_space`. Raises NoEncoder and what `media.ffmpeg.run` raises; of a
    failure in the file no other way is tried. `watch` hears of every report; what it raises ends the encode.
    """
    for line in plan.dropped:
        attempt.log(f"Left out: {line}")
    ladder = encoders.ways(ffmpeg.program, plan.video, prefer_hardware=ffmpeg.prefers_hardware)
    failures: list[str] = []
    for n, rung in enumerate(ladder):
        way = _because(rung, failures)
        attempt.record_encoder(f"{way}: {way.reason}")
        attempt.log(f"Encoder: {way} ({way.reason})")
        try:
            return _carried_out(attempt, ffmpeg, source, output, plan, way, _reporting(attempt, share_percent, watch))
        except (FfmpegFailed, FfmpegStalled) as error:
            if n == len(ladder) - 1 or not rung.encoder.hardware or not encoders.blames_hardware(error):
                raise
            failures.append(f"{rung} failed: {_cause(error)}")
            attempt.log(f"{failures[-1]}; the next way is tried")
    raise AssertionError("a ladder has rungs")


def _because(way: Way, failures: Sequence[str]) -> Way:
    encoder = way.encoder
    reason = "; ".join([*failures, encoder.reason]) if failures else encoder.reason
    return replace(way, encoder=Encoder(encoder.name, encoder.hardware, reason))


def _cause(error: FfmpegFailed | FfmpegStalled) -> str:
    if isinstance(error, FfmpegStalled):
        return f"no progress for {error.stall_s:g} s"
    return encoders.short_reason("\n".join(error.stderr_tail), error.exit_code)


def _reporting(
    attempt: Attempt, share_percent: float, watch: Callable[[Progress], None] | None
) -> Callable[[Progress], None]:
    reporter = Reporter(attempt, share_percent)

    def report(progress: Progress) -> None:
        reporter.ffmpeg(progress)
        if watch is not None:
            watch(progress)

    return report


def _carried_out(
    attempt: Attempt,
    ffmpeg: Ffmpeg,
    source: Probe,
    output: Output,
    plan: EncodePlan,
    way: Way,
    report: Callable[[Progress], None],
) -> Encoded:
    if plan.video and plan.video.hdr == "tonemap" and not way.tone_map:
        attempt.log("No tone mapping: this ffmpeg has neither zscale nor libplacebo; the HDR curve is kept")
    command = encode(ffmpeg.program, source, output.partial, plan, way)
    attempt.log("FFmpeg command: " + shlex.join(command))
    with bounded(attempt.log, "lines of ffmpeg") as on_line:
        run(
            command,
            duration_s=source.duration_s,
            on_progress=report,
            stop=attempt.stop_reason,
            stall_timeout_s=ffmpeg.stall_timeout_s,
            on_line=on_line,
        )
    return Encoded(way, plan)
