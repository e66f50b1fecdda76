"""The processes of one platform, found anew each time. Nothing else is ever signalled: who does not carry the
platform's mark, or has become another process meanwhile, is left alone."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import psutil

from jobqueue_bridge.settings import Settings
from media_pipelines import run_process
from media_pipelines.platform import programs
from media_pipelines.platform.errors import NotRunning
from media_pipelines.platform.supervisor import Supervisor


class Target(StrEnum):
    RUN = "run"
    FFMPEG = "ffmpeg"
    DAEMON = programs.DAEMON
    CODE_SERVER = programs.CODE_SERVER
    API = programs.API
    POSTGRES = programs.POSTGRES


@dataclass(frozen=True)
class LiveRun:
    """A run's process that lives."""

    run_id: str
    process: psutil.Process


class Victims:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._supervisor = Supervisor(settings)

    def find(self, target: Target) -> list[psutil.Process]:
        if target is Target.RUN:
            return [run.process for run in self.runs()]
        if target is Target.FFMPEG:
            return [child for run in self.runs() for child in ffmpegs_of(run.process)]
        return [found] if (found := self.program(target.value)) is not None else []

    def program(self, name: str) -> psutil.Process | None:
        """One that supervisord takes for running; None while it starts again."""
        with suppress(NotRunning, psutil.Error):
            state = self._supervisor.states().get(name)
            if state is not None and state.state == "RUNNING" and state.pid is not None:
                process = psutil.Process(state.pid)
                return process if self._is_ours(process) else None
        return None

    def runs(self) -> list[LiveRun]:
        """By their lock files; without looking for their children."""
        return [
            LiveRun(name, process)
            for name in run_ids(self._settings)
            if (pid := run_process.pid_of(self._settings.runs_dir, name)) is not None
            and (process := self._ours(pid)) is not None
        ]

    def _ours(self, pid: int) -> psutil.Process | None:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            return process if self._is_ours(process) else None
        return None

    def _is_ours(self, process: psutil.Process) -> bool:
        return bool(process.environ().get(programs.MARK) == str(self._settings.home))

    def send(self, process: psutil.Process, number: signal.Signals) -> bool:
        """psutil refuses where the number belongs to another process by now. False: it is gone."""
        try:
            if not self._is_ours(process):
                return False
            process.send_signal(number)
        except psutil.Error:
            return False
        return True

    def marked(self) -> list[psutil.Process]:
        """Every process of this platform that is alive."""
        return list(_alive_with_mark(self._settings))

    def supervised(self) -> set[psutil.Process]:
        """supervisord, its programs, and what these have started."""
        found: set[psutil.Process] = set()
        with suppress(NotRunning, psutil.Error):
            for state in self._supervisor.states().values():
                if state.pid is not None:
                    program = psutil.Process(state.pid)
                    found |= {program, *program.children(recursive=True), *program.parents()[:1]}
        return found


def run_ids(settings: Settings) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(entry.name for entry in settings.runs_dir.iterdir() if not entry.name.startswith("."))
    return []


def ffmpegs_of(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [child for child in process.children(recursive=True) if _is_ffmpeg(child)]
    return []


def _is_ffmpeg(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "ffmpeg" in process.name() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _alive_with_mark(settings: Settings) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(programs.MARK) == str(settings.home):
                yield process
