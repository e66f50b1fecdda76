"""What must be true of this machine before anything starts. Each check raises NotUsable with one line."""

import errno
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings
from media_pipelines.platform.errors import NotUsable
from media_pipelines.platform.postgres import binaries_for, check_answers, libpq_url, server_account

FREE_BYTES_NEEDED = 200 * 1024**2


def check_folders(settings: Settings) -> None:
    require_writable(settings.home, "MEDIA_PIPELINES_HOME")
    require_writable(settings.media_library_path, "MEDIA_LIBRARY_PATH")


def check_machine(settings: Settings) -> None:
    """Everything else, once the folders are there and what an earlier platform left has been ended."""
    require_free_space(settings.home)
    require_free_space(settings.media_library_path)
    check_ports(settings)
    check_database(settings)


def require_writable(folder: Path, variable: str) -> None:
    """Make the folder and prove by a file that it can be written: root may be told so wrongly by mode bits."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NotUsable(f"Cannot write to {folder} ({variable}): {error.strerror}") from error


def require_free_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES_NEEDED:
        needed = FREE_BYTES_NEEDED // 1024**2
        raise NotUsable(f"Disk full: {free // 1024**2} MB free at {folder}, at least {needed} MB are needed")


def listeners(settings: Settings) -> Iterator[tuple[str, int, str]]:
    """Host, port and setting of everything that listens on TCP."""
    yield settings.api_host, settings.api_port, "MEDIA_API_PORT"
    yield settings.dagster_host, settings.dagster_port, "MEDIA_DAGSTER_PORT"


def check_ports(settings: Settings) -> None:
    if settings.api_port == settings.dagster_port:
        raise NotUsable(f"MEDIA_API_PORT and MEDIA_DAGSTER_PORT are both {settings.api_port}: they must differ")
    for host, port, variable in listeners(settings):
        require_free_port(host, port, variable)


def require_free_port(host: str, port: int, variable: str) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise NotUsable(f"Port {port} on {host} is in use{_user_of(port)}: set {variable}") from error
        raise NotUsable(f"Cannot listen on {host}:{port} ({variable}): {error.strerror}") from error


def _user_of(port: int) -> str:
    """ " by dagster (pid 12)", as far as we may know."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.pid and connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def check_database(settings: Settings) -> None:
    if settings.embedded:
        binaries_for(settings.postgres_data)
        server_account(settings.postgres_data)
        return
    try:
        check_answers(settings.queue_url)
        _require_rights(settings)
    except DatabaseUnreachable as error:
        raise NotUsable(f"DATABASE_URL: {error}") from error


def _require_rights(settings: Settings) -> None:
    """The migrations make tables and the schema that Dagster lives in."""
    with psycopg.connect(libpq_url(settings.queue_url), connect_timeout=5) as connection:
        row = connection.execute(
            "SELECT current_user, current_database(), has_database_privilege(current_database(), 'CREATE')"
        ).fetchone()
    if row and not row[2]:
        raise NotUsable(f"DATABASE_URL: {row[0]} may not create schemas in {row[1]}: GRANT CREATE ON DATABASE")
