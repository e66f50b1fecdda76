"""Who is killed, stopped or frozen when: drawn from the seed, paced by how many jobs have ended, so that the queue
always gets on and no kill is left over at the end."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import psutil
import sqlalchemy as sa

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings
from tests.chaos.victims import Target, Victims
from tests.chaos.watch import AWAY

# Of a hundred kills.
_SHARES = {
    Target.RUN: 44,
    Target.FFMPEG: 32,
    Target.POSTGRES: 8,
    Target.API: 8,
    Target.DAEMON: 4,
    Target.CODE_SERVER: 4,
}
_LAST_KILL_AT = 0.9  # of all jobs ended
_LOOKS_FOR_S = 12.0


@dataclass(frozen=True)
class Blow:
    """One thing to do, once this share of the jobs has ended."""

    at: float
    what: str
    do: Callable[[], bool]
    """False: there was nobody to do it to; it is tried again."""


class Storm:
    def __init__(self, settings: Settings, victims: Victims, rng: random.Random, say: Callable[[str], None]) -> None:
        self._settings, self._victims, self._rng, self._say = settings, victims, rng, say
        self._plan: list[Blow] = []
        self._stopped: list[tuple[float, psutil.Process]] = []
        self._looking_since_s: float | None = None
        self._writable_at_s: float | None = None
        self.done: Counter[str] = Counter()

    def plan_kills(self, count: int) -> None:
        targets = [target for target, share in _SHARES.items() for _ in range(max(1, count * share // 100))]
        targets = (targets + [Target.RUN] * count)[:count]
        self._rng.shuffle(targets)
        self._spread((f"SIGKILL {target}", partial(self._kill, target)) for target in targets)

    def plan_stops(self, count: int, lease_s: float) -> None:
        """Runs stopped for longer than their lease and then continued: alone, or with all their children."""
        drawn = [(lease_s + self._rng.uniform(1, 8), self._rng.random() < 0.5) for _ in range(count)]
        self._spread(("SIGSTOP run", partial(self._stop, lasts, whole_group=whole)) for lasts, whole in drawn)

    def plan_freeze(self, seconds: float) -> None:
        self._add(Blow(0.5, f"Postgres frozen for {seconds:.0f} s", lambda: self._freeze(seconds)))

    def plan_read_only(self, seconds: float) -> None:
        self._add(Blow(0.7, f"Postgres read-only for {seconds:.0f} s", lambda: self._read_only(seconds)))

    def _spread(self, blows: Iterator[tuple[str, Callable[[], bool]]]) -> None:
        for what, do in blows:
            self._add(Blow(self._rng.uniform(0, _LAST_KILL_AT), what, do))

    def _add(self, blow: Blow) -> None:
        self._plan = sorted([*self._plan, blow], key=lambda planned: planned.at)

    @property
    def left(self) -> int:
        return len(self._plan)

    @property
    def over(self) -> bool:
        return not self._plan and not self._stopped and self._writable_at_s is None

    def step(self, ended_share: float) -> None:
        """Continue who has been stopped for long enough; strike the next blow if it is due."""
        self._continue_stopped()
        self._let_write()
        if not self._plan or self._plan[0].at > ended_share:
            return
        blow = self._plan[0]
        if blow.do():
            self._plan.remove(blow)
            self._looking_since_s = None
            self.done[blow.what] += 1
            self._say(blow.what)
        elif self._has_looked_long_enough():
            # Nobody of that kind to be seen for a while: the others first.
            self._plan.remove(blow)
            self._add(Blow(min(blow.at + 0.05, _LAST_KILL_AT), blow.what, blow.do))
            self._looking_since_s = None

    def _has_looked_long_enough(self) -> bool:
        now_s = time.monotonic()
        self._looking_since_s = self._looking_since_s or now_s
        return now_s - self._looking_since_s > _LOOKS_FOR_S

    def _kill(self, target: Target) -> bool:
        found = self._victims.find(target)
        return bool(found) and self._victims.send(self._rng.choice(found), signal.SIGKILL)

    def _stop(self, seconds: float, *, whole_group: bool) -> bool:
        held = {process.pid for _, process in self._stopped}
        found = [process for process in self._victims.find(Target.RUN) if process.pid not in held]
        if not found:
            return False
        chosen = self._rng.choice(found)
        with suppress(psutil.Error):
            group = [chosen, *chosen.children(recursive=True)] if whole_group else [chosen]
            stopped = [process for process in group if self._victims.send(process, signal.SIGSTOP)]
            self._stopped += [(time.monotonic() + seconds, process) for process in stopped]
            return bool(stopped)
        return False

    def _continue_stopped(self) -> None:
        now_s = time.monotonic()
        for until_s, process in list(self._stopped):
            if now_s >= until_s:
                self._victims.send(process, signal.SIGCONT)
                self._stopped.remove((until_s, process))

    def continue_all(self) -> None:
        """Whatever happens, nobody stays stopped."""
        for _, process in self._stopped:
            self._victims.send(process, signal.SIGCONT)
        self._stopped = []

    def _freeze(self, seconds: float) -> bool:
        """The server and all its backends, as a host does whose storage hangs. Nothing here may ask it meanwhile."""
        server = self._victims.program(Target.POSTGRES.value)
        if server is None:
            return False
        frozen = _stopped_tree(self._victims, server)
        try:
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                self._continue_stopped()
                time.sleep(0.2)
        finally:
            for process in frozen:
                self._victims.send(process, signal.SIGCONT)
        return True

    def _read_only(self, seconds: float) -> bool:
        if not self._set_read_only("on"):
            return False
        self._writable_at_s = time.monotonic() + seconds
        return True

    def _let_write(self) -> None:
        if self._writable_at_s and time.monotonic() >= self._writable_at_s and self._set_read_only("off"):
            self._writable_at_s = None

    def _set_read_only(self, value: str) -> bool:
        engine = engine_for(self._settings)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("SET default_transaction_read_only = off"))
                connection.execute(sa.text(f"ALTER SYSTEM SET default_transaction_read_only = {value}"))
                connection.execute(sa.text("SELECT pg_reload_conf()"))
        except AWAY:
            return False
        return True


def _stopped_tree(victims: Victims, server: psutil.Process) -> list[psutil.Process]:
    frozen = [server] if victims.send(server, signal.SIGSTOP) else []
    with suppress(psutil.Error):
        frozen += [backend for backend in server.children() if victims.send(backend, signal.SIGSTOP)]
    return frozen


def own_seed() -> int:
    return int.from_bytes(os.urandom(4), "big")
