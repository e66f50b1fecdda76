"""Resources that tests give in place of the platform's: an empty field is what the settings say."""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from jobqueue_bridge import queue
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.media.errors import FfmpegMissing
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.gpu import Gpu
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue
from media_pipelines.sensors.dispatch import dispatch


def test_empty_fields_are_what_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read at each use, as the settings may change while a resource lives."""
    doors = Queue(), Library(), Ffmpeg()
    monkeypatch.setenv("MEDIA_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setenv("MEDIA_STALL_TIMEOUT_SECONDS", "7")
    monkeypatch.setenv("MEDIA_PREFER_HARDWARE_ENCODER", "false")
    own_queue, library, ffmpeg = doors
    assert own_queue.settings == load_settings()
    assert library.root == tmp_path
    assert (ffmpeg.program, ffmpeg.stall_timeout_s, ffmpeg.prefers_hardware) == (find_ffmpeg(None), 7, False)


def test_fields_that_are_given_overrule_the_settings(tmp_path: Path) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    ffmpeg = Ffmpeg(program=program, stall_timeout_s=2, prefer_hardware=False)
    assert (ffmpeg.program, ffmpeg.stall_timeout_s, ffmpeg.prefers_hardware) == (program, 2, False)
    assert Library(root=tmp_path).path("a/b.mp4") == tmp_path / "a/b.mp4"
    assert Queue(database_url="postgresql://u@h/other").settings.queue_url.database == "other"


@pytest.mark.parametrize(
    ("resource", "field", "value"),
    [(Library, "rot", "/x"), (Ffmpeg, "binary", "/x"), (Queue, "url", "x"), (Gpu, "free", 1), (Gpu, "free_mb", -1),
     (Ffmpeg, "stall_timeout_s", 0), (Library, "root", 3)],
)  # fmt: skip
def test_a_field_that_cannot_be_meant_is_refused(
    resource: type[dg.ConfigurableResource], field: str, value: object
) -> None:
    """One that is passed over would let a test work on the real library."""
    with pytest.raises(ValidationError, match=field):
        resource(**{field: value})


def test_an_ffmpeg_that_is_none_is_named() -> None:
    with pytest.raises(FfmpegMissing, match="/nowhere/ffmpeg"):
        _ = Ffmpeg(program="/nowhere/ffmpeg").program


def test_fields_may_come_from_the_environment_and_from_the_runs_config(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTHER_LIBRARY", str(tmp_path))
    seen = []

    @dg.op
    def look(library: Library, ffmpeg: Ffmpeg) -> None:
        seen.append((library.root, ffmpeg.stall_timeout_s))

    @dg.job(resource_defs={"library": Library(root=dg.EnvVar("OTHER_LIBRARY")), "ffmpeg": Ffmpeg.configure_at_launch()})
    def looking() -> None:
        look()

    config = {"resources": {"ffmpeg": {"config": {"stall_timeout_s": 3.0}}}}
    assert looking.execute_in_process(run_config=config).success
    assert seen == [(tmp_path, 3.0)]


@pytest.mark.parametrize(("free_mb", "admitted"), [(3999, 0), (4000, 1)])
def test_the_dispatcher_goes_by_the_memory_that_a_test_gives(
    free_mb: int, admitted: int, database: sa.Engine, settings: Settings, instance: dg.DagsterInstance
) -> None:
    with database.begin() as connection:
        queue.enqueue(connection, NewJob("compile_random", {}, vram_required=4000), settings)
    resources = {"gpu": Gpu(free_mb=free_mb)}
    ticked = dispatch(dg.build_sensor_context(instance=instance, resources=resources))
    requests = ticked.run_requests if isinstance(ticked, dg.SensorResult) else None
    assert len(requests or ()) == admitted
