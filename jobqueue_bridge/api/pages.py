"""What needs no token: the health check, the start page, the documentation."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from types import MappingProxyType

import sqlalchemy as sa
from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, HTMLResponse

import jobqueue_bridge
from jobqueue_bridge.api import wire
from jobqueue_bridge.api.dependencies import Database
from jobqueue_bridge.api.library_files import FileNotThere
from jobqueue_bridge.api.problems import RETRY_AFTER_S
from jobqueue_bridge.tables import jobs

router = APIRouter()

# Everything from here, nothing in line.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_WEB = Path(jobqueue_bridge.__file__).parent / "web"
_WEB_KINDS: Mapping[str, str] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".ico": "image/x-icon",
        ".woff2": "font/woff2",
        ".json": "application/json",
        ".map": "application/json",
        ".webmanifest": "application/manifest+json",
    }
)

_DOCS = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Media Pipelines: the API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</html>
"""
_DOCS_START = (
    "SwaggerUIBundle({url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, docExpansion: 'list',"
    " persistAuthorization: false, tryItOutEnabled: false});"
)


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
def start() -> FileResponse:
    """The Jobs page."""
    return _web_file("index.html")


@router.get("/web/{path:path}", include_in_schema=False)
def web_file(path: str) -> FileResponse:
    return _web_file(path)


def _web_file(path: str) -> FileResponse:
    """A file of the page's own folder. Raises FileNotThere."""
    named = (_WEB / path).resolve() if "\0" not in path else _WEB
    if named.suffix not in _WEB_KINDS or not named.is_relative_to(_WEB.resolve()) or not named.is_file():
        raise FileNotThere("such page")
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    return FileResponse(named, media_type=_WEB_KINDS[named.suffix], headers=headers)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    return HTMLResponse(_DOCS, headers={"Content-Security-Policy": PAGE_POLICY})


@router.get("/docs/start.js", include_in_schema=False)
def start_of_docs() -> Response:
    return Response(_DOCS_START, media_type="text/javascript")


@router.get("/docs/{name}", include_in_schema=False)
def part_of_docs(name: str) -> FileResponse:
    """Swagger UI, as the package `fastapi-offline` (MIT; Swagger UI is Apache-2.0) carries it."""
    kinds = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
    if name not in kinds:
        raise FileNotThere("such page")
    with as_file(files("fastapi_offline") / "static" / name) as path:
        return FileResponse(path, media_type=kinds[name], headers={"Cache-Control": "no-cache"})
