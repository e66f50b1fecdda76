"""Server-sent events and followed logs: what `events` knows, written to one client."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Header, Query, Request, Security
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jobqueue_bridge import logs, queue
from jobqueue_bridge.api import wire_events
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import Database, JobId, Me
from jobqueue_bridge.api.events import Closed, Event, Hub, Lagging, Subscription, log_events
from jobqueue_bridge.api.job_routes import JobRoute
from jobqueue_bridge.api.problems import documented, problem
from jobqueue_bridge.errors import JobArchived
from jobqueue_bridge.text import instant
from jobqueue_bridge.tokens import Identity
from jobqueue_bridge.vocabulary import FINAL

router = APIRouter(
    route_class=JobRoute,
    prefix="/api/media/jobs",
    tags=["events"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 422, 503),
)

_KEEP_ALIVE_S = 15.0
_TAKEN_WITHIN_S = 30.0  # a client that takes nothing for so long is gone
_ID = re.compile(r"(?P<epoch>[0-9a-f]{8})-(?P<number>[0-9]{1,15})(-(?P<seq>[0-9]{1,18}))?")
_STREAM: dict[int | str, Any] = {
    200: {
        "description": "Events, each with `id`, `event` and one line of JSON as `data`; comments keep the connection.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "examples": wire_events.EXAMPLES}},
    }
}

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=100, description="Go on behind this event."),
]
LastEventIdInQuery = Annotated[
    str | None, Query(alias="lastEventId", max_length=100, description="The same, for a page that was loaded anew.")
]


class EventStream(Response):
    """Sends what it is given, and ends where the client takes nothing."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], media_type: str | None = None) -> None:
        super().__init__(None, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=media_type)
        del self.headers["content-length"]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await self._content.aclose()  # type: ignore[attr-defined]

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for part in self._content:
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": part, "more_body": True}), _TAKEN_WITHIN_S
            )
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get("/events", status_code=200, response_class=EventStream, responses=_STREAM)
async def follow_all_jobs(
    request: Request,
    me: Me,
    log: Annotated[bool, Query(description="With the log lines of all jobs.")] = False,
    last_event_id: LastEventId = None,
    asked_in_query: LastEventIdInQuery = None,
) -> Response:
    """Every change of every job, as it is committed. Open it, fetch the list at `hello` unless `resumed`, and apply
    `job` events whose `version` is higher than the one that is shown."""
    hub: Hub = request.app.state.hub
    after = _Behind.read(hub, last_event_id or asked_in_query)
    if hub.is_full:
        return problem(503, "Too many clients follow already")
    client = await hub.subscribe(None, with_log=log, after=after.number)
    return EventStream(_Writer(hub, client, me).of_all())


@router.get("/{id}/events", status_code=200, response_class=EventStream, responses={**_STREAM, **documented(404)})
async def follow_job(
    request: Request,
    database: Database,
    me: Me,
    job_id: JobId,
    tail: Annotated[int, Query(ge=0, le=100_000, description="How many log lines to begin with.")] = 1000,
    last_event_id: LastEventId = None,
    asked_in_query: LastEventIdInQuery = None,
) -> Response:
    """One job: its state, then each change and each log line. It stays open when the job ends, which may be retried."""
    hub: Hub = request.app.state.hub
    await run_in_threadpool(_look, database, job_id)
    after = _Behind.read(hub, last_event_id or asked_in_query)
    if hub.is_full:
        return problem(503, "Too many clients follow already")
    client = await hub.subscribe(job_id, with_log=True, after=after.number)
    return EventStream(_Writer(hub, client, me).of_one(database, job_id, after, tail))


async def followed_log(request: Request, database: sa.Engine, me: Identity, job_id: UUID, tail: int | None) -> Response:
    """The log as text, to the end of the job. Raises JobNotFound."""
    hub: Hub = request.app.state.hub
    await run_in_threadpool(_look, database, job_id)
    client = await hub.subscribe(job_id, with_log=True, after=None)
    return EventStream(_Writer(hub, client, me).log(database, job_id, tail), media_type="text/plain; charset=utf-8")


def _look(database: sa.Engine, job_id: UUID) -> queue.Job | None:
    """None: it is in the archive. Raises JobNotFound."""
    with database.connect() as connection:
        try:
            return queue.get(connection, job_id)
        except JobArchived:
            return None


class _Behind:
    """Where a client was: the event, and the log line."""

    def __init__(self, number: int | None, seq: int | None) -> None:
        self.number, self.seq = number, seq

    @classmethod
    def read(cls, hub: Hub, text: str | None) -> "_Behind":
        """An event of an earlier process says nothing, its log line does. What is none of ours is as good as none."""
        found = _ID.fullmatch(text or "")
        if found is None:
            return cls(None, None)
        seq = int(found["seq"]) if found["seq"] else None
        return cls(int(found["number"]) if found["epoch"] == hub.epoch else None, seq)


