"""What the daemon, the code server, the webserver and the API hold in memory while 2,000 real runs pass (`RUNS=100`:
fewer). Some ten minutes: only where it is asked for by name."""

import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import psutil
import sqlalchemy as sa

from bench.figures import Figure
from bench.jobs import clip, timed
from jobqueue_bridge import queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from media_pipelines.platform.programs import API, CODE_SERVER, DAEMON, WEBSERVER
from media_pipelines.platform.supervisor import Supervisor

_RUNS = int(os.environ.get("RUNS", "2000"))
_MARKS = 4
_CLIPS = 100
_WATCHED = (DAEMON, CODE_SERVER, WEBSERVER, API)
# Caches fill and the allocator settles in the first runs; what still grows behind them is a leak.
_SETTLED_AFTER = 0.25
_SLOPE_MB = 5.0  # a thousand runs
_LOOK_S = 2.0
_FOLDER = "library/bench-memory"
_STATUSES = sa.text("SELECT status, count(*) AS jobs FROM jobs WHERE type = 'validate' GROUP BY status")
_IDS = sa.text("SELECT id FROM videos WHERE path LIKE :below")

# How many runs have ended, and MB of each program then.
Sample = tuple[int, Mapping[str, float]]


def measure(settings: Settings) -> list[Figure]:
    """Validations of one-second clips, as many in the queue as there are clips: one at a time of a video may live."""
    videos = _videos(settings)
    began_s = time.monotonic()
    samples = list(_sampled(settings, videos))
    took_s = time.monotonic() - began_s
    figures = [Figure(f"{_RUNS:,} runs, clips of a second validated", f"{60 * _RUNS / took_s:.0f} runs a minute")]
    for name in _WATCHED:
        figures += _figures(name, samples)
    return figures


def _videos(settings: Settings) -> list[UUID]:
    folder = settings.media_library_path / _FOLDER
    first = folder / "0.mp4"
    clip(settings, first, "testsrc2=s=160x90:r=25:d=1", 1)
    for number in range(1, _CLIPS):
        (folder / f"{number}.mp4").write_bytes(first.read_bytes())
    timed(settings, "scan", {"path": _FOLDER})
    with engine_for(settings).begin() as connection:
        found = list(connection.scalars(_IDS, {"below": f"{_FOLDER}/%"}))
    assert len(found) == _CLIPS
    return found


def _sampled(settings: Settings, videos: Sequence[UUID]) -> Iterator[Sample]:
    programs = _programs(settings)
    asked = done = 0
    while done < _RUNS:
        asked += _ask(settings, videos, _RUNS - asked)
        time.sleep(_LOOK_S)
        done = _done(settings)
        yield done, {name: process.memory_info().rss / 1e6 for name, process in programs.items()}


def _programs(settings: Settings) -> dict[str, psutil.Process]:
    """By their processes: one that was started again in between is not there any more, and the bench says so."""
    states = Supervisor(settings).states()
    return {name: psutil.Process(states[name].pid) for name in _WATCHED}


def _ask(settings: Settings, videos: Sequence[UUID], at_most: int) -> int:
    """Enqueue validations of those that have none in the queue."""
    asked = 0
    with engine_for(settings).begin() as connection:
        for video in videos:
            if asked == at_most:
                break
            with suppress(JobAlreadyLive):
                queue.enqueue(connection, NewJob("validate", {"videoId": str(video)}), settings)
                asked += 1
    return asked


def _done(settings: Settings) -> int:
    with engine_for(settings).begin() as connection:
        by_status = {row.status: int(row.jobs) for row in connection.execute(_STATUSES)}
    assert by_status.get("failed", 0) == 0, by_status
    return by_status.get("completed", 0)


def _figures(name: str, samples: Sequence[Sample]) -> list[Figure]:
    marks = {mark: next(used[name] for done, used in samples if done >= mark) for mark in _marks()}
    settled = [(done, used[name]) for done, used in samples if done >= _RUNS * _SETTLED_AFTER]
    slope_mb = 1000 * statistics.linear_regression(*zip(*settled, strict=True)).slope
    at_marks = ", ".join(f"{mark:,}: {used:.0f}" for mark, used in marks.items())
    return [
        Figure(f"resident memory of the {name}, MB after so many runs", at_marks),
        Figure(
            f"its growth from run {_RUNS * _SETTLED_AFTER:,.0f} on",
            f"{slope_mb:+.1f} MB in a thousand runs",
            f"≤ {_SLOPE_MB:g} MB",
            slope_mb <= _SLOPE_MB,
        ),
    ]


def _marks() -> list[int]:
    return [_RUNS * mark // _MARKS for mark in range(_MARKS + 1)]
