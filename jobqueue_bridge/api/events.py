"""What happens to jobs, as it happens: one connection listens for the whole process, the process fans out.

Postgres hands notifications out in the order of the commits, those of a transaction in its own order; triggers put
into each the state of the row as that statement left it. So nothing here has to be put in order, and no number that a
row was given before its commit is relied on. Log lines are read from the table, up to the line that the notification
names, while the row's lock has kept their numbers in the order of their commits.

Each event has a number in this process, the newest are kept: a client that comes back with one gets what it missed. One
that was away for too long, or comes from an earlier process, is told that nobody knows what it missed.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from jobqueue_bridge import logs
from jobqueue_bridge.database import engine_for, listen
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.text import instant
from jobqueue_bridge.vocabulary import FINAL

KEPT_MOST = 5_000
KEPT_BYTES = 16 * 1024 * 1024
WAITING_MOST = 1_000  # events that one client may be behind
CLIENTS_MOST = 1_000
LINES_MOST = 500  # in one event
_HEARD_EVERY_S = 10.0
_AGAIN_AFTER_S = 1.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """`number` counts from 1 in this process. `seq` is the number of the last log line in it."""

    number: int
    name: str
    data: str
    job_id: UUID | None = None
    seq: int = 0
    version: int = 0
    is_final: bool = False
    """The job that it tells of has ended."""

    def concerns(self, job_id: UUID | None, *, with_log: bool) -> bool:
        if self.name == "log" and not with_log:
            return False
        return job_id is None or self.job_id in (None, job_id)


class Lagging(Exception):
    """The client did not take its events fast enough."""


class Closed(Exception):
    """There will be no more: the server stops."""


@dataclass(eq=False)
class Subscription:
    """What one client has still to be sent. Lives on the event loop."""

    job_id: UUID | None
    with_log: bool
    waiting: deque[Event] = field(default_factory=deque)
    resumed: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _over: type[Exception] | None = None

    def offer(self, event: Event) -> None:
        if self._over is not None or not event.concerns(self.job_id, with_log=self.with_log):
            return
        if len(self.waiting) >= WAITING_MOST:
            self.waiting.clear()
            self.end(Lagging)
            return
        self.waiting.append(event)
        self._news.set()

    def end(self, why: type[Exception]) -> None:
        self._over = self._over or why
        self._news.set()

    async def next(self, within_s: float) -> Event | None:
        """None: nothing happened in that time. Raises Lagging or Closed."""
        if not self.waiting and self._over is None:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), within_s)
        if self.waiting:
            return self.waiting.popleft()
        if self._over is not None:
            raise self._over
        return None


class Hub:
    """Listens from the first client on, in a thread of its own; everything else here runs on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self.epoch = secrets.token_hex(4)
        self._settings = settings
        self._clients: set[Subscription] = set()
        self._kept: deque[Event] = deque()
        self._kept_bytes = 0
        self._number = 0
        self._hearing: asyncio.Event | None = None
        self._listener: _Listener | None = None
        self._closed = False
        self._all_logs_since: int | None = None

    async def subscribe(self, job_id: UUID | None, *, with_log: bool, after: int | None) -> Subscription:
        """From now on; or from behind the event `after`, where all since are still kept. Raises Closed."""
        await self._begin()
        client = Subscription(job_id, with_log)
        if after is not None and self._has_all_since(after, with_all_logs=with_log and job_id is None):
            client.resumed = True
            for event in self._kept:
                if event.number > after:
                    client.offer(event)
        self._clients.add(client)
        if with_log:
            self._follow(job_id)
        return client

    def leave(self, client: Subscription) -> None:
        self._clients.discard(client)
        if self._listener is not None and client.with_log and client.job_id is not None:
            self._listener.unfollow(client.job_id)

    def _follow(self, job_id: UUID | None) -> None:
        """Who once followed all logs may come back and want what it missed, so that is never given up again."""
        if job_id is None and self._all_logs_since is not None:
            return
        if job_id is None:
            self._all_logs_since = self._number
        if self._listener is not None:
            self._listener.follow(job_id)

    @property
    def number(self) -> int:
        """Of the newest event."""
        return self._number

    @property
    def is_full(self) -> bool:
        return len(self._clients) >= CLIENTS_MOST

    def close(self) -> None:
        """Every client is told; nobody is listened to any more."""
        self._closed = True
        for client in self._clients:
            client.end(Closed)
        if self._listener is not None:
            self._listener.stop()

    async def _begin(self) -> None:
        """Raises Closed."""
        if self._closed:
            raise Closed
        if self._listener is None:
            self._hearing = asyncio.Event()
            self._listener = _Listener(self._settings, asyncio.get_running_loop(), self._publish, self._hearing.set)
            self._listener.start()
        assert self._hearing is not None
        with contextlib.suppress(TimeoutError):  # without a database the client's own reading says so
            await asyncio.wait_for(self._hearing.wait(), 5)

    def _has_all_since(self, number: int, *, with_all_logs: bool) -> bool:
        if with_all_logs and (self._all_logs_since is None or number < self._all_logs_since):
            return False
        oldest = self._kept[0].number if self._kept else self._number + 1
        return oldest - 1 <= number <= self._number

    def _publish(self, made: Callable[[int], Event] | None) -> None:
        """None: notifications may have been missed."""
        if made is None:
            self._kept.clear()
            self._kept_bytes = 0
            self._number += 2  # the gap tells that something may be missing
            reason = json.dumps({"reason": "the database was away: what happened meanwhile is not known"})
            event = Event(self._number, "reload", reason)
        else:
            self._number += 1
            event = made(self._number)
        self._keep(event)
        for client in self._clients:
            client.offer(event)

    def _keep(self, event: Event) -> None:
        self._kept.append(event)
        self._kept_bytes += len(event.data)
        while len(self._kept) > KEPT_MOST or self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft().data)


