"""Disks that are full or cannot be written to, and sources that go away: a clear error, nothing lost, nothing left."""

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.queue import Job
from jobqueue_bridge.vocabulary import JobStatus
from tests.corpus.passage import decoded

HEVC = {"policy": {"target_video_codec": "hevc", "preset": "ultrafast", "target_crf": 1, "on_larger": "keep-result"}}
PARAMS = {
    "reencode_streaming": {"preset": "ultrafast", "crf": 1, "targetBitrate": 100_000},
    "thumbnail_generate": {},
    "compile_gif": {"duration": 1},
    "transcode": HEVC,
    "move_to_library": {"directoryType": "studios"},
}
WRITES_TO = {
    "reencode_streaming": "playback",
    "thumbnail_generate": "thumbnails",
    "compile_gif": "gifs",
    "transcode": "library/videos",
    "move_to_library": "library/studios",
}
Mount = Callable[..., None]


@pytest.fixture
def mount(library: Path) -> Iterator[Mount]:
    """A small file system of its own in a folder of the library; what lies there moves onto it."""
    with ExitStack() as mounts:

        def on(folder: str, size: str = "2m") -> None:
            path = library / folder
            path.mkdir(parents=True, exist_ok=True)
            held = {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}
            command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode != 0:
                pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
            mounts.callback(subprocess.run, ["umount", "--lazy", str(path)], check=True)
            for name, content in held.items():
                (path / name).write_bytes(content)

        yield on


@pytest.fixture
def read_only(library: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Nothing can be written to a folder any more: for root by the file system, for others by the folder's mode."""
    changed: list[Path] = []

    def make(folder: str) -> None:
        path = library / folder
        path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0:
            path.chmod(0o555)
            changed.append(path)
            return
        request.getfixturevalue("mount")(folder)
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)

    yield make
    for path in changed:
        path.chmod(0o755)


