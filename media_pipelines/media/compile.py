"""Several videos as one: `plan` decides, purely, whether they can be joined untouched; `join` does it and checks."""

import collections
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.media import files, verify
from media_pipelines.media.commands.pieces import concat, concat_copy, concat_list, normalise
from media_pipelines.media.encoders import Encoder, suited
from media_pipelines.media.ffmpeg import ChildRegistry, Progress, run
from media_pipelines.media.probe import Probe, Prober

ProgressDetail = dict[str, float | int | str | None]
OnProgress = Callable[[float, ProgressDetail], None]

_MAX_FPS = 60.0
_USUAL_FPS = (24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 50.0, 60000 / 1001, 60.0)
# The last part of the bar: joining is a copy, the pieces are the work.
_JOINING_PERCENT = 5.0


@dataclass(frozen=True)
class CompilePlan:
    """How the sources become one file: copied as they are, or each first encoded to `width`×`height` at `fps`.
    `reason` says which and why."""

    copy: bool
    width: int
    height: int
    fps: float
    has_audio: bool
    duration_s: float | None
    reason: str


def plan(sources: Sequence[Probe]) -> CompilePlan:
    """Decide how to join sources, in their order. Raises ValueError for none at all.

    They are copied only when they match in all that a player would have to switch between; the first thing that
    differs is the reason otherwise. The common shape is the one that most seconds of the sources have.
    """
    if not sources:
        raise ValueError("A compilation needs at least one source")
    difference = _difference(sources)
    width, height = _common_size(sources)
    lengths = [source.duration_s for source in sources]
    return CompilePlan(
        copy=difference is None,
        width=width,
        height=height,
        fps=_common_fps(sources),
        has_audio=any(source.has_audio for source in sources),
        duration_s=math.fsum(length for length in lengths if length) if all(lengths) else None,
        reason="all sources match" if difference is None else difference,
    )


def _difference(sources: Sequence[Probe]) -> str | None:
    """The first property in which sources differ, or that an MP4 for the web cannot hold."""
    for name, of in _MATCHED.items():
        values = list(dict.fromkeys(of(source) for source in sources))
        if len(values) > 1:
            return f"the sources differ in {name}: {values[0]} and {values[1]}"
    if sources[0].video_codec != "h264" or sources[0].audio_codec not in ("aac", None):
        return f"{sources[0].video_codec} with {sources[0].audio_codec} is not what browsers play in MP4"
    return None


def _sound(source: Probe) -> tuple[str | None, str | None, int | None, str] | None:
    """The first audio stream alone: the others are not joined."""
    sounds = source.of_kind("audio")
    if not sounds:
        return None
    return sounds[0].codec, sounds[0].channel_layout, sounds[0].sample_rate_hz, sounds[0].config


_MATCHED: dict[str, Callable[[Probe], object]] = {
    "video codec": lambda source: source.video_codec,
    "size": lambda source: f"{source.width}×{source.height}",
    "rotation": lambda source: source.rotation,
    "pixel shape": lambda source: source.sar,
    "pixel format": lambda source: source.pix_fmt,
    "frame rate": lambda source: round(source.fps, 2) if source.fps else None,
    "time base": lambda source: source.video.time_base,
    "encoder settings": lambda source: source.video.config,
    "sound": _sound,
}


def _common_size(sources: Sequence[Probe]) -> tuple[int, int]:
    """The displayed size, in square pixels and even, that most seconds have; the larger of two equals."""
    seconds: collections.Counter[tuple[int, int]] = collections.Counter()
    for source in sources:
        seconds[_square_pixels(source)] += round((source.duration_s or 1) * 1000)
    return max(seconds, key=lambda size: (seconds[size], size[0] * size[1]))


def _square_pixels(source: Probe) -> tuple[int, int]:
    return _even(float(source.width * source.sar)), _even(source.height)


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


def _common_fps(sources: Sequence[Probe]) -> float:
    seconds: collections.Counter[float] = collections.Counter()
    for source in sources:
        seconds[_usual_fps(source.fps or 25.0)] += round((source.duration_s or 1) * 1000)
    return max(seconds, key=lambda fps: (seconds[fps], fps))


def _usual_fps(fps: float) -> float:
    """The nearest usual rate when it is near (29.97 for 29.95), else the rate itself, never above 60."""
    nearest = min(_USUAL_FPS, key=lambda usual: abs(usual - fps))
    return nearest if abs(nearest - fps) < 0.02 * nearest else min(_MAX_FPS, max(1.0, fps))


