"""One odd row, run, file or folder costs itself and nobody else."""

import os
from fractions import Fraction
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import dispatching, queue
from jobqueue_bridge.queue import Filters, NewJob
from jobqueue_bridge.settings import Settings
from media_pipelines.media.probe import Probe
from media_pipelines.ops.videos import facts
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready
from media_pipelines.sensors.reconcile import reconcile
from media_pipelines.tags import ATTEMPT_TAG, JOB_TAG
from tests.pipelines.conftest import add_run, make_clip

ODD_TIMES = ("infinity", "-infinity", "0044-03-15 BC", "20000-01-01")


@pytest.mark.parametrize("column", ["created_at", "retry_after", "started_at", "completed_at"])
@pytest.mark.parametrize("instant", ODD_TIMES)
def test_a_row_with_an_odd_time_does_not_stop_the_dispatcher(
    instant: str, column: str, database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    with database.begin() as connection:
        connection.execute(
            sa.text(
                f"INSERT INTO jobs (type, params, resource_category, {column}) VALUES ('scan', '{{}}', 'cpu', :at)"
            ),
            {"at": instant},
        )
        sound = queue.enqueue(connection, NewJob("scan", {"path": "library/other"}), settings)
    assert sound.id in [entry.job.id for entry in admit_ready(settings, Gpu())]
    with database.begin() as connection:
        dispatching.seconds_to_next_retry(connection)
        assert queue.page(connection, Filters(), limit=5).total == 2
    reconcile(dg.build_sensor_context(instance=instance))


@pytest.mark.parametrize(("job", "attempt"), [("not an id", "1"), ("550e8400-e29b-41d4-a716-446655440000", "second")])
def test_a_run_with_odd_tags_does_not_stop_the_reconciler(
    job: str, attempt: str, database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    add_run(instance, {JOB_TAG: job, ATTEMPT_TAG: attempt}, dg.DagsterRunStatus.STARTED)
    assert isinstance(reconcile(dg.build_sensor_context(instance=instance)), dg.SensorResult)


def test_a_link_to_itself_does_not_hide_its_folder(run_job, ffmpeg: Path, library: Path) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/good.mp4")
    clip.with_name("loop").symlink_to("loop")
    clip.with_name("loop.mp4").symlink_to("loop.mp4")
    assert run_job("scan", {}).result["new"] == 1


def test_a_file_of_the_year_60000_is_scanned_like_any_other(
    run_job, ffmpeg: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(ffmpeg, library / "library/videos/late.mp4")
    real = Path.stat

    def late(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result([*found[:8], 1_831_000_000_000, found[9]]) if path.name == "late.mp4" else found

    monkeypatch.setattr(Path, "stat", late)
    assert clip.stat().st_mtime > 1e12
    assert run_job("scan", {}).result["new"] == 1
    assert run_job("scan", {}).result["unchanged"] == 1


def test_a_bit_rate_beyond_all_bounds_is_stored_as_the_largest(library: Path) -> None:
    probe = Probe(
        library, 10**12, "mp4", 0.001, 1, 1, 0, Fraction(1), None, "h264", None, None, False, True, 8 * 10**12, (), 0, 0
    )
    assert facts(probe)["bitrate_kbps"] == 2**31 - 1
