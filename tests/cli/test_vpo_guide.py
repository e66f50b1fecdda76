"""VPO's guide, taken down by hand: each of its options, keys and layouts is still here."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from jobqueue_bridge.policy import load_policy
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.main import build

COMMANDS = """
transcode --policy hevc.yaml /videos/one.mkv /videos/two.mkv
transcode --dry-run --policy hevc.yaml /videos/
jobs list
jobs list --status queued
jobs list --status running
jobs list --status failed
jobs list --limit 20
jobs list --limit 10
jobs status
jobs start
jobs start --max-files 5
jobs start --max-duration 3600
jobs start --max-duration 28800
jobs start --end-by 06:00
jobs start --end-by 05:59
jobs start --cpu-cores 4
jobs start --no-purge
jobs start --max-files 10 --end-by 06:00
jobs cancel a1b2c3d4
jobs retry a1b2c3d4
jobs clear
jobs clear --status failed
jobs clear --status cancelled
jobs clear --status all
jobs clear --force
jobs recover
jobs cleanup --dry-run
jobs cleanup --older-than 7
jobs cleanup --include-backups
jobs cleanup --remove-temp
jobs cleanup --force
"""
STATES = {"queued", "running", "completed", "failed", "cancelled"}
CONFIGURATION = """
jobs:
  retention_days: 31      # Days to keep completed jobs
  auto_purge: false       # Purge old jobs on worker start
  temp_directory: null    # Temp dir for transcoding (null = source dir)
  backup_original: false  # Keep backup of original files

worker:
  max_files: null         # No limit by default
  max_duration: null      # No limit by default
  end_by: null            # No deadline by default
  cpu_cores: null         # Use all cores by default
"""
LIMITS: dict[str, Any] = {"max_files": 5, "max_duration": 28800, "end_by": "05:59", "cpu_cores": 4}
DEFAULTS = {"retention_days": 30, "auto_purge": True, "temp_directory": "", "backup_original": True}


@pytest.mark.parametrize("line", COMMANDS.split("\n")[1:-1])
def test_a_command_of_the_guide_is_understood(line: str) -> None:
    command: click.Command = typer.main.get_command(build([]))
    words = shlex.split(line)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    assert command.make_context(command.name, words).command is command


def test_each_state_of_the_guide_is_one() -> None:
    assert {status.value for status in JobStatus} >= STATES


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The settings with this `config.yaml`."""
    monkeypatch.setenv("MEDIA_PIPELINES_HOME", str(tmp_path))

    def read(text: str) -> Any:
        (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
        return load_settings()

    return read


def test_its_configuration_is_read_as_it_stands(configured: Callable[[str], Any]) -> None:
    settings = configured(CONFIGURATION)
    assert (settings.retention_days, settings.auto_purge, settings.backup_original) == (31, False, False)
    assert [getattr(settings, f"worker_{key}") for key in LIMITS] == [None] * len(LIMITS)


@pytest.mark.parametrize(("key", "value"), LIMITS.items())
def test_each_limit_of_the_worker_can_be_configured(configured: Callable[[str], Any], key: str, value: object) -> None:
    assert getattr(configured(yaml.safe_dump({"worker": {key: value}})), f"worker_{key}") == value


def test_its_defaults_are_ours(configured: Callable[[str], Any]) -> None:
    settings = configured("")
    assert {key: getattr(settings, key) for key in DEFAULTS} == DEFAULTS
    assert [getattr(settings, f"worker_{key}") for key in LIMITS] == [None] * len(LIMITS)


def test_the_page_for_those_who_come_from_vpo_names_each_of_its_commands() -> None:
    page = (Path(__file__).parents[2] / "docs/vpo.md").read_text(encoding="utf-8")
    named = {" ".join(re.findall(r"^(?:jobs )?\w+", line)) for line in COMMANDS.split("\n")[1:-1]}
    assert len(named) == 9
    assert [name for name in sorted(named) if f"`{name}" not in page] == []


def test_a_policy_of_its_name_can_be_read(tmp_path: Path) -> None:
    policy = tmp_path / "hevc.yaml"
    policy.write_text("schema_version: 2\ntranscode:\n  target_video_codec: hevc\n", encoding="utf-8")
    assert load_policy(policy).target_video_codec == "hevc"
