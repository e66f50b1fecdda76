"""`report`: what the library holds and what the queue did for it, as the newest library_report job counted it."""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
import typer

from jobqueue_bridge import audit, queue, reports
from jobqueue_bridge.api.wire_report import MadeReport
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.library_report import LibraryReport, LibraryShare, LibraryTotals, SavedShare
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines.cli.database import engine_for, require_platform
from media_pipelines.cli.output import err, print_json, print_table
from media_pipelines.cli.printable import local_time, printable, size
from media_pipelines.cli.watching import end_with, wait_for
from media_pipelines.platform.asking import who

_ROWS = 8


def report(
    refresh: bool = typer.Option(False, "--refresh", help="Ask for a new one and wait until it is made."),
    days: int | None = typer.Option(
        None, "--days", help="With --refresh: how many days back growth and failures are looked at; default: 90."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, with the API's field names."),
) -> None:
    """Show the newest report on the library."""
    settings = load_settings()
    if days is not None and not refresh:
        raise typer.BadParameter("goes with --refresh: the newest report has its days", param_hint="--days")
    if refresh:
        _make(settings, {} if days is None else {"days": days})
    with engine_for(settings).connect() as connection:
        made = MadeReport.of(reports.newest(connection))
    if as_json:
        print_json(made.model_dump(mode="json"))
    else:
        _print(made)


def _make(settings: Settings, params: dict[str, int]) -> None:
    with engine_for(settings).begin() as connection:
        job = _enqueued_or_live(connection, params, settings)
        require_platform(settings)
    end_with(wait_for(settings, job))


def _enqueued_or_live(connection: sa.Connection, params: dict[str, int], settings: Settings) -> queue.Job:
    """One that is being made is as good as a new one."""
    try:
        asked = queue.NewJob(JobType.LIBRARY_REPORT.value, params, origin=Origin.CLI)
        job = queue.enqueue(connection, asked, settings)
    except JobAlreadyLive as error:
        err.print(f"Job {error.job_id} makes one already")
        return queue.get(connection, error.job_id)
    audit.record(connection, who(), "job.create", job.id, type=job.type)
    return job


def _print(made: MadeReport) -> None:
    told = made.report
    typer.echo(f"Report {made.id} of {local_time(made.made_at)}")
    for title, columns, rows in _tables(told):
        typer.echo(f"\n{title}")
        print_table(columns, rows)
    if told.duplicates.left_out:
        typer.echo(f"\n{told.duplicates.left_out}")


def _tables(told: LibraryReport) -> Iterator[tuple[str, Sequence[str], list[Sequence[object]]]]:
    yield "Library", ("", ""), _totals(told)
    for name, shares in {
        "codec": told.by_codec,
        "quality": told.by_quality,
        "folder": told.by_directory,
        "orientation": told.by_orientation,
    }.items():
        yield f"By {name}", (name, "videos", "size", "hours", "share of size"), _shares(shares, told.totals)
    if told.savings.jobs:
        saved = [*told.savings.by_type, *told.savings.by_encoder]
        yield "Saved by encoding", ("what", "jobs", "before", "after", "saved"), [_saved(share) for share in saved]
    if told.wasteful.videos:
        rows: list[Sequence[object]] = [
            (size(one.avoidable_bytes), size(one.size_bytes), one.bitrate_kbps, one.fair_kbps, printable(one.path))
            for one in told.wasteful.worst[:_ROWS]
        ]
        yield "Worth encoding", ("avoidable", "size", "kbps", "fair kbps", "video"), rows
    if told.duplicates.groups:
        rows = [
            (size(group.spare_bytes), group.videos, group.kind, printable(group.paths[0]))
            for group in told.duplicates.largest[:_ROWS]
        ]
        yield "There twice", ("to spare", "videos", "", "best"), rows
    if told.failures.reasons:
        rows = [(one.jobs, printable(one.type), printable(one.reason)) for one in told.failures.reasons[:_ROWS]]
        yield f"Failed in {told.days} days", ("jobs", "type", "reason"), rows


def _totals(told: LibraryReport) -> list[Sequence[object]]:
    totals, duplicates = told.totals, told.duplicates
    new = sum(step.videos for step in told.growth.steps)
    return [
        ("videos", f"{totals.videos}, {new} of them new in {told.days} days"),
        ("size", size(totals.size_bytes)),
        ("length", f"{totals.duration_seconds / 3600:.1f} h"),
        ("valid", f"{totals.valid}, invalid {totals.invalid}, not validated {totals.unchecked}"),
        ("missing", totals.missing),
        ("without thumbnail", totals.without_thumbnail),
        ("saved by encoding", _signed(told.savings.saved_bytes)),
        ("to spare of duplicates", "not looked for" if duplicates.left_out else size(duplicates.spare_bytes)),
        ("avoidable by encoding", f"{size(told.wasteful.avoidable_bytes)} of {told.wasteful.videos} videos"),
    ]


def _shares(shares: Sequence[LibraryShare], totals: LibraryTotals) -> list[Sequence[object]]:
    whole = max(1, totals.size_bytes)
    return [
        (
            printable(share.name),
            share.videos,
            size(share.size_bytes),
            f"{share.duration_seconds / 3600:.1f}",
            f"{100 * share.size_bytes / whole:5.1f} %",
        )
        for share in shares[:_ROWS]
    ]


def _saved(share: SavedShare) -> Sequence[object]:
    sizes = (size(share.before_bytes), size(share.after_bytes), _signed(share.saved_bytes))
    return (printable(share.name), share.jobs, *sizes)


def _signed(size_bytes: int) -> str:
    return f"{'-' if size_bytes < 0 else ''}{size(abs(size_bytes))}"
