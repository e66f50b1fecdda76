"""The dispatcher is killed at each point at which Dagster lets a tick be crashed: the next one finishes the tick."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.platform.supervisor import supervisor_dir
from tests.e2e.conftest import Platform, eventually

POINTS = ("TICK_CREATED", "TICK_HELD", "RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED")
_RUNS = sa.text(
    "SELECT attempt.value, count(*) FROM dagster.run_tags job JOIN dagster.run_tags attempt USING (run_id)"
    " WHERE job.key = 'media/job_id' AND job.value = :job AND attempt.key = 'media/attempt' GROUP BY 1"
)


def _supervisorctl(platform: Platform, *arguments: str) -> None:
    configuration = supervisor_dir(platform.settings) / "supervisord.conf"
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(configuration), *arguments]
    subprocess.run(command, check=True, capture_output=True)


class Dispatcher:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, *words: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def dispatcher(platform: Platform) -> Iterator[Dispatcher]:
    """In place of the platform's own daemon."""
    home = platform.settings.dagster_home
    _supervisorctl(platform, "stop", "step40:daemon")
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.dispatcher", str(home / "workspace.yaml"), *POINTS],
            env={**platform.environment, "DAGSTER_HOME": str(home), "PYTHONPATH": "."},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield Dispatcher(process)
            process.communicate(timeout=30)
    finally:
        _supervisorctl(platform, "start", "step40:daemon")
        eventually(lambda: platform.command("status").returncode, lambda code: code == 0, timeout_s=120)


@pytest.mark.parametrize("point", POINTS)
def test_a_tick_that_is_killed_leaves_one_run_for_each_job(
    point: str, platform: Platform, dispatcher: Dispatcher
) -> None:
    folders = [platform.settings.media_library_path / f"library/studios/{point}-{number}" for number in (1, 2)]
    for folder in folders:
        folder.mkdir(parents=True)
    jobs = [platform.enqueue("scan", {"path": f"library/studios/{folder.name}"}) for folder in folders]

    assert dispatcher.tell("crash", point) == str(-signal.SIGKILL)
    assert all(platform.job(job.id).status in (JobStatus.PENDING, JobStatus.QUEUED) for job in jobs)
    assert dispatcher.tell("work", *(job.id for job in jobs)) == "completed completed"

    for job in jobs:
        assert _runs_by_attempt(platform, job.id) == {"1": 1}
        assert [attempt["outcome"] for attempt in platform.attempts(job.id)] == ["completed"]


def _runs_by_attempt(platform: Platform, job: UUID) -> dict[str, int]:
    with platform.engine.begin() as connection:
        return {row[0]: row[1] for row in connection.execute(_RUNS, {"job": str(job)})}
