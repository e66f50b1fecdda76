"""`make demo`: what it takes, what it asks for and when, how it judges the outcome, and that nothing is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
import sqlalchemy as sa
from rich.console import Console

from jobqueue_bridge import queue, videos
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType, Origin
from media_pipelines.demo import footage
from media_pipelines.demo.course import Course, View
from media_pipelines.demo.errors import BadMedia
from media_pipelines.demo.proof import Proof, left_over, unknown
from media_pipelines.demo.screen import _Picture
from media_pipelines.demo.words import note, outcome, what
from media_pipelines.media.clips import SAMPLES, make_clip
from media_pipelines.media.ffmpeg import find_ffmpeg

ROOT = Path(__file__).parents[1]
NASTY = ['it\'s "quoted" $HOME `x`.mp4', "-leading dash.mp4", "new\nline.mp4", "🎬 日本語.mkv", "[bold]x%20&.mp4"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(find_ffmpeg(None), SAMPLES[4], tmp_path_factory.mktemp("clips"))


# What it takes


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadMedia, match="nowhere does not exist"):
        footage.look_at(str(tmp_path / "nowhere"))


def test_a_folder_without_videos_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(BadMedia, match="there is no video in"):
        footage.look_at(str(tmp_path))


def test_files_of_other_kinds_and_links_that_lead_out_are_not_taken(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "link.mp4").symlink_to(clip)
    own = footage.look_at(str(tmp_path))
    assert [path.name for path in own.videos] == ["a.mp4"]
    assert own.size_bytes == 5
    assert [line for line in own.skipped if "link.mp4" in line]


def test_videos_are_copied_with_their_folders_and_the_originals_stay_as_they_are(
    tmp_path: Path, settings: Settings, library: Path, clip: Path
) -> None:
    source = tmp_path / "mine/deep [er]" / NASTY[0]
    source.parent.mkdir(parents=True)
    source.write_bytes(clip.read_bytes())
    source.chmod(0o444)
    before = source.stat()
    advanced: list[int] = []
    brought = footage.copy_own(settings, footage.look_at(str(tmp_path / "mine")), advanced.append)
    copy = library / brought.library[0]
    assert brought.library == [f"library/videos/deep [er]/{NASTY[0]}"]
    assert copy.read_bytes() == clip.read_bytes()
    assert copy.stat().st_ino != before.st_ino
    assert source.stat() == before
    assert sum(advanced) == before.st_size
    assert [(library / path).is_file() for path in (*brought.inbox, *brought.gallery)] == [True, True]


# What it asks for


@pytest.fixture
def course(database: sa.Engine, settings: Settings) -> Course:
    del database
    return Course(settings, inbox_files=1)


def add_video(connection: sa.Connection, name: str, **facts: Any) -> UUID:
    row = {"path": f"library/videos/{name}", "filename": name, "is_valid": True, "duration_seconds": 3.0, **facts}
    return videos.upsert(connection, [row])[row["path"]]


def end(connection: sa.Connection, kind: JobType, status: JobStatus = JobStatus.COMPLETED) -> None:
    connection.execute(
        sa.update(jobs).where(jobs.c.type == kind.value).values(status=status.value, started_at=jobs.c.created_at)
    )


def asked_for(view: View) -> list[str]:
    return [job.type for job in view.jobs]


def scans_have_ended(connection: sa.Connection, settings: Settings, course: Course) -> None:
    course.begin()
    queue.enqueue(connection, NewJob("scan", {"paths": ["inbox/a.mp4"]}, origin=Origin.INBOX), settings)
    end(connection, JobType.SCAN)
    end(connection, JobType.PUBLIC_SCAN)


def test_it_begins_with_the_scans(course: Course) -> None:
    course.begin()
    view = course.look()
    assert asked_for(view) == ["scan", "public_scan"]
    assert not view.finished


def test_each_sound_video_is_validated_before_anything_else(
    course: Course, connection: sa.Connection, settings: Settings
) -> None:
    scans_have_ended(connection, settings, course)
    add_video(connection, "a.mp4")
    course.look()
    assert asked_for(course.look())[3:] == ["validate"]


def test_after_its_validation_come_thumbnail_and_rendition_and_last_the_compilations(
    course: Course, connection: sa.Connection, settings: Settings
) -> None:
    scans_have_ended(connection, settings, course)
    add_video(connection, "a.mp4")
    course.look()
    end(connection, JobType.VALIDATE)
    course.look()
    course.look()
    then = [JobType.THUMBNAIL_GENERATE, JobType.REENCODE_STREAMING, JobType.COMPILE_RANDOM, JobType.COMPILE_GIF]
    assert asked_for(course.look())[4:] == then
    for kind in then:
        end(connection, kind)
    assert course.look().finished


def test_four_sound_videos_make_a_grid(course: Course, connection: sa.Connection, settings: Settings) -> None:
    scans_have_ended(connection, settings, course)
    for name in ("a", "b", "c", "d"):
        add_video(connection, f"{name}.mp4")
    course.look()
    end(connection, JobType.VALIDATE)
    course.look()
    course.look()
    assert asked_for(course.look())[-3:] == ["compile_random", "compile_gif", "compile_quad"]


def test_a_broken_video_gets_no_jobs_and_is_listed(
    course: Course, connection: sa.Connection, settings: Settings
) -> None:
    scans_have_ended(connection, settings, course)
    add_video(connection, "broken.mp4", is_valid=False, invalid_reason="it is empty")
    view = course.look()
    assert len(view.jobs) == 3
    assert [video.filename for video in view.broken] == ["broken.mp4"]
    assert view.finished


def test_a_video_whose_validation_fails_gets_nothing_more(
    course: Course, connection: sa.Connection, settings: Settings
) -> None:
    scans_have_ended(connection, settings, course)
    add_video(connection, "a.mp4")
    course.look()
    end(connection, JobType.VALIDATE, JobStatus.FAILED)
    view = course.look()
    assert asked_for(view)[3:] == ["validate"]
    assert view.finished
    assert [job.type for job in view.failed] == ["validate"]


def test_renditions_are_not_taken_for_originals(course: Course, connection: sa.Connection, settings: Settings) -> None:
    scans_have_ended(connection, settings, course)
    add_video(connection, "rendition.mp4", source_video_id=uuid4())
    add_video(connection, "joined.mp4", directory_type="compilations")
    assert len(course.look().jobs) == 3


def test_it_waits_for_the_inbox(course: Course, connection: sa.Connection) -> None:
    course.begin()
    end(connection, JobType.SCAN)
    end(connection, JobType.PUBLIC_SCAN)
    assert not course.look().finished


# What it makes of the outcome


def completed(connection: sa.Connection, settings: Settings, kind: str, video: UUID, result: Any) -> queue.Job:
    job = queue.enqueue(connection, NewJob(kind, {"videoId": str(video)}), settings)
    connection.execute(
        sa.update(jobs)
        .where(jobs.c.id == job.id)
        .values(status="completed", started_at=jobs.c.created_at, progress=100, result=result)
    )
    return queue.get(connection, job.id)


def view_of(connection: sa.Connection, *shown: queue.Job) -> View:
    return View(shown, tuple(videos.page(connection, limit=100).videos), finished=True)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xd8 no picture"], ids=["missing", "empty", "torn"])
def test_a_thumbnail_that_is_no_whole_picture_is_rejected(
    content: bytes | None, connection: sa.Connection, settings: Settings, library: Path
) -> None:
    if content is not None:
        (library / "a.jpg").write_bytes(content)
    job = completed(connection, settings, "thumbnail_generate", add_video(connection, "a.mp4"), {"outputPath": "a.jpg"})
    proof = Proof(settings, view_of(connection, job))
    proof.verify([job])
    assert list(proof.problems) == [job.id]
    assert not proof.verified


def test_a_rendition_is_held_against_its_source(
    connection: sa.Connection, settings: Settings, library: Path, clip: Path
) -> None:
    (library / "library/videos").mkdir(parents=True)
    (library / "library/videos/a.mp4").write_bytes(clip.read_bytes())
    (library / "same.mp4").write_bytes(clip.read_bytes())
    make_clip(find_ffmpeg(None), SAMPLES[0], library)
    video = add_video(connection, "a.mp4")
    good = completed(connection, settings, "reencode_streaming", video, {"outputPath": "same.mp4"})
    bad = completed(connection, settings, "reencode_streaming", video, {"outputPath": SAMPLES[0].name})
    proof = Proof(settings, view_of(connection, good, bad))
    proof.verify([good, bad])
    assert proof.verified == [good.id]
    assert "instead of" in proof.problems[bad.id]


def test_partial_files_and_files_that_no_scan_found_are_told(
    connection: sa.Connection, settings: Settings, library: Path
) -> None:
    (library / "a.1234.partial.mp4").touch()
    add_video(connection, "a.mp4")
    assert left_over(settings) == ["a.1234.partial.mp4"]
    assert unknown(["library/videos/a.mp4", "library/videos/b.mp4"], view_of(connection)) == ["library/videos/b.mp4"]


def test_results_read_like_sentences(connection: sa.Connection, settings: Settings) -> None:
    video = add_video(connection, "new\nline.mp4")
    result = {"sourceSizeBytes": 12_300_000, "sizeBytes": 4_100_000, "encoder": "libx264", "outputPath": "a.mp4"}
    job = completed(connection, settings, "reencode_streaming", video, result)
    assert outcome(job) == "12.3 MB → 4.1 MB, libx264"
    assert what(job, view_of(connection).paths) == r"new\nline.mp4"


def test_an_error_on_a_file_does_not_repeat_its_path(connection: sa.Connection, settings: Settings) -> None:
    video = add_video(connection, "a.mp4")
    job = queue.enqueue(connection, NewJob("validate", {"videoId": str(video)}), settings)
    error = "/some/where/library/videos/a.mp4 cannot be read as a video: it is empty"
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(status="failed", error=error))
    job = queue.get(connection, job.id)
    assert note(job, view_of(connection).paths) == "cannot be read as a video: it is empty"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (200, 12)])
def test_the_picture_fits_the_terminal_and_markup_in_names_is_text(
    width: int, height: int, connection: sa.Connection, settings: Settings
) -> None:
    for number in range(60):
        video = add_video(connection, f"[red]{number} {NASTY[3]}")
        queue.enqueue(connection, NewJob("validate", {"videoId": str(video)}), settings)
    shown = tuple(reversed(queue.page(connection, queue.Filters(), limit=100).jobs))
    picture = _Picture(settings, [("API", "http://127.0.0.1:4100/docs")])
    picture.view = view_of(connection, *shown)
    console = Console(width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(picture)
    lines = captured.get().splitlines()
    assert len(lines) < height
    assert sum("VRAM" in line and "of 16000 MB" in line for line in lines) == 1
    assert any("[red]0 " in line for line in lines)
    assert any("more wait" in line for line in lines)


# The whole


def demo(*, media: Path, **variables: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "media_pipelines.demo"],
        env={**os.environ, "MEDIA": str(media), **variables},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def homes() -> set[Path]:
    return set((ROOT / ".state").glob("demo-*"))


def processes_of(home: Path) -> list[psutil.Process]:
    return [
        process for process in psutil.process_iter(["cmdline"]) if str(home) in " ".join(process.info["cmdline"] or ())
    ]


@pytest.mark.timeout(400)
def test_the_demo_takes_a_folder_of_awkward_names_and_a_broken_file(tmp_path: Path, clip: Path) -> None:
    for name in NASTY[:4]:
        (tmp_path / name).write_bytes(clip.read_bytes())
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    before = homes()
    process = demo(media=tmp_path)
    output, _ = process.communicate(timeout=380)
    assert process.returncode == 0, output
    told = re.search(r"(\d+) of (\d+) jobs completed in .*, (\d+) outputs verified", output)
    assert told, output
    assert told[1] == told[2]
    assert int(told[3]) == 2 * 6 + 4  # of each its six, of all a quad, a compilation, a GIF and a digest
    assert re.search(r"broken +library/videos/broken\.mp4", output), output
    assert homes() <= before


@pytest.mark.timeout(200)
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    before = homes()
    process = demo(media=tmp_path)
    deadline = time.monotonic() + 60
    while not (new := homes() - before) or not list(next(iter(new)).glob("postgres/postmaster.pid")):
        assert time.monotonic() < deadline, "the database did not start"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "nothing was left behind" in output
    (home,) = new
    assert not home.exists()
    assert processes_of(home) == []


def test_bad_media_ends_it_before_anything_starts(tmp_path: Path) -> None:
    before = homes()
    process = demo(media=tmp_path / "nowhere")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    assert "nowhere does not exist" in output
    assert homes() == before
