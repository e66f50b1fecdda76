"""What of several videos can be joined untouched, and what shape the others have to be brought to. Pure."""

import collections
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from media_pipelines.media.commands.pieces import BT709, Shape, even, missing_picture_s, shape
from media_pipelines.media.probe import Color, Probe

MAX_FPS = 60.0
_USUAL_FPS = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0)
# Less than this is how containers round; more would be a picture that is over while sound goes on.
_PICTURE_MAY_MISS_S = 0.25


@dataclass(frozen=True)
class CompilePlan:
    """How the sources become one file: copied as they are, or each first brought to `width`×`height` at `fps`.
    `alike` are the sources (by number) whose pictures have that shape already and match each other.
    `reason` says which and why."""

    copy: bool
    width: int
    height: int
    fps: float
    has_audio: bool
    duration_s: float | None
    reason: str
    alike: frozenset[int] = frozenset()

    color: Color = BT709

    @property
    def shape(self) -> Shape:
        return shape(self.width, self.height, self.fps, self.color)


def plan(sources: Sequence[Probe]) -> CompilePlan:
    """Decide how to join sources, in their order. Raises ValueError for none at all.

    They are copied only when they match in all that a player would have to switch between; the first thing that
    differs is the reason otherwise. The common shape is the one that most seconds of the sources have.
    """
    if not sources:
        raise ValueError("A compilation needs at least one source")
    difference = _difference(sources)
    width, height = _common_size(sources)
    fps = _common_fps(sources)
    lengths = [source.duration_s for source in sources]
    alike = _alike(sources, width, height, fps)
    return CompilePlan(
        copy=difference is None,
        width=width,
        height=height,
        fps=fps,
        has_audio=any(source.has_audio for source in sources),
        duration_s=math.fsum(length for length in lengths if length) if all(lengths) else None,
        reason="all sources match" if difference is None else difference,
        alike=alike,
        color=sources[min(alike)].color if alike else BT709,
    )


def _difference(sources: Sequence[Probe]) -> str | None:
    """The first property in which sources differ, or that an MP4 for the web cannot hold."""
    for name, of in _MATCHED.items():
        values = list(dict.fromkeys(of(source) for source in sources))
        if len(values) > 1:
            return f"the sources differ in {name}: {values[0]} and {values[1]}"
    if sources[0].video_codec != "h264" or sources[0].audio_codec not in ("aac", None):
        return f"{sources[0].video_codec} with {sources[0].audio_codec} is not what browsers play in MP4"
    if any(missing_picture_s(source) > _PICTURE_MAY_MISS_S for source in sources):
        return "the picture of one ends before its sound"
    return None


def _sound(source: Probe) -> tuple[str | None, str | None, int | None, str] | None:
    """The first audio stream alone: the others are not joined."""
    sounds = source.of_kind("audio")
    if not sounds:
        return None
    return sounds[0].codec, sounds[0].channel_layout, sounds[0].sample_rate_hz, sounds[0].config


_MATCHED_PICTURE: dict[str, Callable[[Probe], object]] = {
    "video codec": lambda source: source.video_codec,
    "size": lambda source: f"{source.width}×{source.height}",
    "rotation": lambda source: source.rotation,
    "pixel shape": lambda source: source.sar,
    "pixel format": lambda source: source.pix_fmt,
    "frame rate": lambda source: round(source.fps, 2) if source.fps else None,
    "time base": lambda source: source.video.time_base,
    "encoder settings": lambda source: source.video.config,
}
_MATCHED: dict[str, Callable[[Probe], object]] = {**_MATCHED_PICTURE, "sound": _sound}


def _alike(sources: Sequence[Probe], width: int, height: int, fps: float) -> frozenset[int]:
    """The largest group, by seconds, of pictures that have the common shape and one and the same configuration."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for n, source in enumerate(sources):
        if _has_shape(source, width, height, fps):
            groups.setdefault(tuple(of(source) for of in _MATCHED_PICTURE.values()), []).append(n)
    largest = max(groups.values(), key=lambda group: math.fsum(sources[n].duration_s or 0 for n in group), default=[])
    return frozenset(largest)


def _has_shape(source: Probe, width: int, height: int, fps: float) -> bool:
    """Whether its picture could stand in the output as it is. One that ends before its sound would stand still in a
    way that only encoding can write."""
    return (
        source.video_codec == "h264"
        and source.pix_fmt == "yuv420p"
        and source.rotation == 0
        and source.sar == 1
        and source.color.range != "pc"
        and source.hdr is None
        and not source.interlaced
        and (source.width, source.height) == (width, height)
        and abs((source.fps or 0) - fps) < 0.01
        and bool(source.duration_s)
        and missing_picture_s(source) < 1 / fps
        and timescale(source) is not None
    )


def timescale(source: Probe) -> int | None:
    ticks = Fraction(source.video.time_base or 0)
    return ticks.denominator if ticks.numerator == 1 and 1_000 <= ticks.denominator <= 1_000_000 else None


def _common_size(sources: Sequence[Probe]) -> tuple[int, int]:
    """The displayed size, in square pixels and even, that most seconds have; the larger of two equals."""
    seconds: collections.Counter[tuple[int, int]] = collections.Counter()
    for source in sources:
        seconds[_square_pixels(source)] += round((source.duration_s or 1) * 1000)
    return max(seconds, key=lambda size: (seconds[size], size[0] * size[1]))


def _square_pixels(source: Probe) -> tuple[int, int]:
    return even(float(source.width * source.sar)), even(source.height)


def _common_fps(sources: Sequence[Probe]) -> float:
    seconds: collections.Counter[float] = collections.Counter()
    for source in sources:
        seconds[_usual_fps(source.fps or 25.0)] += round((source.duration_s or 1) * 1000)
    return max(seconds, key=lambda fps: (seconds[fps], fps))


def _usual_fps(fps: float) -> float:
    """The nearest usual rate when it is near (29.97 for 29.95), else the rate itself, never above 60."""
    nearest = min(_USUAL_FPS, key=lambda usual: abs(usual - fps))
    return nearest if abs(nearest - fps) < 0.02 * nearest else min(MAX_FPS, max(1.0, fps))
