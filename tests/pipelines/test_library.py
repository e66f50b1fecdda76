"""Scans keep rows in step with files that come, move, vanish and return, and with disks that are not there."""

import os
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media import files
from media_pipelines.media.fingerprint import fingerprint
from tests.pipelines.conftest import make_clip


@pytest.fixture
def clip(ffmpeg: Path, library: Path) -> Path:
    return make_clip(ffmpeg, library / "library/videos/shelf/a.mp4")


def scan(run_job: Any, **params: Any) -> dict[str, int]:
    done = run_job("scan", params)
    assert done.status == JobStatus.COMPLETED, done.error
    return {name: count for name, count in done.result.items() if name not in ("directory", "found") and count}


def ids(database: sa.Engine) -> dict[str, UUID]:
    with database.begin() as connection:
        return {video.path: video.id for video in videos.page(connection, limit=100).videos}


def missing(database: sa.Engine) -> list[str]:
    with database.begin() as connection:
        return [video.path for video in videos.page(connection, limit=100, missing=True).videos]


def test_the_row_follows_a_file_that_was_moved(run_job: Any, clip: Path, database: sa.Engine) -> None:
    assert scan(run_job) == {"new": 1}
    (video,) = ids(database).values()
    with database.begin() as connection:
        videos.update(connection, video, tags=["kept"], title="My title")
    (clip.parents[1] / "other").mkdir()
    clip.rename(clip.parents[1] / "other/b.mp4")
    assert scan(run_job) == {"moved": 1}
    assert ids(database) == {"library/videos/other/b.mp4": video}
    with database.begin() as connection:
        found = videos.get(connection, video)
    assert (found.filename, found.tags, found.title) == ("b.mp4", ["kept"], "My title")
    assert scan(run_job) == {"unchanged": 1}


def test_a_folder_that_was_renamed_takes_its_rows_along(run_job: Any, clip: Path, database: sa.Engine) -> None:
    (clip.with_name("b.mp4")).write_bytes(clip.read_bytes() + b"\0" * 8)
    scan(run_job)
    before = set(ids(database).values())
    clip.parent.rename(clip.parents[1] / "renamed")
    assert scan(run_job) == {"moved": 2}
    assert set(ids(database).values()) == before


def test_a_copy_is_another_video(run_job: Any, clip: Path, database: sa.Engine) -> None:
    scan(run_job)
    before = ids(database)
    clip.with_name("copy.mp4").write_bytes(clip.read_bytes())
    assert scan(run_job) == {"new": 1, "unchanged": 1}
    assert before.items() <= ids(database).items()


def test_of_two_candidates_none_is_taken_for_the_moved_file(run_job: Any, clip: Path, database: sa.Engine) -> None:
    scan(run_job)
    before = ids(database)
    for name in ("one.mp4", "two.mp4"):
        clip.with_name(name).write_bytes(clip.read_bytes())
    clip.unlink()
    assert scan(run_job) == {"new": 2, "missing": 1}
    assert not set(before.values()) & set(ids(database).values())


def test_a_vanished_file_is_marked_and_forgiven_when_it_returns(
    run_job: Any, clip: Path, database: sa.Engine, tmp_path: Path
) -> None:
    scan(run_job)
    before = ids(database)
    away = clip.rename(tmp_path / "away.mp4")
    assert scan(run_job) == {"missing": 1}
    assert missing(database) == ["library/videos/shelf/a.mp4"]
    assert ids(database) == {}
    with database.begin() as connection:
        assert videos.matching(connection) == []
    assert scan(run_job) == {}, "marked once"
    away.rename(clip)
    assert scan(run_job) == {"unchanged": 1}
    assert ids(database) == before
    assert missing(database) == []


def test_listed_files_are_scanned_and_no_others(
    run_job: Any, clip: Path, ffmpeg: Path, database: sa.Engine, library: Path, tmp_path: Path
) -> None:
    """One of them that is gone, a folder or outside of the library keeps no other from being taken."""
    make_clip(ffmpeg, library / "library/videos/shelf/not listed.mp4", color="blue")
    make_clip(ffmpeg, library / "inbox/b 'c'.mp4", color="green")
    (library / "library/videos/escape").symlink_to(tmp_path)
    paths = ["library/videos/shelf/a.mp4", "inbox/b 'c'.mp4", "inbox/gone.mp4", "library/videos/shelf"]
    done = run_job("scan", {"paths": [*paths, "library/videos/escape/x.mp4"]})
    assert done.status == JobStatus.COMPLETED, done.error
    assert {name: count for name, count in done.result.items() if count} == {
        "directory": ".", "found": 2, "new": 2, "skipped": 2
    }  # fmt: skip
    assert sorted(ids(database)) == ["inbox/b 'c'.mp4", "library/videos/shelf/a.mp4"]


