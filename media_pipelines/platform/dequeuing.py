"""The part of the Dagster daemon that starts queued runs: prompter than the stock one, and in the order of the rows."""

import sys
import time
from collections.abc import Generator, Iterable
from functools import cached_property
from threading import Event
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.tags import PRIORITY_TAG
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster._daemon.utils import DaemonErrorCapture

from jobqueue_bridge import adoption
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings

DEQUEUE_PAUSE_S = 0.1
IDLE_PAUSE_S = 1.0

submitted = Event()
"""Set when a run has been submitted in this process."""


class PromptCoordinatorDaemon(QueuedRunCoordinatorDaemon):
    """Looks as soon as a run is submitted, often while runs wait for a slot, and seldom otherwise."""

    _runs_wait = False

    @cached_property
    def _queue(self) -> sa.Engine:
        return engine_for(load_settings())

    def core_loop(self, workspace_process_context: Any, shutdown_event: Event) -> Generator[Any, None, None]:
        while not shutdown_event.is_set():
            submitted.clear()
            self._runs_wait = False
            began_s = time.monotonic()
            try:
                yield from self.run_iteration(workspace_process_context)
            except Exception:  # noqa: BLE001 - as the stock loop: a failed look is reported, and the next one comes
                yield DaemonErrorCapture.process_exception(
                    sys.exc_info(), logger=self._logger, log_message="The run queue could not be looked at"
                )
            took_s = time.monotonic() - began_s  # a backfill queues thousands of runs, and all are read each time
            submitted.wait(max(DEQUEUE_PAUSE_S, took_s) if self._runs_wait else IDLE_PAUSE_S)
            yield None

    def _priority_sort(self, runs: Iterable[dg.DagsterRun]) -> list[dg.DagsterRun]:
        """A run that was launched in Dagster goes by what its row has become since, not by the tag of that time."""
        self._runs_wait = True
        with self._queue.begin() as connection:
            now = adoption.priorities(connection)
        return super()._priority_sort(
            run.with_tags({**run.tags, PRIORITY_TAG: str(-now[run.run_id])}) if run.run_id in now else run
            for run in runs
        )
