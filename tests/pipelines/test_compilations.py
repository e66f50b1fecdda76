"""Compilations through the queue: from a row to a verified file, its row and what the Dagster UI shows."""

import subprocess
from pathlib import Path
from uuid import UUID, uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import videos as videos_table
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.probe import Prober

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
        assert job.status == JobStatus.COMPLETED, (job.error, queue.log_text(connection, job.id))
    return job


def _log(job: Job, database: sa.Engine) -> str:
    with database.begin() as connection:
        return queue.log_text(connection, job.id)


def _shown(instance: dg.DagsterInstance, asset: str) -> dict[str, dg.MetadataValue]:
    found = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert found is not None
    assert found.asset_materialization is not None
    return dict(found.asset_materialization.metadata)


# Quad


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
