"""A report on a library of 100,000 videos, with a million jobs behind it: its pipeline in a process of its own."""

import json
import os
import resource
import subprocess
import sys
import time

import dagster as dg
import sqlalchemy as sa

from bench.api import fill, own_database
from bench.figures import Figure
from jobqueue_bridge import queue, reports
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.tables import jobs
from media_pipelines.definitions import defs
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready, run_request

_VIDEOS = 100_000
_PROMISED_S, _PROMISED_MB = 60.0, 1500.0
# Every hundredth shows what the one before it shows, every thousandth is the same file.
_SEED = f"""
INSERT INTO videos (path, filename, directory_type, size_bytes, duration_seconds, width, height, quality, orientation,
                    video_codec, bitrate_kbps, is_valid, fingerprint, phash, created_at, thumbnail_path)
SELECT 'library/videos/' || i || '.mp4', i || '.mp4', (ARRAY['videos', 'studios', 'private'])[1 + i % 3],
       1000000 + (i * 7919) % 4000000000, 60 + i % 5000, 1920, 1080, '1080p', 'landscape',
       (ARRAY['h264', 'hevc', 'vp9', 'av1'])[1 + i % 4], 1000 + i % 20000, i % 50 <> 0,
       'f' || i - (i % 1000 = 0)::int, pictures.hash, now() - i * interval '10 min', CASE WHEN i % 5 > 0 THEN 'x' END
FROM generate_series(1, {_VIDEOS}) AS i,
     LATERAL (SELECT left(string_agg(md5((i - (i % 100 = 0)::int) || '/' || n), ''), 400) AS hash
              FROM generate_series(1, 13) AS n) AS pictures
"""


def measure(settings: Settings) -> list[Figure]:
    with own_database(settings, "bench_report") as own:
        with engine_for(own).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("SET session_replication_role = replica"))  # triggers would take minutes
            fill(connection)
            # so that the report's is the only one that may start
            connection.execute(sa.delete(jobs).where(jobs.c.status == "pending"))
            connection.execute(sa.text(_SEED))
            connection.execute(sa.text("VACUUM ANALYZE"))
            connection.invalidate()
        told = _made(own)
        with engine_for(own).connect() as connection:
            report = reports.newest(connection).report
    assert report.totals.videos == _VIDEOS
    assert report.duplicates.looked_at == _VIDEOS
    assert report.failures.jobs > 0
    assert report.savings.jobs > 100_000
    what = f"a report on {_VIDEOS:,} videos and a million jobs"
    return [
        Figure(what, f"{told['seconds']:.1f} s", f"< {_PROMISED_S:.0f} s", told["seconds"] < _PROMISED_S),
        Figure(
            f"{what}: memory of its process",
            f"{told['peak_mb']:.0f} MB, {told['before_mb']:.0f} MB before it began",
            f"< {_PROMISED_MB:.0f} MB",
            told["peak_mb"] < _PROMISED_MB,
        ),
    ]


def _made(own: Settings) -> dict[str, float]:
    environment = {**os.environ, "MEDIA_PIPELINES_HOME": str(own.home), "DATABASE_URL": own.database_url}
    done = subprocess.run(
        [sys.executable, "-m", "bench.report"], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _run() -> None:
    """One report, with a partition for each video, as Dagster knows it of a library of that size."""
    settings = load_settings()
    with engine_for(settings).begin() as connection:
        queue.enqueue(connection, NewJob("library_report", {}), settings)
        ids = [str(video) for video in connection.scalars(sa.text("SELECT id FROM videos"))]
    with dg.DagsterInstance.ephemeral() as instance:
        for start in range(0, len(ids), 1_000):
            instance.add_dynamic_partitions("videos", ids[start : start + 1_000])
        (dispatched,) = admit_ready(settings, Gpu())
        request = run_request(dispatched)
        before_mb, began_s = _peak_mb(), time.monotonic()
        defs.resolve_job_def("library_report").execute_in_process(
            run_config=request.run_config, tags=request.tags, instance=instance
        )
    print(
        json.dumps({"seconds": time.monotonic() - began_s, "before_mb": before_mb, "peak_mb": _peak_mb()}), flush=True
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    _run()
