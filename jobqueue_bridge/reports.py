"""Every statement that a report on the library needs: what it reads of videos and jobs, and `library_reports`.

A million jobs are added up where they are; of videos come rows, without their paths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.errors import QueueError
from jobqueue_bridge.library_report import FailureReason, KeyFigures, LibraryReport
from jobqueue_bridge.tables import jobs, jobs_archive, library_reports, utcnow, videos
from jobqueue_bridge.vocabulary import JobStatus, JobType

KEPT = 400
_VIDEOS_AT_ONCE = 20_000
_REASONS_SHOWN = 30
# What another program wrote may be as long as it likes.
_WORD, _FIRST_LINE = 60, 300
_SAVES = (JobType.REENCODE_STREAMING, JobType.TRANSCODE)


class NoReport(QueueError):
    def __init__(self) -> None:
        super().__init__(
            "There is no report yet: a library_report job makes one, which `media-pipelines report --refresh` asks for"
        )


# What a report is made of


@dataclass(frozen=True)
class Held:
    """A video as a report counts it. `created_s`: seconds since 1970, of rows of others also infinite."""

    id: UUID
    size_bytes: int | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    bitrate_kbps: int | None
    video_codec: str | None
    quality: str | None
    directory_type: str | None
    orientation: str | None
    is_valid: bool | None
    is_missing: bool
    has_thumbnail: bool
    is_rendition: bool
    created_s: float


_COMPUTED: dict[str, sa.ColumnElement[Any]] = {
    "is_missing": videos.c.missing_since.is_not(None),
    "has_thumbnail": videos.c.thumbnail_path.is_not(None),
    "is_rendition": videos.c.source_video_id.is_not(None),
    "created_s": sa.cast(sa.func.extract("epoch", videos.c.created_at), sa.Double),
    **{
        name: sa.func.left(videos.c[name], _WORD)
        for name in ("video_codec", "quality", "directory_type", "orientation")
    },
}
HELD = tuple(item.name for item in fields(Held))


def held(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    """All videos, in portions; each row has the fields of Held."""
    columns = [_COMPUTED[name] if name in _COMPUTED else videos.c[name] for name in HELD]
    found = connection.execution_options(yield_per=_VIDEOS_AT_ONCE).execute(
        sa.select(*(column.label(name) for column, name in zip(columns, HELD, strict=True)))
    )
    return found.partitions()


@dataclass(frozen=True)
class Saved:
    """What completed jobs of one month, type and encoder read and wrote."""

    month: str
    type: str
    encoder: str
    jobs: int
    before_bytes: int
    after_bytes: int


def saved(connection: sa.Connection) -> list[Saved]:
    """Of all re-encodes and transcodes that say so, the archive's too."""
    ended = _ended(JobStatus.COMPLETED, types=[kind.value for kind in _SAVES]).subquery()
    encoder = sa.func.left(sa.func.nullif(ended.c.result["encoder"].astext, ""), _WORD)
    sizes = sa.select(
        sa.func.to_char(ended.c.ended_at, "YYYY-MM").label("month"),
        ended.c.type,
        sa.func.coalesce(encoder, "unknown").label("encoder"),
        _size(ended.c.result, "sourceSizeBytes").label("before"),
        _size(ended.c.result, "sizeBytes").label("after"),
    ).subquery()
    key = (sizes.c.month, sizes.c.type, sizes.c.encoder)
    rows = connection.execute(
        sa.select(*key, sa.func.count(), sa.func.sum(sizes.c.before), sa.func.sum(sizes.c.after))
        .where(sizes.c.before.is_not(None), sizes.c.after.is_not(None))
        .group_by(*key)
        .order_by(*key)
    )
    return [
        Saved(month, kind, encoder, count, int(before), int(after))
        for month, kind, encoder, count, before, after in rows
    ]


def failures(connection: sa.Connection, days: int) -> tuple[int, list[FailureReason]]:
    """How many jobs ended as failed in the last days, and the commonest reasons."""
    ended = _ended(JobStatus.FAILED, days=days).subquery()
    failed = sa.select(ended.c.id, ended.c.type, _reason(ended.c.error).label("reason"), ended.c.ended_at).subquery()
    key, count = (failed.c.type, failed.c.reason), sa.func.count()
    latest = sa.func.array_agg(pg.aggregate_order_by(failed.c.id, failed.c.ended_at.desc(), failed.c.id))
    commonest = (
        sa.select(
            *key,
            count.label("jobs"),
            sa.func.max(failed.c.ended_at).label("last_at"),
            sa.type_coerce(latest, pg.ARRAY(sa.Uuid)).label("latest"),
            sa.func.sum(count).over().label("all"),
        )
        .group_by(*key)
        .order_by(count.desc(), *key)
        .limit(_REASONS_SHOWN)
        .subquery()
    )
    found = commonest.c
    columns = [*(found[name] for name in ("type", "reason", "jobs", "last_at")), found.latest[1], found["all"]]
    rows = connection.execute(sa.select(*columns).order_by(found.jobs.desc(), found.type, found.reason)).all()
    told = [
        FailureReason(
            type=kind[:_WORD], reason=why or "no reason is known", jobs=number, last_at=last_at, job_id=job_id
        )
        for kind, why, number, last_at, job_id, _ in rows
    ]
    return int(rows[0][-1]) if rows else 0, told


