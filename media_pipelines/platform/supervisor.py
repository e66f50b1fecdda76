"""Where supervisord keeps its sockets and logs, and how to ask it. Light: `status` needs nothing else."""

import http.client
import socket
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobqueue_bridge.settings import Settings
from media_pipelines.platform.errors import NotRunning


@dataclass(frozen=True)
class ProgramState:
    """What supervisord knows of a program; `state` is its word: RUNNING, STARTING, BACKOFF, FATAL, …"""

    name: str
    state: str
    pid: int | None
    started_at: int
    uptime_s: int | None
    log_file: Path
    description: str


def supervisor_dir(settings: Settings) -> Path:
    return settings.home / "supervisor"


def sockets_dir(settings: Settings) -> Path:
    """Not with Postgres's: where root runs the platform, that folder belongs to another account."""
    if settings.postgres_socket_dir.parent == settings.home:
        return settings.home / "sock"
    return settings.postgres_socket_dir.with_name(f"{settings.postgres_socket_dir.name}-sock")


def code_server_socket(settings: Settings) -> Path:
    return sockets_dir(settings) / "code"


def log_file(settings: Settings, program: str) -> Path:
    return settings.logs_dir / f"{program}.log"


def rpc_socket(settings: Settings) -> Path:
    return sockets_dir(settings) / "rpc"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        del host
        return _UnixConnection(self._path)


class Supervisor:
    """A running supervisord. Every method raises NotRunning when there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        transport = _UnixTransport(rpc_socket(settings))
        self._proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)

    def start(self, group: str, program: str) -> None:
        """Ask for a program without waiting for it; `states()` tells how it goes."""
        try:
            self._call("startProcess", f"{group}:{program}", False)
        except xmlrpc.client.Fault as fault:
            # it could not even be spawned: that state is reported like any other
            if "SPAWN_ERROR" not in fault.faultString:
                raise

    def is_stopping(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "SHUTDOWN")
        except xmlrpc.client.Fault as fault:
            return "SHUTDOWN_STATE" in fault.faultString

    def states(self) -> dict[str, ProgramState]:
        """By name, in the order in which they start."""
        try:
            found = [self._state(info) for info in self._call("getAllProcessInfo")]
        except xmlrpc.client.Fault:
            return {}  # it is stopping
        return {state.name: state for state in found}

    def _state(self, info: Mapping[str, Any]) -> ProgramState:
        running = info["pid"] != 0
        return ProgramState(
            name=info["name"],
            state=info["statename"],
            pid=info["pid"] or None,
            started_at=info["start"],
            uptime_s=info["now"] - info["start"] if running else None,
            log_file=log_file(self._settings, info["name"]),
            description=info["spawnerr"] or info["description"],
        )

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            return getattr(self._proxy.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException) as error:
            raise NotRunning(self._settings.home) from error
