"""What is rendered is what Dagster loads, with the numbers of the settings."""

import stat
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.workspace.load_target import WorkspaceFileTarget

from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.platform import dagster_home
from media_pipelines.tags import vram_tag
from tests.platform.conftest import ROOT


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, media_library_path=tmp_path / "media")


def limits(settings: Settings) -> dict[tuple[str, str | None], int]:
    runs = dagster_home.instance_config(settings)["concurrency"]["runs"]
    return {(limit["key"], limit.get("value")): limit["limit"] for limit in runs["tag_concurrency_limits"]}


def test_the_file_at_the_root_shows_the_default_limits(home: Settings) -> None:
    written = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    rendered = dagster_home.instance_config(home)
    assert rendered.pop("storage")
    assert written == rendered


def test_the_instance_loads_and_keeps_its_runs_in_postgres(settings: Settings) -> None:
    dagster_home.render(settings, settings.home / "sock")
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        config = instance.get_concurrency_config().run_queue_config
        assert config is not None
        assert config.max_concurrent_runs == 8 + 13
        assert len(config.tag_concurrency_limits) == 3 + 16 + 4
        assert type(instance.run_launcher).__name__ == "WarmRunLauncher"
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert instance.get_runs_count() == 0
        assert str(settings.postgres_socket_dir) in str(instance.run_storage._engine.url.query)


def test_slots_and_vram_units_follow_the_settings(tmp_path: Path) -> None:
    narrow = load_settings(home=tmp_path, slots_cpu=3, slots_gpu_encode=0, slots_gpu_ai=2, total_vram_mb=2500)
    assert limits(narrow) == {
        ("media/slot", "cpu"): 3,
        ("media/slot", "gpu_encode"): 0,
        ("media/slot", "gpu_ai"): 2,
        ("media/vram_u00", "1"): 1,
        ("media/vram_u01", "1"): 1,
        ("media/launched", "cpu"): 4,
        ("media/launched", "gpu_encode"): 1,
        ("media/launched", "gpu_ai"): 3,
        ("media/launched", "several"): 2,
    }
    assert dagster_home.instance_config(narrow)["concurrency"]["runs"]["max_concurrent_runs"] == 5 + 10


def test_every_vram_unit_has_a_limit_of_its_own(tmp_path: Path) -> None:
    large = limits(load_settings(home=tmp_path, total_vram_mb=120_000))
    assert [large[vram_tag(unit), "1"] for unit in range(120)] == [1] * 120
    assert (vram_tag(120), "1") not in large


def test_each_gpu_has_its_slots_and_its_units(tmp_path: Path) -> None:
    several = limits(
        load_settings(home=tmp_path, gpus=[{"vram_mb": 2000}, {"vram_mb": 3500, "index": 3}], slots_gpu_ai=0)
    )
    assert several == {
        ("media/slot", "cpu"): 5,
        ("media/slot", "gpu_encode"): 4,
        ("media/slot", "gpu_ai"): 0,
        ("media/gpu_slot", "gpu_encode@0"): 2,
        ("media/gpu_slot", "gpu_ai@0"): 0,
        ("media/gpu_slot", "gpu_encode@3"): 2,
        ("media/gpu_slot", "gpu_ai@3"): 0,
        ("media/vram_u00", "1"): 1,
        ("media/vram_u01", "1"): 1,
        ("media/vram_g3_u00", "1"): 1,
        ("media/vram_g3_u01", "1"): 1,
        ("media/vram_g3_u02", "1"): 1,
        ("media/launched", "cpu"): 6,
        ("media/launched", "gpu_encode"): 5,
        ("media/launched", "gpu_ai"): 1,
        ("media/launched", "several"): 2,
    }


def test_a_password_in_the_url_is_readable_by_us_alone(tmp_path: Path) -> None:
    external = load_settings(home=tmp_path, database_url="postgresql://me:p%40ss@example.org/videos")
    dagster_home.render(external, tmp_path / "sock")
    written = external.dagster_home / "dagster.yaml"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    url = yaml.safe_load(written.read_text())["storage"]
    assert "p%40ss" in str(url)


def test_both_workspaces_load(home: Settings) -> None:
    rendered = dagster_home.render(home, home.home / "sock")
    for path in (rendered, ROOT / "workspace.yaml"):
        origins = WorkspaceFileTarget(paths=[str(path)]).create_origins()
        assert [origin.location_name for origin in origins] == [dagster_home.CODE_LOCATION]
