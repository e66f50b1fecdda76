"""The commands on a platform that does not run: what they print and how they end."""

import json
import socket
from pathlib import Path

import pytest

from tests.platform.conftest import Shell, free_port


def test_status_ends_with_3_when_nothing_runs(shell: Shell) -> None:
    answer = shell("status")
    assert answer.returncode == 3
    assert "not running" in answer.stderr
    answer = shell("status", "--json")
    assert answer.returncode == 3
    assert json.loads(answer.stdout)["running"] is False


def test_down_is_content_when_nothing_runs(shell: Shell) -> None:
    answer = shell("down")
    assert (answer.returncode, "not running" in answer.stdout) == (0, True)


def test_config_tells_where_a_value_comes_from_and_hides_secrets(shell: Shell) -> None:
    (shell.home / "config.yaml").write_text("slots_cpu: 3\n")
    answer = shell("config", "--json", MEDIA_JWT_SECRET="a-secret-of-more-than-32-characters-x")
    rows = {row["key"]: row for row in json.loads(answer.stdout)}
    assert (rows["slots_cpu"]["value"], rows["slots_cpu"]["origin"]) == (3, "config.yaml")
    assert "MEDIA_API_PORT" in rows["api_port"]["origin"]
    assert rows["lease_seconds"]["origin"] == "default"
    assert "a-secret" not in answer.stdout
    (shell.home / "config.yaml").unlink()


@pytest.mark.parametrize("command", ["status", "up", "down", "config", "doctor"])
def test_a_bad_setting_ends_with_2_and_names_it(shell: Shell, command: str) -> None:
    answer = shell(command, MEDIA_SLOTS_CPU="many")
    assert answer.returncode == 2
    assert "MEDIA_SLOTS_CPU" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_an_unknown_command_ends_with_2(shell: Shell) -> None:
    assert shell("fly").returncode == 2


@pytest.mark.parametrize("options", [[], ["--detach"]])
def test_up_on_a_port_in_use_starts_nothing(shell: Shell, options: list[str]) -> None:
    with socket.create_server(("127.0.0.1", shell.api_port)):
        answer = shell("up", *options)
    assert answer.returncode == 3
    assert f"Port {shell.api_port}" in answer.stderr.splitlines()[-1]
    assert shell.processes() == []
    assert not (shell.home / "postgres").exists()


def test_up_with_a_database_that_refuses_starts_nothing(shell: Shell) -> None:
    answer = shell("up", DATABASE_URL=f"postgresql://me@127.0.0.1:{free_port()}/videos")
    assert answer.returncode == 3
    assert answer.stderr.splitlines()[-1].startswith("DATABASE_URL")
    assert shell.processes() == []


@pytest.mark.parametrize("options", [[], ["--detach"]])
def test_up_in_a_home_that_cannot_be_written_says_so(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "file").write_text("")
    answer = Shell(tmp_path / "file")("up", *options)
    assert answer.returncode == 3
    assert "MEDIA_PIPELINES_HOME" in answer.stderr


def test_doctor_has_a_line_for_each_check(shell: Shell) -> None:
    answer = shell("doctor", "--json")
    found = json.loads(answer.stdout)
    assert {"home", "library", "disk", "port", "database", "ffmpeg", "encoder", "gpu"} <= {f["check"] for f in found}
    assert answer.returncode == (0 if all(finding["ok"] for finding in found) else 1)


def test_doctor_fails_on_what_is_wrong(shell: Shell) -> None:
    answer = shell("doctor", FFMPEG_BINARY="/nowhere/ffmpeg")
    assert answer.returncode == 1
    assert "✗ ffmpeg" in answer.stdout
    assert "FFMPEG_BINARY" in answer.stdout
