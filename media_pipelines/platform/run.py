"""The life of one platform: from the checks before it starts until its last process has gone."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Protocol

import psutil

from jobqueue_bridge.drains import Terms
from jobqueue_bridge.settings import Settings, Shutdown
from media_pipelines.platform import (
    at_hand,
    child,
    dagster_home,
    drained,
    health,
    lock,
    orphans,
    postgres,
    preflight,
    programs,
    supervisor,
)
from media_pipelines.platform.asking import note
from media_pipelines.platform.errors import NotRunning, PlatformError, StartFailed
from media_pipelines.platform.programs import Program
from media_pipelines.platform.supervisor import ProgramState, Supervisor

START_TIMEOUT_S = 300.0  # seconds, on a machine that is busy with other things
_TRIES = 2  # a program that has to be started a third time, before it was healthy once, is broken
_STEADY_S = 60.0  # a supervisord lost later than this is started again
_STOP_PATIENCE_S = 240.0  # more than all programs together are given
_SWEEP_PATIENCE_S = 8.0  # for what a killed supervisord left: there is no database to give a job back to
_LOG_BYTES_READ = 16_384
_ERROR_LINE = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b.*:|.*\b(FATAL|CRITICAL):")
_POLL_S = 0.1


class Reporter(Protocol):
    """Who is told how the start goes."""

    def begins(self, step: str) -> None: ...

    def waits(self, step: str, reason: str) -> None: ...

    def done(self, step: str) -> None: ...

    def ready(self, api_url: str, dagster_url: str) -> None: ...

    def lost(self, reason: str) -> None: ...

    def finishing(self, jobs: int, seconds: float) -> None: ...

    def stopping(self) -> None: ...


class StopRequested(PlatformError):
    """Somebody asked for an end before the platform was up."""


class _Stop:
    """Set by SIGTERM, SIGINT or SIGHUP while the platform lives; a second signal says: at once."""

    def __init__(self) -> None:
        self._event, self._again = threading.Event(), threading.Event()

    def request(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if self._event.is_set():
            self._again.set()
        self._event.set()

    def hurry(self, seconds: float) -> bool:
        """Sleep; whether a second signal has come."""
        return self._again.wait(seconds)

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, or raise StopRequested."""
        if self._event.wait(seconds):
            raise StopRequested("Stopped before it was up")

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self.request) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run_platform(
    settings: Settings, report: Reporter, terms: Terms | None = None, *, start_timeout_s: float = START_TIMEOUT_S
) -> None:
    """Bring the platform up, keep it, and return once a signal has ended it in order.

    With `terms` it lives for one drain, and admits nothing but within them.
    Raises AlreadyRunning, NotUsable (nothing was started) or StartFailed (everything was stopped again).
    """
    stop = _Stop()
    preflight.check_folders(settings)
    with stop.on_signals(), lock.held(settings):
        child.adopt_orphans()
        report.begins("checks")
        with _sole_server(settings, report, stop):
            _end_left_overs(settings)
            preflight.check_machine(settings)
            report.done("checks")
            while not stop.requested:
                _run_once(settings, report, stop, terms, start_timeout_s)


@contextmanager
def _sole_server(settings: Settings, report: Reporter, stop: _Stop) -> Iterator[None]:
    """Commands that came before may have started the embedded Postgres for themselves."""
    if not settings.embedded:
        yield
        return
    with at_hand.owned(settings, stop.pause, lambda: report.waits("checks", "a command uses the database")):
        yield


def _end_left_overs(settings: Settings) -> None:
    """A platform that was killed may have left processes behind."""
    orphans.end_marked(settings.home)
    if settings.embedded:
        postgres.stop_left_over(programs.cluster_of(settings))


def _run_once(settings: Settings, report: Reporter, stop: _Stop, terms: Terms | None, start_timeout_s: float) -> None:
    """Until a stop is requested, or supervisord was lost after it had been steady: then run again."""
    if settings.embedded:
        postgres.prepare(programs.cluster_of(settings))
    workspace = dagster_home.render(settings, supervisor.code_server_socket(settings))
    members = programs.programs(settings, workspace)
    process = programs.launch(settings, programs.render(settings, members))
    try:
        _Start(settings, report, stop, process, terms, start_timeout_s).bring_up(members)
        note(settings, "platform.start", pid=os.getpid())
        report.ready(*lock.addresses(settings))
        with suppress(StopRequested):
            _keep(process, stop, report)
        if stop.requested and settings.shutdown == Shutdown.FINISH:
            drained.let_finish(
                settings, lambda seconds: stop.hurry(seconds) or process.poll() is not None, report.finishing
            )
        note(settings, "platform.stop", pid=os.getpid())
    except StopRequested:
        pass
    finally:
        report.stopping()
        _stop(process)


