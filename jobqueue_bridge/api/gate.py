"""What a request must be before the app sees it, and the headers that every response carries."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobqueue_bridge import strict_json
from jobqueue_bridge.api.problems import ProblemResponse, problem, problem_of
from jobqueue_bridge.errors import QueueError

BODY_MAX_BYTES = 1024 * 1024
# A client that is still sending does not read the answer, so a little more than allowed is read and dropped.
_DROPPED_MAX_BYTES = 16 * BODY_MAX_BYTES

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class SecurityHeaders:
    """Pages that need more than the strict policy set their own Content-Security-Policy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Disconnected(Exception):
    """The client went away in the middle of its body."""


class StrictRequests:
    """No NUL characters in the address; a body is JSON, strictly so, and at most 1 MiB."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _read(receive)
        except Disconnected:
            return
        answer = _objection(scope, body) or self._app
        await answer(scope, _replay(body, receive), send)


async def _read(receive: Receive) -> bytes:
    """The body; where it is too long, its first bytes, still more than allowed. Raises Disconnected."""
    kept, seen, more = bytearray(), 0, True
    while more and seen <= _DROPPED_MAX_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        more, seen = message.get("more_body", False), seen + len(chunk)
        if len(kept) <= BODY_MAX_BYTES:
            kept += chunk
    return bytes(kept)


def _objection(scope: Scope, body: bytes) -> ProblemResponse | None:
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        return problem(400, "The address must not contain NUL characters")
    if len(body) > BODY_MAX_BYTES:
        return problem(413, f"A body may have {BODY_MAX_BYTES} bytes")
    if not body:
        return None
    if not _is_json(Headers(scope=scope).get("content-type", "")):
        return problem(415, "The body must be JSON: Content-Type: application/json")
    try:
        strict_json.parse(body)
    except QueueError as error:
        return problem_of(error)
    return None


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again
