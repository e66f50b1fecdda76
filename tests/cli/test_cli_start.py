"""`jobs start` on a platform that runs already: the suite's Postgres, the real dispatcher, runs that end at once."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import lease, queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.retry import Backoff
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import drains as drains_table
from jobqueue_bridge.tables import jobs
from media_pipelines.platform import lock
from media_pipelines.resources.gpu import Gpu
from media_pipelines.sensors.dispatch import admit_ready

Cli = Callable[..., Any]
Add = Callable[..., UUID]


class Runs:
    """Dispatches as the platform does; each run ends as `fails` says, and not before `may_end` is set."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.fails: set[UUID] = set()
        self.retry_wait_s = 0.0
        self.may_end = threading.Event()
        self.may_end.set()
        self._over = threading.Event()
        self._held: list[lease.Lease] = []
        self._thread = threading.Thread(target=self._go_on)

    def _go_on(self) -> None:
        while not self._over.wait(0.05):
            for entry in admit_ready(self._settings, Gpu()):
                self._begin(entry.job)
            if self.may_end.is_set():
                while self._held:
                    self._end(self._held.pop())

    def _begin(self, job: queue.Job) -> None:
        with engine_for(self._settings).begin() as connection:
            held = lease.claim(connection, job.id, job.attempt, run_id=str(job.id), host="here")
        if held is not None:
            self._held.append(held)

    def _end(self, held: lease.Lease) -> None:
        with engine_for(self._settings).begin() as connection:
            if held.job_id in self.fails:
                lease.fail(connection, held, "it broke\nbadly", "transient", Backoff(self.retry_wait_s, 3600))
            else:
                lease.complete(connection, held, {})

    def __enter__(self) -> "Runs":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture
def platform(database: sa.Engine, settings: Settings) -> Iterator[Runs]:
    with lock.held(settings), Runs(settings) as runs:
        yield runs


@pytest.fixture
def scans(add_job: Add) -> Callable[..., list[UUID]]:
    def add(count: int, **values: Any) -> list[UUID]:
        return [add_job("scan", {"path": f"library/{number}.mp4"}, **values) for number in range(count)]

    return add


