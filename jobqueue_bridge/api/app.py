"""The app: routes, and what stands before them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from jobqueue_bridge import tokens
from jobqueue_bridge.api import actions, jobs, metrics, pages, reports, session, streams, videos, whole_queue
from jobqueue_bridge.api.auth import RequireAdmin, protection
from jobqueue_bridge.api.events import Hub
from jobqueue_bridge.api.gate import SecurityHeaders, StrictRequests
from jobqueue_bridge.api.problems import answer_with_problems, document_schema
from jobqueue_bridge.api.request_log import LogRequests
from jobqueue_bridge.api.shared_answer import SharedAnswer
from jobqueue_bridge.api.turns import Turns
from jobqueue_bridge.api.write_limit import LimitWrites
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings

_DESCRIPTION = """
The queue of a self-hosted video library: every row of `jobs` becomes a Dagster run.

Everything below `/api` needs `Authorization: Bearer <token>` with the role `SUPER_ADMIN`; `media-pipelines token`
makes one. Names are camelCase, instants ISO 8601 in UTC. Errors are RFC 9457 problem documents.
"""


# Tokens travel in a header, which no browser sends by itself: no credentials, no forgery from another site.
_CROSS_ORIGIN: Mapping[str, Any] = MappingProxyType(
    {
        "allow_methods": ["GET", "POST", "PATCH"],
        "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID"],
        "expose_headers": ["ETag", "Location", "Retry-After", "Idempotent-Replayed", "X-Request-Id"],
        "max_age": 600,
    }
)
_ROOMS = (streams, jobs, actions, whole_queue, session, videos, reports, metrics, pages)


def create_app(settings: Settings) -> FastAPI:
    """Makes the token secret where there is none yet; opens no connection. Raises InvalidSettings."""
    app = FastAPI(
        title="Media Pipelines",
        version="1",
        description=_DESCRIPTION,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.database = engine_for(settings, trusted_s=1.0)
    app.state.hub = Hub(settings)
    app.state.shared_stats = SharedAnswer()
    app.state.turns = Turns()
    app.state.trust = tokens.trusted(settings)
    # The last one added is the outermost.
    app.add_middleware(StrictRequests)
    app.add_middleware(LimitWrites, per_minute=settings.api_writes_per_minute)
    app.add_middleware(RequireAdmin, trust=app.state.trust, is_protected=protection(settings))
    app.add_middleware(SecurityHeaders)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.cors_origins, **_CROSS_ORIGIN)
    app.add_middleware(LogRequests)
    answer_with_problems(app)
    document_schema(app)
    routers = [*(module.router for module in _ROOMS), videos.outputs]
    app.state.routes = [route for router in routers for route in router.routes]
    for router in routers:
        app.include_router(router)
    return app
