"""(d) A scan of 2,000 files, and another that finds nothing changed, beside a loop that probes one after the other."""

import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import sqlalchemy as sa

from bench.figures import Figure
from bench.jobs import timed
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings
from media_pipelines.media.ffmpeg import find_ffmpeg

_FILES = 2_000
_SHAPES = (("320x180", "h264"), ("180x320", "h264"), ("640x360", "hevc"), ("240x240", "mpeg4"))
_REFERENCE_FILES = 200
_FIRST_TIMES, _AGAIN_TIMES = 5.0, 100.0
_RESULT = sa.text("SELECT result FROM jobs WHERE id = :id")


def measure(settings: Settings) -> list[Figure]:
    """From the claim to the completed row. The reference probes every tenth file, and is taken times ten."""
    folder = settings.media_library_path / "bench-scan"  # not below library/, whose sensor would be first
    paths = _files(settings, folder)
    program, reference_s = _serial(settings, paths[:: _FILES // _REFERENCE_FILES])
    first_s = _scan(settings, folder, "new")
    again_s = _scan(settings, folder, "unchanged")
    shutil.rmtree(folder)
    first, again = reference_s / first_s, reference_s / again_s
    return [
        Figure(f"{_FILES} files, {program} one after the other", f"{reference_s:.1f} s"),
        Figure(f"scan of {_FILES} new files", f"{first_s:.2f} s"),
        Figure("the loop ÷ the scan", f"{first:.1f}×", f"≥ {_FIRST_TIMES:.0f}×", first >= _FIRST_TIMES),
        Figure(f"scan of {_FILES} files of which none has changed", f"{again_s:.2f} s"),
        Figure("the loop ÷ that scan", f"{again:.0f}×", f"≥ {_AGAIN_TIMES:.0f}×", again >= _AGAIN_TIMES),
    ]


def _files(settings: Settings, folder: Path) -> list[Path]:
    """Copies of a few clips, each with a box of its own at its end that players pass over."""
    folder.mkdir(parents=True)
    clips = [_clip(settings, folder.parent / f"{size}.{codec}.mp4", size, codec) for size, codec in _SHAPES]
    paths = []
    for number in range(_FILES):
        path = folder / f"{number // 100:02}" / f"{number:04}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(clips[number % len(clips)] + struct.pack(">I4sQ", 16, b"free", number))
        paths.append(path)
    return paths


def _clip(settings: Settings, path: Path, size: str, codec: str) -> bytes:
    encoder = {"h264": "libx264", "hevc": "libx265", "mpeg4": "mpeg4"}[codec]
    command = [
        find_ffmpeg(settings.ffmpeg_binary or None), "-v", "error",
        "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=4",
        "-f", "lavfi", "-i", "sine=d=4",
        "-c:v", encoder, "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest", path,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True, stderr=subprocess.DEVNULL)
    content = path.read_bytes()
    path.unlink()
    return content


def _serial(settings: Settings, paths: list[Path]) -> tuple[str, float]:
    """What a worker does that starts a program for each file: its name, and seconds for all the files."""
    ffprobe = settings.ffprobe_binary or shutil.which("ffprobe")
    if ffprobe:
        name, command = "ffprobe", [ffprobe, "-v", "error", "-show_format", "-show_streams", "-of", "json"]
    else:
        name, command = "ffmpeg -i", [str(find_ffmpeg(settings.ffmpeg_binary or None)), "-nostdin", "-i"]
    started_s = time.monotonic()
    for path in paths:
        subprocess.run([*command, path], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return name, (time.monotonic() - started_s) * _FILES / len(paths)


def _scan(settings: Settings, folder: Path, expected: str) -> float:
    job_id, took_s = timed(settings, "scan", {"path": os.path.relpath(folder, settings.media_library_path)})
    with engine_for(settings).begin() as connection:
        result = connection.scalars(_RESULT, {"id": job_id}).one()
    assert result[expected] == _FILES, result
    return took_s
