"""The five jobs that look at what a video shows, through the queue: from a row to verified films with lineage."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import insights, logs, videos
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.probe import Probe
from media_pipelines.media.prober import Prober
from tests.truth.corpus import action
from tests.truth.film import Film, Rendered
from tests.truth.render import render

FAST = {"preset": "ultrafast", "crf": 33}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """The beginning of a film with known shots and uproars."""
    whole = action(11)
    takes = whole.takes[:8]
    end_s = takes[-1].end_s
    planted = tuple(one for one in whole.planted if one.end_s <= end_s)
    music = (type(whole.music[0])(0.0, end_s),)
    film = Film("brief", 11, takes, music=music, planted=planted)
    return render(film, find_ffmpeg(None), tmp_path_factory.mktemp("films"), size=(160, 90))


@pytest.fixture
def video(run_job, footage: Rendered, library: Path, database: sa.Engine) -> str:
    path = library / "library/videos/brief.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(footage.path.read_bytes())
    run_job("scan", {})
    with database.begin() as connection:
        return str(videos.find(connection, "library/videos/brief.mp4").id)


def finished(job: Job, database: sa.Engine) -> Job:
    with database.begin() as connection:
        assert job.status == JobStatus.COMPLETED, (job.error, logs.text(connection, job.id))
    return job


def probed(path: Path) -> Probe:
    with Prober() as prober:
        return prober.probe(path, decode_frames=5, decode_end=True)


def shown(instance: dg.DagsterInstance, asset: str) -> dict[str, dg.MetadataValue]:
    found = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert found is not None
    assert found.asset_materialization is not None
    return dict(found.asset_materialization.metadata)


def require_lineage(database: sa.Engine, output_id: str, video: str) -> None:
    with database.begin() as connection:
        row = videos.get(connection, UUID(output_id))
    assert str(row.source_video_id) == video
    assert row.is_valid


def test_a_digest_is_as_long_as_wanted_and_names_what_it_is_made_of(
    run_job, video: str, library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    job = finished(run_job("digest_generate", {"videoId": video, "targetLength": 12, **FAST}), database)
    made = job.result
    assert made["outputPath"] == "digests/brief.digest.mp4"
    probe = probed(library / made["outputPath"])
    assert probe.duration_s == pytest.approx(12, rel=0.05)
    assert probe.has_audio
    assert probe.chapters >= 3
    assert all(one["endSeconds"] <= other["startSeconds"] + 0.01 for one, other in pairwise(made["segments"]))
    assert {engine["role"] for engine in made["engines"]} >= {"shots", "embedding", "audio"}
    require_lineage(database, made["outputVideoId"], video)
    with database.begin() as connection:
        poster = videos.get(connection, UUID(made["outputVideoId"])).thumbnail_path
    assert poster
    assert (library / poster).read_bytes()[:2] == b"\xff\xd8"
    assert (library / made["whyPath"]).read_bytes()[:4] == b"\x89PNG"
    assert "data:image/png" in str(shown(instance, "digest")["why"].value)
    assert not list(library.rglob("*.partial*"))


def test_the_second_job_on_a_video_reads_what_the_first_found_out(
    run_job, video: str, settings: Settings, database: sa.Engine
) -> None:
    shutil.rmtree(settings.home / "analyses", ignore_errors=True)
    first = finished(run_job("tag_generation", {"videoId": video}), database)
    second = finished(run_job("highlight_generate", {"videoId": video, "reel": False}), database)
    assert (first.result["analysis"], second.result["analysis"]) == ("made", "stored")
    assert "outputPath" not in second.result
    assert second.result["moments"]


def test_a_reel_holds_the_moments_that_were_planted(
    run_job, video: str, footage: Rendered, library: Path, database: sa.Engine
) -> None:
    planted = footage.film.planted
    target_s = sum(one.end_s - one.start_s for one in planted)
    params = {"videoId": video, "targetLength": target_s, "outputPath": "highlights/best.mp4", **FAST}
    made = finished(run_job("highlight_generate", params), database).result
    assert made["outputPath"] == "highlights/best.mp4"
    assert (probed(library / "highlights/best.mp4").duration_s or 0) <= target_s * 1.05
    for one in planted:
        middle_s = (one.start_s + one.end_s) / 2
        assert any(each["startSeconds"] <= middle_s <= each["endSeconds"] for each in made["segments"])
    require_lineage(database, made["outputVideoId"], video)


def test_clips_are_films_of_their_own_in_the_wanted_shape(
    run_job, video: str, library: Path, database: sa.Engine, instance: dg.DagsterInstance
) -> None:
    params = {"videoId": video, "count": 2, "minLength": 3, "maxLength": 6, "aspect": "9:16", **FAST}
    made = finished(run_job("clip_generate", params), database).result
    assert len(made["clips"]) == 2
    for clip in made["clips"]:
        probe = probed(library / clip["path"])
        assert (probe.width, probe.height) == (50, 90)
        assert 2.9 <= (probe.duration_s or 0) <= 6.1
        require_lineage(database, clip["videoId"], video)
    assert "clips/brief.clip-" in str(shown(instance, "clips")["clips"].value).replace("\\", "")


def test_a_digest_can_be_cut_into_clips(run_job, video: str, library: Path, database: sa.Engine) -> None:
    digest = {"videoId": video, "targetLength": 8, "crossfade": 0, "poster": False, **FAST}
    made = finished(run_job("digest_generate", digest), database).result
    clip = {"videoId": made["outputVideoId"], "count": 1, "minLength": 2, "maxLength": 4, **FAST}
    (cut,) = finished(run_job("clip_generate", clip), database).result["clips"]
    require_lineage(database, cut["videoId"], made["outputVideoId"])
    assert 1.9 <= (probed(library / cut["path"]).duration_s or 0) <= 4.1


def test_what_cannot_be_as_long_as_wanted_says_so(run_job, video: str, database: sa.Engine) -> None:
    made = finished(run_job("digest_generate", {"videoId": video, "targetLength": 600, **FAST}), database).result
    assert made["plannedSeconds"] < 40
    assert "there is no more to show" in " ".join(made["notes"])


def test_scenes_are_rows_lists_and_files(
    run_job, video: str, footage: Rendered, library: Path, database: sa.Engine
) -> None:
    params = {"videoId": video, "exports": ["json", "edl"], "files": "exact", "similarity": 1, **FAST}
    made = finished(run_job("scene_extract", params), database).result
    listed = json.loads((library / made["exports"]["json"]).read_text())
    assert "TITLE:" in (library / made["exports"]["edl"]).read_text()
    with database.begin() as connection:
        rows = insights.shots_of(connection, UUID(video))
    assert [row.start_s for row in rows] == [shot["startSeconds"] for shot in listed["shots"]]
    assert len(made["files"]) == made["sceneCount"] == len(made["thumbnails"])
    lengths = [probed(library / file["path"]).duration_s or 0 for file in made["files"]]
    assert sum(lengths) == pytest.approx(footage.film.duration_s, abs=0.1 * len(lengths))


def test_copied_scene_files_hold_their_scene(run_job, video: str, library: Path, database: sa.Engine) -> None:
    made = finished(run_job("scene_extract", {"videoId": video, "files": "copy", "exports": []}), database).result
    for scene, file in zip(made["scenes"], made["files"], strict=True):
        length_s = scene["endSeconds"] - scene["startSeconds"]
        assert (probed(library / file["path"]).duration_s or 0) >= length_s - 0.5
        require_lineage(database, file["videoId"], video)


def test_tags_are_rows_with_their_spans_and_stand_on_the_video(run_job, video: str, database: sa.Engine) -> None:
    with database.begin() as connection:
        videos.update(connection, UUID(video), tags=["holiday"])
    made = finished(run_job("tag_generation", {"videoId": video, "minScore": 0.1, "maxTags": 4}), database).result
    with database.begin() as connection:
        rows = insights.tags_of(connection, UUID(video))
        stored = videos.get(connection, UUID(video)).tags
        found = videos.page(connection, tag=rows[0].name, limit=5).videos
    assert 1 <= len(rows) <= 4
    assert {row.name for row in rows} == {tag["name"] for tag in made["tags"]}
    assert stored == ["holiday", *(tag["name"] for tag in made["tags"])]
    assert [one.id for one in found] == [UUID(video)]
    assert all(row.spans and row.model for row in rows)
