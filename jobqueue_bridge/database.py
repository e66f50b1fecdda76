"""Connections to the queue's database: one pool a process, sessions in UTC."""

import os
from functools import cache

import psycopg
import sqlalchemy as sa

from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings

_CONNECT_TIMEOUT_S = 5
# Half-open connections (a host that vanished) are noticed by the kernel within about 25 s.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def engine_for(settings: Settings) -> sa.Engine:
    """This process's engine for these settings; a forked child gets one of its own."""
    return _engine(settings.queue_url, os.getpid())


@cache
def _engine(url: sa.URL, process_id: int) -> sa.Engine:
    del process_id
    return sa.create_engine(
        url,
        pool_size=4,
        max_overflow=12,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": "-c timezone=UTC -c application_name=media-pipelines",
            **_KEEPALIVES,
        },
    )


def listen(settings: Settings) -> psycopg.Connection[tuple[object, ...]]:
    """An autocommit connection that hears when jobs come or move. Raises psycopg.OperationalError."""
    url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, application_name="media-pipelines-listen"
    )
    connection.execute("LISTEN jobs_changed")
    return connection


def require_database(settings: Settings) -> None:
    """Raises DatabaseUnreachable with the server's own words where no query is answered."""
    try:
        with engine_for(settings).connect() as connection:
            connection.execute(sa.select(1))
    except sa.exc.OperationalError as error:
        raise DatabaseUnreachable(settings.queue_url.render_as_string(), str(error.orig).strip()) from error
