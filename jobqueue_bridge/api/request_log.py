"""A log line for each request that changes or is refused something, and an id by which to find it."""

import logging
import re
import time
from http import HTTPStatus
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobqueue_bridge import process_log
from jobqueue_bridge.tokens import Identity

REQUEST_ID = "X-Request-Id"
_READS = {"GET", "HEAD", "OPTIONS"}
# A proxy's or a client's own id is kept where it is one.
_AN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_A_JOB = re.compile(r"/api/media/jobs/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=/|$)")
_logger = logging.getLogger(__name__)


class LogRequests:
    """The query is never written: it may hold a token. What only read, and was answered, is told at level debug."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began_s, status, location = _id_of(scope), time.perf_counter(), 0, ""

        async def send_with_id(message: Message) -> None:
            nonlocal status, location
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                status, location = message["status"], headers.get("location", "")
                headers[REQUEST_ID] = request_id
            await send(message)

        with process_log.saying(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception:
                status = HTTPStatus.INTERNAL_SERVER_ERROR
                raise
            finally:
                _tell(scope, status, location, time.perf_counter() - began_s)


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _AN_ID.fullmatch(given) else uuid4().hex


def _tell(scope: Scope, status: int, location: str, seconds: float) -> None:
    """Status 0: the client went away before there was an answer."""
    level = _level(scope["method"], status)
    if not _logger.isEnabledFor(level):
        return
    path = scope.get("raw_path", b"").decode("latin-1").partition("?")[0]
    job = _A_JOB.match(location) or _A_JOB.match(path)
    identity: Identity | None = scope.get("state", {}).get("identity")
    facts = {
        "method": scope["method"],
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "by": identity and identity.name,
        "job_id": job and job[1],
    }
    known = {name: value for name, value in facts.items() if value is not None}
    _logger.log(level, "%s %s %s", scope["method"], path, status, extra=known)


def _level(method: str, status: int) -> int:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return logging.ERROR
    return logging.DEBUG if method in _READS and 0 < status < HTTPStatus.BAD_REQUEST else logging.INFO
