"""Whether each program does its work, asked from outside. None: healthy; otherwise what is still missing."""

import http.client
import json
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psycopg

from jobqueue_bridge.errors import DatabaseUnreachable
from jobqueue_bridge.settings import Settings
from media_pipelines.platform.dagster_home import CODE_LOCATION
from media_pipelines.platform.lock import reachable
from media_pipelines.platform.postgres import check_answers, libpq_url
from media_pipelines.platform.programs import API, CODE_SERVER, DAEMON, POSTGRES, WEBSERVER
from media_pipelines.platform.supervisor import ProgramState, code_server_socket

_TIMEOUT_S = 5
_LOCATION_QUERY = """{ workspaceOrError { __typename ... on Workspace { locationEntries {
  name loadStatus locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


Check = Callable[[Settings, ProgramState], str | None]


def problem(settings: Settings, state: ProgramState) -> str | None:
    """Why a program is not healthy yet, or None."""
    if state.state not in ("STARTING", "RUNNING"):
        return f"{state.state}: {state.description}"
    check = _CHECKS.get(state.name, _stays_up)
    return check(settings, state)


def _stays_up(settings: Settings, state: ProgramState) -> str | None:
    del settings
    return None if state.state == "RUNNING" else "it has only just started"


def _postgres(settings: Settings, state: ProgramState) -> str | None:
    del state
    try:
        # its own database comes after it
        check_answers(settings.queue_url.set(database="postgres"))
    except DatabaseUnreachable as error:
        return error.reason
    return None


def _code_server(settings: Settings, state: ProgramState) -> str | None:
    del state
    return None if _accepts(code_server_socket(settings)) else "its socket does not accept connections yet"


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _daemon(settings: Settings, state: ProgramState) -> str | None:
    """Its first heartbeat since it started: written once its loops run."""
    query = """SELECT 1 FROM daemon_heartbeats
               WHERE "timestamp" > (now() AT TIME ZONE 'UTC') - make_interval(secs => %s) LIMIT 1"""
    try:
        with psycopg.connect(libpq_url(settings.dagster_url), connect_timeout=_TIMEOUT_S) as connection:
            beats = connection.execute(query, [(state.uptime_s or 0) + 1]).fetchone()
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    return None if beats else "no heartbeat yet"


def _webserver(settings: Settings, state: ProgramState) -> str | None:
    """It serves pages, and the code location in them has loaded."""
    del state
    host, port = settings.dagster_host, settings.dagster_port
    problem, answer = _ask(host, port, "POST", "/graphql", {"query": _LOCATION_QUERY})
    if problem:
        return problem
    entries = answer.get("data", {}).get("workspaceOrError", {}).get("locationEntries", [])
    location = next((entry for entry in entries if entry["name"] == CODE_LOCATION), None)
    loaded = location and location["locationOrLoadError"]
    if not loaded:
        return "the code location is still loading"
    if loaded["__typename"] == "PythonError":
        return f"the code location does not load: {loaded['message'].strip().splitlines()[-1]}"
    return None


def _api(settings: Settings, state: ProgramState) -> str | None:
    del state
    healthy = HTTPStatus.OK if settings.health_open else HTTPStatus.UNAUTHORIZED
    problem, _ = _ask(settings.api_host, settings.api_port, "GET", "/health", healthy=healthy)
    return problem


def _ask(
    host: str, port: int, method: str, path: str, body: object = None, healthy: HTTPStatus = HTTPStatus.OK
) -> tuple[str | None, Any]:
    """What went wrong, or None, and the JSON that came back. Straight to the socket: a proxy has no business here."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != healthy:
            return f"{method} {path} answers {response.status}", None
        return None, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{method} {path}: {error}", None
    finally:
        connection.close()


_CHECKS: Mapping[str, Check] = {
    POSTGRES: _postgres,
    CODE_SERVER: _code_server,
    DAEMON: _daemon,
    WEBSERVER: _webserver,
    API: _api,
}
