"""Rows for the fuzzer: jobs of every type and status with logs and attempts, videos with real files."""

from contextlib import suppress
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa
from PIL import Image

from jobqueue_bridge import lease, lifecycle, queue, reports, videos
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.library_report import LibraryReport, LibraryShare, LibraryTotals
from jobqueue_bridge.params import MODELS
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus
from tests.job_params import least


def fill(engine: sa.Engine, settings: Settings) -> None:
    with engine.begin() as connection:
        library = _videos(connection, settings.media_library_path)
        for video in library:
            for kind in MODELS:
                with suppress(JobAlreadyLive):  # one scan at a time
                    queue.enqueue(connection, NewJob(kind, least(kind, video)), settings)
        reports.save(connection, library[0], _report(len(library)))
    with engine.begin() as connection:
        ids = list(connection.scalars(sa.select(jobs.c.id).order_by(jobs.c.created_at, jobs.c.id)))
        for number, job_id in enumerate(ids):
            _lead_to(connection, job_id, list(JobStatus)[number % len(JobStatus)])


def _videos(connection: sa.Connection, root: Path) -> list[UUID]:
    """Files with the names of videos; a thumbnail and a storyboard for each."""
    for folder in ("library/videos", "thumbnails"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(8):
        path = f"library/videos/clip-{number}.mp4"
        (root / path).write_bytes(bytes(range(256)) * 40)
        Image.new("RGB", (64, 36), (number * 20, 80, 120)).save(root / f"thumbnails/{number}.jpg")
        (root / f"thumbnails/{number}.vtt").write_text(
            f"WEBVTT\n\n00:00.000 --> 00:01.000\n{number}.jpg#xywh=0,0,64,36\n"
        )
        row = {"path": path, "filename": Path(path).name, "title": f"Clip {number}", "duration_seconds": 12.5}
        (video,) = videos.upsert(connection, [row]).values()
        videos.update(
            connection, video, thumbnail_path=f"thumbnails/{number}.jpg", storyboard_path=f"thumbnails/{number}.vtt"
        )
        found.append(video)
    return found


def _report(videos: int) -> LibraryReport:
    share = LibraryShare(name="h264", videos=videos, size_bytes=2**40, duration_seconds=0.5)
    return LibraryReport(days=90, totals=LibraryTotals(videos=videos, size_bytes=2**40), by_codec=[share])


def _lead_to(connection: sa.Connection, job_id: UUID, status: JobStatus) -> None:
    """By the ways that real jobs go."""
    if status is JobStatus.PENDING:
        return
    if status is JobStatus.PAUSED:
        lifecycle.pause(connection, job_id)
        return
    if status is JobStatus.CANCELLED:
        lifecycle.cancel(connection, job_id)
        return
    queued = sa.update(jobs).where(jobs.c.id == job_id).values(status="queued", attempt=1)
    connection.execute(queued)
    if status is JobStatus.QUEUED:
        return
    held = lease.claim(connection, job_id, 1, run_id=str(job_id), host="here")
    assert held is not None
    lease.log(connection, held, [f"line {number}" for number in range(20)])
    lease.beat(connection, held, 45, {"fps": 60.0, "speed": 2.5})
    if status is JobStatus.COMPLETED:
        result = {"outputPath": "library/videos/clip-0.mp4", "sizeBytes": 10, "sourceSizeBytes": 30}
        lease.complete(connection, held, result)
    elif status is JobStatus.FAILED:
        connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(status="failed", error="a fault"))
