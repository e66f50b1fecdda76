"""Sample videos for the demo and the tests: small, quick to make, and as varied as what people keep."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.media import errors

_SUBTITLE = (
    "1\n00:00:00,200 --> 00:00:01,500\nA video library begins.\n\n2\n00:00:01,600 --> 00:00:03,000\nAnd goes on.\n"
)


@dataclass(frozen=True)
class Clip:
    """One sample: a lavfi picture, a tone for each audio track, and how to store them.

    `rotation` is only written into the file (degrees counter-clockwise, as phones do); the picture stays stored as
    it is.
    """

    name: str
    picture: str
    duration_s: float
    tones: tuple[str, ...] = ()
    video: tuple[str, ...] = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "26", "-pix_fmt", "yuv420p")
    audio: tuple[str, ...] = ("-c:a", "aac", "-b:a", "64k")
    subtitle: bool = False
    rotation: int = 0


def _tone(frequency: int) -> str:
    return f"sine=frequency={frequency}:beep_factor=4:sample_rate=48000"


SAMPLES = (
    Clip("colour-bars.mp4", "testsrc2=size=480x270:rate=30", 5, (_tone(440),)),
    Clip(
        "deep-zoom.mp4", "mandelbrot=size=480x270:rate=25:maxiter=200:end_scale=0.05:start_scale=1.2", 4, (_tone(220),)
    ),
    Clip(
        "two-languages.mkv",
        "gradients=size=640x360:rate=30000/1001:speed=0.05:nb_colors=5:seed=7",
        4,
        (_tone(330), _tone(550)),
        subtitle=True,
    ),
    Clip(
        "small-life.webm",
        "life=size=160x90:rate=25:ratio=0.4:seed=3:mold=12:life_color=#ffd166:death_color=#118ab2:mold_color=#073b4c,"
        "scale=320:180:flags=neighbor",
        3,
        (_tone(660),),
        video=("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k", "-pix_fmt", "yuv420p"),
        audio=("-c:a", "libopus", "-b:a", "48k"),
    ),
    Clip("silent-tall.mp4", "gradients=size=270x480:rate=30:speed=0.08:type=spiral:seed=11", 3),
    Clip("turned-phone.mp4", "testsrc2=size=480x270:rate=30000/1001", 4, (_tone(880),), rotation=90),
    Clip(
        "cells.mp4",
        "cellauto=size=240x135:rate=25:rule=110:seed=5,scale=480:270:flags=neighbor",
        6,
        (_tone(294),),
    ),
)


def make_clips(ffmpeg: Path, folder: Path, count: int = 6) -> list[Path]:
    """Make up to `count` samples in a folder; return their paths. Existing ones are kept.

    A sample that this ffmpeg cannot encode (no VP9, say) is left out. Raises FfmpegFailed when none can be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    failure: errors.FfmpegFailed | None = None
    for clip in SAMPLES:
        if len(made) == count:
            break
        try:
            made.append(make_clip(ffmpeg, clip, folder))
        except errors.FfmpegFailed as error:
            failure = error
    if failure is not None and not made:
        raise failure
    return made


def make_clip(ffmpeg: Path, clip: Clip, folder: Path) -> Path:
    """Make one sample; return its path. Raises FfmpegFailed."""
    path = folder / clip.name
    if path.exists():
        return path
    partial = folder / f".{path.stem}.partial{path.suffix}"
    stored = folder / f".{path.stem}.unturned.partial{path.suffix}" if clip.rotation else partial
    try:
        _run(_encode(ffmpeg, clip, stored), stdin=_SUBTITLE if clip.subtitle else "")
        if clip.rotation:
            _run(_turn(ffmpeg, stored, clip.rotation, partial))
        partial.rename(path)
    finally:
        stored.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return path


def _encode(ffmpeg: Path, clip: Clip, output: Path) -> list[str]:
    inputs = [argument for source in (clip.picture, *clip.tones) for argument in ("-f", "lavfi", "-i", source)]
    maps = [argument for n in range(1 + len(clip.tones)) for argument in ("-map", str(n))]
    if clip.subtitle:
        inputs += ["-f", "srt", "-i", "pipe:0"]
        maps += ["-map", str(1 + len(clip.tones)), "-c:s", "srt", "-metadata:s:s:0", "language=eng"]
    languages = ("eng", "deu", "fra")
    for n in range(len(clip.tones) if len(clip.tones) > 1 else 0):
        maps += [f"-metadata:s:a:{n}", f"language={languages[n % len(languages)]}"]
    return [
        str(ffmpeg),
        "-nostdin",
        "-hide_banner",
        "-loglevel", "error",
        "-y",
        *inputs,
        *maps,
        *clip.video,
        *(clip.audio if clip.tones else ()),
        "-t", f"{clip.duration_s:g}",
        f"file:{output}",
    ]  # fmt: skip


def _turn(ffmpeg: Path, stored: Path, rotation: int, output: Path) -> list[str]:
    return [
        str(ffmpeg),
        "-nostdin",
        "-hide_banner",
        "-loglevel", "error",
        "-y",
        "-display_rotation", str(rotation),
        "-i", f"file:{stored}",
        "-c", "copy",
        f"file:{output}",
    ]  # fmt: skip


def _run(command: Sequence[str], stdin: str = "") -> None:
    result = subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=120, check=False)
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").splitlines()
        raise errors.FfmpegFailed(command, result.returncode, lines)