def _keep(process: "subprocess.Popen[bytes]", stop: _Stop, report: Reporter) -> None:
    began = time.monotonic()
    while not stop.requested:
        if process.poll() is not None:
            reason = f"supervisord ended with {process.returncode}"
            if time.monotonic() - began < _STEADY_S:
                raise PlatformError(f"{reason}; everything was stopped")
            return report.lost(reason)
        stop.pause(1)
    return None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """In order, by supervisord; then whatever it left, if it was killed."""
    programs.ask_to_stop(process)
    try:
        process.wait(_STOP_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    orphans.end_orphans(psutil.Process(), patience_s=_SWEEP_PATIENCE_S)


class _Start:
    """Starts the programs in order, each once what it needs is healthy."""

    def __init__(
        self,
        settings: Settings,
        report: Reporter,
        stop: _Stop,
        process: "subprocess.Popen[bytes]",
        terms: Terms | None,
        timeout_s: float,
    ) -> None:
        self._settings, self._report, self._stop, self._process = settings, report, stop, process
        self._supervisor, self._terms = Supervisor(settings), terms
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._starts: dict[str, set[int]] = {}

    def bring_up(self, members: Iterable[Program]) -> None:
        by_name = {program.name: program for program in members}
        self._wait_for_supervisord()
        if self._settings.embedded:
            self._start(by_name, programs.POSTGRES)
            self._wait_for(programs.POSTGRES)
            postgres.ensure_database(programs.cluster_of(self._settings))
        self._migrate()
        # the bridge API needs no Dagster; what reads the workspace must find the code server there
        self._start(by_name, programs.RUN_KEEPER, programs.CODE_SERVER, programs.API)
        self._wait_for(programs.CODE_SERVER)
        self._start(by_name, programs.DAEMON, programs.WEBSERVER)
        self._wait_for(programs.API, programs.DAEMON, programs.WEBSERVER, programs.RUN_KEEPER)

    def _wait_for_supervisord(self) -> None:
        while True:
            try:
                self._supervisor.states()
            except NotRunning:
                self._check_time("supervisord", "it does not answer", self._log("supervisord"))
                self._require_supervisord()
                self._stop.pause(_POLL_S)
            else:
                return

    def _migrate(self) -> None:
        from alembic.util import CommandError
        from sqlalchemy.exc import SQLAlchemyError

        from jobqueue_bridge.migrations import migrate

        self._report.begins("migrations")
        try:
            migrate(self._settings)
            drained.begin(self._settings, self._terms)
        except (SQLAlchemyError, CommandError) as error:
            raise StartFailed("migrations", str(error).splitlines()[0]) from error
        self._report.done("migrations")

    def _start(self, members: dict[str, Program], *names: str) -> None:
        for name in names:
            self._stop.pause(0)
            self._report.begins(name)
            self._supervisor.start(members[name].group, name)

    def _wait_for(self, *names: str) -> None:
        waiting = list(names)
        while waiting:
            states = self._supervisor_states()
            for name in list(waiting):
                reason = self._reason_to_wait(states.get(name), name)
                if reason is None:
                    waiting.remove(name)
                    self._report.done(name)
                else:
                    self._report.waits(name, reason)
                    self._check_time(name, reason, self._log(name))
            if waiting:
                self._stop.pause(_POLL_S)

    def _supervisor_states(self) -> dict[str, ProgramState]:
        try:
            return self._supervisor.states()
        except NotRunning:
            self._require_supervisord()
            return {}

    def _require_supervisord(self) -> None:
        if self._process.poll() is not None:
            reason = f"it ended with {self._process.returncode}"
            raise StartFailed("supervisord", reason, self._log("supervisord"))

    def _reason_to_wait(self, state: ProgramState | None, name: str) -> str | None:
        if state is None:
            return "supervisord does not know it yet"
        starts = self._starts.setdefault(name, set())
        starts.add(state.started_at)
        if state.state == "FATAL" or len(starts) > _TRIES:
            raise StartFailed(name, f"it ended {_TRIES} times", self._log(name))
        return health.problem(self._settings, state)

    def _check_time(self, name: str, reason: str, tail: str) -> None:
        if time.monotonic() > self._deadline:
            raise StartFailed(name, f"not healthy after {self._timeout_s:g} s ({reason})", tail)

    def _log(self, program: str) -> str:
        return why(supervisor.log_file(self._settings, program))


def why(path: Path) -> str:
    """The errors that a program logged last, or else its last lines, and where the rest is."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - _LOG_BYTES_READ))
            lines = [_as_text(line) for line in log.read().decode(errors="replace").splitlines()]
    except FileNotFoundError:
        return ""
    lines = [line for text in lines for line in text.splitlines()]
    errors = list(dict.fromkeys(line for line in lines if _ERROR_LINE.match(line)))[-3:]
    return "\n".join(f"  {line}" for line in [*(errors or lines[-12:]), f"see {path}"])


def _as_text(line: str) -> str:
    """What a line of JSON says, with the error that it tells of; any other line as it is."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict):
        return line
    return "\n".join(str(said[name]) for name in ("message", "exception") if said.get(name))