def test_of_listed_files_those_that_moved_are_followed_and_those_that_vanished_are_marked(
    run_job: Any, clip: Path, ffmpeg: Path, database: sa.Engine, library: Path
) -> None:
    gone = make_clip(ffmpeg, clip.with_name("gone.mp4"), color="blue")
    make_clip(ffmpeg, clip.with_name("unlisted.mp4"), color="green")
    scan(run_job)
    before = ids(database)
    clip.rename(clip.with_name("moved.mp4"))
    gone.unlink()
    clip.with_name("unlisted.mp4").unlink()
    paths = [f"library/videos/shelf/{name}.mp4" for name in ("a", "moved", "gone")]
    assert scan(run_job, paths=paths) == {"moved": 1, "missing": 1}
    assert missing(database) == ["library/videos/shelf/gone.mp4"]
    assert ids(database)["library/videos/shelf/moved.mp4"] == before["library/videos/shelf/a.mp4"]


def test_a_disk_that_is_not_mounted_costs_no_row(
    run_job: Any, clip: Path, database: sa.Engine, library: Path, tmp_path: Path
) -> None:
    """The mount point is an empty folder that is older than what was on the disk."""
    scan(run_job)
    before = ids(database)
    disk = clip.parent.rename(tmp_path / "disk")
    clip.parent.mkdir()
    os.utime(clip.parent, (1_000_000, 1_000_000))
    assert scan(run_job) == {}
    assert (ids(database), missing(database)) == (before, [])
    (library / "library/copies").mkdir()
    (library / "library/copies/copy.mp4").write_bytes((disk / "a.mp4").read_bytes())
    assert scan(run_job, directoryType="copies") == {"new": 1}, "it may be there still: a copy is no move"
    clip.parent.rmdir()
    (library / "library/videos").rmdir()
    assert run_job("scan", {}).status == JobStatus.FAILED
    assert missing(database) == []


def test_a_mount_point_that_is_younger_than_the_row_says_nothing(
    run_job: Any, clip: Path, database: sa.Engine, tmp_path: Path
) -> None:
    """The video was known long before it was moved onto the disk that is away now."""
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO videos (path, filename, created_at) "
                "VALUES ('library/videos/shelf/a.mp4', 'a.mp4', now() - interval '3 years')"
            )
        )
    assert scan(run_job) == {"changed": 1}
    before = ids(database)
    clip.parent.rename(tmp_path / "disk")
    clip.parent.mkdir()
    a_day_ago = time.time() - 86_400
    os.utime(clip.parent, (a_day_ago, a_day_ago))
    assert scan(run_job) == {}
    assert (ids(database), missing(database)) == (before, [])


def test_a_missing_video_that_turns_up_elsewhere_is_followed(
    run_job: Any, clip: Path, database: sa.Engine, tmp_path: Path
) -> None:
    scan(run_job)
    before = ids(database)
    away = clip.rename(tmp_path / "away.mp4")
    assert scan(run_job) == {"missing": 1}
    (clip.parents[1] / "other").mkdir()
    away.rename(clip.parents[1] / "other/b.mp4")
    assert scan(run_job) == {"moved": 1}
    assert list(ids(database).values()) == list(before.values())


