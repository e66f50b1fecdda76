"""Errors on the wire: RFC 9457 `application/problem+json`, and the one table from error to status code."""

import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg.errors import UndefinedColumn, UndefinedTable
from starlette.exceptions import HTTPException
from starlette.routing import Match

from jobqueue_bridge.api.library_files import FileNotThere
from jobqueue_bridge.api.wire import Problem
from jobqueue_bridge.errors import (
    AmbiguousChange,
    AmbiguousJob,
    AmbiguousVideo,
    ChangeNotFound,
    ChangeUnderWay,
    DatabaseUnreachable,
    FieldProblem,
    InvalidJob,
    InvalidPolicy,
    InvalidSettings,
    JobAlreadyLive,
    JobHasEnded,
    JobNotFound,
    JobPaused,
    LeaseLost,
    MoveForbidden,
    ParentLost,
    PathTaken,
    QueueError,
    RetriesUsedUp,
    VideoNotFound,
)
from jobqueue_bridge.idempotency import KeyReused
from jobqueue_bridge.reports import NoReport
from jobqueue_bridge.strict_json import MalformedJson
from jobqueue_bridge.tokens import (
    BadToken,
    CodeSpent,
    NoToken,
    RoleForbidden,
    SignedElsewhere,
    SignedInTooLongAgo,
)

RETRY_AFTER_S = 5


class TooManyRequests(QueueError):
    def __init__(self, per_minute: int, retry_after_s: int) -> None:
        self.per_minute, self.retry_after_s = per_minute, retry_after_s
        super().__init__(f"More than {per_minute} changes a minute: try again in {retry_after_s} s")


STATUS_OF: Mapping[type[QueueError], int] = MappingProxyType(
    {
        MalformedJson: 400,
        NoToken: 401,
        BadToken: 401,
        CodeSpent: 401,
        RoleForbidden: 403,
        JobNotFound: 404,
        VideoNotFound: 404,
        FileNotThere: 404,
        ChangeNotFound: 404,
        NoReport: 404,
        AmbiguousJob: 409,
        AmbiguousVideo: 409,
        AmbiguousChange: 409,
        ChangeUnderWay: 409,
        PathTaken: 409,
        JobAlreadyLive: 409,
        JobHasEnded: 409,
        JobPaused: 409,
        RetriesUsedUp: 409,
        ParentLost: 409,
        LeaseLost: 409,
        MoveForbidden: 409,
        SignedElsewhere: 409,
        SignedInTooLongAgo: 409,
        InvalidJob: 422,
        InvalidPolicy: 422,
        KeyReused: 422,
        TooManyRequests: 429,
        InvalidSettings: 500,
        DatabaseUnreachable: 503,
    }
)

