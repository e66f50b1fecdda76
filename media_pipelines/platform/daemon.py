"""The Dagster daemon, with two of its pauses shortened: between looks at the sensors, and at the queued runs.

Takes the arguments of `dagster-daemon run`. Only one daemon may work on one database: the second waits its turn.
"""

import sys
import time
from collections.abc import Generator, Iterable
from threading import Event
from typing import Any

from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines import run_process
from media_pipelines.platform import logged
from media_pipelines.platform.lock import DAEMON_LOCK

SENSOR_PAUSE_S = 0.2
DEQUEUE_PAUSE_S = 0.1
IDLE_PAUSE_S = 1.0


def main() -> None:
    from dagster._daemon.cli import run_command

    settings = load_settings()
    logged.configure(settings)
    _hold_daemon_lock(settings)
    _shorten_pauses()
    run_process.warm_up()
    run_command(sys.argv[1:], prog_name="media-pipelines-daemon")


def _hold_daemon_lock(settings: Settings) -> None:
    """Blocks while another daemon lives. The connection, and with it the lock, ends with this process."""
    import psycopg

    url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(url, autocommit=True, application_name="media-pipelines-daemon-lock")
    connection.execute("SELECT pg_advisory_lock(%s)", [DAEMON_LOCK])
    globals()["_daemon_lock_connection"] = connection


def _shorten_pauses() -> None:
    from dagster._core.run_coordinator import QueuedRunCoordinator
    from dagster._daemon import controller, sensor
    from dagster._daemon.run_coordinator import queued_run_coordinator_daemon
    from dagster._daemon.utils import DaemonErrorCapture

    submitted = Event()
    submit_run = QueuedRunCoordinator.submit_run

    def submit_and_tell(self: QueuedRunCoordinator, context: Any) -> Any:
        try:
            return submit_run(self, context)
        finally:
            submitted.set()

    class PromptCoordinatorDaemon(queued_run_coordinator_daemon.QueuedRunCoordinatorDaemon):
        """Looks as soon as a run is submitted, often while runs wait for a slot, and seldom otherwise."""

        _runs_wait = False

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

        def _priority_sort(self, runs: Iterable[Any]) -> Any:
            self._runs_wait = True
            return super()._priority_sort(runs)

    sensor.MIN_INTERVAL_LOOP_TIME = SENSOR_PAUSE_S  # type: ignore[assignment]
    controller.QueuedRunCoordinatorDaemon = PromptCoordinatorDaemon  # type: ignore[attr-defined]
    QueuedRunCoordinator.submit_run = submit_and_tell  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()
