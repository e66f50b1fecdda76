"""One run's own process: how it is forked warm, how others see whether it lives, how its whole group is ended.

A live run holds an exclusive lock on a file named after it. The kernel drops the lock when the process dies, however
it dies, and a process id that is used again fools nobody.
"""

import fcntl
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from jobqueue_bridge import process_log
from jobqueue_bridge.settings import load_settings
from media_pipelines.parent_death import die_with_parent
from media_pipelines.tags import facts_of

# Imported once by the fork server, so that no run pays for it.
PRELOAD = ["media_pipelines.warm"]
_KILL_AFTER_S = 10.0


def warm_context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def warm_up() -> None:
    """Start the fork server now, in the background, rather than with the first run."""
    threading.Thread(target=lambda: _run_to_end(warm_context().Process(target=_nothing)), daemon=True).start()


def _nothing() -> None:
    """What the process does that only warms the server up."""


def _run_to_end(process: ForkServerProcess) -> int:
    process.start()
    process.join()
    return -1 if process.exitcode is None else process.exitcode


def start(runs_dir: Path, run_id: str, instance_ref: str) -> None:
    """Fork a process that executes the run, and return once it is on its own.

    It belongs to nobody: it outlives the caller, so that a daemon that dies takes no run with it.
    """
    exit_code = _run_to_end(warm_context().Process(target=_detach, args=(runs_dir, run_id, instance_ref)))
    if exit_code != 0:
        raise OSError(f"the process for run {run_id} could not be forked (exit code {exit_code})")


def _detach(runs_dir: Path, run_id: str, instance_ref: str) -> None:
    forker = os.getpid()
    if os.fork():
        os._exit(0)
    exit_code = 1
    try:
        os.setsid()
        _write_to(runs_dir.with_name("logs") / "runs.log")
        process_log.configure(load_settings())
        process_log.say_always(run_id=run_id)
        _end_with_the_platform(forker)
        with _Alive(runs_dir, run_id):
            exit_code = _execute(run_id, instance_ref)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


def _write_to(log: Path) -> None:
    """The pipes of whoever forked us close when it ends; a file does not."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _end_with_the_platform(forker: int) -> None:
    """Our new parent is whoever adopts orphans: the platform's supervisor, or init, which never ends."""
    deadline_s = time.monotonic() + 1
    while os.getppid() == forker and time.monotonic() < deadline_s:
        time.sleep(0.001)
    die_with_parent(signal.SIGTERM)


def _execute(run_id: str, instance_ref: str) -> int:
    from dagster import DagsterEventType, DagsterInstance
    from dagster._core.definitions.reconstruct import ReconstructableJob
    from dagster._core.execution import context_creation_job
    from dagster._core.instance.ref import InstanceRef
    from dagster._core.origin import JobPythonOrigin
    from dagster._grpc.impl import core_execute_run
    from dagster._serdes import deserialize_value
    from dagster._utils.hosted_user_process import recon_job_from_origin
    from dagster._utils.interrupts import capture_interrupts

    failed = False
    with capture_interrupts(), DagsterInstance.from_ref(deserialize_value(instance_ref, InstanceRef)) as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return 0
        process_log.say_always(**facts_of(run.tags))
        assert isinstance(run.job_code_origin, JobPythonOrigin)
        pipeline: ReconstructableJob = recon_job_from_origin(run.job_code_origin)
        # nobody who launches a run in Dagster's UI names a logger: ours is the one that there is
        console = pipeline.get_definition().loggers["console"]
        context_creation_job.default_system_loggers = lambda _: [(console, {})]  # type: ignore[assignment, attr-defined]
        for event in core_execute_run(pipeline, run, instance, inject_env_vars=False):
            failed = failed or event.event_type == DagsterEventType.PIPELINE_FAILURE
            if event.event_type == DagsterEventType.PIPELINE_SUCCESS:
                forget_step_outputs(load_settings().step_outputs_dir, run_id)
    return int(failed)


def forget_step_outputs(folder: Path, run_id: str) -> None:
    """What its ops have handed to each other: of use to those who execute a part of a failed run again."""
    shutil.rmtree(folder / run_id, ignore_errors=True)


class _Alive:
    """Holds the run's lock file for as long as the block lasts, and removes it at the end."""

    def __init__(self, runs_dir: Path, run_id: str) -> None:
        self._path = runs_dir / run_id

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        unseen = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        self._file = unseen.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(str(os.getpid()))
        self._file.flush()
        unseen.replace(self._path)  # whoever finds it finds it locked and written: else the run would look dead

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def pid_of(runs_dir: Path, run_id: str) -> int | None:
    """The process that executes a run on this host; None: there is none (any more)."""
    with suppress(FileNotFoundError, ValueError), (runs_dir / run_id).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read())
    return None


def was_started_here(runs_dir: Path, run_id: str) -> bool:
    """Whether the run's process was started on this host and has not ended in good order."""
    return (runs_dir / run_id).exists()


def forget(runs_dir: Path, run_id: str) -> None:
    """Remove what a killed run left behind."""
    (runs_dir / run_id).unlink(missing_ok=True)


def forget_ended(runs_dir: Path, unfinished: Collection[str], older_than_s: float) -> None:
    """Remove what runs left behind that were killed after their end. A younger file may be of a run that the caller,
    who knows which are unfinished, has not heard of yet."""
    with suppress(FileNotFoundError):
        for lock in list(runs_dir.iterdir()):
            with suppress(FileNotFoundError):
                is_old = time.time() - lock.stat().st_mtime > older_than_s
                if is_old and lock.name not in unfinished and pid_of(runs_dir, lock.name) is None:
                    lock.unlink()


def terminate(runs_dir: Path, run_id: str) -> bool:
    """Ask the run's process to end, and kill its whole group if it hasn't after 10 s. False: it wasn't alive."""
    pid = pid_of(runs_dir, run_id)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)

    def kill_if_alive() -> None:
        if pid_of(runs_dir, run_id) == pid:
            kill_group(pid)

    later = threading.Timer(_KILL_AFTER_S, kill_if_alive)
    later.daemon = True
    later.start()
    return True


def kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
