"""A video moves through the library and stays the same video."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import params, queue, videos
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.vocabulary import JobStatus, JobType
from tests.pipelines.conftest import make_clip

PLACES = {
    "studios": "library/studios/a.mp4",
    "gifs": "library/gifs/a.mp4",
    "private": "library/private/a.mp4",
    "inbox": "inbox/a.mp4",
    "curated": "library/curated/a.mp4",
    "playback": "playback/a.mp4",
    "compilations": "compilations/a.mp4",
    "videos": "library/videos/a.mp4",
    "highlights": "library/highlights/a.mp4",
}


@pytest.fixture
def video(run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine) -> UUID:
    make_clip(ffmpeg, library / "inbox/a.mp4")
    (library / "inbox/a.en.srt").write_text("Hello")
    run_job("scan", {"path": "inbox"})
    with database.begin() as connection:
        found = videos.id_by_path(connection, "inbox/a.mp4")
        assert found is not None
        videos.update(connection, found, tags=["kept"])
    return found


def row(database: sa.Engine, video: UUID) -> videos.Video:
    with database.begin() as connection:
        return videos.get(connection, video)


@pytest.mark.parametrize("place", PLACES)
def test_each_directory_type_has_its_folder(place: str) -> None:
    parsed = params.parse(
        JobType.MOVE_TO_LIBRARY, {"videoId": "550e8400-e29b-41d4-a716-446655440000", "directoryType": place}
    )
    assert isinstance(parsed, params.MoveToLibrary)
    assert f"{parsed.directory}/a.mp4" == PLACES[place]


def test_a_video_moves_with_its_row_and_its_subtitles(
    run_job: Any, video: UUID, library: Path, database: sa.Engine
) -> None:
    wanted = {"videoId": str(video), "directoryType": "studios", "subdirectory": "x/y", "filename": "The film"}
    done = run_job("move_to_library", wanted)
    assert done.status == JobStatus.COMPLETED, done.error
    assert done.result == {"path": "library/studios/x/y/The film.mp4", "movedFrom": "inbox/a.mp4", "moved": True}
    moved = row(database, video)
    assert (moved.path, moved.filename) == ("library/studios/x/y/The film.mp4", "The film.mp4")
    assert (moved.directory_type, moved.tags) == ("studios", ["kept"])
    assert (library / "library/studios/x/y/The film.en.srt").read_text() == "Hello"
    assert list((library / "inbox").iterdir()) == []
    assert run_job("scan", {"directoryType": "studios"}).result["unchanged"] == 1, "the row is of this very file"


@pytest.mark.parametrize(
    ("rule", "content", "status", "lies_at"),
    [
        ("rename", b"another film", JobStatus.COMPLETED, "library/videos/a.{tag}.mp4"),
        ("fail", b"another film", JobStatus.FAILED, "inbox/a.mp4"),
        ("skip", b"another film", JobStatus.FAILED, "inbox/a.mp4"),
        ("skip", None, JobStatus.COMPLETED, "inbox/a.mp4"),
    ],
)
def test_a_name_that_is_taken_is_never_overwritten(
    run_job: Any, video: UUID, library: Path, database: sa.Engine, rule: str, content: bytes | None, status: JobStatus,
    lies_at: str,
) -> None:  # fmt: skip
    taken = library / "library/videos/a.mp4"
    taken.parent.mkdir(parents=True)
    content = content or (library / "inbox/a.mp4").read_bytes()
    taken.write_bytes(content)
    done = run_job("move_to_library", {"videoId": str(video), "directoryType": "videos", "onCollision": rule})
    assert done.status == status, done.error
    assert row(database, video).path == lies_at.format(tag=str(video)[:8])
    assert taken.read_bytes() == content


def test_the_row_of_a_video_that_is_missing_keeps_its_name(
    run_job: Any, video: UUID, database: sa.Engine, add_video: Any
) -> None:
    missing = add_video("library/videos/a.mp4", title="on a disk that is not mounted")
    done = run_job("move_to_library", {"videoId": str(video), "directoryType": "videos"})
    assert done.status == JobStatus.COMPLETED, done.error
    assert row(database, missing).path == "library/videos/a.mp4"
    assert row(database, video).path == f"library/videos/a.{str(video)[:8]}.mp4"


def test_what_lies_there_already_stays(run_job: Any, video: UUID, database: sa.Engine) -> None:
    done = run_job("move_to_library", {"videoId": str(video), "directoryType": "inbox"})
    assert (done.status, done.result["moved"]) == (JobStatus.COMPLETED, False)


def test_an_attempt_after_a_crash_finds_its_move_done(
    run_job: Any, video: UUID, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from media_pipelines.resources.attempt import Attempt

    def die(*_: Any, **__: Any) -> None:
        raise OSError("the machine went down")

    with monkeypatch.context() as patch:
        patch.setattr(Attempt, "complete", die)
        job = run_job("move_to_library", {"videoId": str(video), "directoryType": "videos"})
    assert job.status == JobStatus.PENDING
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET retry_after = NULL"))
    done = run_job.again(job)
    assert done.result == {"path": "library/videos/a.mp4", "movedFrom": "inbox/a.mp4", "moved": True}


@pytest.mark.parametrize(
    "wanted",
    [
        {"directoryType": "elsewhere"},
        {"directoryType": "videos", "filename": "a/b.mp4"},
        {"directoryType": "videos", "filename": ".hidden.mp4"},
        {"directoryType": "videos", "subdirectory": "../.."},
        {"directoryType": "videos", "onCollision": "overwrite"},
    ],
    ids=str,
)
def test_a_place_that_cannot_be_is_refused_when_the_job_is_made(
    wanted: dict[str, str], connection: sa.Connection, settings: Any, add_video: Any
) -> None:
    asked = {"videoId": str(add_video()), **wanted}
    with pytest.raises(InvalidJob, match=r"params\."):
        queue.enqueue(connection, queue.NewJob("move_to_library", asked), settings)
