"""A daemon in small, for `test_dispatch_crashes`: Dagster's own sensor and run queue iterations, made to die on demand.

    python -m tests.e2e.dispatcher WORKSPACE POINT…

Reads commands line by line: `crash POINT` lets a process of its own evaluate sensors until it is killed there, and
answers with its exit code; `work JOB…` iterates until these jobs have ended, and answers with their statuses.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import dagster as dg
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.sensor import execute_sensor_iteration

from jobqueue_bridge import queue
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import FINAL

_LOGGER = logging.getLogger("dispatcher")


def main() -> None:
    workspace, points = sys.argv[1], sys.argv[2:]
    # Forked before anything is connected or any thread is started.
    waiting = {point: _forked(workspace, point) for point in points}
    with dg.DagsterInstance.get() as instance, _context(instance, workspace) as context:
        for line in sys.stdin:
            command, *arguments = line.split()
            answer = _crash(waiting[arguments[0]]) if command == "crash" else _work(context, map(UUID, arguments))
            print(answer, flush=True)  # noqa: T201


def _context(instance: dg.DagsterInstance, workspace: str) -> WorkspaceProcessContext:
    return WorkspaceProcessContext(instance, WorkspaceFileTarget([workspace]))


def _forked(workspace: str, point: str) -> tuple[int, int]:
    """A process that waits for its turn, then does a daemon's work until it dies at this point."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)
        return pid, writing
    os.close(writing)
    if not os.read(reading, 1):
        os._exit(0)
    with dg.DagsterInstance.get() as instance, _context(instance, workspace) as context:
        while True:
            _evaluate(context, {"dispatch": {point: signal.SIGKILL}})
    os._exit(1)


def _crash(waiting: tuple[int, int]) -> int:
    pid, writing = waiting
    os.write(writing, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _work(context: WorkspaceProcessContext, jobs: Iterable[UUID]) -> str:
    wanted, coordinator = list(jobs), QueuedRunCoordinatorDaemon(interval_seconds=1)
    while True:
        _evaluate(context, None)
        for _ in coordinator.run_iteration(context):
            pass
        with engine_for(load_settings()).begin() as connection:
            found = [queue.get(connection, job).status for job in wanted]
        if all(status in FINAL for status in found):
            return " ".join(found)


def _evaluate(context: WorkspaceProcessContext, crash_at: Mapping[str, Any] | None) -> None:
    for _ in execute_sensor_iteration(context, _LOGGER, None, None, debug_crash_flags=crash_at):
        pass


if __name__ == "__main__":
    main()
