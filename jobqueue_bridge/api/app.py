"""The app: routes, and what stands before them."""

from fastapi import FastAPI

from jobqueue_bridge import tokens
from jobqueue_bridge.api import jobs, pages, videos
from jobqueue_bridge.api.auth import RequireAdmin
from jobqueue_bridge.api.gate import SecurityHeaders, StrictRequests
from jobqueue_bridge.api.problems import answer_with_problems, document_schema
from jobqueue_bridge.settings import Settings

_DESCRIPTION = """
The queue of a self-hosted video library: every row of `jobs` becomes a Dagster run.

Everything below `/api` needs `Authorization: Bearer <token>` with the role `SUPER_ADMIN`; `media-pipelines token`
makes one. Names are camelCase, instants ISO 8601 in UTC. Errors are RFC 9457 problem documents.
"""


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
    # The last one added is the outermost.
    app.add_middleware(StrictRequests)
    app.add_middleware(RequireAdmin, trust=tokens.trusted(settings))
    app.add_middleware(SecurityHeaders)
    answer_with_problems(app)
    document_schema(app)
    app.state.routes = [route for module in (jobs, videos, pages) for route in module.router.routes]
    for module in (jobs, videos, pages):
        app.include_router(module.router)
    return app
