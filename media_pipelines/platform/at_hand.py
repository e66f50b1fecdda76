"""The embedded database while no platform runs: the first command that needs it starts it, the last one ends it.

Two lock files say who may do what. `postgres.owner` belongs to whom runs a server on the data folder: the platform, or
the keeper that a command has started. `postgres.users` is shared by the commands; the keeper waits until it is free,
and the kernel gives back what a killed command held.
"""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.schema_version import VERSION_TABLE, newest
from jobqueue_bridge.settings import Settings
from media_pipelines.platform import orphans, postgres
from media_pipelines.platform.errors import NotUsable, StartFailed
from media_pipelines.platform.lock import holder_of
from media_pipelines.platform.preflight import require_writable
from media_pipelines.platform.programs import MARK, cluster_of
from media_pipelines.platform.supervisor import log_file

_KEEPER = Path(__file__).with_name("keeper.py")
_PATIENCE_S = 30.0  # as long as a platform may take to start its database, or to start it again
_SCHEMA_PATIENCE_S = 10.0  # then it is a platform that runs other code, which stays as it is
_USERS_PATIENCE_S = 15.0
_END_PATIENCE_S = 60.0
_LOOK_S = 0.02


@contextmanager
def owned(
    settings: Settings,
    pause: Callable[[float], None],
    waits: Callable[[], None],
    *,
    patience_s: float = _USERS_PATIENCE_S,
) -> Iterator[None]:
    """Be the one that runs the server. Commands that use it may finish; one that stays longer is cut off.

    Raises what `pause` does, and NotUsable where the lock does not come free.
    """
    descriptor = _open(_owner_file(settings))
    try:
        if not _comes(descriptor, pause, 0):
            waits()
        if not _comes(descriptor, pause, patience_s):
            orphans.end_marked(settings.home)
        if not _comes(descriptor, pause, _END_PATIENCE_S):
            raise NotUsable(f"Another process holds {_owner_file(settings)} and does not let go of it")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def used(settings: Settings, tell: Callable[[str], None]) -> Iterator[None]:
    """The embedded database answers, with its tables, whenever this process connects to it by `engine_for`.

    Raises NotUsable, StartFailed or DatabaseUnreachable, here or on a later connection.
    """
    require_writable(settings.home, "MEDIA_PIPELINES_HOME")
    users = _open(_users_file(settings))
    engine = engine_for(settings)
    try:
        _share(users)
        use = _Use(settings, tell)
        use.require()
        sa.event.listen(engine, "do_connect", use.connect)
        try:
            yield
        finally:
            sa.event.remove(engine, "do_connect", use.connect)
            engine.dispose()
    finally:
        os.close(users)
        _see_it_end(settings)


