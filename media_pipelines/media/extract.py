"""A part of a video as a file of its own, its streams copied: quick, and it begins at the key frame before."""

import shlex
from collections.abc import Callable
from pathlib import Path

from media_pipelines.media import errors, verify
from media_pipelines.media.commands.arguments import given, named
from media_pipelines.media.ffmpeg import Progress, run
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from media_pipelines.media.streaming import playable_audio
from media_pipelines.media.writeback import written_back

# How far a key frame may lie before the part; recordings have one every few seconds, films made of one GOP do not.
_KEY_FRAME_WITHIN_S = 15.0


def copy_part(
    ffmpeg: Path,
    prober: Prober,
    source: Probe,
    start_s: float,
    length_s: float,
    output_partial: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], str | None] | None = None,
    on_command: Callable[[str], None] | None = None,
    stall_timeout_s: float = 300,
) -> Probe:
    """In the source's own container. Raises OutputRejected where it is not that long, and what `ffmpeg.run` raises."""
    command = copying(ffmpeg, source, start_s, length_s, output_partial)
    if on_command:
        on_command(shlex.join(command))
    with written_back(output_partial):
        run(command, duration_s=length_s, on_progress=on_progress, stop=stop, stall_timeout_s=stall_timeout_s)
        result = prober.probe(output_partial)
    lasts_s = result.duration_s or 0.0
    tolerance_s = verify.tolerance_s(length_s)
    if not length_s - tolerance_s <= lasts_s <= length_s + _KEY_FRAME_WITHIN_S + tolerance_s:
        found = f"it lasts {lasts_s:.2f} s instead of {length_s:.2f} s: its key frames lie too far apart to copy parts"
        raise errors.OutputRejected(output_partial, (found,))
    return result


def copying(ffmpeg: Path, source: Probe, start_s: float, length_s: float, output: Path) -> list[str]:
    sound = playable_audio(source)
    return [
        str(ffmpeg),
        "-y",
        "-ss", f"{start_s:.6f}",
        *given(source.path),
        "-t", f"{length_s:.6f}",
        "-map", f"0:{source.video_index}",
        *(argument for track in sound for argument in ("-map", f"0:{track.index}")),
        "-map_chapters", "-1",
        "-c", "copy",
        "-avoid_negative_ts", "make_zero",
        named(output),
    ]  # fmt: skip
