"""Platforms of their own for these tests: a home, ports and a command line each, and nothing left at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from media_pipelines.platform.programs import MARK

ROOT = Path(__file__).parents[2]


class Shell:
    """`media-pipelines` with a home and two ports of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.api_port, self.dagster_port = free_port(), free_port()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MEDIA_")},
            "PYTHONPATH": str(ROOT),
            "MEDIA_PIPELINES_HOME": str(home),
            "MEDIA_API_PORT": str(self.api_port),
            "MEDIA_DAGSTER_PORT": str(self.dagster_port),
        }

    def __call__(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "media_pipelines.cli.main", *arguments],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that runs for this home, Postgres included."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get(MARK) == str(self.home) or str(self.home / "postgres") in process.cmdline()
        return False


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(tmp_path_factory.mktemp("platform"))
    yield shell
    shell("down")
    for process in shell.processes():
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], object], *, within_s: float = 30) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
