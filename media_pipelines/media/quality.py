"""How good an encode looks, as a number; and the CRF that reaches a number, found on short samples of the source.

The way of searching is ab-av1's: encode samples, compare them with the source, interpolate, a bounded number of times.
"""

import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from media_pipelines.media import errors
from media_pipelines.media.commands.arguments import given, named
from media_pipelines.media.commands.rendition import filters, picture
from media_pipelines.media.encoder_flags import DEFAULT_CRF, WORST_CRF
from media_pipelines.media.encoders import Way, device, hardware_decoding, short_reason, try_out
from media_pipelines.media.plan import Codec, Crf, Metric, Target, VideoPlan
from media_pipelines.media.probe import Probe

# Runs one command that lasts so many seconds; hands on each line of stderr. The caller watches over it.
Execute = Callable[[Sequence[str], float, Callable[[str], None]], None]

MAX_TRIES = 8
_SAMPLE_S = 20.0
_SAMPLE_EVERY_S = 720.0
_FEWEST_SAMPLES, _MOST_SAMPLES = 3, 8
# Below this quality numbers say nothing but noise, and files explode.
_BEST_CRF: Mapping[Codec, int] = {"h264": 6, "hevc": 6, "vp9": 8, "av1": 8}
# A score this little above the target is as good as reached.
_TOLERANCE: Mapping[Metric, float] = {"vmaf": 0.5, "xpsnr": 0.2}
# How much a score moves with one step of CRF, until two tries have shown it.
_SLOPE: Mapping[Metric, float] = {"vmaf": 1.0, "xpsnr": 0.5}
_LONGEST_STEP = 12
_SCORES: Mapping[Metric, re.Pattern[str]] = {
    "vmaf": re.compile(r"VMAF score: (-?[\d.]+|inf|nan)"),
    "xpsnr": re.compile(r"XPSNR .*\(minimum: (-?[\d.]+|inf|nan)\)"),
}
# What XPSNR says of identical pictures.
_IDENTICAL_DB = 100.0
# VMAF's model judges 1080p seen from three times its height: smaller pictures are brought near it, larger have a model
# of their own. Source: ab-av1's choice of both.
_VMAF_WIDTH, _VMAF_HEIGHT, _SMALL_WIDTH, _SMALL_HEIGHT = 1920, 1080, 1728, 972
_LARGE_WIDTH, _LARGE_HEIGHT = 2560, 1440


@dataclass(frozen=True)
class Sample:
    """A part of the source, in seconds from its start."""

    start_s: float
    length_s: float


@dataclass(frozen=True)
class Try:
    """What one CRF gave: the mean score of the samples, and the bytes of picture that the whole would take."""

    crf: int
    score: float
    size_bytes: int


@dataclass(frozen=True)
class Found:
    """The result of a search."""

    target: Target
    best: Try
    tries: tuple[Try, ...]

    @property
    def crf(self) -> Crf:
        return Crf(self.best.crf)

    def __str__(self) -> str:
        return f"CRF {self.best.crf} gives {self.target.metric} {self.best.score:.2f} (wanted {self.target.score:g})"


