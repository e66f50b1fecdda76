"""A whole platform with real processes: up, kept up through kills, down with nothing left."""

import json
import os
import signal
import urllib.request
from typing import Any

import psutil
import pytest

from jobqueue_bridge import audit
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings
from media_pipelines.platform import at_hand
from media_pipelines.platform.asking import who
from tests.platform.conftest import Shell, eventually

pytestmark = pytest.mark.timeout(400)
PROGRAMS = {"postgres", "run-keeper", "code-server", "daemon", "webserver", "api"}


@pytest.fixture(scope="module")
def platform(shell: Shell) -> Shell:
    bring_up(shell)
    return shell


def bring_up(shell: Shell) -> None:
    answer = shell("up", "--detach")
    assert answer.returncode == 0, answer.stderr
    assert f"http://127.0.0.1:{shell.api_port}" in answer.stdout


def status(shell: Shell) -> dict[str, Any]:
    return json.loads(shell("status", "--json").stdout)


def pids(shell: Shell) -> dict[str, int]:
    return {program["name"]: program["pid"] for program in status(shell)["programs"]}


def holder(shell: Shell) -> psutil.Process:
    return psutil.Process(status(shell)["pid"])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def test_every_program_runs_and_serves(platform: Shell) -> None:
    assert {program["name"]: program["state"] for program in status(platform)["programs"]} == dict.fromkeys(
        PROGRAMS, "RUNNING"
    )
    assert answers(f"http://127.0.0.1:{platform.api_port}/health")
    assert answers(f"http://127.0.0.1:{platform.dagster_port}/server_info")


def test_a_second_up_says_that_it_runs(platform: Shell) -> None:
    answer = platform("up", "--detach")
    assert answer.returncode == 0
    assert "already running" in answer.stdout
    assert platform("up").returncode == 1


def test_what_dies_is_started_again(platform: Shell) -> None:
    before = pids(platform)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def all_are_back() -> bool:
        now = pids(platform)
        return all(now[name] and now[name] != before[name] for name in PROGRAMS)

    assert eventually(all_are_back)
    assert eventually(lambda: answers(f"http://127.0.0.1:{platform.api_port}/health"), within_s=60)
    assert eventually(lambda: answers(f"http://127.0.0.1:{platform.dagster_port}/server_info"), within_s=60)


def test_down_leaves_no_process_and_the_data(platform: Shell) -> None:
    answer = platform("down")
    assert answer.returncode == 0, answer.stderr
    assert platform.processes() == []
    assert platform("status").returncode == 3
    assert (platform.home / "postgres" / "PG_VERSION").exists()


def test_who_started_it_and_who_stopped_it_stands_in_the_audit_log(platform: Shell) -> None:
    settings = load_settings(home=platform.home)
    with at_hand.used(settings, print), engine_for(settings).connect() as connection:
        entries = audit.page(connection, limit=10).entries
    assert [entry.action for entry in reversed(entries)] == ["platform.start", "platform.down", "platform.stop"]
    assert {entry.who for entry in entries} == {who()}


def test_nothing_outlives_a_killed_platform_and_the_next_one_starts(platform: Shell) -> None:
    bring_up(platform)
    holder(platform).kill()
    assert eventually(lambda: platform.processes() == [], within_s=60)
    bring_up(platform)


def test_nothing_outlives_a_killed_supervisord(platform: Shell) -> None:
    supervisord = int((platform.home / "supervisor/supervisord.pid").read_text())
    parent = holder(platform)
    os.kill(supervisord, signal.SIGKILL)
    assert eventually(lambda: platform.processes() == [] and not parent.is_running(), within_s=60)
    assert platform("status").returncode == 3
