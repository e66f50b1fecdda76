"""Connections to the queue's database: one pool a process, sessions in UTC."""

import json
import math
import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.datetime import TimestampLoader, TimestamptzLoader

from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.text import storable

_CONNECT_TIMEOUT_S = 5
# Half-open connections (a host that vanished) are noticed by the kernel within about 25 s, idle or waiting for an ack.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
# Every statement reads a few rows by an index: to start workers or a compiler for one costs more than it does.
_SESSION = ("timezone=UTC", "application_name=media-pipelines", "max_parallel_workers_per_gather=0", "jit=off")
_INT_DIGITS_MAX = 4_000  # Python refuses to convert more than 4300


def engine_for(settings: Settings, *, trusted_s: float = 0.0) -> sa.Engine:
    """This process's engine for these settings; a forked child gets one of its own.

    A connection that was used within `trusted_s` is used again without asking whether it still stands.
    """
    return _engine(settings.queue_url, os.getpid(), trusted_s)


@cache
def _engine(url: sa.URL, process_id: int, trusted_s: float) -> sa.Engine:
    del process_id
    engine = sa.create_engine(
        url,
        pool_size=16,  # kept once they were needed at the same time: a connection costs more than most statements
        max_overflow=0,
        pool_recycle=1800,
        json_serializer=_to_json,
        json_deserializer=_from_json,
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "options": _options(url),
            **_KEEPALIVES,
        },
    )
    sa.event.listen(engine, "connect", _read_any_instant)
    sa.event.listen(engine, "checkin", _begin_rest)
    sa.event.listen(engine, "checkout", partial(_ping_after_rest, engine.dialect, trusted_s))
    return engine


def _begin_rest(_: object, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["rests_since_s"] = time.monotonic()


def _ping_after_rest(
    dialect: sa.Dialect, trusted_s: float, connection: Any, record: sa.pool.ConnectionPoolEntry, _: object
) -> None:
    """As SQLAlchemy's pre-ping does, but not before each of many statements in a row: that is a round trip for each."""
    rests_since_s = record.info.get("rests_since_s")  # None: it was just opened
    if rests_since_s is None or time.monotonic() - rests_since_s < trusted_s:
        return
    try:
        dialect.do_ping(connection)
    except psycopg.Error as error:
        raise sa.exc.InvalidatePoolError from error  # all of them are as old: the pool opens new ones


def is_away(error: sa.exc.DBAPIError) -> bool:
    """Whether waiting may help: the server is gone, starts, or takes no writes at the moment."""
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) or isinstance(
        error.orig, psycopg.errors.ReadOnlySqlTransaction
    )


# Python's first and last day, less one that no time zone leads beyond.
_EARLIEST, _LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def _nearest(instant: bytes) -> datetime:
    return _EARLIEST if instant.startswith(b"-") or instant.endswith(b"BC") else _LATEST


class _AnyTimestamp(TimestampLoader):
    """Another program's row may say `infinity`, or a year that Python has not; it must not stop the dispatcher."""

    def load(self, data: Any) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _nearest(bytes(data)).replace(tzinfo=None)


class _AnyTimestamptz(TimestamptzLoader):
    def load(self, data: Any) -> datetime:
        try:
            return super().load(data)
        except psycopg.DataError:
            return _nearest(bytes(data))


def _read_any_instant(connection: Any, _: object) -> None:
    connection.adapters.register_loader("timestamp", _AnyTimestamp)
    connection.adapters.register_loader("timestamptz", _AnyTimestamptz)


def _options(url: sa.URL) -> str:
    """Those of the URL, a search_path for instance, and ours."""
    given = url.query.get("options", ())
    return " ".join([*((given,) if isinstance(given, str) else given), *(f"-c {setting}" for setting in _SESSION)])


def _to_json(value: Any) -> str:
    return json.dumps(_storable_json(value), allow_nan=False)


def _storable_json(value: Any) -> Any:
    """What jsonb takes: no NaN, and text that Postgres can store."""
    match value:
        case str():
            return storable(value)
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {storable(str(key)): _storable_json(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable_json(item) for item in value]
        case _:
            return value


def _from_json(text: str | bytes) -> Any:
    """jsonb holds numbers and depths that Python cannot take; another program's row must not stop the dispatcher."""
    plain = text if isinstance(text, str) else text.decode()
    try:
        return _DECODER.decode(plain)
    except RecursionError:
        return plain


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= _INT_DIGITS_MAX else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


_DECODER = json.JSONDecoder(parse_int=_int, parse_float=_float)


def listen(
    settings: Settings, channel: Literal["jobs_changed", "runs_changed", "job_news"] = "jobs_changed"
) -> psycopg.Connection[tuple[object, ...]]:
    """An autocommit connection that hears when jobs come or move, when somebody moved one that a run holds, or
    (`job_news`) what happens to each. Raises psycopg.OperationalError."""
    parameters: dict[str, str | int] = {
        **_KEEPALIVES,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": "media-pipelines-listen",
    }
    url = settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(make_conninfo(url, **parameters), autocommit=True)
    connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    return connection


def require_database(settings: Settings) -> None:
    """Raises DatabaseUnreachable with the server's own words where no query is answered."""
    try:
        with engine_for(settings).connect() as connection:
            connection.execute(sa.select(1))
    except sa.exc.DBAPIError as error:
        raise DatabaseUnreachable(settings.queue_url.render_as_string(), str(error.orig).strip()) from error
