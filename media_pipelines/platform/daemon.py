"""The Dagster daemon, with two of its pauses shortened: between looks at the sensors, and at the queued runs.

Takes the arguments of `dagster-daemon run`. Only one daemon may work on one database: the second waits its turn.
"""

import sys
from typing import Any

from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines import run_process
from media_pipelines.platform import logged
from media_pipelines.platform.lock import DAEMON_LOCK

SENSOR_PAUSE_S = 0.2


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

    from media_pipelines.platform.dequeuing import PromptCoordinatorDaemon, submitted

    submit_run = QueuedRunCoordinator.submit_run

    def submit_and_tell(self: QueuedRunCoordinator, context: Any) -> Any:
        try:
            return submit_run(self, context)
        finally:
            submitted.set()

    sensor.MIN_INTERVAL_LOOP_TIME = SENSOR_PAUSE_S  # type: ignore[assignment]
    controller.QueuedRunCoordinatorDaemon = PromptCoordinatorDaemon  # type: ignore[attr-defined]
    QueuedRunCoordinator.submit_run = submit_and_tell  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    main()
