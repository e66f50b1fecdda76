"""Pipelines in process: a row is enqueued, admitted as the dispatcher does it, and run by Dagster right here."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa

from jobqueue_bridge import queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from media_pipelines.definitions import defs
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready, run_request

RunJob = Callable[..., Job]


@pytest.fixture
def ffmpeg() -> Path:
    return find_ffmpeg(None)


def make_clip(ffmpeg: Path, path: Path, seconds: float = 1, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"testsrc2=s=160x90:r=25:d={seconds},drawbox=c={color}:t=fill:w=40:h=40"
    subprocess.run(
        [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-preset", "ultrafast", f"file:{path}"], check=True
    )
    return path


def add_run(instance: dg.DagsterInstance, tags: dict[str, str], status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A run that Dagster knows and that no process works on."""
    run = dg.DagsterRun(job_name="scan", run_id=str(uuid4()), tags=tags, status=status)
    return instance.add_run(run)


def run_in_process(settings: Settings, instance: dg.DagsterInstance, job: Job) -> Job:
    """Admit the one job that is ready, run it to its end, return its row."""
    (dispatched,) = admit_ready(settings, Gpu())
    assert dispatched.job.id == job.id
    request = run_request(dispatched)
    if request.partition_key:
        for name in ("videos", "compilations"):
            instance.add_dynamic_partitions(name, [request.partition_key])
    assert request.job_name is not None
    defs.resolve_job_def(request.job_name).execute_in_process(
        run_config=request.run_config,
        partition_key=request.partition_key,
        tags=request.tags,
        instance=instance,
        raise_on_error=False,
    )
    with engine_for(settings).begin() as connection:
        return queue.get(connection, job.id)


@pytest.fixture
def instance(settings: Settings, library: Path) -> Iterator[dg.DagsterInstance]:
    """A throw-away Dagster instance; the platform's settings reach the run through the environment, as in life."""
    os.environ["MEDIA_LIBRARY_PATH"] = str(library)
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
    del os.environ["MEDIA_LIBRARY_PATH"]


@pytest.fixture
def run_job(database: sa.Engine, settings: Settings, instance: dg.DagsterInstance) -> RunJob:
    """Enqueue a job, run it once, return its row."""

    def run(kind: str, params: dict[str, Any], **options: Any) -> Job:
        with database.begin() as connection:
            job = queue.enqueue(connection, NewJob(kind, params, **options), settings)
        return run_again(job)

    def run_again(job: Job) -> Job:
        return run_in_process(settings, instance, job)

    run.again = run_again  # type: ignore[attr-defined]
    return run
