"""Ends processes that nobody else ends: runs that outlive their daemon, and what a killed platform left behind.

Run as a program of supervisord (`run-keeper`) it waits until it is asked to stop. Its turn comes after everything that
starts runs and before Postgres, so that runs can still give their jobs back.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from jobqueue_bridge import process_log
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines.platform.errors import NotRunning
from media_pipelines.platform.programs import MARK
from media_pipelines.platform.supervisor import Supervisor

_PATIENCE_S = 25.0  # a run that gives its job back first stops its ffmpeg
_logger = logging.getLogger(__name__)
_SPARED = "postgres"  # still needed by what is being ended


def end_orphans(adopter: psutil.Process, *, patience_s: float = _PATIENCE_S) -> None:
    """End what `adopter` has adopted, except Postgres and ourselves: TERM, and KILL for what does not go."""

    def orphans() -> list[psutil.Process]:
        return [child for child in _children(adopter) if child.pid != os.getpid() and not _is_postgres(child)]

    if not _end(orphans, patience_s):
        _kill(descendant for orphan in orphans() for descendant in (*_children(orphan, recursive=True), orphan))


def end_marked(home: Path, *, patience_s: float = _PATIENCE_S) -> int:
    """End every process of an earlier platform of this home. Returns how many there were.

    The eldest first: a supervisord among them stops its own programs in order.
    """
    found = _marked(home)
    _end(lambda: found[:1], patience_s)
    if not _end(lambda: _marked(home), patience_s):
        _kill(_marked(home))
    return len(found)


def _marked(home: Path) -> list[psutil.Process]:
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    marked = [
        process
        for process in psutil.process_iter()
        if process.pid not in ours and _mark_of(process) == str(home) and not _is_postgres(process)
    ]
    return sorted(marked, key=lambda process: (process.create_time(), process.pid))


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return None if _is_gone(process) else process.environ().get(MARK)
    except (psutil.Error, OSError):
        return None


def _end(remaining: Callable[[], list[psutil.Process]], patience_s: float) -> bool:
    """TERM each once, as it shows up, until none is left. Returns whether that came to be in time."""
    asked: set[psutil.Process] = set()
    deadline = time.monotonic() + patience_s
    while processes := [process for process in remaining() if not _is_gone(process)]:
        if time.monotonic() > deadline:
            return False
        for process in set(processes) - asked:
            with suppress(psutil.Error):
                process.terminate()
                _logger.info("Process %s is told to end: whoever started it has gone", process.pid)
        asked.update(processes)
        time.sleep(0.1)
    return True


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=recursive))
    except psutil.Error:
        return []


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return bool(process.name() == _SPARED)
    except psutil.Error:
        return False


def _is_gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def _keep(settings: Settings) -> None:
    """Wait for the signal; act on it only when the whole platform stops, not when this program is restarted."""
    supervisord = psutil.Process().parent()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    if supervisord is None or os.getppid() != supervisord.pid:
        return
    with suppress(NotRunning):
        if Supervisor(settings).is_stopping():
            end_orphans(supervisord)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    settings = load_settings()
    process_log.configure(settings)
    _keep(settings)


if __name__ == "__main__":
    main()
