"""What needs no token: the health check, the start page, the documentation."""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
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
_VERSION_DIGITS = 16
_A_VERSION = re.compile(rf"[0-9a-f]{{{_VERSION_DIGITS}}}")
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
def start() -> HTMLResponse:
    """The Jobs page."""
    return HTMLResponse(_start_page(), headers=_page_headers("no-cache"))


@cache
def _start_page() -> str:
    """Its files are asked for below a name for their content, so that a browser asks for them once; and all modules at
    once, not each when the one before has named it."""
    below = f"/web/{_version()}/"
    modules = sorted(file.relative_to(_WEB).as_posix() for file in _WEB.rglob("*.js"))
    wanted = "".join(f'  <link rel="modulepreload" href="{below}{module}">\n' for module in modules)
    return (_WEB / "index.html").read_text().replace('"/web/', f'"{below}').replace("</head>", f"{wanted}</head>")


@cache
def _version() -> str:
    """Of all files of the page together: modules name each other by relative paths."""
    digest = hashlib.sha256()
    for file in sorted(file for file in _WEB.rglob("*") if file.is_file()):
        digest.update(file.relative_to(_WEB).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_VERSION_DIGITS]


@router.get("/web/{path:path}", include_in_schema=False)
def web_file(path: str) -> FileResponse:
    """A file of the page's own folder; of another version, which an open page may be of, as it is now. Raises
    FileNotThere."""
    version, _, rest = path.partition("/")
    named = rest if _A_VERSION.fullmatch(version) else path
    found = (_WEB / named).resolve() if "\0" not in named else _WEB
    if found.suffix not in _WEB_KINDS or not found.is_relative_to(_WEB.resolve()) or not found.is_file():
        raise FileNotThere("such page")
    kept = "public, max-age=31536000, immutable" if version == _version() else "no-cache"
    return FileResponse(found, media_type=_WEB_KINDS[found.suffix], headers=_page_headers(kept))


def _page_headers(cache_control: str) -> dict[str, str]:
    return {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": cache_control}


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
