"""(i) One pass over a film on one processor and one thread, beside bare ffmpeg that only decodes it; the second who
asks, and what a film four times as long takes of memory."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Figure
from bench.jobs import run_ffmpeg
from jobqueue_bridge.settings import Settings
from media_pipelines.media.ffmpeg import find_ffmpeg

_SECONDS, _TIMES = 60, 4
_SPEED, _AGAIN, _MEMORY = 4.0, 10.0, 1.25
_SCENES = (
    "testsrc2=size=1280x720:rate=25:duration=4",
    "gradients=size=1280x720:rate=25:speed=0.02:duration=4",
    "mandelbrot=size=1280x720:rate=25:start_scale=0.5,trim=duration=4",
)


def measure(settings: Settings) -> list[Figure]:
    """Each in a process of its own, held on one processor, after the networks were converted."""
    ffmpeg = find_ffmpeg(settings.ffmpeg_binary or None)
    film, long_film = _films(ffmpeg, settings.home)
    _passed(settings, film, "warm")
    first, again = _passed(settings, film, "kept"), _passed(settings, film, "kept")
    longer = _passed(settings, long_film, "kept")
    bare_s = _decoded_s(ffmpeg, film)
    speed = _SECONDS * _TIMES / longer["cpu_s"]
    growth = longer["peak_mb"] / first["peak_mb"]
    faster = first["took_s"] / again["took_s"]
    return [
        Figure("bare ffmpeg, decoding alone", f"{_SECONDS * 25 / bare_s:.0f} fps, {_SECONDS / bare_s:.1f} × real time"),
        Figure(
            f"analysis of {_SECONDS * _TIMES} s of 720p, one thread",
            f"{speed * 25:.0f} fps, {speed:.2f} × real time",
            f"≥ {_SPEED:g} × real time",
            speed >= _SPEED,
        ),
        Figure(
            f"of {_SECONDS} s, engines to load among it",
            f"{first['took_s']:.1f} s, {first['shots']} shots, {first['devices']}",
        ),
        Figure("the second analysis", f"{faster:.0f} × faster", f"≥ {_AGAIN:g} ×", faster >= _AGAIN),
        Figure(
            f"peak memory, {_SECONDS} s and {_SECONDS * _TIMES} s",
            f"{first['peak_mb']} and {longer['peak_mb']} MB, {growth:.2f} ×",
            f"≤ {_MEMORY} ×",
            growth <= _MEMORY,
        ),
    ]


def _films(ffmpeg: Path, folder: Path) -> tuple[Path, Path]:
    film, long_film = folder / "film.mp4", folder / "film-long.mp4"
    inputs = [argument for scene in _SCENES for argument in ("-f", "lavfi", "-i", scene)]
    joined = "[0:v][1:v][2:v]concat=n=3:v=1,loop=loop=-1:size=300,setpts=N/25/TB[v]"
    sound = f"sine=frequency=330:sample_rate=48000:duration={_SECONDS}"
    run_ffmpeg(
        ffmpeg, *inputs, "-f", "lavfi", "-i", sound, "-filter_complex", joined, "-map", "[v]", "-map", "3:a",
        "-t", str(_SECONDS), "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(film),
    )  # fmt: skip
    run_ffmpeg(ffmpeg, "-stream_loop", str(_TIMES - 1), "-i", str(film), "-c", "copy", str(long_film))
    return film, long_film


def _decoded_s(ffmpeg: Path, film: Path) -> float:
    before_s = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run_ffmpeg(ffmpeg, "-threads", "1", "-i", str(film), "-map", "0:v", "-f", "null", "-")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before_s


def _passed(settings: Settings, film: Path, folder: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "bench.ai"]
    command += map(str, (film, settings.home / folder, settings.models_dir))
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def _pass(film: Path, folder: Path, models: Path) -> dict[str, object]:
    """CPU time from the first import of an engine on: what a job pays."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from media_pipelines.ai.analyse import analyse
    from media_pipelines.ai.engines.choosing import Engines, Wishes

    began_s, cpu_s = time.monotonic(), time.process_time()
    found = analyse(film, engines=Engines(Wishes(models)), folder=folder)
    return {
        "took_s": time.monotonic() - began_s,
        "cpu_s": time.process_time() - cpu_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "shots": len(found.shots),
        "devices": ", ".join(sorted({engine.device for engine in found.engines})),
    }


if __name__ == "__main__":
    print(json.dumps(_pass(*map(Path, sys.argv[1:]))))
