"""Renders DAGSTER_HOME from the settings: `dagster.yaml` from the file at the root, and the workspace of `up`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from jobqueue_bridge.devices import units_of
from jobqueue_bridge.settings import Settings
from media_pipelines.platform.errors import NotUsable
from media_pipelines.tags import GPU_SLOT_TAG, LAUNCHED_TAG, SEVERAL, SLOT_TAG, gpu_slot, vram_tag

CODE_LOCATION = "media_pipelines"

# Runs that were launched in Dagster itself wait for their rows to be admitted: one more than can be at work, so that a
# slot that comes free is taken at once; and a few of those that do several jobs, one after another.
_WARM = 1
_SEVERAL = 2

STORAGE_MODULE, STORAGE_CLASS = "media_pipelines.platform.storage", "PooledPostgresStorage"

_NOTICE = "# Written by `media-pipelines up` at each start: change the settings, not this file.\n"


def instance_config(settings: Settings) -> dict[str, Any]:
    """The whole of the rendered `dagster.yaml`."""
    kept = yaml.safe_load(_template().read_text(encoding="utf-8"))
    return {**kept, "concurrency": _concurrency(settings), "storage": _storage(settings)}


def _template() -> Path:
    """In the checkout, or where an installed wheel puts its data files."""
    places = (Path(__file__).parents[2], Path(sys.prefix) / "share/media-pipelines")
    for place in places:
        if (place / "dagster.yaml").is_file():
            return place / "dagster.yaml"
    raise NotUsable(f"dagster.yaml is missing: looked in {places[0]} and {places[1]}")


def _concurrency(settings: Settings) -> dict[str, Any]:
    slots = [{"key": SLOT_TAG, "value": category.value, "limit": limit} for category, limit in settings.slots.items()]
    slots += [
        {"key": GPU_SLOT_TAG, "value": gpu_slot(category.value, device.index), "limit": limit}
        for device in settings.gpus
        for category, limit in settings.gpu_slots.items()
    ]
    units = [
        {"key": vram_tag(unit), "value": "1", "limit": 1}
        for device in settings.devices
        for unit in units_of(device.index, device.units)
    ]
    launched = {category.value: limit + _WARM for category, limit in settings.slots.items()} | {SEVERAL: _SEVERAL}
    by_hand = [{"key": LAUNCHED_TAG, "value": value, "limit": limit} for value, limit in launched.items()]
    return {
        "runs": {
            "max_concurrent_runs": sum(settings.slots.values()) + sum(launched.values()),
            "tag_concurrency_limits": [*slots, *units, *by_hand],
        }
    }


def _storage(settings: Settings) -> dict[str, Any]:
    config = {"postgres_url": settings.dagster_url.render_as_string(hide_password=False)}
    return {"custom": {"module": STORAGE_MODULE, "class": STORAGE_CLASS, "config": config}}


def workspace_config(code_server_socket: Path) -> dict[str, Any]:
    return {"load_from": [{"grpc_server": {"socket": str(code_server_socket), "location_name": CODE_LOCATION}}]}


def render(settings: Settings, code_server_socket: Path) -> Path:
    """Write both files, readable by us alone: the storage's URL may hold a password. Returns the workspace."""
    settings.dagster_home.mkdir(mode=0o700, parents=True, exist_ok=True)
    workspace = settings.dagster_home / "workspace.yaml"
    _write(settings.dagster_home / "dagster.yaml", instance_config(settings))
    _write(workspace, workspace_config(code_server_socket))
    return workspace


def _write(path: Path, content: Mapping[str, Any]) -> None:
    written = path.with_name(f".{path.name}")
    written.touch(mode=0o600)
    written.write_text(_NOTICE + yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
    written.replace(path)