class _Use:
    """A command's hold on the database: it comes back where a platform or another command has ended it."""

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings, self._tell = settings, tell
        self._cluster = cluster_of(settings)
        self._one_at_a_time = threading.RLock()
        self._requiring = False

    def connect(self, dialect: sa.Dialect, record: object, arguments: Any, options: Any) -> Any:
        """The engine's own way to connect, and once more after the database was brought back."""
        del record
        try:
            return dialect.connect(*arguments, **options)
        except psycopg.OperationalError:
            with self._one_at_a_time:
                if self._requiring:
                    raise
                self.require()
            return dialect.connect(*arguments, **options)

    def require(self) -> None:
        """Return once the database answers, after starting it where nobody else does."""
        self._requiring = True
        try:
            self._require()
        finally:
            self._requiring = False

    def _require(self) -> None:
        began_s = time.monotonic()
        while True:
            reason = self._problem(time.monotonic() - began_s)
            if reason is None:
                return None
            owner = _open(_owner_file(self._settings))
            try:
                if _take(owner, fcntl.LOCK_EX) and postgres.server_process(self._cluster) is None:
                    return self._start(owner)
            finally:
                os.close(owner)
            if time.monotonic() - began_s > _PATIENCE_S:
                raise DatabaseUnreachable(self._settings.queue_url.render_as_string(), reason)
            time.sleep(_LOOK_S)

    def _problem(self, waited_s: float) -> str | None:
        """Why the database cannot be used yet, or None."""
        try:
            with psycopg.connect(postgres.libpq_url(self._settings.queue_url), connect_timeout=5) as connection:
                version = _version(connection)
        except psycopg.OperationalError as error:
            return str(error).splitlines()[0]
        if version == newest() or (version and waited_s > _SCHEMA_PATIENCE_S):
            return None
        return "its tables are not there yet"

    def _start(self, owner: int) -> None:
        """A server that a keeper ends once nobody uses it; the keeper inherits the lock that `owner` holds."""
        if not self._cluster.pid_file.parent.exists():
            self._tell(f"A new database is made under {self._settings.home}")
        postgres.prepare(self._cluster)
        keeper = _keep(self._settings, owner)
        url = self._cluster.url("postgres")
        try:
            postgres.wait_until_ready(url, timeout_s=_PATIENCE_S, still_running=lambda: keeper.poll() is None)
        except DatabaseUnreachable as error:
            raise StartFailed("postgres", error.reason, f"see {log_file(self._settings, 'postgres')}") from error
        postgres.ensure_database(self._cluster)
        if self._problem(0) is not None:
            from jobqueue_bridge.migrations import migrate

            migrate(self._settings)


def _version(connection: "psycopg.Connection[tuple[Any, ...]]") -> str | None:
    """Of the schema; None where there is none."""
    known = connection.execute("SELECT to_regclass(%s)", [VERSION_TABLE]).fetchone()
    if known is None or known[0] is None:
        return None
    query = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_TABLE))
    row = connection.execute(query).fetchone()
    return None if row is None else str(row[0])


def _keep(settings: Settings, owner: int) -> "subprocess.Popen[bytes]":
    postgres.make_private(settings.logs_dir)
    server = postgres.server_command(cluster_of(settings))
    with log_file(settings, "postgres").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-S", "-P", str(_KEEPER), str(_users_file(settings)), str(owner), *server],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, MARK: str(settings.home)},
            pass_fds=(owner,),
            start_new_session=True,  # Ctrl-C is for the command, which still has to end its transaction
        )


def _see_it_end(settings: Settings) -> None:
    """The last command returns when the server has gone, so that nothing is left of it."""
    deadline_s = time.monotonic() + _END_PATIENCE_S
    while time.monotonic() < deadline_s and not _may_take(_owner_file(settings), fcntl.LOCK_SH):
        if holder_of(settings) is not None or _others_use_it(settings):
            return
        time.sleep(_LOOK_S)


def _others_use_it(settings: Settings) -> bool:
    """Not the keeper, which holds the users' lock alone while it ends the server."""
    path = _users_file(settings)
    return not _may_take(path, fcntl.LOCK_EX) and _may_take(path, fcntl.LOCK_SH)


def _users_file(settings: Settings) -> Path:
    return settings.home / "postgres.users"


def _owner_file(settings: Settings) -> Path:
    return settings.home / "postgres.owner"


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _take(descriptor: int, kind: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return True
    return False


def _may_take(path: Path, kind: int) -> bool:
    descriptor = _open(path)
    try:
        return _take(descriptor, kind)
    finally:
        os.close(descriptor)


def _comes(descriptor: int, pause: Callable[[float], None], patience_s: float) -> bool:
    deadline_s = time.monotonic() + patience_s
    while not _take(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= deadline_s:
            return False
        pause(_LOOK_S)
    return True


def _share(users: int) -> None:
    """A keeper that is just ending the server has it alone."""
    deadline_s = time.monotonic() + _END_PATIENCE_S
    while not _take(users, fcntl.LOCK_SH):
        if time.monotonic() > deadline_s:
            raise NotUsable("The database of the command before does not stop: see postgres.log")
        time.sleep(_LOOK_S)
