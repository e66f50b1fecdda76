"""Carrying out an encode plan inside an attempt, with every step on the job's record; and checking what came of it."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from media_pipelines.left_behind import owner
from media_pipelines.media import errors, files, quality, verify
from media_pipelines.media.blame import unchanged
from media_pipelines.media.commands.rendition import cover, decode_all, encode, loose_covers
from media_pipelines.media.encoders import Way
from media_pipelines.media.ffmpeg import Progress, run
from media_pipelines.media.plan import EncodePlan, Target
from media_pipelines.media.probe import Probe
from media_pipelines.media.quality import Found, Try
from media_pipelines.media.writeback import written_back
from media_pipelines.ops.ladder import Ladder
from media_pipelines.ops.outputs import Output, require_made
from media_pipelines.ops.progress import Reporter, bounded
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg

# The share of the progress bar that encoding takes; verifying and publishing have the rest.
ENCODED_PERCENT = 97.0
# Of that, what a search for the quality takes.
_SEARCHED_SHARE = 0.4


@dataclass(frozen=True)
class Encoded:
    """What was done: the way that worked, the plan as it was carried out, and what a search for its quality found."""

    way: Way
    plan: EncodePlan
    found: Found | None = None

    @property
    def encoder(self) -> str:
        return self.way.encoder.name


@dataclass(frozen=True)
class _Work:
    """What every step of one encode needs."""

    attempt: Attempt
    ffmpeg: Ffmpeg
    source: Probe
    output: Output
    plan: EncodePlan
    share_percent: float
    max_size_bytes: int | None


def run_encode(
    attempt: Attempt,
    ffmpeg: Ffmpeg,
    source: Probe,
    output: Output,
    plan: EncodePlan,
    *,
    share_percent: float = ENCODED_PERCENT,
    max_size_bytes: int | None = None,
) -> Encoded:
    """Write `output.partial` by the first way that works: hardware for decoding and encoding, hardware for encoding
    alone, software. Which one it was, and why the better ones were not, stands in the job's log and its attempt. Where
    the plan has a Target, its CRF is searched for first, with the encoder of the way.

    Call it within `removing_partials`, after `require_space`. Raises NoEncoder, MetricMissing, TargetUnreachable,
    ResultTooLarge (also in the middle, by projection), SourceChanged and what `media.ffmpeg.run` raises; of a failure
    in the file no other way is tried.
    """
    work = _Work(attempt, ffmpeg, source, output, plan, share_percent, max_size_bytes)
    for line in plan.dropped:
        attempt.decided(f"Left out: {line}")
    ladder = Ladder(attempt, ffmpeg, plan.video)
    while True:
        try:
            with unchanged([source.path]):
                return _carried_out(work, ladder.way())
        except (errors.FfmpegFailed, errors.FfmpegStalled) as error:
            if not ladder.steps_down(error):
                raise


def verify_output(
    attempt: Attempt,
    ffmpeg: Ffmpeg,
    source: Probe,
    output: Output,
    plan: EncodePlan,
    *,
    encoded: Encoded | None = None,
    full: bool = False,
    min_vmaf: float | None = None,
) -> Probe:
    """Hold the new file against its source and the plan; `full` decodes every frame that was encoded; with `min_vmaf`,
    samples must look that much like the source (only where `encoded` says how it was made). What is rejected is
    removed.

    Raises OutputRejected, OutputGone, MetricMissing and what `media.ffmpeg.run` raises.
    """
    require_made(output)
    path = output.to_verify
    try:
        with ffmpeg.prober() as prober:
            result = verify.verify_encode(prober, source, plan, path)
        if full:
            _decode_all(attempt, ffmpeg, path, plan, result.duration_s)
        if min_vmaf is not None and encoded is not None and plan.video is not None:
            _require_vmaf(attempt, ffmpeg, source, path, encoded, min_vmaf)
    except BaseException:
        files.remove_quietly(output.partial)
        raise
    decoded = "every frame decoded" if full else f"{result.frames_decoded} frames decoded"
    attempt.decided(f"Verified: {decoded}, {result.duration_s or 0:.2f} s")
    return result


def _carried_out(work: _Work, way: Way) -> Encoded:
    attempt, ffmpeg = work.attempt, work.ffmpeg
    video = work.plan.video
    plan, found, start = work.plan, None, 0.0
    if video and isinstance(video.quality, Target):
        start = work.share_percent * _SEARCHED_SHARE
        found = _searched(work, way, start)
        plan = replace(plan, video=replace(video, quality=found.crf))
        attempt.record_encoder(f"{way}: {way.reason}; {found}")
    covers = _covers(work)
    command = encode(ffmpeg.program, work.source, work.output.partial, plan, way, covers)
    attempt.log("FFmpeg command: " + shlex.join(command))
    reporter = Reporter(attempt, work.share_percent - start, start)
    with written_back(work.output.partial):
        _watched(attempt, ffmpeg, command, work.source.duration_s, _guarded(work, reporter.ffmpeg))
    for path in covers:
        path.unlink()
    _require_size(work)
    return Encoded(way, plan, found)


def _watched(
    attempt: Attempt,
    ffmpeg: Ffmpeg,
    command: Sequence[str],
    duration_s: float | None,
    on_progress: Callable[[Progress], None] | None = None,
) -> None:
    with bounded(attempt.log, "lines of ffmpeg") as on_line:
        run(
            command,
            duration_s=duration_s,
            on_progress=on_progress,
            stop=attempt.stop_reason,
            stall_timeout_s=ffmpeg.stall_timeout_s,
            on_line=on_line,
        )


def _guarded(work: _Work, report: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Reports progress, and raises ResultTooLarge once it is plain that the output will be."""
    started_s = time.monotonic()

    def look(progress: Progress) -> None:
        report(progress)
        verify.require_size(work.source.path, progress, time.monotonic() - started_s, work.max_size_bytes)

    return look