def require_metric(ffmpeg: Path, metric: Metric, *, timeout_s: float = 20) -> None:
    """Prove by a comparison that this ffmpeg has a metric. Raises MetricMissing."""
    picture = "color=size=64x64:rate=25:duration=0.08,format=yuv420p"
    command = [
        str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error",
        "-f", "lavfi", "-i", picture,
        "-f", "lavfi", "-i", picture,
        "-filter_complex", f"[0:v][1:v]{_metric(metric)}",
        "-f", "null", "-",
    ]  # fmt: skip
    try:
        result = try_out(command, timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise errors.MetricMissing(metric, str(error)) from error
    if result.returncode != 0:
        reason = short_reason(result.stderr.decode(errors="replace"), result.returncode)
        raise errors.MetricMissing(metric, reason)


def samples(duration_s: float | None, fps: float | None = None) -> tuple[Sample, ...]:
    """Short parts spread evenly over a video, or all of it where they would be most of it. They start between two
    frames, so that rounded times cannot shift the comparison by one."""
    frame_s = 1 / (fps or 25)
    if duration_s is None or duration_s <= 1.2 * _FEWEST_SAMPLES * _SAMPLE_S:
        return (Sample(0.0, min(duration_s or _SAMPLE_S, 1.2 * _FEWEST_SAMPLES * _SAMPLE_S)),)
    count = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, math.ceil(duration_s / _SAMPLE_EVERY_S)))
    middles = (duration_s * (n + 0.5) / count for n in range(count))
    starts = ((middle - _SAMPLE_S / 2) // frame_s * frame_s + frame_s / 2 for middle in middles)
    return tuple(Sample(start, _SAMPLE_S) for start in starts)


def search(
    ffmpeg: Path,
    source: Probe,
    video: VideoPlan,
    way: Way,
    *,
    workfile: Path,
    execute: Execute,
    on_try: Callable[[Try], None] | None = None,
) -> Found:
    """The highest CRF whose samples reach `video.quality`, a Target. `workfile` (Matroska) is written again and again,
    and removed in the end.

    Raises MetricMissing, TargetUnreachable, and what `execute` raises.
    """
    target = video.quality
    assert isinstance(target, Target)
    require_metric(ffmpeg, target.metric)
    parts = samples(source.duration_s, source.fps)
    tries: list[Try] = []
    try:
        for crf in _next_crfs(video.codec, target, tries):
            tried = replace(video, quality=Crf(crf))
            tries.append(_tried(ffmpeg, source, tried, way, target.metric, parts, workfile, execute))
            if on_try:
                on_try(tries[-1])
    finally:
        workfile.unlink(missing_ok=True)
    reached = [each for each in tries if each.score >= target.score]
    if not reached:
        best = max(tries, key=lambda each: each.score)
        raise errors.TargetUnreachable(source.path, target.metric, target.score, best.score, best.crf)
    return Found(target, max(reached, key=lambda each: each.crf), tuple(tries))


def score(
    ffmpeg: Path, source: Probe, video: VideoPlan, way: Way, output: Path, metric: Metric, *, execute: Execute
) -> float:
    """How much samples of a finished output look like the source. Raises MetricMissing and what `execute` raises."""
    require_metric(ffmpeg, metric)
    parts = samples(source.duration_s, source.fps)
    scores = [_compared(ffmpeg, source, video, way, part, output, part, metric, execute) for part in parts]
    return math.fsum(scores) / len(scores)


def _next_crfs(codec: Codec, target: Target, tries: Sequence[Try]) -> Iterator[int]:
    """What to try next, from what the tries have given so far; ends when nothing better can come."""
    lowest, highest = _BEST_CRF[codec], WORST_CRF[codec]
    yield DEFAULT_CRF[codec]
    while len(tries) < MAX_TRIES:
        good = max((each for each in tries if each.score >= target.score), key=lambda each: each.crf, default=None)
        bad = min((each for each in tries if each.score < target.score), key=lambda each: each.crf, default=None)
        if good and good.score - target.score <= _TOLERANCE[target.metric]:
            return
        crf = _between(good, bad, target) if good and bad else _beyond(tries[-1], target)
        crf = min(highest, max(lowest, crf))
        if any(each.crf == crf for each in tries):
            return
        yield crf


def _between(good: Try, bad: Try, target: Target) -> int:
    """By a straight line through both, but never one of them while others lie between."""
    share = (good.score - target.score) / max(1e-9, good.score - bad.score)
    crf = good.crf + round(share * (bad.crf - good.crf))
    return min(max(crf, good.crf + 1), max(good.crf, bad.crf - 1))


def _beyond(last: Try, target: Target) -> int:
    """Further in the direction of the target, by the usual slope."""
    step = math.floor((last.score - target.score) / _SLOPE[target.metric])
    return last.crf + max(-_LONGEST_STEP, min(_LONGEST_STEP, step or 1))


def _tried(
    ffmpeg: Path,
    source: Probe,
    video: VideoPlan,
    way: Way,
    metric: Metric,
    parts: Sequence[Sample],
    workfile: Path,
    execute: Execute,
) -> Try:
    scores, size_bytes, length_s = [], 0, 0.0
    for part in parts:
        execute(_encoded(ffmpeg, source, video, way, part, workfile), part.length_s, _ignore)
        size_bytes += workfile.stat().st_size
        length_s += part.length_s
        whole = Sample(0.0, part.length_s)
        scores.append(_compared(ffmpeg, source, video, way, part, workfile, whole, metric, execute))
    assert isinstance(video.quality, Crf)
    predicted = size_bytes * (source.duration_s or length_s) / length_s
    return Try(video.quality.value, math.fsum(scores) / len(scores), round(predicted))


def _encoded(ffmpeg: Path, source: Probe, video: VideoPlan, way: Way, part: Sample, output: Path) -> list[str]:
    return [
        str(ffmpeg),
        "-y",
        *device(way.encoder.name),
        *(hardware_decoding(way.encoder.name) if way.hardware_decode else []),
        *_part(part),
        *given(source.path),
        "-map", f"0:{source.video_index}",
        "-map_metadata", "-1",
        *picture(source, video, way),
        "-fps_mode:v:0", "passthrough",
        "-f", "matroska",
        named(output),
    ]  # fmt: skip


def _compared(
    ffmpeg: Path,
    source: Probe,
    video: VideoPlan,
    way: Way,
    part: Sample,
    encoded: Path,
    encoded_part: Sample,
    metric: Metric,
    execute: Execute,
) -> float:
    """The score of one sample. Frames are compared by their number: containers round their times differently."""
    found: list[float] = []

    def read(line: str) -> None:
        if match := _SCORES[metric].search(line):
            found.append(_number(match.group(1)))

    reference = [*filters(source, video, way.tone_map), *_prepared(video, metric)]
    command = [
        str(ffmpeg),
        # The score is told at this level.
        "-loglevel", "level+info",
        *_part(encoded_part), *given(encoded),
        *_part(part), *given(source.path),
        "-filter_complex",
        f"[0:v:0]{','.join(_prepared(video, metric))}[made];[1:{source.video_index}]{','.join(reference)}[asked];"
        # libvmaf takes first what was made, xpsnr what was asked for.
        f"{'[made][asked]' if metric == 'vmaf' else '[asked][made]'}{_metric(metric, video)}",
        "-f", "null", "-",
    ]  # fmt: skip
    execute(command, part.length_s, read)
    if not found:
        raise errors.MetricMissing(metric, "it gave no score")
    return found[-1]


def _prepared(video: VideoPlan, metric: Metric) -> list[str]:
    small = video.width < _SMALL_WIDTH and video.height < _SMALL_HEIGHT
    size = f"scale={_VMAF_WIDTH}:{_VMAF_HEIGHT}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bicubic"
    return [
        *([size] if metric == "vmaf" and small else []),
        f"format={'yuv420p10le' if video.ten_bit else 'yuv420p'}",
        "settb=1/1000",
        "setpts=N*40",
    ]


def _metric(metric: Metric, video: VideoPlan | None = None) -> str:
    if metric == "xpsnr":
        return "xpsnr"
    large = video is not None and (video.width > _LARGE_WIDTH or video.height > _LARGE_HEIGHT)
    model = ":model=version=vmaf_4k_v0.6.1" if large else ""
    return f"libvmaf=n_threads={len(os.sched_getaffinity(0))}{model}"


def _part(part: Sample) -> list[str]:
    start = ["-ss", f"{part.start_s:.6f}"] if part.start_s else []
    return [*start, "-t", f"{part.length_s:.6f}"]


def _number(text: str) -> float:
    value = float(text)
    return _IDENTICAL_DB if math.isinf(value) else 0.0 if math.isnan(value) else value


def _ignore(line: str) -> None:
    """What an encode of a sample warns of, the encode of the whole will say again."""