def join(
    ffmpeg: Path,
    prober: Prober,
    sources: Sequence[Probe],
    output_partial: Path,
    *,
    workdir: Path,
    encoder: Encoder,
    preset: str,
    crf: int,
    on_progress: OnProgress | None = None,
    stop: Callable[[], str | None] | None = None,
    on_line: Callable[[str], None] | None = None,
    children: ChildRegistry | None = None,
    stall_timeout_s: float = 300,
) -> Probe:
    """Join sources into `output_partial` and return what was read back from it.

    `on_progress` gets a percentage of the summed durations and a detail with `piece`, `pieces`, `fps`, `speed`,
    `eta_s`, `out_time_s`, `size_bytes`. Temporaries live in a folder of their own below `workdir`, removed in the
    end. Raises OutputRejected, DiskFull, and what `ffmpeg.run` raises.
    """
    chosen = plan(sources)
    files.require_free_space(workdir, sum(source.size_bytes for source in sources))
    progress = _JoinProgress(sources, chosen, on_progress)

    def run_one(command: list[str], duration_s: float | None, report: Callable[[Progress], None]) -> None:
        run(
            command,
            duration_s=duration_s,
            on_progress=report,
            stop=stop,
            stall_timeout_s=stall_timeout_s,
            on_line=on_line,
            children=children,
        )

    folder = Path(tempfile.mkdtemp(prefix="join-", dir=workdir))
    try:
        if chosen.copy:
            pieces = _linked(sources, folder)
        else:
            pieces = _normalised(ffmpeg, prober, sources, folder, chosen, encoder, preset, crf, run_one, progress)
        list_file = folder / "list.ffconcat"
        list_file.write_text(concat_list(pieces))
        build = concat_copy if chosen.copy else concat
        run_one(build(ffmpeg, list_file, output_partial), chosen.duration_s, progress.joining)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return verify.verify_joined(prober, output_partial, expect_duration_s=chosen.duration_s, has_audio=chosen.has_audio)


def _linked(sources: Sequence[Probe], folder: Path) -> list[Path]:
    """Links under plain names: a concat list cannot hold every name."""
    links = []
    for n, source in enumerate(sources):
        link = folder / f"{n:05d}{_plain_suffix(source.path)}"
        link.symlink_to(source.path.absolute())
        links.append(link)
    return links


def _plain_suffix(path: Path) -> str:
    return path.suffix if path.suffix.isascii() and path.suffix.isprintable() else ""


def _normalised(
    ffmpeg: Path,
    prober: Prober,
    sources: Sequence[Probe],
    folder: Path,
    chosen: CompilePlan,
    encoder: Encoder,
    preset: str,
    crf: int,
    run_one: Callable[[list[str], float | None, Callable[[Progress], None]], None],
    progress: "_JoinProgress",
) -> list[Path]:
    fitting = suited(encoder, chosen.width, chosen.height)
    pieces = []
    for n, source in enumerate(sources):
        piece = folder / f"{n:05d}.mkv"
        command = normalise(
            ffmpeg,
            source,
            piece,
            width=chosen.width,
            height=chosen.height,
            fps=chosen.fps,
            encoder=fitting,
            preset=preset,
            crf=crf,
            with_audio=chosen.has_audio,
        )
        run_one(command, source.duration_s, progress.piece(n))
        verify.verify_piece(prober, source, piece)
        pieces.append(piece)
    return pieces


class _JoinProgress:
    """Adds up the progress of several runs of ffmpeg."""

    def __init__(self, sources: Sequence[Probe], chosen: CompilePlan, on_progress: OnProgress | None) -> None:
        self._lengths_s = [source.duration_s or 1.0 for source in sources]
        self._total_s = math.fsum(self._lengths_s)
        self._encodes = not chosen.copy
        self._on_progress = on_progress

    def piece(self, n: int) -> Callable[[Progress], None]:
        before_s = math.fsum(self._lengths_s[:n])

        def report(progress: Progress) -> None:
            done_s = before_s + min(progress.out_time_s, self._lengths_s[n])
            share = 100 - _JOINING_PERCENT
            self._report(progress, done_s, share * done_s / self._total_s, piece=n + 1)

        return report

    def joining(self, progress: Progress) -> None:
        share = _JOINING_PERCENT if self._encodes else 100.0
        done_s = min(progress.out_time_s, self._total_s)
        self._report(progress, done_s, 100 - share + share * done_s / self._total_s, piece=len(self._lengths_s))

    def _report(self, progress: Progress, done_s: float, percent: float, *, piece: int) -> None:
        if self._on_progress is None:
            return
        eta_s = (self._total_s - done_s) / progress.speed if progress.speed > 0 else None
        detail: ProgressDetail = {
            "piece": piece,
            "pieces": len(self._lengths_s),
            "fps": progress.fps,
            "speed": progress.speed,
            "eta_s": eta_s,
            "out_time_s": done_s,
            "size_bytes": progress.size_bytes,
        }
        self._on_progress(min(100.0, percent), detail)
