"""A short animated picture of a part of a video: GIF or WebP, within a size if one is given."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from media_pipelines.media import errors, verify
from media_pipelines.media.commands import pictures
from media_pipelines.media.encoders import tone_mapper
from media_pipelines.media.ffmpeg import Progress, run
from media_pipelines.media.probe import Probe

Kind = Literal["gif", "webp"]

# Making the palette in the same pass holds every frame, four bytes a pixel: 800 MB at most.
_PIXELS_IN_MEMORY = 200_000_000
_SLOWEST_FPS, _NARROWEST = 5.0, 120
_FEWER_FRAMES, _SMALLER = 0.75, 0.8
# Bytes follow the pixels a second only roughly: at first a little hope, so that it is not made much smaller than it
# must be, and less with each try, so that there are few.
_HOPE, _LESS_HOPE = 1.15, 0.75


@dataclass(frozen=True)
class Animation:
    """What is to be made. `height` follows from the source."""

    kind: Kind
    start_s: float
    duration_s: float
    width: int
    height: int
    fps: float
    loop: int

    @property
    def frames(self) -> int:
        return max(1, round(self.duration_s * self.fps))

    @property
    def pixels_per_s(self) -> float:
        return self.width * self.height * self.fps


@dataclass(frozen=True)
class Made:
    """What was made: rate and size may have been lowered to fit. `frames` counts those that differ from the last."""

    animation: Animation
    frames: int
    size_bytes: int


def plan(
    source: Probe, *, kind: Kind, start_s: float, duration_s: float, width: int, fps: float, loop: int
) -> Animation:
    """Raises UnreadableMedia where the part lies beyond the end."""
    ends_s = source.duration_s and min(source.duration_s, source.end_s(source.video) or source.duration_s)
    if ends_s is not None:
        left_s = ends_s - start_s
        if left_s <= 0:
            reason = f"it lasts {ends_s:.2f} s, so that nothing of it is left after {start_s:g} s"
            raise errors.UnreadableMedia(source.path, reason)
        duration_s = min(duration_s, left_s)
    return Animation(kind, start_s, duration_s, width, _height(source, width), fps, loop)


def _height(source: Probe, width: int) -> int:
    return max(1, round(width * source.height / float(source.width * source.sar)))


def make(
    ffmpeg: Path,
    source: Probe,
    wanted: Animation,
    output: Path,
    *,
    max_bytes: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], str | None] | None = None,
    on_line: Callable[[str], None] | None = None,
    on_command: Callable[[list[str]], None] | None = None,
    stall_timeout_s: float = 300,
) -> Made:
    """Write the animation and decode all of it. While it is larger than `max_bytes`, it is made again with fewer frames
    a second and smaller, as much as its size says, and `on_line` hears why.

    Raises OutputRejected where the smallest is still too large, and what `ffmpeg.run` raises.
    """
    say = on_line or _nobody

    def one(command: list[str], duration_s: float | None) -> None:
        if on_command:
            on_command(command)
        run(
            command,
            duration_s=duration_s,
            on_progress=on_progress,
            stop=stop,
            on_line=on_line,
            stall_timeout_s=stall_timeout_s,
        )

    tone_map = tone_mapper(ffmpeg) if source.hdr else ()
    animation, hope = wanted, _HOPE
    while True:
        _encode(ffmpeg, source, animation, output, tone_map, one)
        size_bytes = output.stat().st_size
        if max_bytes is None or size_bytes <= max_bytes:
            return Made(animation, verified(output, animation), size_bytes)
        smaller = _smaller(source, animation, hope * max_bytes / size_bytes)
        if smaller is None:
            found = f"it takes {size_bytes} bytes at {_words(animation)}, and {max_bytes} are allowed"
            raise errors.OutputRejected(output, (found,))
        say(f"{size_bytes} bytes at {_words(animation)}, {max_bytes} are allowed: now {_words(smaller)}")
        animation, hope = smaller, hope * _LESS_HOPE


def _encode(
    ffmpeg: Path,
    source: Probe,
    animation: Animation,
    output: Path,
    tone_map: Sequence[str],
    run_one: Callable[[list[str], float | None], None],
) -> None:
    colours = None
    if animation.kind == "gif" and animation.frames * animation.width * animation.height > _PIXELS_IN_MEMORY:
        colours = output.with_suffix(".png")
    try:
        if colours is not None:
            run_one(
                pictures.palette(
                    ffmpeg,
                    source,
                    colours,
                    start_s=animation.start_s,
                    duration_s=animation.duration_s,
                    width=animation.width,
                    height=animation.height,
                    fps=animation.fps,
                    tone_map=tone_map,
                ),
                None,
            )
        command = pictures.animation(
            ffmpeg,
            source,
            output,
            start_s=animation.start_s,
            duration_s=animation.duration_s,
            width=animation.width,
            height=animation.height,
            fps=animation.fps,
            loop=animation.loop,
            kind=animation.kind,
            palette=colours,
            tone_map=tone_map,
        )
        run_one(command, animation.duration_s)
    finally:
        if colours is not None:
            colours.unlink(missing_ok=True)


def _smaller(source: Probe, animation: Animation, share: float) -> Animation | None:
    """The first step down to that share of the pixels a second, else the last; None below that."""
    steps = list(_ladder(source, animation))
    enough = share * animation.pixels_per_s
    return next((step for step in steps if step.pixels_per_s <= enough), steps[-1] if steps else None)


def _ladder(source: Probe, animation: Animation) -> Iterator[Animation]:
    """Ever smaller, down to the smallest that is of use."""
    while steps := list(_steps(source, animation)):
        yield from steps
        animation = steps[-1]


def _steps(source: Probe, animation: Animation) -> Iterator[Animation]:
    """Alone what costs more now, then both."""
    slower = max(_SLOWEST_FPS, animation.fps * _FEWER_FRAMES)
    narrower = max(_NARROWEST, int(animation.width * _SMALLER))
    can_slow, can_narrow = slower < animation.fps, narrower < animation.width
    smaller = replace(animation, width=narrower, height=_height(source, narrower))
    if can_slow and (animation.fps > 8 or not can_narrow):
        yield replace(animation, fps=slower)
    elif can_narrow:
        yield smaller
    if can_slow and can_narrow:
        yield replace(smaller, fps=slower)


def _words(animation: Animation) -> str:
    return f"{animation.fps:.3g} fps and {animation.width}×{animation.height}"


def verified(path: Path, animation: Animation) -> int:
    """The number of frames of an animation all of which decode. Raises OutputRejected."""
    shown_ms = verify.shown_ms(path)
    size, frames = verify.verify_image(path), len(shown_ms)
    found = []
    if size != (animation.width, animation.height):
        found.append(f"it shows {size[0]}×{size[1]} instead of {animation.width}×{animation.height}")
    tolerance_s = 0.25 + 0.05 * animation.duration_s + 1 / animation.fps
    if frames > 1 and abs(sum(shown_ms) / 1000 - animation.duration_s) > tolerance_s:
        found.append(f"it lasts {sum(shown_ms) / 1000:.2f} s instead of {animation.duration_s:.2f} s")
    if found:
        raise errors.OutputRejected(path, tuple(found))
    return frames


def _nobody(line: str) -> None:
    """Nobody asked why it was made smaller."""