def eventually(look: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def statuses(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.select(jobs.c.status).order_by(jobs.c.created_at)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--end-by", "25:00"), "HH:MM"),
        (("--end-by", "6"), "HH:MM"),
        (("--end-by", ""), "HH:MM"),
        (("--max-files", "0"), "--max-files"),
        (("--max-files", "five"), "--max-files"),
        (("--max-duration", "0"), "--max-duration"),
        (("--max-duration", "1h"), "--max-duration"),
        (("--cpu-cores", "0"), "--cpu-cores"),
        (("now",), "now"),
    ],
)
def test_bad_usage_of_start_ends_with_two(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    ended = cli("jobs", "start", *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_it_drains_the_queue_and_leaves_a_platform_that_ran_already(
    cli: Cli, platform: Runs, settings: Settings, connection: sa.Connection, scans: Any
) -> None:
    scans(3)

    ended = cli("jobs", "start", "--no-purge")

    assert ended.code == 0, ended.err
    assert ended.out == "Stopped: The queue is empty.\nJobs: 3 completed, 0 failed\n"
    assert "already running" in ended.err
    assert lock.holder_of(settings) is not None
    assert statuses(connection) == ["completed"] * 3
    assert connection.scalar(sa.select(sa.func.count()).select_from(drains_table)) == 0


def test_no_more_jobs_begin_than_the_limit_says_and_then_the_platform_goes_on(
    cli: Cli, database: sa.Engine, settings: Settings, connection: sa.Connection, scans: Any
) -> None:
    scans(5)
    with lock.held(settings):
        runs = Runs(settings)
        begun = threading.Timer(1.0, runs.__enter__)  # the drain is in force by then
        begun.start()
        ended = cli("jobs", "start", "--max-files", "2", "--no-purge", "--json")
        begun.join()
        seen = statuses(connection)
        eventually(lambda: statuses(connection) == ["completed"] * 5)
        runs.__exit__()

    assert ended.code == 0, ended.err
    assert (ended.json["stopped"], ended.json["completed"], ended.json["left"]["pending"]) == ("max_files", 2, 3)
    assert seen.count("completed") >= 2


def test_a_job_that_failed_ends_it_with_one_and_is_named(cli: Cli, platform: Runs, scans: Any) -> None:
    platform.may_end.clear()
    wanted = scans(2, max_retries=0)
    platform.fails = {wanted[1]}
    platform.may_end.set()

    ended = cli("jobs", "start", "--no-purge")

    assert ended.code == 1
    assert ended.out.splitlines()[1:] == [
        "Jobs: 1 completed, 1 failed",
        f"  scan {str(wanted[1])[:8]} failed: it broke",
    ]


def test_it_does_not_stay_for_a_retry_or_a_paused_job_and_says_so(
    cli: Cli, platform: Runs, add_job: Add, scans: Any
) -> None:
    add_job("compile_random", status="paused")
    platform.retry_wait_s = 3600
    platform.may_end.clear()
    platform.fails = set(scans(1))
    platform.may_end.set()

    ended = cli("jobs", "start", "--no-purge")

    assert ended.code == 1
    assert "0 completed, 0 failed, 1 to be tried again" in ended.out
    assert "Left: 1 pending, 1 of them for a retry, the next at " in ended.out
    assert ended.out.endswith(", 1 paused\n")


def test_the_limits_of_the_configuration_are_its_defaults(
    cli: Cli, platform: Runs, scans: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.may_end.clear()
    scans(1)
    monkeypatch.setenv("MEDIA_WORKER_MAX_DURATION", "1")
    ending = threading.Timer(3, platform.may_end.set)
    ending.start()

    ended = cli("jobs", "start", "--no-purge", "--json")

    ending.join()
    assert (ended.code, ended.json["stopped"], ended.json["completed"]) == (0, "max_duration", 1), ended.err


@pytest.mark.parametrize(("signals", "told"), [(1, ("signal", 1, 0)), (2, ("signal", 0, 1))])
def test_after_a_signal_what_runs_may_finish_and_after_a_second_one_it_is_left(
    command: Callable[..., "subprocess.Popen[str]"],
    platform: Runs,
    connection: sa.Connection,
    scans: Any,
    signals: int,
    told: tuple[str, int, int],
) -> None:
    platform.may_end.clear()
    scans(1)
    eventually(lambda: statuses(connection) == ["running"])
    started = command("jobs", "start", "--max-duration", "3600", "--no-purge", "--json")
    eventually(lambda: connection.scalar(sa.select(drains_table.c.ends_at)) is not None)

    started.send_signal(signal.SIGTERM)
    eventually(lambda: connection.scalar(sa.select(drains_table.c.closed_at)) is not None)
    assert started.poll() is None
    if signals == 2:
        started.send_signal(signal.SIGTERM)
    else:
        platform.may_end.set()

    out, err = started.communicate(timeout=60)
    summary = json.loads(out)
    assert (summary["stopped"], summary["completed"], summary["unfinished"]) == told, err
    assert started.returncode == 0
    platform.may_end.set()


def test_where_the_platform_ends_meanwhile_it_ends_with_three(
    command: Callable[..., "subprocess.Popen[str]"], database: sa.Engine, settings: Settings, scans: Any
) -> None:
    scans(1)
    with lock.held(settings), Runs(settings) as runs:
        runs.may_end.clear()
        started = command("jobs", "start", "--no-purge", "--max-duration", "60")
        assert started.stderr is not None
        eventually(lambda: started.stderr is not None and "started" in started.stderr.readline())
    _, err = started.communicate(timeout=60)
    assert started.returncode == 3
    assert "not running" in err


def test_a_platform_that_was_just_stopping_is_followed_by_one_of_its_own(
    command: Callable[..., "subprocess.Popen[str]"], database: sa.Engine, settings: Settings, connection: sa.Connection,
    scans: Any, tmp_path: Path,
) -> None:  # fmt: skip
    """Here that one is refused before it starts anything: the suite's database is not its to stop."""
    (tmp_path / "file").write_text("")
    scans(1)
    with lock.held(settings):
        started = command("jobs", "start", "--no-purge", MEDIA_LIBRARY_PATH=str(tmp_path / "file"))
        eventually(lambda: connection.scalar(sa.select(sa.func.count()).select_from(drains_table)) == 1)
    _, err = started.communicate(timeout=60)
    assert "has stopped" in err
    assert "MEDIA_LIBRARY_PATH" in err
    assert started.returncode == 3
