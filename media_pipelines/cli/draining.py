"""A drain from its first look to its last: the platform comes up, jobs run, a limit or a signal ends it."""

import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from os import getpid
from types import FrameType
from typing import Any, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa

from jobqueue_bridge import drains, queue, retention, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.drains import Ends, State, Terms
from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.limits import Look, next_wall_time, why_over
from jobqueue_bridge.settings import Settings, Shutdown
from jobqueue_bridge.wall_clock import wall_time
from media_pipelines.cli.drain_display import Shown, say
from media_pipelines.cli.platform import Display, stopped
from media_pipelines.platform import detached, drained
from media_pipelines.platform.errors import NotRunning, PlatformError
from media_pipelines.platform.lock import addresses, holder_of

_LOOK_S = 1.0
_STEP_S = 0.1
_PURGE_S = 30.0
_PATIENCE_S = 90.0  # the platform heals its database within a minute
_START_PATIENCE_S = 120.0
_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, DatabaseUnreachable)

Found = TypeVar("Found")


@dataclass(frozen=True)
class Limits:
    """What `jobs start` was asked to keep to; None: no limit."""

    max_files: int | None = None
    max_duration_s: float | None = None
    end_by: datetime | None = None
    cpu_cores: int | None = None

    @property
    def timed(self) -> bool:
        return self.max_duration_s is not None or self.end_by is not None

    @property
    def bounding(self) -> bool:
        return self.max_files is not None or self.timed


def end_by_of(text: str | None, settings: Settings) -> datetime | None:
    """The next time a clock of the settings' zone, which is this machine's own by default, comes to HH:MM."""
    return None if text is None else next_wall_time(wall_time(text), datetime.now(UTC), settings.zone)


@dataclass(frozen=True)
class Drained:
    """How a drain went."""

    why: str
    reason: str
    ends: Ends
    left: State
    began_at: datetime
    ended_at: datetime
    own_platform: bool


class _Signals:
    """SIGTERM, SIGINT and SIGHUP: while the platform starts they end the command, then they are counted."""

    def __init__(self) -> None:
        self.count = 0
        self._starting = True
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.count += 1
        if self._starting:
            raise KeyboardInterrupt

    def starting(self) -> None:
        """From now on a signal ends the command; one that came before does so now."""
        if self.count:
            raise KeyboardInterrupt
        self._starting = True

    def count_only(self) -> None:
        self._starting = False

    def sleep(self, seconds: float) -> None:
        """Until the time is over or another signal comes."""
        until_s, seen = time.monotonic() + seconds, self.count
        while self.count == seen and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(_STEP_S, left_s))


class _Starting(Display):
    """The platform's start, told on stderr: stdout is for the summary."""

    def ready(self, api_url: str, dagster_url: str) -> None:
        del dagster_url
        self.close()
        say(f"The platform is up: {api_url}/")


def work_through(settings: Settings, limits: Limits, *, purge: bool) -> Drained:
    """Bring the platform up if it is not running, drain the queue, and take down only what was brought up.

    A platform that was just stopping, because its own `jobs start` was killed for instance, is followed
    by one that is brought up here. Raises NotRunning where the platform ends at a later time, and KeyboardInterrupt for
    a signal before it is up.
    """
    with _Signals() as signals:
        while True:
            signals.starting()
            terms, own = _begin(settings, limits)
            signals.count_only()
            drain = _Drain(settings, limits, terms, signals, own_platform=own)
            try:
                if purge:
                    _purge(settings)
                return drain.run()
            except (NotRunning, *_AWAY):
                if own or drain.has_counted or holder_of(settings) is not None:
                    raise
                say("It was stopping, and has stopped")
            finally:
                if own:
                    _take_down(settings)


def _purge(settings: Settings) -> None:
    """What is too much for now, the nightly purge does."""
    purged = retention.purge(engine_for(settings), settings, deadline_s=time.monotonic() + _PURGE_S)
    if purged.archived:
        say(f"{purged.archived} old jobs moved to the archive")


def _begin(settings: Settings, limits: Limits) -> tuple[Terms, bool]:
    """A drain in force on a platform that runs; whether that was started here."""
    if holder_of(settings) is None:
        terms = _terms(limits, platform=drained.name_of(settings))
        try:
            with _Starting() as starting:
                detached.start(settings.model_copy(update={"shutdown": Shutdown.HAND_BACK}), starting, terms)
            return terms, True
        except PlatformError:
            if holder_of(settings) is None:
                raise  # otherwise somebody else was faster
    terms = _terms(limits, platform=None)
    say(f"The platform is already running, and is left running: {addresses(settings)[0]}/")
    _join(settings, terms)
    return terms, False


def _terms(limits: Limits, platform: str | None) -> Terms:
    return Terms(
        uuid4(),
        f"`jobs start` (pid {getpid()} on {socket.gethostname()})",
        limited=platform is not None or limits.bounding,
        platform=platform,
        max_jobs=limits.max_files,
        ends_in_s=None if limits.end_by is None else (limits.end_by - datetime.now(UTC)).total_seconds(),
        cpu_cores=limits.cpu_cores,
    )


def _join(settings: Settings, terms: Terms) -> None:
    """Come into force on a platform of somebody else, which may be just starting."""
    deadline_s = time.monotonic() + _START_PATIENCE_S
    while True:
        try:
            with engine_for(settings).begin() as connection:
                return drains.open_drain(connection, terms)
        except (*_AWAY, sa.exc.ProgrammingError):  # no table yet
            if holder_of(settings) is None:
                raise NotRunning(settings.home) from None
            if time.monotonic() > deadline_s:
                raise
            time.sleep(_LOOK_S)


