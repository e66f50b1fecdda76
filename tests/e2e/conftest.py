"""A whole platform of the suite's own: real Postgres, Dagster, API, started as a user starts it."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
import sqlalchemy as sa

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import FINAL
from media_pipelines import run_process
from media_pipelines.media.ffmpeg import find_ffmpeg

ENCODE_SECONDS = 20


@dataclass(frozen=True)
class Platform:
    """The running platform, and what tests ask of it."""

    settings: Settings
    environment: dict[str, str]

    def command(self, *arguments: str, timeout_s: float = 200) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "media_pipelines.cli.main", *arguments],
            env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    @property
    def engine(self) -> sa.Engine:
        return engine_for(self.settings)

    def pid_of(self, program: str) -> int:
        listed = json.loads(self.command("status", "--json").stdout)["programs"]
        return next(entry["pid"] for entry in listed if entry["name"] == program)

    def enqueue(self, kind: str, params: dict[str, Any], **options: Any) -> Job:
        with self.engine.begin() as connection:
            return queue.enqueue(connection, NewJob(kind, params, **options), self.settings)

    def job(self, job_id: UUID) -> Job:
        """Patient with a database that is being killed."""
        return eventually(lambda: self._job(job_id), lambda job: job is not None, timeout_s=60)

    def _job(self, job_id: UUID) -> Job | None:
        with suppress(sa.exc.OperationalError, sa.exc.InterfaceError), self.engine.begin() as connection:
            return queue.get(connection, job_id)
        return None

    def finished(self, job_id: UUID, timeout_s: float) -> Job:
        return eventually(lambda: self.job(job_id), lambda job: job.status in FINAL, timeout_s=timeout_s)

    def run_pid(self, job: Job) -> int:
        assert job.run_id is not None
        pid = run_process.pid_of(self.settings.runs_dir, job.run_id)
        assert pid is not None
        return pid

    def log(self, job_id: UUID) -> str:
        with self.engine.begin() as connection:
            return logs.text(connection, job_id)

    def attempts(self, job_id: UUID) -> list[dict[str, Any]]:
        with self.engine.begin() as connection:
            return queue.attempts(connection, job_id)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.settings.api_port}"

    def token(self, *options: str) -> str:
        return self.command("token", *options).stdout.strip()

    def video_id(self, path: str) -> UUID:
        with self.engine.begin() as connection:
            found = videos.id_by_path(connection, path)
        assert found is not None
        return found


def eventually(look: Callable[[], Any], good: Callable[[Any], bool], timeout_s: float) -> Any:
    """Look until what is seen is good; fails with what was seen last."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        seen = look()
        if good(seen):
            return seen
        assert time.monotonic() < deadline_s, f"after {timeout_s} s still: {seen}"
        time.sleep(0.2)


def ffmpeg_processes(below: Path) -> list[psutil.Process]:
    """Every ffmpeg on this machine that works on files below a folder."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if "ffmpeg" in (process.info["name"] or "")
        and any(str(below) in argument for argument in process.info["cmdline"] or [])
    ]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="package")
def platform(_no_settings_from_outside: None) -> Iterator[Platform]:
    with running_platform() as platform:
        yield platform


@contextmanager
def running_platform(**more: str) -> Iterator[Platform]:
    """One with further settings; nothing is left of it, neither files nor processes."""
    with tempfile.TemporaryDirectory(prefix="mp-e2e-") as folder:
        environment = {
            "MEDIA_PIPELINES_HOME": f"{folder}/home",
            "MEDIA_LIBRARY_PATH": f"{folder}/library",
            "MEDIA_API_PORT": str(_free_port()),
            "MEDIA_DAGSTER_PORT": str(_free_port()),
            "MEDIA_RETRY_BASE_SECONDS": "2",
            "MEDIA_INBOX_STABLE_SECONDS": "2",
            "MEDIA_JWT_LEEWAY_SECONDS": "0",
            "MEDIA_LOG_FORMAT": "json",
            **more,
        }
        Path(environment["MEDIA_LIBRARY_PATH"]).mkdir()
        with pytest.MonkeyPatch.context() as patch:  # other tests of the session have a home of their own
            for name, value in environment.items():
                patch.setenv(name, value)
            platform = Platform(load_settings(), {**os.environ, **environment})
        started = platform.command("up", "--detach")
        try:
            assert started.returncode == 0, started.stdout + started.stderr
            yield platform
        finally:
            stopped = platform.command("down")
            engine_for(platform.settings).dispose()
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        left = [p for p in psutil.process_iter(["cmdline"]) if any(folder in a for a in p.info["cmdline"] or [])]
        assert not left, f"processes left behind: {left}"


def make_clip(path: Path, seconds: int, size: str = "640x360") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        find_ffmpeg(None), "-v", "error", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds}",
        "-f", "lavfi", "-i", f"sine=d={seconds}", "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac",
        "-shortest", f"file:{path}",
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True)
    return path


@pytest.fixture(scope="package")
def long_clip(platform: Platform) -> UUID:
    """A video whose re-encode takes long enough to be killed at half."""
    path = make_clip(platform.settings.media_library_path / "library/videos/long.mp4", ENCODE_SECONDS, "1280x720")
    job = platform.enqueue("scan", {"path": "library/videos/long.mp4"})
    assert platform.finished(job.id, 60).status == "completed"
    return platform.video_id(str(path.relative_to(platform.settings.media_library_path)))


@pytest.fixture(scope="package")
def film(platform: Platform) -> UUID:
    """A video whose analysis leaves several pieces on the way."""
    path = make_clip(platform.settings.media_library_path / "library/videos/film.mp4", 100, "320x180")
    job = platform.enqueue("scan", {"path": "library/videos/film.mp4"})
    assert platform.finished(job.id, 60).status == "completed"
    return platform.video_id(str(path.relative_to(platform.settings.media_library_path)))
