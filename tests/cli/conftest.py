"""The command line on the suite's own Postgres."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from media_pipelines.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(
    database: sa.Engine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a command in this process: cli("jobs", "list")."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["media-pipelines", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capfd.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def command() -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a process of its own; changes to the environment by keyword."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "media_pipelines.cli.main", *arguments],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def add_job(connection: sa.Connection, settings: Settings) -> Callable[..., UUID]:
    """Enqueue a job, then set columns of its row."""

    def add(kind: str = "compile_random", params: Any = None, **values: Any) -> UUID:
        job = queue.enqueue(connection, queue.NewJob(kind, params or {}), settings)
        if values:
            connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**values))
        return job.id

    return add


@pytest.fixture
def add_video(connection: sa.Connection) -> Callable[..., UUID]:
    def add(path: str = "inbox/original.mp4", **values: Any) -> UUID:
        return videos.upsert(connection, [{"path": path, "filename": path.rpartition("/")[2], **values}])[path]

    return add
