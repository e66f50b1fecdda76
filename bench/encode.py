"""(c) A re-encode through the queue, beside bare ffmpeg with the very same arguments."""

import statistics

from bench.figures import Figure
from bench.jobs import bare, clip, logged_command, scanned, timed
from jobqueue_bridge.settings import Settings

_SECONDS = 60
_PAIRS = 5
_RATIO = 1.03


def measure(settings: Settings) -> list[Figure]:
    """In turn, five times. Of each the fastest counts: what else happens on a machine only ever adds to a time, and
    here a few percent of one decide."""
    path = settings.media_library_path / "library/videos/bench.mp4"
    clip(settings, path, f"mandelbrot=s=1280x720:r=25,trim=duration={_SECONDS}", _SECONDS)
    [video_id] = scanned(settings, [path])
    ours_s, bare_s = [], []
    for number in range(_PAIRS):
        params = {"videoId": str(video_id), "outputPath": f"playback/bench-{number}.mp4"}
        job_id, took_s = timed(settings, "reencode_streaming", params)
        ours_s.append(took_s)
        took_s, _ = bare(logged_command(settings, job_id), settings.home / f"bare-{number}.mp4")
        bare_s.append(took_s)
    ratio = min(ours_s) / min(bare_s)
    return [
        Figure(f"re-encode of {_SECONDS} s of 720p, ours", _shown(ours_s)),
        Figure("bare ffmpeg, the same arguments", _shown(bare_s)),
        Figure("ours ÷ bare", f"{ratio:.3f}×", f"≤ {_RATIO}×", ratio <= _RATIO),
    ]


def _shown(seconds: list[float]) -> str:
    return f"{min(seconds):.1f} s, median {statistics.median(seconds):.1f} s"
