"""Compilations through the queue: from a row to a verified file, its row and what the Dagster UI shows."""

import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
from PIL import Image

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import videos as videos_table
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.prober import Prober

FAST = {"preset": "ultrafast", "crf": 35}


@pytest.fixture
def four(run_job, ffmpeg: Path, library: Path, database: sa.Engine) -> list[str]:
    """The ids of four videos that differ in everything."""
    folder = library / "library/videos"
    folder.mkdir(parents=True)
    for name, size, rate, sound in (
        ("a.mp4", "160x90", "25", 300),
        ("b's; [1].mkv", "90x160", "30", 500),
        ("c=#.mp4", "128x128", "10", 700),
        ("d.mp4", "200x64", "24", None),
    ):
        tone = ["-f", "lavfi", "-i", f"sine=frequency={sound}:duration=1"] if sound else []
        subprocess.run(
            [
                ffmpeg, "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d=1", *tone,
                "-preset", "ultrafast", "-pix_fmt", "yuv420p", f"file:{folder / name}",
            ],
            check=True,
        )  # fmt: skip
    run_job("scan", {})
    with database.begin() as connection:
        rows = connection.execute(sa.select(videos_table.c.id).order_by(videos_table.c.path)).scalars()
        return [str(video_id) for video_id in rows]


def _finished(job: Job, database: sa.Engine) -> Job:
    with database.begin() as connection:
        assert job.status == JobStatus.COMPLETED, (job.error, logs.text(connection, job.id))
    return job


def _log(job: Job, database: sa.Engine) -> str:
    with database.begin() as connection:
        return logs.text(connection, job.id)


def _shown(instance: dg.DagsterInstance, asset: str) -> dict[str, dg.MetadataValue]:
    found = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert found is not None
    assert found.asset_materialization is not None
    return dict(found.asset_materialization.metadata)


# Quad


@pytest.mark.parametrize("kind", ["compile_quad", "compile_mega"])
def test_a_truncated_source_is_no_part_of_a_whole(
    run_job, four: list[str], library: Path, database: sa.Engine, kind: str
) -> None:
    """Its last picture would stand still, and nobody would know why."""
    with database.begin() as connection:
        path = library / videos.get(connection, UUID(four[1])).path
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    failed = run_job(kind, {"videoIds": four, **FAST})
    assert failed.status == JobStatus.FAILED, failed.result
    assert "it is truncated" in failed.error
    assert path.name in failed.error


