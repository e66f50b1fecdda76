"""The GPU memory of an attempt: whose it is, what is written at its end. The reading is given; the rest is real."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from jobqueue_bridge import logs, queue, vram
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.resources import attempt as attempts
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.gpu import Gpu, family_of, held_mb, used_by_pid_mb
from media_pipelines.resources.job import kind_of
from media_pipelines.resources.vram import VramUse
from media_pipelines.sensors.dispatch import admit_ready

_PARENT = "import subprocess, sys; subprocess.run(['sleep', '60'])"


@pytest.fixture
def grandchild() -> Iterator[int]:
    """The pid of a process below a child of ours."""
    with subprocess.Popen([sys.executable, "-c", _PARENT]) as child:
        while not (found := family_of(child.pid) - {child.pid}):
            pass
        yield found.pop()
        os.killpg(os.getpgid(child.pid), 0)
        for pid in family_of(child.pid):
            os.kill(pid, 9)


@pytest.fixture
def encode(database: sa.Engine, settings: Settings) -> Callable[..., Attempt]:
    """A running attempt of an encode that declares 2000 MB."""

    def make(**options: Any) -> Attempt:
        with database.begin() as connection:
            queue.enqueue(connection, NewJob("compile_random", {"count": 2}, **options), settings)
        (dispatched,) = admit_ready(settings, Gpu())
        held = attempts.claim(settings, dispatched.job, run_id="r", host="h")
        assert held is not None
        return held

    return make


def _rows(database: sa.Engine, job_id: UUID) -> tuple[Job, dict[str, Any], str]:
    with database.begin() as connection:
        return (
            queue.get(connection, job_id),
            queue.attempts(connection, job_id)[-1],
            logs.text(connection, job_id),
        )


def _saw(attempt: Attempt, settings: Settings, *readings: dict[int, int]) -> None:
    """The attempt's GPU memory as if NVML had said so each second."""
    answers = iter(readings)
    attempt.vram = VramUse(attempt.job, settings, lambda: next(answers, None))
    while attempt.vram.sample():
        pass


def test_memory_is_summed_over_those_named_and_no_others() -> None:
    assert held_mb({1, 2, 3}, {1: 500, 3: 3000, 4: 9000}) == 3500
    assert held_mb(set(), {1: 500}) == 0


def test_a_run_holds_what_its_children_hold_however_far_below(grandchild: int, settings: Settings, encode: Any) -> None:
    attempt = encode()
    _saw(attempt, settings, {os.getpid(): 500}, {os.getpid(): 500, grandchild: 3000, 1: 9000}, {grandchild: 100})
    assert attempt.vram.peak_mb == 3500
    attempt.release("enough")


def test_a_process_that_is_gone_has_no_family() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert family_of(gone.pid) == set()


def test_the_peak_is_written_learned_and_held_against_what_is_declared(
    database: sa.Engine, settings: Settings, encode: Any
) -> None:
    attempt = encode()
    _saw(attempt, settings, {os.getpid(): 1000}, {os.getpid(): 3100}, {os.getpid(): 50})
    attempt.vram.encodes("h264", 1280, 720, hardware=True)
    attempt.complete({})
    job, row, log = _rows(database, attempt.job.id)
    assert (job.status, row["peak_vram_mb"]) == (JobStatus.COMPLETED, 3100)
    assert "VRAM: at most 3100 MB of GPU memory were used, only 2000 MB are declared" in log
    with database.begin() as connection:
        found = vram.learned(connection, vram.Work("compile_random", "h264", "720p"))
    assert (found.runs, found.max_mb) == (1, 3100)  # type: ignore[union-attr]


def test_a_failed_attempt_and_one_in_software_teach_nothing(
    database: sa.Engine, settings: Settings, encode: Any
) -> None:
    failed = encode()
    _saw(failed, settings, {os.getpid(): 1900})
    failed.fail("broken", "permanent")
    assert _rows(database, failed.job.id)[1]["peak_vram_mb"] == 1900
    software = encode()
    _saw(software, settings, {os.getpid(): 1900})
    software.vram.encodes("h264", 1280, 720, hardware=False)
    software.complete({})
    with database.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM vram_learned")) == 0


def test_memory_that_cannot_be_told_apart_is_not_known(database: sa.Engine, settings: Settings, encode: Any) -> None:
    """In a container NVML names the processes as the host does."""
    attempt = encode()
    _saw(attempt, settings, {1: 3000})
    attempt.complete({})
    assert _rows(database, attempt.job.id)[1]["peak_vram_mb"] is None


def test_a_model_that_ran_out_of_gpu_memory_reserves_more_and_uses_no_retry(
    database: sa.Engine, settings: Settings, encode: Any
) -> None:
    attempt = encode(vram_required=6000)
    error = RuntimeError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB")
    attempt.fail(str(error), kind_of(error))
    job, row, log = _rows(database, attempt.job.id)
    assert (job.status, job.retry_count, job.vram_required) == (JobStatus.PENDING, 0, 9000)
    assert job.retry_after is not None
    assert "Out of GPU memory: the next attempt reserves 9000 MB instead of 6000 MB" in log
    assert row["outcome"] == "failed"


def test_what_the_whole_budget_does_not_hold_fails_and_says_so(
    database: sa.Engine, settings: Settings, encode: Any
) -> None:
    attempt = encode(vram_required=16000)
    attempt.fail("CUDA_ERROR_OUT_OF_MEMORY", "capacity")
    job, _, _ = _rows(database, attempt.job.id)
    assert job.status == JobStatus.FAILED
    assert job.error is not None
    assert job.error.startswith("The GPU memory does not suffice, although 16000 MB, all of it, were reserved")


def test_a_host_without_a_gpu_loads_nothing_to_find_that_out() -> None:
    code = (
        "import sys; from jobqueue_bridge import nvml; from media_pipelines.resources import vram;"
        "nvml._SIGNS = ('/none',);"
        "print(nvml.is_present(), 'pynvml' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]


def test_nvml_answers_or_says_that_it_cannot() -> None:
    used = used_by_pid_mb()
    assert used is None or all(mb >= 0 for mb in used.values())
