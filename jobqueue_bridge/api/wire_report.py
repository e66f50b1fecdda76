"""What goes over the wire of reports: the report as it is stored, with its number, its job and its instant."""

from typing import Self
from uuid import UUID

from jobqueue_bridge.api.wire import Instant, Wire
from jobqueue_bridge.library_report import KeyFigures, LibraryReport
from jobqueue_bridge.reports import Whole


class MadeFigures(Wire):
    id: int
    job_id: UUID | None
    made_at: Instant
    key_figures: KeyFigures


class MadeReport(MadeFigures):
    report: LibraryReport

    @classmethod
    def of(cls, found: Whole) -> Self:
        return cls.model_validate(found)


class ReportList(Wire):
    data: list[MadeFigures]
