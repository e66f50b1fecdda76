"""One platform a home: who holds the lock file is the platform, and its content says where to find it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from jobqueue_bridge.settings import Settings
from media_pipelines.platform.errors import PlatformError

# Of the queue's database: one Dagster daemon at a time works on it. Who only uses it beside one holds it shared.
DAEMON_LOCK = 7_261_114_003
_PATIENCE_S = 1.0  # `status` holds the lock for an instant while it looks


class AlreadyRunning(PlatformError):
    def __init__(self, holder: "Holder | None") -> None:
        self.holder = holder
        who = f" (pid {holder.pid}, Jobs API {holder.api_url})" if holder else ""
        super().__init__(f"The platform is already running{who}")


@dataclass(frozen=True)
class Holder:
    """The running platform, as it describes itself."""

    pid: int
    started_at: float
    api_url: str
    dagster_url: str


def lock_file(settings: Settings) -> Path:
    return settings.home / "platform.lock"


def addresses(settings: Settings) -> tuple[str, str]:
    """Where a browser on this machine finds the bridge API and the Dagster UI."""
    return (
        f"http://{reachable(settings.api_host)}:{settings.api_port}",
        f"http://{reachable(settings.dagster_host)}:{settings.dagster_port}",
    )


def reachable(host: str) -> str:
    """A host to connect to, for one to listen on: "0.0.0.0" → "127.0.0.1", "::1" → "[::1]"."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Be the platform of this home. Raises AlreadyRunning."""
    descriptor = os.open(lock_file(settings), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, settings)
        _describe(descriptor, Holder(os.getpid(), time.time(), *addresses(settings)))
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, settings: Settings) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise AlreadyRunning(_description(lock_file(settings))) from None
            time.sleep(0.05)


def _describe(descriptor: int, holder: Holder) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(asdict(holder)).encode(), 0)


def holder_of(settings: Settings) -> Holder | None:
    """The running platform of this home, if there is one."""
    try:
        descriptor = os.open(lock_file(settings), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _description(lock_file(settings))
    finally:
        os.close(descriptor)
    return None


def _description(path: Path) -> Holder | None:
    """Of a holder that is there, and may be just about to write it."""
    for _ in range(20):
        if holder := _read(path):
            return holder
        time.sleep(0.05)
    return None


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (ValueError, TypeError):
        return None