def test_four_named_videos_become_a_grid(
    run_job, four: list[str], library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    job = run_job("compile_quad", {"videoIds": four, "width": 320, "height": 240, "fps": 12.5, **FAST})
    done = _finished(job, database).result
    assert done["sourceVideoIds"] == four
    with Prober() as prober:
        probe = prober.probe(library / done["outputPath"])
    assert (probe.width, probe.height, probe.fps, probe.has_audio) == (320, 240, 12.5, True)
    with database.begin() as connection:
        row = videos.get(connection, UUID(done["outputVideoId"]))
    assert (row.directory_type, row.path) == ("compilations", done["outputPath"])
    shown = _shown(instance, "quad_compilation")
    assert "data:image/jpeg" in str(shown["frame"].value)
    assert "upper left" in str(shown["cells"].value)
    assert "FFmpeg command: " in _log(job, database)
    assert not list(library.rglob("*.partial*"))


def test_four_are_chosen_by_the_same_criteria_and_the_same_seed_chooses_the_same(
    run_job, four: list[str], database: sa.Engine
) -> None:
    params = {"seed": 5, "maxDuration": 10, "width": 160, "height": 120, "length": "shortest", **FAST}
    chosen = [_finished(run_job("compile_quad", params), database).result["sourceVideoIds"] for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert sorted(chosen[0]) == sorted(four)


def test_fewer_than_four_that_fit_are_an_error_that_says_so(run_job, four: list[str]) -> None:
    failed = run_job("compile_quad", {"orientation": "landscape"})
    assert failed.status == JobStatus.FAILED
    assert "only 2 of the 4 videos that are needed fit and can be read" in failed.error


def test_a_named_video_that_cannot_be_read_is_an_error_that_names_it(
    run_job, four: list[str], library: Path, database: sa.Engine
) -> None:
    (library / "library/videos/a.mp4").write_bytes(b"no video")
    failed = run_job("compile_quad", {"videoIds": four})
    assert failed.status == JobStatus.FAILED
    assert "a.mp4" in failed.error
    assert not list(library.rglob("*.partial*"))


def test_a_video_that_is_not_there_is_refused_before_anything_runs(
    four: list[str], database: sa.Engine, settings: Settings
) -> None:
    unknown = str(uuid4())
    for kind in ("compile_quad", "compile_mega"):
        with database.begin() as connection, pytest.raises(InvalidJob, match=f"params.videoIds.*{unknown}"):
            queue.enqueue(connection, NewJob(kind, {"videoIds": [*four[:3], unknown]}), settings)


@pytest.mark.parametrize("kind", ["compile_quad", "compile_random", "compile_gif"])
def test_a_damaged_source_is_named_and_not_the_output(
    kind: str, run_job, ffmpeg: Path, library: Path, database: sa.Engine
) -> None:
    """Its header is whole, so that only the work on it shows the damage."""
    folder = library / "library/videos"
    folder.mkdir(parents=True)
    whole = folder / "whole.mkv"
    subprocess.run(
        [
            ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=20", "-f", "lavfi", "-i", "sine=d=20",
            "-preset", "ultrafast", f"file:{whole}",
        ],
        check=True,
    )  # fmt: skip
    cut = folder / "cut short.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    whole.unlink()
    run_job("scan", {})
    with database.begin() as connection:
        ((video, valid),) = connection.execute(sa.select(videos_table.c.id, videos_table.c.is_valid)).all()
    assert valid
    params = {
        "compile_quad": {"videoIds": [str(video)] * 4, "width": 64, "height": 64},
        "compile_random": {},
        "compile_gif": {"videoId": str(video), "start": 5, "duration": 10},
    }[kind]
    failed = run_job(kind, params)
    assert failed.status == JobStatus.FAILED
    assert "cut short.mkv" in failed.error
    assert "truncated" in failed.error
    assert not list(library.rglob("*.partial*"))


# Random


def test_tags_and_directory_narrow_the_choice(run_job, four: list[str], database: sa.Engine) -> None:
    with database.begin() as connection:
        videos.update(connection, UUID(four[0]), tags=["beach", "night"], directory_type="studios")
        videos.update(connection, UUID(four[1]), tags=["beach", "night", "x"])
        videos.update(connection, UUID(four[2]), tags=["beach"])
    both = _finished(run_job("compile_random", {"tags": ["night", "beach"]}), database)
    assert sorted(both.result["sourceVideoIds"]) == sorted(four[:2])
    one = _finished(run_job("compile_random", {"tags": ["night"], "directoryType": "studios"}), database)
    assert one.result["sourceVideoIds"] == [four[0]]
    none = run_job("compile_random", {"tags": ["night", "desert"]})
    assert none.status == JobStatus.FAILED


# Mega


def test_many_become_one_with_titles_chapters_and_fades(
    run_job, four: list[str], library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    with database.begin() as connection:
        videos.update(connection, UUID(four[0]), title="it's [0:v]; drawtext=%{pts}\\")
    params = {"videoIds": [*four, four[0]], "titleCards": 1, "crossfade": 0.2, **FAST}
    job = run_job("compile_mega", params)
    done = _finished(job, database).result
    assert done["sourceVideoIds"] == params["videoIds"]
    assert done["durationSeconds"] == pytest.approx(5 * 2 - 9 * 0.2, abs=0.3)
    import av

    with av.open(str(library / done["outputPath"])) as container:
        chapters = [chapter["metadata"]["title"] for chapter in container.chapters()]
    named = "it's [0:v]; drawtext=%{pts}\\ "
    assert chapters == [named, "b's; [1]", "c=#", "d", named]
    shown = _shown(instance, "mega_compilation")
    assert "drawtext" in str(shown["chapters"].value)
    assert "data:image/jpeg" in str(shown["frame"].value)
    assert "LUFS" in _log(job, database)
    assert not list(library.rglob("*.partial*"))


def test_matching_sources_of_a_long_compilation_are_copied_where_nothing_else_is_wanted(
    run_job, four: list[str], database: sa.Engine
) -> None:
    job = run_job("compile_mega", {"videoIds": [four[0]] * 3, "levelLoudness": False})
    _finished(job, database)
    log = _log(job, database)
    assert "3 sources copied: all sources match" in log
    assert "Encoder:" not in log
    levelled = run_job("compile_mega", {"videoIds": [four[0]] * 3})
    _finished(levelled, database)
    assert "3 of 3 pictures copied" in _log(levelled, database)
    assert "Encoder:" not in _log(levelled, database)


def test_as_many_as_are_wanted_are_chosen(run_job, four: list[str], database: sa.Engine) -> None:
    job = _finished(run_job("compile_mega", {"count": 2, "levelLoudness": False, **FAST}), database)
    assert len(job.result["sourceVideoIds"]) == 2


# GIF


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_part_of_a_video_becomes_an_animation(
    run_job, four: list[str], library: Path, database: sa.Engine, instance: dg.DagsterInstance, kind: str
) -> None:
    params = {"videoId": four[0], "format": kind, "width": 64, "start": 0.2, "duration": 0.5}
    first = _finished(run_job("compile_gif", params), database).result
    assert first["outputPath"] == f"gifs/a.{kind}"
    with Image.open(library / first["outputPath"]) as image:
        assert (image.format, image.size) == (kind.upper(), (64, 36))
    assert "data:image/jpeg" in str(_shown(instance, "gif")["preview"].value)
    again = run_job("compile_gif", params)
    assert _finished(again, database).result["outputPath"] == f"gifs/a.{str(again.id)[:8]}.{kind}"
    assert not list(library.rglob("*.partial*"))


def test_an_animation_that_must_be_smaller_says_so_in_its_log(
    run_job, four: list[str], library: Path, database: sa.Engine
) -> None:
    job = run_job("compile_gif", {"videoId": four[0], "width": 640, "fps": 25, "maxBytes": 60_000})
    assert _finished(job, database).result["sizeBytes"] <= 60_000
    assert job.result["width"] < 640
    assert "60000 are allowed: now" in _log(job, database)


def test_a_start_beyond_the_end_fails_with_the_length(run_job, four: list[str], library: Path) -> None:
    failed = run_job("compile_gif", {"videoId": four[0], "start": 30})
    assert failed.status == JobStatus.FAILED
    assert "nothing of it is left after 30 s" in failed.error


# Storyboard


def test_a_storyboard_is_published_whole_and_named_on_the_row(
    run_job, four: list[str], library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    stale = library / f"thumbnails/{four[0]}.storyboard-07.jpg"
    stale.parent.mkdir()
    stale.write_bytes(b"of a longer film")
    job = _finished(run_job("thumbnail_generate", {"videoId": four[0], "storyboard": True}), database)
    assert job.result["storyboardPath"] == f"thumbnails/{four[0]}.storyboard.vtt"
    with database.begin() as connection:
        stored = connection.scalar(sa.select(videos_table.c.storyboard_path).where(videos_table.c.id == UUID(four[0])))
    assert stored == job.result["storyboardPath"]
    names = sorted(path.name for path in (library / "thumbnails").iterdir())
    assert names == [f"{four[0]}.jpg", f"{four[0]}.storyboard-01.jpg", f"{four[0]}.storyboard.vtt"]
    assert f"{four[0]}.storyboard-01.jpg#xywh=0,0,160,90" in (library / stored).read_text()
    assert "data:image/jpeg" in str(_shown(instance, "thumbnail")["storyboard"].value)


def test_without_asking_there_is_no_storyboard(run_job, four: list[str], library: Path, database: sa.Engine) -> None:
    _finished(run_job("thumbnail_generate", {"videoId": four[0]}), database)
    assert [path.name for path in (library / "thumbnails").iterdir()] == [f"{four[0]}.jpg"]
