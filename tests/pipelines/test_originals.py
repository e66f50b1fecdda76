"""An op replaces an original; a run that dies in the middle is cleared up after by the reconciler."""

import os
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import file_changes, lease, queue, videos
from jobqueue_bridge.errors import PathTaken
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.journal import Journal
from media_pipelines.left_behind import owner
from media_pipelines.media import files, replace
from media_pipelines.media.prober import Prober
from media_pipelines.ops.originals import finished_change, replace_original
from media_pipelines.resources.attempt import claim
from media_pipelines.resources.gpu import Gpu
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue
from media_pipelines.sensors.dispatch import admit_ready
from media_pipelines.sensors.reconcile import reconcile
from tests.pipelines.conftest import make_clip


@pytest.fixture
def video(run_job: Any, ffmpeg: Path, library: Path, database: sa.Engine) -> videos.Video:
    make_clip(ffmpeg, library / "library/videos/a.mp4")
    run_job("scan", {})
    with database.begin() as connection:
        (found,) = videos.page(connection, limit=5).videos
    return found


def admitted(database: sa.Engine, settings: Settings, video: UUID) -> Job:
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("validate", {"videoId": str(video)}), settings)
    (dispatched,) = admit_ready(settings, Gpu())
    return dispatched.job


def test_an_op_replaces_an_original_and_the_row_follows(
    run_job: Any, video: videos.Video, ffmpeg: Path, library: Path, database: sa.Engine, settings: Settings
) -> None:
    attempt = claim(load_settings(), admitted(database, settings, video.id), run_id="r", host="here")
    assert attempt is not None
    path = library / video.path
    assert finished_change(attempt, Queue(), Library()) is None
    source = replace.seen(path)
    partial = files.partial_path(path.with_suffix(".mkv"), owner(attempt.job.id, 1))
    make_clip(ffmpeg, partial, seconds=2, color="blue")
    with Prober() as prober:
        result = prober.probe(partial)
    change = replace_original(
        attempt, Queue(), Library(), video, partial, path.with_suffix(".mkv"), source=source, result=result,
        keep_original=True,
    )  # fmt: skip
    assert change.backup == "library/videos/a.mp4.original"
    assert finished_change(attempt, Queue(), Library()) == change, "an attempt after a crash would only complete"
    attempt.complete({})
    with database.begin() as connection:
        after = videos.get(connection, video.id)
    assert (after.path, after.filename, after.title) == ("library/videos/a.mkv", "a.mkv", "a")
    assert round(after.duration_seconds or 0) == 2
    assert after.reencode_job_id == attempt.job.id
    rescan = run_job("scan", {}).result
    assert (rescan["found"], rescan["unchanged"]) == (1, 1), "the row is of this very file; the backup is no video"


def test_a_result_costs_no_missing_video_its_row(
    video: videos.Video, ffmpeg: Path, library: Path, database: sa.Engine, settings: Settings, add_video: Any
) -> None:
    other = add_video("library/videos/a.mkv", title="on a disk that is not mounted")
    attempt = claim(load_settings(), admitted(database, settings, video.id), run_id="r", host="here")
    assert attempt is not None
    path = library / video.path
    target, source, before = path.with_suffix(".mkv"), replace.seen(path), path.read_bytes()
    partial = make_clip(ffmpeg, files.partial_path(target, owner(attempt.job.id, 1)), color="blue")
    with Prober() as prober:
        result = prober.probe(partial)
    with pytest.raises(PathTaken):
        replace_original(
            attempt, Queue(), Library(), video, partial, target, source=source, result=result, keep_original=True
        )
    attempt.abandon()  # its beat would go on
    assert path.read_bytes() == before
    assert not target.exists()
    with database.begin() as connection:
        assert videos.get(connection, other).path == "library/videos/a.mkv"


def test_what_a_dead_run_left_of_a_replacement_is_settled_by_the_reconciler(
    video: videos.Video, library: Path, database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    job = admitted(database, settings, video.id)
    with database.begin() as connection:
        held = lease.claim(connection, job.id, 1, run_id="gone", host=os.uname().nodename)
    assert held is not None
    path = library / video.path
    old = path.read_bytes()
    partial = files.partial_path(path, owner(job.id, 1))
    partial.write_bytes(b"made of it")

    def die(step: str) -> None:
        if step == "backed up":
            os.kill(os.getpid(), signal.SIGKILL)

    def act() -> None:
        Journal(database, library, die).replace(
            held, video.id, path=path, target=path, partial=partial, expected=replace.seen(path), keep_original=True,
            mark=owner(job.id, 1), columns={},
        )  # fmt: skip

    database.dispose()
    child = get_context("fork").Process(target=act)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(list(path.parent.iterdir())) == 3
    reconcile(dg.build_sensor_context(instance=instance))
    assert [one.read_bytes() for one in path.parent.iterdir()] == [old]
    with database.begin() as connection:
        assert queue.get(connection, job.id).status == JobStatus.PENDING
        assert file_changes.abandoned(connection) == []
