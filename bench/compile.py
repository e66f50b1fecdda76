"""(d) A grid and a join of matching sources through the queue, beside bare ffmpeg with the very same arguments."""

import os
import statistics
from pathlib import Path

from bench.figures import Figure
from bench.jobs import bare, clip, logged_command, scanned, timed
from jobqueue_bridge.settings import Settings
from media_pipelines.media.commands.pieces import concat_list

_PAIRS = 3
_CELL_SECONDS, _CELL_SIZES = 20, ("1280x720", "720x1280", "640x480", "1920x800")
_GRID = {"width": 1920, "height": 1080}
_QUAD_RATIO = 1.05
# Three gigabytes, twenty minutes in all: what a job costs beside its copy does not decide alone.
_JOINED, _JOINED_SECONDS, _JOINED_KBPS = 20, 60, 20_000
_JOIN_RATIO = 1.2


def quad(settings: Settings) -> list[Figure]:
    """In turn, three times; the ratio is the median of the pairs'."""
    folder = settings.media_library_path / "library/bench-quad"
    paths = [folder / f"{size}.mp4" for size in _CELL_SIZES]
    for path, size in zip(paths, _CELL_SIZES, strict=True):
        clip(settings, path, _noise(size, _CELL_SECONDS), _CELL_SECONDS, "-crf", "23")
    params = {"videoIds": [str(video_id) for video_id in scanned(settings, paths)], **_GRID}
    ours_s, bare_s = [], []
    for _ in range(_PAIRS):
        job_id, took_s = timed(settings, "compile_quad", params)
        ours_s.append(took_s)
        bare_s.append(bare(logged_command(settings, job_id), Path(settings.home) / "bare.mp4")[0])
    return _figures(
        f"grid of four of {_CELL_SECONDS} s", "bare ffmpeg, the same arguments", ours_s, bare_s, _QUAD_RATIO
    )


def join(settings: Settings) -> list[Figure]:
    """The same for sources that are copied. Both files end on the disk: where the bare copy alone ends, much of it is
    in memory only. All outputs stay until the end, because blocks that were just freed are faster to write to."""
    folder = settings.media_library_path / "library/bench-join"
    rate = [part for name in ("-b:v", "-minrate", "-maxrate", "-bufsize") for part in (name, f"{_JOINED_KBPS}k")]
    first, *others = paths = [folder / f"{n:02d}.mp4" for n in range(_JOINED)]
    clip(settings, first, _noise("1280x720", _JOINED_SECONDS), _JOINED_SECONDS, *rate, "-x264-params", "nal-hrd=cbr")
    for path in others:
        os.link(first, path)
    scanned(settings, paths)
    list_file = settings.home / "bare.ffconcat"
    list_file.write_text(concat_list(paths))
    ours_s, bare_s, flushed_s = [], [], []
    for n in range(_PAIRS):
        job_id, took_s = timed(settings, "compile_random", {"count": _JOINED, "directoryType": "bench-join"})
        ours_s.append(took_s)
        command = logged_command(settings, job_id)
        command[command.index("-i") + 1] = f"file:{list_file}"
        output = Path(command[-1].removeprefix("file:"))
        took_s, on_disk_s = bare(command, output.with_name(f"bare-{n}.mp4"))
        bare_s.append(took_s)
        flushed_s.append(on_disk_s)
    size_mb = _JOINED * first.stat().st_size / 1e6
    return [
        Figure("bare ffmpeg, the same arguments, before a flush", f"{statistics.median(bare_s):.2f} s"),
        *_figures(
            f"join of {_JOINED} matching sources, {size_mb:.0f} MB",
            "bare ffmpeg, the same arguments, and a flush",
            ours_s,
            flushed_s,
            _JOIN_RATIO,
        ),
        Figure("ours ÷ bare before a flush", f"{_ratio(ours_s, bare_s):.3f}×"),
    ]


def _noise(size: str, seconds: int) -> str:
    return f"testsrc2=s={size}:r=25:d={seconds},noise=alls=12:allf=t"


def _figures(what: str, beside: str, ours_s: list[float], bare_s: list[float], promised: float) -> list[Figure]:
    ratio = _ratio(ours_s, bare_s)
    return [
        Figure(f"{what}, ours", f"{statistics.median(ours_s):.2f} s"),
        Figure(beside, f"{statistics.median(bare_s):.2f} s"),
        Figure("ours ÷ bare", f"{ratio:.3f}×", f"≤ {promised}×", ratio <= promised),
    ]


def _ratio(ours_s: list[float], bare_s: list[float]) -> float:
    return statistics.median(one_s / other_s for one_s, other_s in zip(ours_s, bare_s, strict=True))
