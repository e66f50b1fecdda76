"""Who may ask: everything below /api needs a SUPER_ADMIN's token, also paths that lead nowhere."""

from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from jobqueue_bridge.api.problems import problem_of
from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.tokens import NoToken, Trust, require_admin

PROTECTED = "/api"

# Only describes the header to readers of /docs; RequireAdmin checks it.
bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="HS256, or the configured public key's kind.")


class RequireAdmin:
    """Stands before routing and before a body is read, so that no route can forget it."""

    def __init__(self, app: ASGIApp, trust: Trust) -> None:
        self._app, self._trust = app, trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_protected(scope["path"]):
            try:
                require_admin(_token(Headers(scope=scope)), self._trust)
            except QueueError as error:
                await problem_of(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _is_protected(path: str) -> bool:
    return path == PROTECTED or path.startswith(f"{PROTECTED}/")


def _token(headers: Headers) -> str:
    """Raises NoToken where the header is missing, twice there or of another scheme."""
    given = headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise NoToken
    return token.strip()
