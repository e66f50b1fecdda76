"""Reports on the library, as `library_report` jobs have made them."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response, Security

from jobqueue_bridge import reports
from jobqueue_bridge.api import wire_report
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dependencies import Database
from jobqueue_bridge.api.problems import documented

router = APIRouter(
    prefix="/api/media",
    tags=["reports"],
    dependencies=[Security(bearer)],
    responses=documented(400, 401, 403, 422, 503),
)
_ETAG: dict[str, Any] = {"ETag": {"schema": {"type": "string"}, "description": "Of this report; for If-None-Match."}}
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "It is the one that If-None-Match names.", "headers": _ETAG}
}


@router.get(
    "/report",
    response_model=wire_report.MadeReport,
    responses={200: {"headers": _ETAG}, **_NOT_MODIFIED, **documented(404)},
)
def get_report(
    database: Database,
    known: Annotated[str | None, Header(alias="If-None-Match", max_length=1000)] = None,
) -> Response:
    """The newest. 404 while there is none: a `library_report` job makes it."""
    with database.connect() as connection:
        number = reports.newest_number(connection)
        if number is not None and known is not None and _etag(number) in known:
            return Response(status_code=304, headers={"ETag": _etag(number)})
        found = reports.newest(connection)
    answer = wire_report.MadeReport.of(found).model_dump_json(by_alias=True)
    return Response(answer, media_type="application/json", headers={"ETag": _etag(found.id)})


def _etag(number: int) -> str:
    return f'"report-{number}"'


@router.get("/reports")
def list_reports(
    database: Database, limit: Annotated[int, Query(ge=1, le=reports.KEPT)] = 100
) -> wire_report.ReportList:
    """Their key figures, newest first: what has become of the library over time."""
    with database.connect() as connection:
        found = reports.page(connection, limit)
    return wire_report.ReportList(data=[wire_report.MadeFigures.model_validate(one) for one in found])
