"""What needs no token: the health check, the start page, the documentation."""

import html

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from jobqueue_bridge.api import wire
from jobqueue_bridge.api.dagster_address import dagster_address
from jobqueue_bridge.api.dependencies import CurrentSettings, Database
from jobqueue_bridge.api.problems import RETRY_AFTER_S
from jobqueue_bridge.tables import jobs

router = APIRouter()

_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
# Swagger UI comes from a CDN, as FastAPI ships it.
_DOCS_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data: https://fastapi.tiangolo.com; "
    "script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "frame-ancestors 'none'"
)

_START = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Media Pipelines</title>
<style>
  :root {{ color-scheme: light dark }}
  body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}
</style>
<h1>Media Pipelines</h1>
<p>This is the bridge API of the job queue. It answers below <code>/api/media</code> to a token that
<code>media-pipelines token</code> makes.</p>
<ul>
  <li><a href="/docs">The API, documented</a> (<a href="/openapi.json">OpenAPI</a>)</li>
  <li><a href="{dagster}">The Dagster UI</a>: runs, assets, sensors</li>
  <li><a href="/health">Health</a></li>
</ul>
</html>
"""


@router.get("/health", tags=["health"], responses={503: {"model": wire.Health}})
def health(database: Database, response: Response) -> wire.Health:
    """200 while the queue can be read; 503 otherwise."""
    try:
        with database.connect() as connection:
            connection.execute(sa.select(sa.exists().select_from(jobs)))
    except sa.exc.ProgrammingError:
        return _unavailable(response, "not migrated")
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError):
        return _unavailable(response, "unreachable")
    return wire.Health(status="ok", database="ok")


def _unavailable(response: Response, database: wire.DatabaseState) -> wire.Health:
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return wire.Health(status="unavailable", database=database)


@router.get("/", include_in_schema=False)
def start(request: Request, settings: CurrentSettings) -> HTMLResponse:
    address = html.escape(dagster_address(settings, request.headers.get("host", "")))
    return HTMLResponse(_START.format(dagster=address), headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    page = get_swagger_ui_html(openapi_url="/openapi.json", title=request.app.title)
    page.headers["Content-Security-Policy"] = _DOCS_POLICY
    return page
