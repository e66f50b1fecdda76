"""Who may ask: everything below /api needs a SUPER_ADMIN's token, also paths that lead nowhere."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from jobqueue_bridge.api.problems import problem_of
from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tokens import NoToken, Trust, require_admin

PROTECTED = "/api"
SIGN_IN = "/api/media/signin"
TOKEN_PARAMETER = "token"  # noqa: S105 -- its name

# What browsers ask for without being able to set a header: event streams, pictures, videos.
_WITHOUT_HEADERS = re.compile(
    r"/api/media/(jobs/events|jobs/[^/]+/(events|output|why)|videos/[^/]+/(thumbnail|file|storyboard|storyboard/[^/]+))"
)

# Only describes the header to readers of /docs; RequireAdmin checks it.
bearer = HTTPBearer(
    auto_error=False,
    bearerFormat="JWT",
    description="HS256, or the configured public key's kind. Event streams, pictures and videos also take it as the "
    "query parameter `token`.",
)


class RequireAdmin:
    """Stands before routing and before a body is read, so that no route can forget it."""

    def __init__(self, app: ASGIApp, trust: Trust, is_protected: Callable[[str], bool]) -> None:
        self._app, self._trust, self._is_protected = app, trust, is_protected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            in_query = _token_taken_out_of_query(scope)
            if self._is_protected(scope["path"]):
                try:
                    scope.setdefault("state", {})["identity"] = require_admin(_token(scope, in_query), self._trust)
                except QueueError as error:
                    await problem_of(error)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def protection(settings: Settings) -> Callable[[str], bool]:
    """Which paths need a token."""
    closed = {path for path, is_open in _open_by_setting(settings).items() if not is_open}

    def is_protected(path: str) -> bool:
        if path == SIGN_IN:
            return False
        return path == PROTECTED or path.startswith(f"{PROTECTED}/") or path in closed

    return is_protected


def _open_by_setting(settings: Settings) -> dict[str, bool]:
    return {"/health": settings.health_open, "/metrics": settings.metrics_open}


def _token_taken_out_of_query(scope: Scope) -> str | None:
    """Whatever the path is: what stays in the address may be logged or repeated in an error."""
    query: bytes = scope["query_string"]
    if TOKEN_PARAMETER.encode() not in query:
        return None
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in pairs if name == TOKEN_PARAMETER]
    if not tokens:
        return None
    rest = [part for part in query.split(b"&") if _name_of(part) != TOKEN_PARAMETER]
    scope["query_string"] = b"&".join(rest)
    return tokens[0] if len(tokens) == 1 else ""


def _name_of(part: bytes) -> str:
    pairs = parse_qsl(part.decode("latin-1"), keep_blank_values=True)
    return pairs[0][0] if pairs else ""


def _token(scope: Scope, in_query: str | None) -> str:
    """Raises NoToken where the header is missing, twice there or of another scheme."""
    given = Headers(scope=scope).getlist("authorization")
    if not given and in_query is not None and scope["method"] == "GET" and _WITHOUT_HEADERS.fullmatch(scope["path"]):
        return in_query
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise NoToken
    return token.strip()