def _take_down(settings: Settings) -> None:
    holder = holder_of(settings)
    if holder is not None:
        say("Stopping the platform …")
        if not stopped(settings.model_copy(update={"shutdown": Shutdown.HAND_BACK}), holder, now=False):
            say(f"The platform (pid {holder.pid}) is still stopping: see {settings.logs_dir}")


class _Drain:
    """One drain in force."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        terms: Terms,
        signals: _Signals,
        *,
        own_platform: bool,
    ) -> None:
        self._settings, self._limits, self._terms = settings, limits, terms
        self._signals, self._own_platform = signals, own_platform
        self._shown = Shown()
        self._seen = 0
        self._began_at = datetime.now(UTC)
        self._idle_since_s = time.monotonic()
        self._state: State

    @property
    def has_counted(self) -> bool:
        """Whether a job has begun for it."""
        return self._seen > 0

    def run(self) -> Drained:
        if self._limits.max_duration_s is not None:
            seconds = self._limits.max_duration_s
            self._patiently(lambda connection: drains.end_within(connection, self._terms.id, seconds))
        with self._shown:
            why = self._until_over()
            reason = self._reason(why)
            if self._terms.limited:
                # those that a limit on the number has let in are to end, too
                hand_back = why != "max_files"
                self._patiently(lambda connection: drains.close(connection, self._terms.id, hand_back=hand_back))
                self._let_finish(reason)
            self._wait_for_others()
        ends = self._patiently(lambda connection: drains.ends(connection, self._terms.id))
        if not self._own_platform:
            self._patiently(lambda connection: drains.remove(connection, self._terms.id))
        return Drained(why, reason, ends, self._state, self._began_at, datetime.now(UTC), self._own_platform)

    def _until_over(self) -> str:
        while True:
            self._look()
            if self._signals.count:
                return "signal"
            why = why_over(self._as_look(), max_jobs=self._limits.max_files, timed=self._limits.timed)
            if why is not None:
                return why if why != "time" else self._which_time()
            self._signals.sleep(_LOOK_S)

    def _which_time(self) -> str:
        end_by = self._limits.end_by
        return "end_by" if end_by is not None and datetime.now(UTC) >= end_by else "max_duration"

    def _as_look(self) -> Look:
        state = self._state
        return Look(
            ready=state.ready,
            active=state.active,
            own_active=state.own_active,
            counted=state.counted,
            past_end=state.past_end,
            idle_s=time.monotonic() - self._idle_since_s,
        )

    def _let_finish(self, reason: str) -> None:
        """What runs ends by itself; after a signal within the time for it, after a second one not at all."""
        if self._state.own_active:
            say(f"{reason}. Running jobs ({self._state.own_active}) may finish; another Ctrl-C hands them back")
        deadline_s = float("inf")
        while True:
            self._look()
            if not self._state.own_active or self._signals.count > 1:
                return
            if self._signals.count and deadline_s == float("inf"):
                deadline_s = time.monotonic() + self._settings.shutdown_timeout_seconds
            if time.monotonic() > deadline_s:
                return
            self._signals.sleep(_LOOK_S)

    def _wait_for_others(self) -> None:
        """The platform that was brought up here serves other drains, too: it stays for them."""
        said = not self._own_platform
        while self._own_platform and not self._signals.count:
            names = self._patiently(lambda connection: drains.others(connection, self._terms.id))
            if not names:
                return
            if not said:
                say(f"The platform stays up for {', '.join(names)}")
                said = True
            self._look()
            self._signals.sleep(_LOOK_S)

    def _look(self) -> None:
        def look(connection: sa.Connection) -> tuple[State | None, int, list[queue.Job], Mapping[UUID, str]]:
            came = drains.newer(connection, self._terms.id, self._seen)
            found = queue.get_all(connection, {*self._shown.unfinished, *(job_id for _, job_id in came)})
            names = videos.paths(connection, {job.video_id for job in found if job.video_id})
            return drains.beat(connection, self._terms.id), came[-1][0] if came else self._seen, found, names

        state, self._seen, found, names = self._patiently(look)
        if state is None or holder_of(self._settings) is None:
            raise NotRunning(self._settings.home)
        self._state = state
        if state.active:
            self._idle_since_s = time.monotonic()
        self._shown.update(found, names)

    def _patiently(self, act: Callable[[sa.Connection], Found]) -> Found:
        """Also across a restart of the database, as long as the platform is there."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with engine_for(self._settings).begin() as connection:
                    return act(connection)
            except _AWAY:
                if holder_of(self._settings) is None:
                    raise NotRunning(self._settings.home) from None
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(_STEP_S)

    def _reason(self, why: str) -> str:
        match why:
            case "max_files":
                return f"The limit of {self._limits.max_files} jobs is reached"
            case "max_duration":
                return f"The limit of {self._limits.max_duration_s:g} s is reached"
            case "end_by":
                return f"It is {datetime.now(self._settings.zone):%H:%M}"
            case "stuck":
                return f"Nothing can start: {self._state.why_blocked or 'the dispatcher gives no reason'}"
            case "signal":
                return "A signal asked to stop"
            case _:
                return "The queue is empty" if not self._state.waiting else "Nothing is ready to run"
