"""(c) A re-encode through the queue, beside bare ffmpeg with the very same arguments."""

import shlex
import statistics
import subprocess
import time
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from bench.figures import Figure
from bench.latency import wait_until_finished
from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from media_pipelines.media.ffmpeg import find_ffmpeg

_SECONDS = 60
_PAIRS = 5
_RATIO = 1.03
_TOOK = sa.text(
    "SELECT extract(epoch FROM completed_at - started_at) FROM jobs WHERE id = :id AND status = 'completed'"
)


def measure(settings: Settings) -> list[Figure]:
    """In turn, five times. Of each the fastest counts: what else happens on a machine only ever adds to a time, and
    here a few percent of one decide."""
    video = _clip(settings)
    ours, bare = [], []
    for number in range(_PAIRS):
        job_id, took_s = _ours(settings, video, f"playback/bench-{number}.mp4")
        ours.append(took_s)
        bare.append(_bare(settings, job_id))
    ratio = min(ours) / min(bare)
    return [
        Figure(
            f"re-encode of {_SECONDS} s of 720p, ours", f"{min(ours):.1f} s, median {statistics.median(ours):.1f} s"
        ),
        Figure("bare ffmpeg, the same arguments", f"{min(bare):.1f} s, median {statistics.median(bare):.1f} s"),
        Figure("ours ÷ bare", f"{ratio:.3f}×", f"≤ {_RATIO}×", ratio <= _RATIO),
    ]


def _clip(settings: Settings) -> UUID:
    path = settings.media_library_path / "library/videos/bench.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"mandelbrot=s=1280x720:r=25,trim=duration={_SECONDS}"
    command = [
        find_ffmpeg(settings.ffmpeg_binary or None), "-v", "error",
        "-f", "lavfi", "-i", picture,
        "-f", "lavfi", "-i", f"sine=d={_SECONDS}",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-shortest", path,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True)
    with engine_for(settings).begin() as connection:
        job = queue.enqueue(connection, NewJob("scan", {"path": "library/videos/bench.mp4"}), settings)
    wait_until_finished(settings, [job.id])
    with engine_for(settings).begin() as connection:
        found = videos.id_by_path(connection, "library/videos/bench.mp4")
    assert found is not None
    return found


def _ours(settings: Settings, video: UUID, output: str) -> tuple[UUID, float]:
    """From the claim to the published file: probing, encoding, verifying, publishing."""
    params = {"videoId": str(video), "outputPath": output}
    with engine_for(settings).begin() as connection:
        job = queue.enqueue(connection, NewJob("reencode_streaming", params), settings)
    wait_until_finished(settings, [job.id])
    with engine_for(settings).begin() as connection:
        return job.id, float(connection.execute(_TOOK, {"id": job.id}).scalar_one())


def _bare(settings: Settings, job_id: UUID) -> float:
    """The command that the job logged, with another output."""
    with engine_for(settings).begin() as connection:
        log = queue.log_text(connection, job_id)
    logged = next(line for line in log.splitlines() if "FFmpeg command: " in line)
    command = shlex.split(logged.partition("FFmpeg command: ")[2])
    output = Path(settings.home) / "bare.mp4"
    started_s = time.monotonic()
    subprocess.run(
        [*command[:-1], str(output)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    took_s = time.monotonic() - started_s
    output.unlink()
    return took_s
