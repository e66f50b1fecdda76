"""Count what the library holds and what the queue has done for it: tables, numbers to plot over time, pictures."""

import base64
from collections.abc import Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from jobqueue_bridge import history, params, reports, videos
from jobqueue_bridge.library_report import Duplicates, Failures, LibraryReport, LibraryShare, TypeOutcomes
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.ops.params import typed
from media_pipelines.ops.videos import table
from media_pipelines.report import figures, pictures
from media_pipelines.report.frame import frame
from media_pipelines.report.savings import savings
from media_pipelines.report.twice import LOOKED_AT_MOST, found_twice
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

if TYPE_CHECKING:
    import pandas as pd

_GIGA = 1e9


@dg.op(
    ins={"library_video": dg.In(dg.Nothing)},
    description="Read videos and jobs, work out the figures, keep them as a row, show them here.",
)
def report_on_library(context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.LibraryReport)
        report = make_report(attempt, wanted, queue, library.root)
        number = 0

        def keep(connection: Any) -> None:
            nonlocal number
            number = reports.save(connection, attempt.job.id, report)

        shown = _shown(report)
        totals = report.totals
        attempt.log(
            f"{totals.videos} videos, {totals.size_bytes / _GIGA:.3f} GB, {totals.duration_seconds / 3600:.1f} h"
        )
        attempt.complete(report.key_figures().model_dump(mode="json"), also=keep)
    return dg.Output(None, metadata={**shown, "report": f"number {number}"})


def make_report(attempt: Attempt, wanted: params.LibraryReport, queue: Queue, root: Path) -> LibraryReport:
    """Each part in a transaction of its own: none stays open while pandas works."""
    now = datetime.now(UTC)
    with queue.begin() as connection:
        known = frame(reports.held(connection), reports.HELD, now)
    _reached(attempt, 25, f"{len(known)} rows of videos read")
    there = figures.present(known)
    largest, wasteful = figures.largest(there), figures.wasteful(there)
    with queue.begin() as connection:
        paths = videos.paths(connection, [*largest["id"], *wasteful["id"].head(figures.SHOWN)])
        saved = savings(reports.saved(connection))
    _reached(attempt, 45, f"{saved.jobs} encodes added up")
    failures = _failures(queue, wanted.days)
    _reached(attempt, 60, f"{failures.jobs} failures of {wanted.days} days sorted by reason")
    twice = _twice(wanted, queue, root, there)
    _reached(attempt, 90, twice.left_out or f"{twice.groups} groups of duplicates among {twice.looked_at} videos")
    return LibraryReport(
        days=wanted.days,
        totals=figures.totals(known),
        by_codec=figures.shares(there, "video_codec"),
        by_quality=figures.shares(there, "quality"),
        by_resolution=figures.shares(there, "resolution"),
        by_directory=figures.shares(there, "directory_type"),
        by_orientation=figures.shares(there, "orientation"),
        savings=saved,
        duplicates=twice,
        growth=figures.growth(there, wanted.days, now),
        largest=figures.told(largest, paths),
        wasteful=figures.told_wasteful(wasteful, paths),
        failures=failures,
    )


def _reached(attempt: Attempt, percent: int, line: str) -> None:
    attempt.check()
    attempt.progress(percent)
    attempt.log(line)


def _failures(queue: Queue, days: int) -> Failures:
    with queue.begin() as connection:
        number, reasons = reports.failures(connection, days)
        ended = history.totals(connection)
    jobs: dict[str, dict[str, int]] = {}
    for one in ended:
        of_type = jobs.setdefault(one.type, {})
        of_type[one.outcome] = of_type.get(one.outcome, 0) + one.jobs
    outcomes = (JobStatus.COMPLETED.value, JobStatus.FAILED.value)
    by_type = [
        TypeOutcomes(type=kind[:60], **{name: max(0, counts.get(name, 0)) for name in outcomes})
        for kind, counts in sorted(jobs.items())
    ]
    return Failures(jobs=number, by_type=by_type, reasons=reasons)


def _twice(wanted: params.LibraryReport, queue: Queue, root: Path, there: "pd.DataFrame") -> Duplicates:
    originals = int((~there["is_rendition"]).sum())
    if not wanted.duplicates:
        return Duplicates(left_out="Duplicates were not asked for")
    if originals > LOOKED_AT_MOST:
        return Duplicates(left_out=f"Duplicates were not looked for: {originals} videos are more than {LOOKED_AT_MOST}")
    with queue.begin() as connection:
        known = videos.likenesses(connection)
    return found_twice(known, lambda path: _file(root, path))


def _file(root: Path, path: str) -> Hashable | None:
    try:
        status = (root / path).stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino)


# What the Dagster UI shows


def _shown(report: LibraryReport) -> dict[str, Any]:
    return {
        "overview": _overview(report),
        **_numbers(report),
        "codecs": _shares(report.by_codec),
        "qualities": _shares(report.by_quality),
        "folders": _shares(report.by_directory),
        "largest": table(
            ["video", "GB", "h", "codec"],
            [(one.path, _gb(one.size_bytes), _hours(one.duration_seconds), one.video_codec) for one in report.largest],
        ),
        "worth_encoding": table(
            ["video", "GB", "avoidable GB", "kbps", "fair kbps"],
            [
                (one.path, _gb(one.size_bytes), _gb(one.avoidable_bytes), one.bitrate_kbps, one.fair_kbps)
                for one in report.wasteful.worst
            ],
        ),
        "duplicates": table(
            ["proof", "videos", "GB to spare", "best"],
            [
                (group.proof, group.videos, _gb(group.spare_bytes), group.paths[0])
                for group in report.duplicates.largest
            ],
        ),
        "failures": table(
            ["jobs", "type", "reason"], [(one.jobs, one.type, one.reason) for one in report.failures.reasons]
        ),
    }


def _overview(report: LibraryReport) -> dg.MarkdownMetadataValue:
    """The plots, one below the other; each is a few kilobytes."""
    plots = {"Growth": pictures.growth, "Contents": pictures.contents, "Savings": pictures.savings}
    drawn = {name: picture for name, draw in plots.items() if (picture := draw(report)) is not None}
    shown = [f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})" for name, png in drawn.items()]
    return dg.MetadataValue.md("\n\n".join(shown) or "There is nothing to show yet.")


def _numbers(report: LibraryReport) -> dict[str, float | int]:
    """Under names that stay, since Dagster plots each over all materializations. What is not known has no point."""
    key = report.key_figures()
    numbers = {
        "videos": key.videos,
        "total_gb": _gb(key.size_bytes),
        "hours": round(key.duration_seconds / 3600, 2),
        "valid_percent": key.valid_percent,
        "missing": key.missing,
        "without_thumbnail": key.without_thumbnail,
        "saved_gb": _gb(key.saved_bytes),
        "duplicates_gb": None if key.duplicate_bytes is None else _gb(key.duplicate_bytes),
        "avoidable_gb": _gb(key.avoidable_bytes),
        "failed_jobs": key.failed_jobs,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _shares(shares: list[LibraryShare]) -> dg.TableMetadataValue:
    columns = {"name": "string", "videos": "int", "gb": "float", "hours": "float"}
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "name": share.name,
                    "videos": share.videos,
                    "gb": _gb(share.size_bytes),
                    "hours": round(share.duration_seconds / 3600, 2),
                }
            )
            for share in shares
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def _gb(size_bytes: float) -> float:
    return round(size_bytes / _GIGA, 3)


def _hours(duration_s: float | None) -> float | None:
    return None if duration_s is None else round(duration_s / 3600, 2)