def _require_size(work: _Work) -> None:
    size_bytes = work.output.partial.stat().st_size
    if work.max_size_bytes is not None and size_bytes > work.max_size_bytes:
        raise errors.ResultTooLarge(work.source.path, size_bytes, work.max_size_bytes)


def _searched(work: _Work, way: Way, share_percent: float) -> Found:
    attempt, video = work.attempt, work.plan.video
    assert video is not None
    tries: list[Try] = []

    def note(tried: Try) -> None:
        tries.append(tried)
        size = f"{tried.size_bytes / 1e6:.2f} MB of picture"
        attempt.log(f"Quality: CRF {tried.crf} gives {tried.score:.2f}, about {size}")
        attempt.progress(share_percent * len(tries) / quality.MAX_TRIES, tries=len(tries), score=tried.score)

    attempt.log(f"Quality: searching the CRF for {video.quality}")
    found = quality.search(
        work.ffmpeg.program,
        work.source,
        video,
        way,
        workfile=_workfile(work, "sample", ".mkv"),
        execute=_executor(attempt, work.ffmpeg),
        on_try=note,
    )
    attempt.decided(f"Quality: {found}, after {len(tries)} tries")
    return found


def _covers(work: _Work) -> list[Path]:
    """The covers that have to be files to be attached, as files."""
    paths = []
    for n, stream in enumerate(loose_covers(work.plan)):
        paths.append(_workfile(work, f"cover{n}", ".image"))
        command = cover(work.ffmpeg.program, work.source, stream, paths[-1])
        _watched(work.attempt, work.ffmpeg, command, None)
    return paths


def _workfile(work: _Work, purpose: str, suffix: str) -> Path:
    """Beside the output and named as this attempt's, so that whoever removes its partials removes this, too."""
    job = work.attempt.job
    path = work.output.partial.with_name(f".{purpose}.{owner(job.id, job.attempt)}.partial{suffix}")
    work.attempt.writes(path)
    return path


def _executor(attempt: Attempt, ffmpeg: Ffmpeg) -> quality.Execute:
    def execute(command: Sequence[str], duration_s: float, on_line: Callable[[str], None]) -> None:
        run(
            command,
            duration_s=duration_s,
            stop=attempt.stop_reason,
            stall_timeout_s=ffmpeg.stall_timeout_s,
            on_line=on_line,
        )

    return execute


def _decode_all(attempt: Attempt, ffmpeg: Ffmpeg, path: Path, plan: EncodePlan, duration_s: float | None) -> None:
    if plan.video is None and not any(track.codec for track in plan.audio):
        return
    broken: list[str] = []
    try:
        run(
            decode_all(ffmpeg.program, path, plan),
            duration_s=duration_s,
            stop=attempt.stop_reason,
            stall_timeout_s=ffmpeg.stall_timeout_s,
            on_line=lambda line: broken.append(line) if verify.is_damage(line) else None,
        )
    except errors.FfmpegFailed as error:
        if error.exit_code < 0 or error.kind == "capacity":
            raise
        broken.extend(error.stderr_tail[-1:])
    if broken:
        raise errors.OutputRejected(path, (f"it does not decode completely: {broken[0]}",))


def _require_vmaf(
    attempt: Attempt, ffmpeg: Ffmpeg, source: Probe, path: Path, encoded: Encoded, min_vmaf: float
) -> None:
    video = encoded.plan.video
    assert video is not None
    execute = _executor(attempt, ffmpeg)
    score = quality.score(ffmpeg.program, source, video, encoded.way, path, "vmaf", execute=execute)
    attempt.log(f"Quality: VMAF {score:.2f} (at least {min_vmaf:g})")
    if score < min_vmaf:
        raise errors.OutputRejected(path, (f"its VMAF is {score:.2f}, below {min_vmaf:g}",))