def _ended(status: JobStatus, *, types: Sequence[str] | None = None, days: int | None = None) -> sa.CompoundSelect[Any]:
    """Jobs of the queue and of the archive that ended so."""
    columns = ("id", "type", "ended_at", "result", "error")
    queued_at = sa.func.coalesce(jobs.c.completed_at, jobs.c.created_at)
    archived = jobs_archive.c.job
    of_queue = [jobs.c.id, jobs.c.type, _believable(queued_at), jobs.c.result, jobs.c.error]
    of_archive = [
        jobs_archive.c.id,
        jobs_archive.c.type,
        _believable(jobs_archive.c.completed_at),
        archived["result"],
        archived["error"].astext,
    ]
    return sa.union_all(
        *(
            sa.select(*(value.label(name) for value, name in zip(values, columns, strict=True))).where(
                table.c.status == sa.bindparam("ended", status.value, literal_execute=True, unique=True),
                *([table.c.type.in_(types)] if types is not None else []),
                *([at >= _since(days)] if days is not None else []),
            )
            for table, values, at in (
                (jobs, of_queue, queued_at),
                (jobs_archive, of_archive, jobs_archive.c.completed_at),
            )
        )
    )


def _believable(at: sa.ColumnElement[Any]) -> sa.ColumnElement[datetime]:
    """Another program's row may say that it ended in the year 294276, or never."""
    within = sa.func.greatest(sa.func.least(at, utcnow()), sa.literal_column("timestamp '1970-01-01'"))
    return sa.type_coerce(within, jobs.c.created_at.type)


def _since(days: int) -> sa.ColumnElement[datetime]:
    return sa.type_coerce(utcnow() - sa.func.make_interval(0, 0, 0, days), jobs.c.created_at.type)


def _size(result: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[Any]:
    """Bytes, where the result says a number that can be one. As the sums of all jobs do it."""
    number = sa.cast(result[key].astext, sa.Numeric)
    is_number = sa.func.jsonb_typeof(result[key]) == "number"
    return sa.case((sa.case((is_number, number.between(0, 10**15)), else_=False), number))


# An id, a path, what stands in quotation marks, a long or broken number: what differs from video to video.
_DIFFERS = (
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"'[^']*'|\"[^\"]*\"",
    r"\S*/\S*",
    r"[0-9]+\.[0-9]+|[0-9]{4,}",
)


def _reason(error: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """The first line of an error, so that equal faults of many videos are one."""
    text: sa.ColumnElement[Any] = sa.func.left(sa.func.split_part(sa.func.coalesce(error, ""), "\n", 1), _FIRST_LINE)
    for pattern in _DIFFERS:
        text = sa.func.regexp_replace(text, pattern, "…", "g")
    return sa.func.btrim(text)


# What has been made


@dataclass(frozen=True)
class Made:
    id: int
    job_id: UUID | None
    made_at: datetime
    key_figures: KeyFigures


@dataclass(frozen=True)
class Whole(Made):
    report: LibraryReport


_MADE = [library_reports.c[item.name] for item in fields(Made)]


def save(connection: sa.Connection, job_id: UUID, report: LibraryReport) -> int:
    """Returns its number. The oldest beyond those that are kept go."""
    values = {"key_figures": report.key_figures().model_dump(mode="json"), "report": report.model_dump(mode="json")}
    number: int = connection.scalars(
        sa.insert(library_reports).values(job_id=job_id, **values).returning(library_reports.c.id)
    ).one()
    last_kept = (
        sa.select(library_reports.c.id).order_by(library_reports.c.id.desc()).offset(KEPT).limit(1).scalar_subquery()
    )
    connection.execute(sa.delete(library_reports).where(library_reports.c.id <= last_kept))
    return number


def newest(connection: sa.Connection) -> Whole:
    """Raises NoReport."""
    row = connection.execute(
        sa.select(*_MADE, library_reports.c.report).order_by(library_reports.c.id.desc()).limit(1)
    ).one_or_none()
    if row is None:
        raise NoReport
    return Whole(**vars(_made(row)), report=LibraryReport.model_validate(row.report))


def newest_number(connection: sa.Connection) -> int | None:
    found: int | None = connection.scalar(sa.select(sa.func.max(library_reports.c.id)))
    return found


def page(connection: sa.Connection, limit: int) -> list[Made]:
    """Newest first."""
    rows = connection.execute(sa.select(*_MADE).order_by(library_reports.c.id.desc()).limit(limit))
    return [_made(row) for row in rows]


def _made(row: Any) -> Made:
    return Made(row.id, row.job_id, row.made_at, KeyFigures.model_validate(row.key_figures))
