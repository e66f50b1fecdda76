"""The Dagster daemon, with two of its pauses shortened: between looks at the sensors, and at the queued runs.

Takes the arguments of `dagster-daemon run`. Only one daemon may work on one database: the second waits its turn.
"""

import sys
from collections.abc import Generator
from threading import Event
from typing import Any

from media_pipelines import run_process

SENSOR_PAUSE_S = 0.1
DEQUEUE_PAUSE_S = 0.1
_DAEMON_LOCK = 7_261_114_003


def main() -> None:
    from dagster._daemon.cli import run_command

    _hold_daemon_lock()
    _shorten_pauses()
    run_process.warm_up()
    run_command(sys.argv[1:], prog_name="media-pipelines-daemon")


def _hold_daemon_lock() -> None:
    """Blocks while another daemon lives. The connection, and with it the lock, ends with this process."""
    import psycopg

    from jobqueue_bridge.settings import load_settings

    url = load_settings().queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(url, autocommit=True, application_name="media-pipelines-daemon-lock")
    connection.execute("SELECT pg_advisory_lock(%s)", [_DAEMON_LOCK])
    globals()["_daemon_lock_connection"] = connection


def _shorten_pauses() -> None:
    from dagster._daemon import controller, sensor
    from dagster._daemon.run_coordinator import queued_run_coordinator_daemon

    class PromptCoordinatorDaemon(queued_run_coordinator_daemon.QueuedRunCoordinatorDaemon):
        """The stock loop waits half a second at least; the queue of runs is short here, and a look is cheap."""

        def __init__(self, interval_seconds: float) -> None:
            super().__init__(min(interval_seconds, DEQUEUE_PAUSE_S))

        def core_loop(self, workspace_process_context: Any, shutdown_event: Event) -> Generator[Any, None, None]:
            yield from super().core_loop(workspace_process_context, _ShortWait(shutdown_event, DEQUEUE_PAUSE_S))

    sensor.MIN_INTERVAL_LOOP_TIME = SENSOR_PAUSE_S  # type: ignore[assignment]
    controller.QueuedRunCoordinatorDaemon = PromptCoordinatorDaemon  # type: ignore[attr-defined, assignment]


class _ShortWait(Event):
    """An event whose waits are cut short."""

    def __init__(self, event: Event, longest_s: float) -> None:
        super().__init__()
        self._event, self._longest_s = event, longest_s

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self._event.wait(self._longest_s if timeout is None else min(timeout, self._longest_s))


if __name__ == "__main__":
    main()