def test_a_row_that_follows_its_file_during_the_scan_is_not_marked(
    run_job: Any, clip: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip.with_name("gone.mp4").write_bytes(clip.read_bytes() + b"\0" * 8)
    scan(run_job)
    before = ids(database)
    video = before["library/videos/shelf/a.mp4"]
    clip.with_name("gone.mp4").unlink()
    clip.rename(clip.with_name("a.mkv"))
    real = videos.mark_missing

    def after_the_row_has_followed(connection: sa.Connection, places: Any) -> list[str]:
        with database.begin() as other:
            videos.relocate(other, video, "library/videos/shelf/a.mkv", {})
        return real(connection, places)

    monkeypatch.setattr(files, "walk", lambda *_: iter(()))  # it came by before the new name was there
    monkeypatch.setattr(videos, "mark_missing", after_the_row_has_followed)
    assert scan(run_job) == {"missing": 1}
    assert ids(database) == {"library/videos/shelf/a.mkv": video}
    assert missing(database) == ["library/videos/shelf/gone.mp4"]


def test_a_folder_that_cannot_be_read_costs_no_row(
    run_job: Any, clip: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(run_job)
    real = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("shelf"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    clip.rename(clip.parents[3] / "away")
    monkeypatch.setattr(os, "scandir", refuse)
    assert scan(run_job) == {"skipped": 1}
    assert missing(database) == []


def test_a_link_to_a_disk_that_is_away_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library/other.mp4").touch()
    (tmp_path / "library/disk").symlink_to(tmp_path / "mnt")
    absence = files.Absence(tmp_path / "library")
    long_ago = files.modified_at(tmp_path.stat()).replace(year=2000)
    assert not absence.is_certain(tmp_path / "library/disk/a.mp4", long_ago)
    assert not absence.is_certain(tmp_path / "elsewhere/a.mp4", long_ago)
    assert not absence.is_certain(tmp_path / "library/other.mp4", long_ago)
    assert absence.is_certain(tmp_path / "library/gone/a.mp4", long_ago)


def test_a_scan_of_one_folder_judges_no_other(run_job: Any, clip: Path, database: sa.Engine, library: Path) -> None:
    (library / "library/videos2").mkdir()
    other = library / "library/videos2/b.mp4"
    other.write_bytes(clip.read_bytes())
    scan(run_job)
    scan(run_job, directoryType="videos2")
    other.unlink()
    assert scan(run_job) == {"unchanged": 1}
    assert missing(database) == []
    assert scan(run_job, path="library/videos2") == {"missing": 1}


def test_a_file_that_is_still_being_copied_is_left_for_the_next_scan(
    run_job: Any, clip: Path, database: sa.Engine
) -> None:
    content = clip.read_bytes()
    growing = clip.with_name("b.mp4")
    growing.write_bytes(content[: len(content) // 2])
    over = threading.Event()

    def grow() -> None:
        with growing.open("ab") as file:
            while not over.wait(0.05):
                file.write(b"\0")
                file.flush()

    writer = threading.Thread(target=grow)
    writer.start()
    assert scan(run_job) == {"new": 1, "skipped": 1}
    over.set()
    writer.join()
    growing.write_bytes(content)
    assert scan(run_job) == {"new": 1, "unchanged": 1}


def test_rows_from_before_there_were_fingerprints_get_theirs(run_job: Any, clip: Path, database: sa.Engine) -> None:
    scan(run_job)
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE videos SET fingerprint = NULL"))
    assert scan(run_job) == {"unchanged": 1}
    clip.rename(clip.with_name("b.mp4"))
    assert scan(run_job) == {"moved": 1}


def test_new_content_under_an_old_name_forgets_what_was_known_of_the_old(
    run_job: Any, clip: Path, database: sa.Engine, ffmpeg: Path
) -> None:
    scan(run_job)
    (video,) = ids(database).values()
    with database.begin() as connection:
        videos.update(connection, video, sha256="old", phash="old", title="My title")
    assert scan(run_job, skipExisting=False) == {"changed": 1}
    with database.begin() as connection:
        assert videos.get(connection, video).sha256 == "old", "it is the same content"
    clip.unlink()
    make_clip(ffmpeg, clip, color="blue", seconds=2)
    assert scan(run_job) == {"changed": 1}
    with database.begin() as connection:
        found = videos.get(connection, video)
    assert (found.sha256, found.phash, found.title) == (None, None, "My title")


@pytest.mark.parametrize("size", [1, 65_535, 65_537, 200_000, 1_000_000])
def test_a_fingerprint_tells_size_start_middle_and_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    seen = set()
    for at in {0, size // 2, size - 1}:
        content = bytearray(size)
        content[at] = 1
        path.write_bytes(content)
        seen.add(fingerprint(path))
    path.write_bytes(bytes(size))
    seen.add(fingerprint(path))
    path.write_bytes(bytes(size + 1))
    seen.add(fingerprint(path))
    assert len(seen) == 2 + len({0, size // 2, size - 1})


def test_a_large_library_whose_disk_is_away_keeps_every_row(run_job: Any, database: sa.Engine, library: Path) -> None:
    (library / "library/videos").mkdir(parents=True)
    os.utime(library / "library/videos", (1_000_000, 1_000_000))
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO videos (path, filename, size_bytes, mtime, fingerprint, is_valid) "
                "SELECT 'library/videos/' || n || '.mp4', n || '.mp4', n, now(), n::text, true "
                "FROM generate_series(1, 20000) n"
            )
        )
    assert scan(run_job) == {}
    with database.begin() as connection:
        assert videos.page(connection, limit=1).total == 20_000


def _log(database: sa.Engine, job: queue.Job) -> str:
    with database.begin() as connection:
        return logs.text(connection, job.id)


def test_the_log_names_what_moved_and_what_is_missing(run_job: Any, clip: Path, database: sa.Engine) -> None:
    clip.with_name("b.mp4").write_bytes(clip.read_bytes() + b"\0" * 8)
    scan(run_job)
    clip.rename(clip.with_name("new\nname.mp4"))
    clip.with_name("b.mp4").unlink()
    done = run_job("scan", {})
    log = _log(database, done)
    assert "Moved: 'library/videos/shelf/a.mp4' is 'library/videos/shelf/new\\nname.mp4' now" in log
    assert "Missing since now: 'library/videos/shelf/b.mp4'" in log
