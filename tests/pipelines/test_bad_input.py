"""What can never work says so: on the row, in its log, and nowhere else does anything happen."""

import subprocess
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready

PER_VIDEO = ("validate", "thumbnail_generate", "reencode_streaming", "digest_generate")


@pytest.fixture
def clip(ffmpeg: Path, library: Path) -> Path:
    path = library / "library/videos/good.mp4"
    path.parent.mkdir(parents=True)
    subprocess.run(
        [ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1", "-preset", "ultrafast", path],
        check=True,
    )
    return path


def _broken(kind: str, clip: Path) -> str:
    content = {
        "zero bytes": b"",
        "truncated": clip.read_bytes()[: clip.stat().st_size // 2],
        "no video": b"#!/bin/sh\necho I am not a video\n",
    }[kind]
    clip.with_name("bad.mp4").write_bytes(content)
    return "library/videos/bad.mp4"


@pytest.mark.parametrize("job_type", PER_VIDEO)
@pytest.mark.parametrize("kind", ["zero bytes", "truncated", "no video"])
def test_a_broken_file_fails_its_job_with_the_reason(
    kind: str, job_type: str, run_job, clip: Path, database: sa.Engine, library: Path
) -> None:
    path = _broken(kind, clip)
    assert run_job("scan", {}).result["invalid"] == 1
    with database.begin() as connection:
        video = videos.find(connection, path)
        assert video.is_valid is False
        assert video.invalid_reason

    failed = run_job(job_type, {"videoId": str(video.id)})

    assert failed.status == JobStatus.FAILED, "a broken file is broken tomorrow: no retry"
    assert failed.error
    assert "bad.mp4" in failed.error
    with database.begin() as connection:
        assert failed.error.splitlines()[0] in logs.text(connection, failed.id)
    assert not list(library.rglob("*.partial*"))
    assert not list((library / "playback").glob("*"))


def test_a_path_that_a_symlink_leads_out_of_the_library_is_refused(
    run_job, clip: Path, database: sa.Engine, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(clip.read_bytes())
    clip.with_name("link.mp4").symlink_to(outside)
    scanned = run_job("scan", {})
    assert scanned.result["skipped"] == 1
    with database.begin() as connection:
        assert "leads out of the library" in logs.text(connection, scanned.id)
        inserted = connection.scalar(
            sa.text("INSERT INTO videos (path, filename) VALUES ('library/videos/link.mp4', 'link.mp4') RETURNING id")
        )
    failed = run_job("validate", {"videoId": str(inserted)})
    assert failed.status == JobStatus.FAILED
    assert "is not a path inside the library" in failed.error


@pytest.mark.parametrize("path", ["../etc/passwd", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_a_path_outside_the_root_is_refused_when_the_job_is_made(
    path: str, connection: sa.Connection, settings: Settings
) -> None:
    with pytest.raises(InvalidJob, match=r"params\.path"):
        queue.enqueue(connection, NewJob("scan", {"path": path}), settings)


UNRUNNABLE = {
    "an unknown type": ("transmogrify", "{}", None, "unknown job type 'transmogrify'"),
    "a parameter that is missing": ("tag_generation", "{}", None, "params.videoId"),
    "params of the wrong shape": ("scan", "[1]", None, "params: must be a JSON object"),
    "an unknown parameter": ("scan", '{"directry": "videos"}', None, "params.directry: unknown parameter"),
    "more VRAM than there is": ("scan", "{}", 17_000, "17000 MB is more than the whole budget"),
    "a video that isn't there": (
        "validate", '{"videoId": "550e8400-e29b-41d4-a716-446655440000"}', None, "there is no video",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNRUNNABLE)
def test_a_plain_insert_that_can_never_run_fails_with_the_reason(
    case: str, database: sa.Engine, settings: Settings
) -> None:
    kind, params, vram_mb, message = UNRUNNABLE[case]
    with database.begin() as connection:
        job_id: UUID = connection.execute(
            sa.text(
                "INSERT INTO jobs (type, params, resource_category, vram_required) "
                "VALUES (:type, cast(:params AS jsonb), 'cpu', :vram) RETURNING id"
            ),
            {"type": kind, "params": params, "vram": vram_mb},
        ).scalar_one()
    assert admit_ready(settings, Gpu()) == []
    with database.begin() as connection:
        job = queue.get(connection, job_id)
        assert job.status == JobStatus.FAILED
        assert message in job.error
        assert message in logs.text(connection, job_id)


def test_an_output_path_that_is_taken_is_never_overwritten(run_job, clip: Path, database: sa.Engine) -> None:
    run_job("scan", {})
    before = clip.read_bytes()
    with database.begin() as connection:
        video = videos.find(connection, "library/videos/good.mp4")
    other = clip.with_name("other.mp4")
    other.write_bytes(b"somebody's only copy")
    failed = run_job("reencode_streaming", {"videoId": str(video.id), "outputPath": "library/videos/other.mp4"})
    assert failed.status == JobStatus.FAILED
    assert "exists" in failed.error
    assert (clip.read_bytes(), other.read_bytes()) == (before, b"somebody's only copy")


def test_no_video_that_fits_fails_the_compilation(run_job, clip: Path) -> None:
    run_job("scan", {})
    failed = run_job("compile_random", {"minDuration": 1000})
    assert failed.status == JobStatus.FAILED
    assert "no valid video" in failed.error
