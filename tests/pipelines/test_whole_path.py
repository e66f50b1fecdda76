"""From a row to a verified file, for each job type, with real ffmpeg."""

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.vocabulary import JobStatus


@pytest.fixture
def clip(ffmpeg: Path, library: Path) -> Path:
    path = library / "library/videos/it's a clip.mp4"
    path.parent.mkdir(parents=True)
    subprocess.run(
        [
            ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=2", "-f", "lavfi", "-i",
            "sine=d=2", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-shortest", f"file:{path}",
        ],
        check=True,
    )  # fmt: skip
    return path


def test_a_library_goes_through_all_six_types(run_job, clip: Path, database: sa.Engine, library: Path) -> None:
    scanned = run_job("scan", {})
    assert scanned.status == JobStatus.COMPLETED, (scanned.error, _log(database, scanned))
    assert scanned.result == {
        "directory": "library/videos", "found": 1, "new": 1, "changed": 0, "unchanged": 0, "moved": 0,
        "missing": 0, "invalid": 0, "skipped": 0,
    }  # fmt: skip
    with database.begin() as connection:
        (video,) = videos.page(connection, limit=5).videos
    for kind in ("validate", "thumbnail_generate", "reencode_streaming"):
        done = run_job(kind, {"videoId": str(video.id)})
        assert done.status == JobStatus.COMPLETED, (kind, done.error, _log(database, done))
    compiled = run_job("compile_random", {"count": 2})
    assert compiled.status == JobStatus.COMPLETED, (compiled.error, _log(database, compiled))
    with database.begin() as connection:
        video = videos.get(connection, video.id)
        assert video.thumbnail_path is not None
        assert video.reencode_job_id is not None
    assert (library / video.thumbnail_path).is_file()
    (library / "library/public").mkdir()
    assert run_job("public_scan", {}).status == JobStatus.COMPLETED
    assert not list(library.rglob("*.partial*"))


def _log(database: sa.Engine, job: queue.Job) -> str:
    with database.begin() as connection:
        return logs.text(connection, job.id)
