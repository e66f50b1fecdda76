"""Commands that only need the database, with the embedded one and no platform: real processes, real kills."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.platform import at_hand, postgres
from media_pipelines.platform.programs import cluster_of
from tests.platform.conftest import Shell, eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def here(shell: Shell) -> Settings:
    """The settings of the shell's platform, for this process."""
    return load_settings(home=shell.home)


def server(settings: Settings) -> psutil.Process | None:
    return postgres.server_process(cluster_of(settings))


def running(settings: Settings) -> psutil.Process:
    found = server(settings)
    assert found is not None
    return found


def keeper(settings: Settings) -> psutil.Process:
    parent = running(settings).parent()
    assert parent is not None
    assert any(argument.endswith("keeper.py") for argument in parent.cmdline())
    return parent


class Asked:
    """A command that stands at its question, on a terminal."""

    def __init__(self, shell: Shell, *arguments: str) -> None:
        self._terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "media_pipelines.cli.main", *arguments],
            env=shell.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        while "?" not in self.shown:
            self.shown += os.read(self._terminal, 4096).decode()

    def answer(self, text: str) -> int:
        os.write(self._terminal, f"{text}\n".encode())
        try:
            while part := os.read(self._terminal, 4096).decode():
                self.shown += part
        except OSError:  # the other side closed
            pass
        return self.process.wait(30)


@pytest.fixture
def waiting_job(shell: Shell, tmp_path: Path) -> None:
    """Something to cancel."""
    created = shell("jobs", "create", "scan", "--params", json.dumps({"path": f"library/{tmp_path.name}"}))
    assert created.returncode == 0, created.stderr


@contextmanager
def asked(shell: Shell) -> Iterator[Asked]:
    one = Asked(shell, "jobs", "cancel", "--all")
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_jobs_are_queued_and_seen_while_nothing_runs_and_no_process_is_left(shell: Shell) -> None:
    created = shell("jobs", "create", "scan")
    assert created.returncode == 0, created.stderr
    assert "new database" in created.stderr
    assert shell.processes() == []
    listed = shell("jobs", "list", "--json")
    assert [job["type"] for job in json.loads(listed.stdout)] == ["scan"]
    assert listed.stderr == ""


def test_commands_at_once_share_one_server(shell: Shell) -> None:
    """A second one on the same folder would refuse to start, and its command fail."""
    params = [json.dumps({"path": f"library/videos/{n}"}) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda one: shell("jobs", "create", "scan", "--params", one), params))
    assert [one.returncode for one in ended] == [0] * 3, [one.stderr for one in ended]
    assert eventually(lambda: shell.processes() == [])
    assert "already exists" not in (shell.home / "logs/postgres.log").read_text()


@pytest.mark.usefixtures("waiting_job")
def test_after_any_kill_nothing_stays_and_the_next_command_works(shell: Shell, here: Settings) -> None:
    with asked(shell) as one:
        one.process.kill()
        assert eventually(lambda: server(here) is None)
    with asked(shell) as one:
        os.kill(keeper(here).pid, signal.SIGKILL)
        assert one.answer("n") == 1
    with asked(shell) as one:
        sessions = running(here).children()
        os.kill(running(here).pid, signal.SIGKILL)
        psutil.wait_procs(sessions, 30)  # until they notice, a statement may begin and break off
        assert one.answer("y") == 0, one.shown
    assert shell.processes() == []


def test_a_killed_first_start_leaves_nothing_that_the_next_one_stumbles_over(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "media_pipelines.cli.main", "jobs", "list"],
        env=shell.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    staging = tmp_path / ".postgres-being-made"
    assert eventually(staging.exists)
    process.kill()
    process.wait()
    assert not (tmp_path / "postgres").exists()
    assert shell("jobs", "list").returncode == 0
    assert shell.processes() == []


@pytest.mark.usefixtures("waiting_job")
def test_a_platform_cuts_off_a_command_that_stays_and_the_command_goes_on_after_it(
    shell: Shell, here: Settings
) -> None:
    waited = []
    with asked(shell) as one:
        with at_hand.owned(here, time.sleep, lambda: waited.append(True), patience_s=0.2):
            assert server(here) is None
            assert waited
        assert one.answer("y") == 0, one.shown
        assert "cancelled" in one.shown
    assert shell.processes() == []


def test_no_command_starts_a_server_beside_a_platform_that_is_just_starting(shell: Shell, here: Settings) -> None:
    with at_hand.owned(here, time.sleep, lambda: None):
        process = subprocess.Popen(
            [sys.executable, "-m", "media_pipelines.cli.main", "jobs", "status"],
            env=shell.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        assert server(here) is None
    assert process.wait(30) == 0