_HEADERS_OF: Mapping[int, Mapping[str, str]] = MappingProxyType({503: {"Retry-After": str(RETRY_AFTER_S)}})


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()  # ASCII, so that nothing a client sent can fail to encode


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "about:blank",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> ProblemResponse:
    document = {"type": kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return ProblemResponse(document, status, headers={**_HEADERS_OF.get(status, {}), **(headers or {})})


def problem_of(error: QueueError) -> ProblemResponse:
    """What a client is told of an error of ours, with its facts as members of the document."""
    status = STATUS_OF.get(type(error), 500)
    kind = _urn(re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower())
    return problem(status, _detail(error), kind=kind, headers=_challenge(error), **_facts(error))


def _urn(name: str) -> str:
    return f"urn:media-pipelines:problem:{name}"


def _detail(error: QueueError) -> str:
    """A database's address and its own words are the operator's, not a client's."""
    return "The database does not answer" if isinstance(error, DatabaseUnreachable) else str(error)


def _challenge(error: QueueError) -> Mapping[str, str]:
    """RFC 6750, 3: what kind of token is wanted, and whether one was refused."""
    match error:
        case NoToken():
            return {"WWW-Authenticate": 'Bearer realm="media-pipelines"'}
        case TooManyRequests(retry_after_s=seconds):
            return {"Retry-After": str(seconds)}
        case BadToken() | CodeSpent():
            return {"WWW-Authenticate": 'Bearer realm="media-pipelines", error="invalid_token"'}
        case _:
            return {}


def _facts(error: QueueError) -> dict[str, Any]:
    match error:
        case InvalidJob(problems=problems):
            return {"errors": _field_errors(problems)}
        case JobAlreadyLive(job_id=job_id):
            return {"jobId": str(job_id)}
        case JobHasEnded(job_id=job_id, status=status):
            return {"jobId": str(job_id), "jobStatus": status.value}
        case RetriesUsedUp(job_id=job_id) | ParentLost(job_id=job_id):
            return {"jobId": str(job_id)}
        case MoveForbidden(job_id=job_id, current=current, wanted=wanted):
            return {"jobId": str(job_id), "jobStatus": current.value, "wanted": wanted.value}
        case _:
            return {}


def _field_errors(problems: Iterable[FieldProblem]) -> list[dict[str, str]]:
    return [{"field": item.field, "problem": item.problem} for item in problems]


def _request_problem(item: Mapping[str, Any]) -> FieldProblem:
    _, *names = item["loc"]
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown field"
    elif item["type"] not in ("missing", "value_error"):
        message = f"{message} (got {str(item['input'])[:80]!r})"
    return FieldProblem(".".join(map(str, names)) or "body", message)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's account of these errors; `document_schema` adds what it refers to."""
    content = {ProblemResponse.media_type: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def document_schema(app: FastAPI) -> None:
    """Given as a `model`, FastAPI would document every problem as plain JSON, too."""
    framework_made = app.openapi

    def openapi() -> dict[str, Any]:
        document = framework_made()
        problem_schema = Problem.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**problem_schema.pop("$defs"), "Problem": problem_schema}
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def answer_with_problems(app: FastAPI) -> None:
    """Every error that leaves the app is a problem document."""
    app.add_exception_handler(QueueError, _on_queue_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for kind in (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError):
        app.add_exception_handler(kind, _on_database_down)
    app.add_exception_handler(sa.exc.ProgrammingError, _on_refused_statement)
    app.add_exception_handler(sa.exc.DataError, _on_unstorable)
    app.add_exception_handler(Exception, _on_bug)


def _on_queue_error(request: Request, error: Exception) -> ProblemResponse:
    del request
    assert isinstance(error, QueueError)
    return problem_of(error)


def _on_invalid_request(request: Request, error: Exception) -> ProblemResponse:
    del request
    assert isinstance(error, RequestValidationError)
    problems = [_request_problem(item) for item in error.errors()]
    detail = "; ".join(map(str, problems))
    return problem(422, detail, kind=_urn("invalid-request"), errors=_field_errors(problems))


def _on_http_exception(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return problem(404, "Nothing is at this address: see /docs")
    if error.status_code == 405:
        allowed = ", ".join(sorted(_methods_at(request)))
        return problem(405, f"This address takes {allowed}", headers={"Allow": allowed})
    return problem(error.status_code, str(error.detail), headers=error.headers)


def _methods_at(request: Request) -> set[str]:
    """Of every route at this address; the framework names those of the first one alone."""
    matching = (route for route in request.app.state.routes if route.matches(request.scope)[0] != Match.NONE)
    return {method for route in matching for method in route.methods}


def _on_database_down(request: Request, error: Exception) -> ProblemResponse:
    del request
    return problem_of(DatabaseUnreachable("", str(error)))


def _on_refused_statement(request: Request, error: Exception) -> ProblemResponse:
    """A table or column that is not there yet: the database waits for its migration. Otherwise it is a bug."""
    assert isinstance(error, sa.exc.ProgrammingError)
    if not isinstance(error.orig, UndefinedTable | UndefinedColumn):
        raise error
    return _on_database_down(request, error)


def _on_unstorable(request: Request, error: Exception) -> ProblemResponse:
    del request, error
    return problem(422, "A value in the request cannot be stored")


def _on_bug(request: Request, error: Exception) -> ProblemResponse:
    """The error itself goes to the server's log."""
    del request, error
    return problem(500, "This is a fault of the server; its log says more")
