"""(d) A grid and a join of matching sources through the queue, beside bare ffmpeg with the very same arguments."""

import os
import shlex
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from bench.figures import Figure
from bench.latency import wait_until_finished
from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from media_pipelines.media.commands.pieces import concat_list
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.files import flush

_PAIRS = 3
_CELL_SECONDS, _CELL_SIZES = 20, ("1280x720", "720x1280", "640x480", "1920x800")
_GRID = {"width": 1920, "height": 1080}
_QUAD_RATIO = 1.05
# Three gigabytes, twenty minutes in all: what a job costs beside its copy does not decide alone.
_JOINED, _JOINED_SECONDS, _JOINED_KBPS = 20, 60, 20_000
_JOIN_RATIO = 1.2
_TOOK = sa.text(
    "SELECT extract(epoch FROM completed_at - started_at) FROM jobs WHERE id = :id AND status = 'completed'"
)


def quad(settings: Settings) -> list[Figure]:
    """In turn, three times; the ratio is the median of the pairs'."""
    folder = settings.media_library_path / "library/bench-quad"
    for size in _CELL_SIZES:
        _clip(settings, folder / f"{size}.mp4", size, _CELL_SECONDS, ["-crf", "23"])
    ids = _scanned(settings, folder)
    ours, bare = [], []
    for _ in range(_PAIRS):
        job_id, took_s = _ours(settings, "compile_quad", {"videoIds": ids, **_GRID})
        ours.append(took_s)
        bare.append(_bare(_logged(settings, job_id), Path(settings.home) / "bare.mp4")[0])
    return _figures(f"grid of four of {_CELL_SECONDS} s", "bare ffmpeg, the same arguments", ours, bare, _QUAD_RATIO)


def join(settings: Settings) -> list[Figure]:
    """The same for sources that are copied. Both files end on the disk: where the bare copy alone ends, much of it is
    in memory only. All outputs stay until the end, because blocks that were just freed are faster to write to."""
    folder = settings.media_library_path / "library/bench-join"
    rate = [part for name in ("-b:v", "-minrate", "-maxrate", "-bufsize") for part in (name, f"{_JOINED_KBPS}k")]
    first = folder / "00.mp4"
    _clip(
        settings,
        first,
        "1280x720",
        _JOINED_SECONDS,
        [*rate, "-x264-params", "nal-hrd=cbr"],
    )
    paths = [folder / f"{n:02d}.mp4" for n in range(_JOINED)]
    for path in paths[1:]:
        os.link(first, path)
    _scanned(settings, folder)
    list_file = settings.home / "bare.ffconcat"
    list_file.write_text(concat_list(paths))
    ours, bare, flushed = [], [], []
    for n in range(_PAIRS):
        job_id, took_s = _ours(settings, "compile_random", {"count": _JOINED, "directoryType": "bench-join"})
        ours.append(took_s)
        command = _logged(settings, job_id)
        command[command.index("-i") + 1] = f"file:{list_file}"
        output = Path(command[-1].removeprefix("file:"))
        took_s, flushed_s = _bare(command, output.with_name(f"bare-{n}.mp4"))
        bare.append(took_s)
        flushed.append(flushed_s)
    size_mb = _JOINED * first.stat().st_size / 1e6
    return [
        Figure("bare ffmpeg, the same arguments, before a flush", f"{statistics.median(bare):.2f} s"),
        *_figures(
            f"join of {_JOINED} matching sources, {size_mb:.0f} MB",
            "bare ffmpeg, the same arguments, and a flush",
            ours,
            flushed,
            _JOIN_RATIO,
        ),
        Figure("ours ÷ bare before a flush", f"{_ratio(ours, bare):.3f}×"),
    ]


def _figures(what: str, beside: str, ours: list[float], bare: list[float], promised: float) -> list[Figure]:
    ratio = _ratio(ours, bare)
    return [
        Figure(f"{what}, ours", f"{statistics.median(ours):.2f} s"),
        Figure(beside, f"{statistics.median(bare):.2f} s"),
        Figure("ours ÷ bare", f"{ratio:.3f}×", f"≤ {promised}×", ratio <= promised),
    ]


def _ratio(ours: list[float], bare: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, bare, strict=True))


def _clip(settings: Settings, path: Path, size: str, seconds: int, quality: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        find_ffmpeg(settings.ffmpeg_binary or None), "-v", "error", "-y",
        "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds},noise=alls=12:allf=t",
        "-f", "lavfi", "-i", f"sine=d={seconds}",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", *quality,
        "-c:a", "aac", "-shortest", path,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True)


def _scanned(settings: Settings, folder: Path) -> list[str]:
    """The ids of what lies there."""
    below = str(folder.relative_to(settings.media_library_path))
    with engine_for(settings).begin() as connection:
        job = queue.enqueue(connection, NewJob("scan", {"path": below}), settings)
    wait_until_finished(settings, [job.id])
    with engine_for(settings).begin() as connection:
        found = [videos.id_by_path(connection, f"{below}/{path.name}") for path in sorted(folder.iterdir())]
    assert all(found)
    return [str(video_id) for video_id in found]


def _ours(settings: Settings, kind: str, params: dict[str, Any]) -> tuple[UUID, float]:
    """From the claim to the published file: probing, encoding or copying, verifying, publishing."""
    os.sync()
    with engine_for(settings).begin() as connection:
        job = queue.enqueue(connection, NewJob(kind, params), settings)
    wait_until_finished(settings, [job.id])
    with engine_for(settings).begin() as connection:
        took_s = float(connection.execute(_TOOK, {"id": job.id}).scalar_one())
    return job.id, took_s


def _logged(settings: Settings, job_id: UUID) -> list[str]:
    """The command that the job ran."""
    with engine_for(settings).begin() as connection:
        log = queue.log_text(connection, job_id)
    line = next(line for line in log.splitlines() if "FFmpeg command: " in line)
    return shlex.split(line.partition("FFmpeg command: ")[2])


def _bare(command: list[str], output: Path) -> tuple[float, float]:
    """The command with another output: seconds until it ends, and until what it wrote is on the disk."""
    os.sync()
    started_s = time.monotonic()
    subprocess.run(
        [*command[:-1], str(output)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    took_s = time.monotonic() - started_s
    flush(output)
    return took_s, time.monotonic() - started_s
