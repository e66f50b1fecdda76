"""Jobs as the benches need them: put in, waited for, timed; and the commands that they logged, run bare."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.files import flush

_INSERT = sa.text(
    "INSERT INTO jobs (type, params, resource_category) "
    "VALUES ('scan', jsonb_build_object('path', cast(:path AS text)), 'cpu') RETURNING id"
)
_UNFINISHED = sa.text("SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND status NOT IN ('completed', 'failed')")
_TOOK = sa.text(
    "SELECT extract(epoch FROM completed_at - started_at) FROM jobs WHERE id = :id AND status = 'completed'"
)


def insert(settings: Settings, folder: str) -> UUID:
    """A scan of an empty folder: one op that does next to nothing."""
    (settings.media_library_path / folder).mkdir(parents=True, exist_ok=True)
    with engine_for(settings).begin() as connection:
        job_id: UUID = connection.scalars(_INSERT, {"path": folder}).one()
    return job_id


def wait_until_finished(settings: Settings, ids: list[UUID]) -> None:
    """Asks once a second: more would cost the jobs what it measures."""
    while True:
        with engine_for(settings).begin() as connection:
            if not connection.scalar(_UNFINISHED, {"ids": ids}):
                return
        time.sleep(1)


def timed(settings: Settings, job_type: str, params: dict[str, Any]) -> tuple[UUID, float]:
    """One job, and its seconds from the claim to the published file: probing, encoding or copying, verifying,
    publishing. Raises NoResultFound where it failed."""
    os.sync()
    with engine_for(settings).begin() as connection:
        job = queue.enqueue(connection, NewJob(job_type, params), settings)
    wait_until_finished(settings, [job.id])
    with engine_for(settings).begin() as connection:
        return job.id, float(connection.execute(_TOOK, {"id": job.id}).scalar_one())


def scanned(settings: Settings, paths: Iterable[Path]) -> list[UUID]:
    """The videos that these files are."""
    below = [str(path.relative_to(settings.media_library_path)) for path in paths]
    with engine_for(settings).begin() as connection:
        jobs = [queue.enqueue(connection, NewJob("scan", {"path": path}), settings).id for path in below]
    wait_until_finished(settings, jobs)
    with engine_for(settings).begin() as connection:
        found = [videos.id_by_path(connection, path) for path in below]
    ids = [video_id for video_id in found if video_id is not None]
    assert len(ids) == len(below)
    return ids


def clip(settings: Settings, path: Path, picture: str, seconds: int, *how: str) -> None:
    """A picture that one of lavfi's sources makes, with a tone; encoded with these options."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run_ffmpeg(
        find_ffmpeg(settings.ffmpeg_binary or None),
        "-f", "lavfi", "-i", picture,
        "-f", "lavfi", "-i", f"sine=d={seconds}",
        "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", *how,
        "-c:a", "aac", "-shortest", path,
    )  # fmt: skip


def run_ffmpeg(ffmpeg: Path, *arguments: str | Path) -> None:
    """Quietly, over what is there. Raises CalledProcessError."""
    command = (ffmpeg, "-nostdin", "-loglevel", "error", "-y", *arguments)
    subprocess.run([str(part) for part in command], check=True)


def logged_command(settings: Settings, job_id: UUID) -> list[str]:
    """The first command of ffmpeg that the job ran."""
    with engine_for(settings).begin() as connection:
        log = logs.text(connection, job_id)
    line = next(line for line in log.splitlines() if "FFmpeg command: " in line)
    return shlex.split(line.partition("FFmpeg command: ")[2])


def bare(command: list[str], output: Path) -> tuple[float, float]:
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
