"""The database for Dagster's own `dg dev` and `dagster dev`, which start none: their code server sees to it.

`media_pipelines/definitions.py` calls `hold_database` where such a code server loads it, and nowhere else.
"""

import logging
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
import sqlalchemy as sa

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings
from media_pipelines.platform.errors import NotUsable, StartFailed
from media_pipelines.platform.lock import DAEMON_LOCK, holder_of
from media_pipelines.platform.programs import MARK

Connection = psycopg.Connection[tuple[Any, ...]]

_logger = logging.getLogger(__name__)
_LOOK_S = 0.5
_held = ExitStack()  # until this process ends, however it does: the kernel gives back what it holds


def is_code_server() -> bool:
    """Whether this process serves the definitions to a Dagster that somebody started by hand. `dg` sets the variable
    for each of its commands, also for those that only look at the definitions."""
    by_hand = bool(os.environ.get("DAGSTER_IS_DEV_CLI")) and MARK not in os.environ
    return by_hand and sys.argv[1:3] == ["api", "grpc"]


def hold_database(settings: Settings) -> None:
    """The queue's tables are there while this process lives; where an embedded database dies, it is brought back.

    Raises NotUsable where a platform works through this queue already: two Dagsters would undo each other's work.
    """
    _require_no_platform(settings)
    if settings.embedded:
        from media_pipelines.platform import at_hand

        _held.enter_context(at_hand.used(settings, _logger.warning))
    else:
        from jobqueue_bridge.migrations import migrate

        migrate(settings)
    connection = _share_the_queue(settings)
    threading.Thread(target=_keep, args=(settings, connection), name="database-watch", daemon=True).start()


def _require_no_platform(settings: Settings) -> None:
    if (platform := holder_of(settings)) is not None:
        raise NotUsable(_works_already(f"A platform runs under {settings.home} (pid {platform.pid})"))


def _share_the_queue(settings: Settings) -> Connection:
    """Keeps the daemon of a platform waiting, and refuses where one works."""
    url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection: Connection = psycopg.connect(url, autocommit=True, application_name="media-pipelines-dev")
    if connection.execute("SELECT pg_try_advisory_lock_shared(%s)", [DAEMON_LOCK]).fetchone() != (True,):
        connection.close()
        raise NotUsable(_works_already(f"The daemon of a platform works on {settings.queue_url}"))
    return connection


def _works_already(what: str) -> str:
    return (
        f"{what}, and its own Dagster starts the jobs. Look at them there, stop it with `media-pipelines down`, "
        "or give this Dagster another MEDIA_PIPELINES_HOME or DATABASE_URL"
    )


def _keep(settings: Settings, connection: Connection) -> None:
    """Ends the process where a platform has taken the database over: its sensors must not work beside that one's."""
    while True:
        with suppress(psycopg.Error):
            for _ in connection.notifies():
                pass
        connection.close()
        try:
            connection = _again(settings)
        except NotUsable as error:
            _logger.error(str(error))
            os._exit(1)


def _again(settings: Settings) -> Connection:
    while True:
        time.sleep(_LOOK_S)
        _require_no_platform(settings)
        with (
            suppress(DatabaseUnreachable, StartFailed, sa.exc.DBAPIError, psycopg.Error),
            engine_for(settings).connect(),  # which brings an embedded one back
        ):
            return _share_the_queue(settings)
