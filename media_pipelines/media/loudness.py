"""How loud a source is, and the filters that bring it to a target: the two passes of `loudnorm`, EBU R128."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from media_pipelines.media.commands.arguments import given
from media_pipelines.media.ffmpeg import run
from media_pipelines.media.probe import Probe
from media_pipelines.media.streaming import playable_audio

# dBTP: what EBU R128 s1 allows on the way to lossy coding.
_PEAK_DBTP = -1.5
# loudnorm's own limits.
_RANGE_LU = (1.0, 50.0)
_MEASURABLE_LUFS = -70.0
# Beyond this it is noise that is made loud.
_MOST_GAIN_DB = 20.0
_CLOSE_ENOUGH_DB = 0.5


@dataclass(frozen=True)
class Loudness:
    """What the first pass measured: integrated loudness (LUFS), true peak (dBTP), range (LU), gating threshold."""

    integrated: float
    true_peak: float
    range_lu: float
    threshold: float


def measure(
    ffmpeg: Path, source: Probe, *, stop: Callable[[], str | None] | None = None, stall_timeout_s: float = 300
) -> Loudness | None:
    """The first pass over a source's first audio track; None where there is no sound that can be measured.

    Raises what `ffmpeg.run` raises.
    """
    if not playable_audio(source):
        return None
    lines: list[str] = []
    run(
        measuring(ffmpeg, source),
        duration_s=source.duration_s,
        stop=stop,
        stall_timeout_s=stall_timeout_s,
        on_line=lines.append,
    )
    return parse("\n".join(lines))


def measuring(ffmpeg: Path, source: Probe) -> list[str]:
    return [
        str(ffmpeg),
        # Its figures are of the level "info".
        "-loglevel", "info",
        *given(source.path),
        "-map", f"0:{playable_audio(source)[0].index}",
        "-af", f"aformat=channel_layouts=stereo,loudnorm=TP={_PEAK_DBTP}:print_format=json",
        "-f", "null", "-",
    ]  # fmt: skip


def parse(text: str) -> Loudness | None:
    """What loudnorm printed last. None: it found nothing that is loud enough to measure."""
    start, end = text.rfind("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        found = json.loads(text[start : end + 1])
        measured = Loudness(*(float(found[f"input_{name}"]) for name in ("i", "tp", "lra", "thresh")))
    except (ValueError, KeyError):
        return None
    sound = math.isfinite(measured.integrated) and measured.integrated > _MEASURABLE_LUFS
    return measured if sound and math.isfinite(measured.true_peak) else None


def levelling(measured: Loudness | None, target_lufs: float) -> str:
    """Filters for the second pass, one constant gain; empty where nothing needs doing.

    Where the gain would push peaks above the ceiling loudnorm would leave its linear mode; there a plain gain with a
    limiter on those peaks takes its place, so that no scene is pumped up against another.
    """
    if measured is None:
        return ""
    gain_db = min(target_lufs - measured.integrated, _MOST_GAIN_DB)
    if abs(gain_db) < _CLOSE_ENOUGH_DB:
        return ""
    if measured.true_peak + gain_db > _PEAK_DBTP:
        return f"volume={gain_db:.2f}dB,alimiter=limit={10 ** (_PEAK_DBTP / 20):.4f}:level=disabled"
    low, high = _RANGE_LU
    return (
        f"loudnorm=I={measured.integrated + gain_db:.2f}:TP={_PEAK_DBTP}"
        f":LRA={min(high, max(low, measured.range_lu + 1)):.2f}:linear=true"
        f":measured_I={measured.integrated:.2f}:measured_TP={measured.true_peak:.2f}"
        f":measured_LRA={measured.range_lu:.2f}:measured_thresh={measured.threshold:.2f}"
    )
