"""Validation notes hashes of the pictures, and of the whole content where it is asked for."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobqueue_bridge import videos
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media import files
from media_pipelines.media.errors import UnreadableMedia
from media_pipelines.ops.videos import broken
from tests.pipelines.conftest import make_clip


def test_validation_notes_hashes_and_duplicates_are_told_by_them(
    run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine
) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/a.mp4")
    clip.with_name("b.mp4").write_bytes(clip.read_bytes())
    run_job("scan", {})
    with database.begin() as connection:
        found = {video.filename: video for video in videos.page(connection, limit=5).videos}
    for name in ("a.mp4", "b.mp4"):
        plain = run_job("validate", {"videoId": str(found[name].id)})
        assert plain.status == JobStatus.COMPLETED, plain.error
        assert plain.result["sha256"] is None
        done = run_job("validate", {"videoId": str(found[name].id), "checksum": True})
        assert done.result["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    with database.begin() as connection:
        one, other = videos.likenesses(connection)
    assert one.sha256 == other.sha256 == done.result["sha256"]
    assert one.phash == other.phash
    assert one.phash


def test_a_disk_that_is_away_does_not_empty_the_row(
    run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine, tmp_path: Path
) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/a.mp4")
    run_job("scan", {})
    with database.begin() as connection:
        (video,) = videos.page(connection, limit=5).videos
    clip.rename(tmp_path / "away.mp4")
    job = run_job("validate", {"videoId": str(video.id)}, max_retries=0)
    assert job.status == JobStatus.FAILED
    with database.begin() as connection:
        assert videos.get(connection, video.id) == video


def test_what_could_not_be_read_is_read_by_the_next_scan_also_where_it_has_not_changed(
    run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine
) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/a.mp4")
    clip.with_name("broken.mp4").write_bytes(b"no video")
    run_job("scan", {})
    with database.begin() as connection:
        (video,) = [one for one in videos.page(connection, limit=5).videos if one.filename == "a.mp4"]
        videos.update(connection, video.id, **broken(UnreadableMedia(clip, "Stale file handle")))
    done = run_job("scan", {})
    assert (done.result["changed"], done.result["unchanged"], done.result["invalid"]) == (1, 1, 1)
    with database.begin() as connection:
        found = videos.get(connection, video.id)
    assert (found.is_valid, found.invalid_reason, found.duration_seconds) == (True, None, video.duration_seconds)


def test_a_file_that_changes_while_it_is_validated_is_validated_again(
    run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/a.mp4")
    run_job("scan", {})
    with database.begin() as connection:
        (video,) = videos.page(connection, limit=5).videos
    real = files.sha256

    def meanwhile(*arguments: Any) -> str:
        clip.write_bytes(clip.read_bytes() + b"\0" * 8)
        return real(*arguments)

    monkeypatch.setattr(files, "sha256", meanwhile)
    job = run_job("validate", {"videoId": str(video.id), "checksum": True})
    assert job.status == JobStatus.PENDING, "transient: it may stand still later"
    assert "has changed since" in job.error