class _Writer:
    """One client's stream, from `hello` to the end."""

    def __init__(self, hub: Hub, client: Subscription, me: Identity) -> None:
        self._hub, self._client, self._expires_at = hub, client, me.expires_at
        self._number, self._seq, self._version = hub.number, 0, 0

    async def of_all(self) -> AsyncIterator[bytes]:
        try:
            yield self._hello()
            async for event in self._events():
                yield self._write(event)
            yield self._farewell
        finally:
            self._hub.leave(self._client)

    async def of_one(self, database: sa.Engine, job_id: UUID, after: _Behind, tail: int) -> AsyncIterator[bytes]:
        """The state and the log are read after the subscription began: what it brings again is known by its numbers."""
        try:
            yield self._hello()
            self._seq = after.seq or 0
            news, lines = await run_in_threadpool(_present, database, job_id, after, tail)
            for made in log_events(job_id, lines):
                yield self._write(made(self._number))
            if not self._client.resumed and news is not None:
                self._version = news.version
                yield self._write(news)
            async for event in self._events():
                if self._is_new(event):
                    yield self._write(event)
            yield self._farewell
        finally:
            self._hub.leave(self._client)

    async def log(self, database: sa.Engine, job_id: UUID, tail: int | None) -> AsyncIterator[bytes]:
        try:
            while True:
                job, lines = await run_in_threadpool(_job_and_lines, database, job_id, self._seq, tail)
                self._seq, tail = lines[-1].seq if lines else self._seq, None
                if lines:
                    yield "".join(f"{stamped(line)}\n" for line in lines).encode()
                if job is None or job.status in FINAL:
                    return
                if not await self._moved():
                    return
        finally:
            self._hub.leave(self._client)

    async def _moved(self) -> bool:
        """Until there is news of the job. False: there will be none any more."""
        try:
            while datetime.now(UTC) < self._expires_at:
                if await self._client.next(_KEEP_ALIVE_S) is not None:
                    self._client.waiting.clear()  # one reading answers them all
                    return True
        except (Closed, Lagging):
            pass
        return False

    async def _events(self) -> AsyncIterator[Event | None]:
        """Until it is over; None: time for a comment. Then `_farewell` says why."""
        while True:
            left_s = (self._expires_at - datetime.now(UTC)).total_seconds()
            if left_s <= 0:
                self._farewell = self._last("signout", "the token has expired")
                return
            try:
                yield await self._client.next(min(_KEEP_ALIVE_S, left_s))
            except Lagging:
                self._farewell = self._last("lost", "events were taken too slowly: connect again")
                return
            except Closed:
                self._farewell = self._last("lost", "the server stops: connect again")
                return

    def _is_new(self, event: Event | None) -> bool:
        """What the first reading has told already is left out."""
        if event is None or event.name not in ("job", "log"):
            return True
        return event.seq > self._seq if event.name == "log" else event.version > self._version

    def _hello(self) -> bytes:
        data = {"resumed": self._client.resumed, "at": instant(datetime.now(UTC))}
        if self._client.resumed and self._client.waiting:
            self._number = self._client.waiting[0].number - 1
        return b"retry: 2000\n" + self._text("hello", json.dumps(data))

    def _last(self, name: str, reason: str) -> bytes:
        return self._text(name, json.dumps({"reason": reason}))

    def _write(self, event: Event | None) -> bytes:
        if event is None:
            return b": keep-alive\n\n"
        self._number = max(self._number, event.number)
        self._seq = max(self._seq, event.seq)
        self._version = max(self._version, event.version)
        return self._text(event.name, event.data)

    def _text(self, name: str, data: str) -> bytes:
        seq = f"-{self._seq}" if self._client.job_id else ""
        return f"id: {self._hub.epoch}-{self._number}{seq}\nevent: {name}\ndata: {data}\n\n".encode()

    _farewell = b""


def _present(database: sa.Engine, job_id: UUID, after: _Behind, tail: int) -> tuple[Event | None, list[logs.LogLine]]:
    """The job's state now, and the lines that the client lacks: all behind its last one, or the newest."""
    job = _look(database, job_id)
    with database.connect() as connection:
        if after.seq is not None:
            lines = logs.lines(connection, job_id, after=after.seq)
        else:
            lines = logs.lines(connection, job_id, newest=tail) if tail else []
    return (wire_events.snapshot(job) if job else None), lines


def _job_and_lines(
    database: sa.Engine, job_id: UUID, after: int, tail: int | None
) -> tuple[queue.Job | None, list[logs.LogLine]]:
    """First the state, then the lines: what was logged before the job ended is among them."""
    job = _look(database, job_id)
    with database.connect() as connection:
        return job, logs.lines(connection, job_id, after=after, newest=tail)


def stamped(line: logs.LogLine) -> str:
    return f"[{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}] {line.line}"