@pytest.fixture
def source(ffmpeg: Path, library: Path) -> Path:
    """Small, and of noise: whoever encodes it well needs ten times its space."""
    path = library / "library/videos/noise.mp4"
    path.parent.mkdir(parents=True)
    picture = "testsrc2=s=320x240:r=25:d=3,noise=alls=80:allf=t"
    subprocess.run(
        [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-preset", "ultrafast", "-crf", "40", path],
        check=True,
    )  # fmt: skip
    assert path.stat().st_size < 1_000_000
    return path


@pytest.fixture
def video(source: Path, run_job) -> Callable[[], str]:
    """The source's id, once it has been scanned."""

    def scanned() -> str:
        assert run_job("scan", {}).result["invalid"] == 0
        return str(run_job.video(f"library/videos/{source.name}"))

    return scanned


@pytest.fixture
def run_job(run_job, database: sa.Engine):
    def video_id(path: str) -> UUID:
        with database.begin() as connection:
            return videos.find(connection, path).id

    run_job.video = video_id
    return run_job


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _partials(library: Path) -> list[Path]:
    return list(library.rglob("*.partial*"))


def _assert_clear(job: Job, *words: str) -> None:
    headline = (job.error or "").splitlines()[0]
    assert all(word in headline for word in words), job.error
    assert "Errno" not in headline, headline
    assert "Traceback" not in headline


@pytest.mark.parametrize("job_type", PARAMS)
def test_a_target_that_cannot_be_written_to_fails_for_good(
    job_type: str, run_job, source: Path, video, read_only, library: Path
) -> None:
    video_id, before = video(), _sum(source)
    read_only(WRITES_TO[job_type])
    failed = run_job(job_type, {"videoId": video_id, **PARAMS[job_type]})
    assert (failed.status, failed.retry_count) == (JobStatus.FAILED, 0), failed.error
    _assert_clear(failed, WRITES_TO[job_type])
    assert any(words in failed.error for words in ("Read-only", "Permission denied", "not writable")), failed.error
    assert _sum(source) == before
    assert not _partials(library)


def test_a_move_out_of_a_folder_that_cannot_be_written_to_fails_before_anything_is_copied(
    run_job, source: Path, video, read_only, library: Path, connection: sa.Connection
) -> None:
    video_id, before = video(), _sum(source)
    read_only("library/videos")
    failed = run_job("move_to_library", {"videoId": video_id, "directoryType": "studios"})
    assert (failed.status, failed.retry_count) == (JobStatus.FAILED, 0), failed.error
    _assert_clear(failed, "library/videos")
    assert _sum(source) == before
    assert not list((library / "library").rglob("studios/*"))
    assert connection.execute(sa.text("SELECT count(*) FROM file_changes")).scalar_one() == 0


@pytest.mark.parametrize("job_type", ["reencode_streaming", "transcode"])
def test_a_disk_that_fills_up_during_the_encode_has_the_job_wait(
    job_type: str, run_job, source: Path, video, mount: Mount, library: Path
) -> None:
    mount(WRITES_TO[job_type], "2m")
    video_id, before = video(), _sum(source)
    job = run_job(job_type, {"videoId": video_id, **PARAMS[job_type]})
    assert job.status == JobStatus.PENDING, job.error
    assert job.retry_after is not None
    _assert_clear(job, "disk")
    assert _sum(source) == before
    assert not _partials(library)


def test_a_job_that_waited_for_space_goes_on_when_there_is_some(
    run_job, video, mount: Mount, library: Path, ffmpeg: Path, connection: sa.Connection
) -> None:
    mount("playback", "2m")
    job = run_job("reencode_streaming", {"videoId": video(), **PARAMS["reencode_streaming"]})
    assert job.status == JobStatus.PENDING
    subprocess.run(["mount", "-o", "remount,size=64m", str(library / "playback")], check=True)
    connection.execute(sa.text("UPDATE jobs SET retry_after = NULL WHERE status = 'pending'"))
    done = run_job.again(queue.get(connection, job.id))
    assert done.status == JobStatus.COMPLETED, done.error
    assert decoded(ffmpeg, library / done.result["outputPath"])[1] == []
    assert not _partials(library)


@pytest.mark.parametrize("job_type", PARAMS)
def test_a_disk_that_is_full_already_is_told_before_any_work(
    job_type: str, run_job, source: Path, video, mount: Mount, library: Path
) -> None:
    folder = WRITES_TO[job_type]
    mount(folder, "2m")
    video_id, before = video(), _sum(source)
    (library / folder / "ballast").write_bytes(bytes(shutil.disk_usage(library / folder).free))
    job = run_job(job_type, {"videoId": video_id, **PARAMS[job_type]})
    assert job.status == JobStatus.PENDING, job.error
    assert job.retry_after is not None
    _assert_clear(job, "disk")
    assert _sum(source) == before
    assert not _partials(library)


@pytest.mark.parametrize("job_type", ["validate", *PARAMS])
def test_a_source_that_is_gone_when_its_job_starts_fails_for_good(
    job_type: str, run_job, source: Path, video, library: Path
) -> None:
    video_id = video()
    source.unlink()
    failed = run_job(job_type, {"videoId": video_id, **PARAMS.get(job_type, {})})
    assert (failed.status, failed.retry_count) == (JobStatus.FAILED, 0), failed.error
    _assert_clear(failed, "noise.mp4", "No such file")
    assert not _partials(library)


@pytest.fixture
def slow(ffmpeg: Path, source: Path) -> Path:
    """In the source's place a video that takes seconds to encode."""
    picture = "testsrc2=s=640x360:r=25:d=8"
    subprocess.run(
        [ffmpeg, "-y", "-v", "error", "-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", source],
        check=True,
    )
    return source


def _once_it_is_being_read(library: Path, act: Callable[[], object]) -> threading.Thread:
    """Act when the job writes its partial file."""

    def wait_and_act() -> None:
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            if any(partial.stat().st_size for partial in _partials(library) if partial.exists()):
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_a_source_that_is_deleted_during_its_encode_is_encoded_to_its_end(
    run_job, slow: Path, video, library: Path, ffmpeg: Path
) -> None:
    """Who has a file open reads it to its end: the rendition is whole, and by then the only one."""
    video_id = video()
    thread = _once_it_is_being_read(library, slow.unlink)
    done = run_job("reencode_streaming", {"videoId": video_id, "preset": "fast"})
    thread.join()
    assert not slow.exists()
    assert done.status == JobStatus.COMPLETED, done.error
    told, problems = decoded(ffmpeg, library / done.result["outputPath"])
    assert problems == []
    assert told.seconds == pytest.approx(8, abs=0.1)
    assert not _partials(library)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def _prolong(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 1000)


@pytest.mark.parametrize("change", [_cut, _prolong])
def test_a_source_that_changes_during_its_encode_is_encoded_again_later(
    run_job, slow: Path, video, library: Path, change: Callable[[Path], None]
) -> None:
    """What was made of it may be made of half of it."""
    video_id = video()
    thread = _once_it_is_being_read(library, lambda: change(slow))
    waiting = run_job("reencode_streaming", {"videoId": video_id, "preset": "fast"})
    thread.join()
    assert waiting.status == JobStatus.PENDING, waiting.error
    _assert_clear(waiting, "noise.mp4", "has changed")
    assert not _partials(library)
    assert not list((library / "playback").iterdir())


def test_a_source_that_changes_during_a_grid_is_no_part_of_one(run_job, slow: Path, video, library: Path) -> None:
    video_id = video()
    thread = _once_it_is_being_read(library, lambda: _prolong(slow))
    waiting = run_job("compile_quad", {"videoIds": [video_id] * 4})
    thread.join()
    assert waiting.status == JobStatus.PENDING, waiting.error
    _assert_clear(waiting, "noise.mp4", "has changed")
    assert not _partials(library)


def test_an_original_that_is_deleted_during_its_transcode_does_not_come_back_as_another_file(
    run_job, slow: Path, video, library: Path, connection: sa.Connection
) -> None:
    """It may have been replaced by its owner, so the job looks again, and then it is gone."""
    video_id = video()
    thread = _once_it_is_being_read(library, slow.unlink)
    policy = {"target_video_codec": "hevc", "preset": "superfast", "on_larger": "keep-result"}
    waiting = run_job("transcode", {"videoId": video_id, "policy": policy})
    thread.join()
    assert waiting.status == JobStatus.PENDING, waiting.error
    _assert_clear(waiting, "noise.mp4", "has changed")
    assert not [*_partials(library), *slow.parent.iterdir()]
    connection.execute(sa.text("UPDATE jobs SET retry_after = NULL WHERE status = 'pending'"))
    failed = run_job.again(waiting)
    assert failed.status == JobStatus.FAILED, failed.error
    _assert_clear(failed, "noise.mp4", "No such file")