class _Listener(threading.Thread):
    """The one connection that hears. Comes back when it was lost, and when it has gone deaf."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        publish: Callable[[Callable[[int], Event] | None], None],
        hears: Callable[[], None],
    ) -> None:
        super().__init__(name="job news", daemon=True)
        self._settings, self._loop, self._publish, self._hears = settings, loop, publish, hears
        self._stopping = threading.Event()
        self._followed: Counter[UUID | None] = Counter()

    def follow(self, job_id: UUID | None) -> None:
        self._followed[job_id] += 1

    def unfollow(self, job_id: UUID | None) -> None:
        self._followed[job_id] -= 1

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        lost = False
        while not self._stopping.is_set():
            try:
                with listen(self._settings, "job_news") as connection:
                    if lost:
                        self._on_loop(self._publish, None)
                    self._on_loop(self._hears)
                    self._hear(connection)
            except (psycopg.Error, sa.exc.DBAPIError, OSError) as error:
                lost = True
                _logger.warning("News of jobs: the database is away (%s)", str(error).strip().partition("\n")[0])
                self._stopping.wait(_AGAIN_AFTER_S)

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        """Until it is asked to stop. Raises psycopg.Error where the connection is lost, or OSError where it is deaf."""
        asked_at_s = heard_at_s = time.monotonic()
        while not self._stopping.is_set():
            notes = list(connection.notifies(timeout=0.5, stop_after=1))  # with all that came at once
            now_s = time.monotonic()
            heard_at_s = now_s if notes else heard_at_s
            for news in _merged(_read(note.payload) for note in notes):
                self._tell(news)
            if now_s - heard_at_s > 2 * _HEARD_EVERY_S:
                raise OSError("it hears nothing any more")
            if now_s - asked_at_s > _HEARD_EVERY_S:
                connection.execute("SELECT pg_notify('job_news', '')")  # hears itself
                asked_at_s = now_s

    def _on_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call, *arguments)

    def _tell(self, news: Mapping[str, Any]) -> None:
        match news["kind"]:
            case "job":
                self._on_loop(self._publish, _job_event(news))
            case "log":
                self._tell_log(UUID(news["id"]), news["first"], news["last"])
            case "removed":
                self._on_loop(self._publish, _plain("removed", {"id": news["id"]}, UUID(news["id"])))
            case "queue":
                data = {"pausedAt": news["pausedAt"], "pausedBy": news["pausedBy"]}
                self._on_loop(self._publish, _plain("queue", data))
            case _:
                reason = "more changed at once than is told one by one"
                self._on_loop(self._publish, _plain("reload", {"reason": reason}))

    def _tell_log(self, job_id: UUID, first: int, last: int) -> None:
        """A log that nobody follows is not read."""
        if self._followed[job_id] <= 0 and self._followed[None] <= 0:
            return
        with engine_for(self._settings).connect() as connection:
            lines = logs.lines(connection, job_id, after=first - 1, up_to=last)
        for made in log_events(job_id, lines):
            self._on_loop(self._publish, made)


def _read(payload: str) -> Mapping[str, Any] | None:
    """None: an echo of ours, or another program's notification on our channel."""
    try:
        news = json.loads(payload)
        if news["kind"] in ("job", "removed"):
            UUID(news["id"] if news["kind"] == "removed" else news["job"]["id"])
        if news["kind"] == "log":
            UUID(news["id"]), int(news["first"]), int(news["last"])
    except (ValueError, KeyError, TypeError):
        return None
    return news if isinstance(news, dict) else None


def _merged(each: Iterable[Mapping[str, Any] | None]) -> Iterator[Mapping[str, Any]]:
    """Lines of one log that follow each other are read at once."""
    before: Mapping[str, Any] | None = None
    for news in each:
        if news is None:
            continue
        if before and before["kind"] == news["kind"] == "log" and before["id"] == news["id"]:
            before = {**before, "last": news["last"]}
            continue
        if before:
            yield before
        before = news
    if before:
        yield before


def _job_event(news: Mapping[str, Any]) -> Callable[[int], Event]:
    job = news["job"]
    data = json.dumps({"change": news["change"], "from": news["from"], "job": job}, separators=(",", ":"))
    job_id, version = UUID(job["id"]), int(job["version"])
    is_final = job["status"] in FINAL
    return lambda number: Event(number, "job", data, job_id, version=version, is_final=is_final)


def _plain(name: str, data: Mapping[str, Any], job_id: UUID | None = None) -> Callable[[int], Event]:
    text = json.dumps(data, separators=(",", ":"))
    return lambda number: Event(number, name, text, job_id)


def log_events(job_id: UUID, lines: Sequence[logs.LogLine]) -> Iterator[Callable[[int], Event]]:
    """As many as it takes, with LINES_MOST in each."""
    for begin in range(0, len(lines), LINES_MOST):
        yield _log_event(job_id, lines[begin : begin + LINES_MOST])


def _log_event(job_id: UUID, lines: Sequence[logs.LogLine]) -> Callable[[int], Event]:
    told = [{"seq": line.seq, "at": instant(line.at), "line": line.line} for line in lines]
    data = json.dumps({"jobId": str(job_id), "lines": told}, separators=(",", ":"))
    seq = lines[-1].seq
    return lambda number: Event(number, "log", data, job_id, seq=seq)
