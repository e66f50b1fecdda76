"""`jobs …`: ask for work and look at it. Writes rows and reads them; the platform does the work."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
import typer

from jobqueue_bridge import archive, audit, lifecycle, logs, params, queue, stats, strict_json, videos
from jobqueue_bridge.api import wire
from jobqueue_bridge.api.dagster_address import dagster_address
from jobqueue_bridge.api.reading import archived_details, archived_log, details
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.strict_json import MalformedJson
from jobqueue_bridge.vocabulary import FINAL, PRIORITY_DEFAULT, JobStatus, JobType, Origin
from media_pipelines.cli.cleanup import cleanup
from media_pipelines.cli.clear import clear
from media_pipelines.cli.database import engine_for, require_platform
from media_pipelines.cli.finding import REFERENCE, find_anywhere, find_id
from media_pipelines.cli.job_text import CHILDREN_SHOWN, Family, everything, gpus, statistics, table
from media_pipelines.cli.lifecycle import cancel, pause, priority, resume, retry
from media_pipelines.cli.output import INTERRUPTED, err, out, print_json
from media_pipelines.cli.printable import printable, printable_lines
from media_pipelines.cli.recover import recover
from media_pipelines.cli.start import start
from media_pipelines.cli.watching import end_with, follow_log, wait_for
from media_pipelines.platform.asking import who

app = typer.Typer(help="Ask for jobs and look at them.", no_args_is_help=True)

for command in (cancel, pause, resume, retry, priority, clear, recover, cleanup, start):
    app.command()(command)

AS_JSON = typer.Option(False, "--json", help="Print JSON, with the API's field names.")


@app.command()
def create(
    kind: str = typer.Argument(metavar="TYPE", help=f"One of {', '.join(sorted(params.MODELS))}."),
    params_json: str = typer.Option("{}", "--params", metavar="JSON", help="What the type accepts."),
    rank: int = typer.Option(PRIORITY_DEFAULT, "--priority", help="1 (first) to 10 (last)."),
    vram: int | None = typer.Option(None, "--vram", metavar="MB", help="Default: what the type needs."),
    max_retries: int = typer.Option(3, "--max-retries"),
    after: str | None = typer.Option(
        None, "--after", metavar="ID", help="It waits until this job has completed; by id or its first characters."
    ),
    wait: bool = typer.Option(False, "--wait", help="Stay until it has ended; exit 0 only if it completed."),
    as_json: bool = AS_JSON,
) -> None:
    """Ask for a job. It waits in the queue until the platform runs: after `up`, or `jobs start`."""
    settings, raw = load_settings(), _parsed(params_json)
    asked = queue.NewJob(kind, raw, rank, vram_required=vram, max_retries=max_retries, origin=Origin.CLI)
    with engine_for(settings).begin() as connection:
        if after is not None:
            asked = replace(asked, parent_id=find_id(connection, after))
        job = queue.enqueue(connection, asked, settings)
        audit.record(connection, who(), "job.create", job.id, type=job.type)
        if wait:
            require_platform(settings)
    report(settings, job, wait=wait, as_json=as_json)


def _parsed(text: str) -> Any:
    try:
        return strict_json.parse(text)
    except MalformedJson as error:
        raise typer.BadParameter(str(error), param_hint="--params") from error


def report(settings: Settings, job: queue.Job, *, wait: bool, as_json: bool) -> None:
    """Print a job that was just asked for, after it has ended if wanted; exit 1 where it did not complete."""
    if wait:
        job = wait_for(settings, job)
    if as_json:
        print_json(wire.Job.model_validate(job).model_dump(mode="json"))
    else:
        note = f": {printable(job.waiting_reason)}" if job.held and job.waiting_reason else ""
        typer.echo(f"Job {job.id} ({printable(job.type)}) is {job.status}{note}")
    if wait:
        end_with(job)


@app.command("list")
def list_jobs(
    status: JobStatus | None = typer.Option(
        None, "--status", help="`queued`, as VPO means it, is all that waits: pending and queued."
    ),
    kind: JobType | None = typer.Option(None, "--type"),
    limit: int = typer.Option(50, "--limit", min=1, max=1_000_000),
    as_json: bool = AS_JSON,
) -> None:
    """List jobs, newest first."""
    with engine_for(load_settings()).connect() as connection:
        found = _page(connection, status, kind and kind.value, limit)
        video_paths = videos.paths(connection, {job.video_id for job in found.jobs if job.video_id})
    if as_json:
        print_json([wire.Job.model_validate(job).model_dump(mode="json") for job in found.jobs])
        return
    for line in table(found.jobs, video_paths, out.width if out.is_terminal else None):
        typer.echo(line)
    if found.total > len(found.jobs):
        err.print(f"{len(found.jobs)} of {found.total} jobs; --limit shows more")


def _page(connection: sa.Connection, status: JobStatus | None, kind: str | None, limit: int) -> queue.Page:
    wanted = [JobStatus.PENDING, JobStatus.QUEUED] if status == JobStatus.QUEUED else [status]
    pages = [queue.page(connection, queue.Filters(status=each, type=kind), limit=limit) for each in wanted]
    newest_first = sorted((job for page in pages for job in page.jobs), key=lambda job: job.created_at, reverse=True)
    return queue.Page(newest_first[:limit], sum(page.total for page in pages))


@app.command()
def show(reference: str = REFERENCE, as_json: bool = AS_JSON) -> None:
    """Show everything about one job."""
    settings = load_settings()
    dagster = dagster_address(settings, "")
    with engine_for(settings).connect() as connection:
        found = find_anywhere(connection, reference)
        if isinstance(found, archive.Archived):
            row, job = found.job, archived_details(found, dagster)
        else:
            row, job = found, details(connection, found, dagster)
        family = _family(connection, row)
    if as_json:
        print_json(job.model_dump(mode="json"))
        return
    for line in everything(job, row, family):
        typer.echo(line)


def _family(connection: sa.Connection, job: queue.Job) -> Family:
    found = archive.find_job(connection, job.parent_id) if job.parent_id else None
    return Family(found, queue.children(connection, job.id, limit=CHILDREN_SHOWN + 1))


@app.command("logs")
def print_log(
    reference: str = REFERENCE,
    follow: bool = typer.Option(False, "--follow", "-f", help="Stay until the job has ended."),
    tail: int | None = typer.Option(None, "--tail", min=1, max=1_000_000, help="Only the last so many lines."),
) -> None:
    """Print a job's log."""
    settings = load_settings()
    with engine_for(settings).connect() as connection:
        found = find_anywhere(connection, reference)
        if isinstance(found, archive.Archived):
            text, follow = archived_log(found, tail), False
        else:
            text, job_id = logs.text(connection, found.id, tail=tail), found.id
            follow = follow and found.status not in FINAL
    if not follow:
        for line in printable_lines(text) if text else ():
            typer.echo(line)
        return
    require_platform(settings)
    try:
        follow_log(settings, job_id, typer.echo)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


@app.command()
def status(as_json: bool = AS_JSON) -> None:
    """Count jobs by status, as VPO does: queued is all that waits. `--json` counts pending and queued apart."""
    settings = load_settings()
    with engine_for(settings).connect() as connection:
        found, switch = stats.read(connection), lifecycle.switch(connection)
    told = wire.Stats.of(found, settings)
    if as_json:
        print_json(told.model_dump(mode="json"))
        return
    for line in (*statistics(found.by_status), *gpus(told.gpus)):
        typer.echo(line)
    if switch.reason:
        err.print(f"{switch.reason.capitalize()}: `media-pipelines jobs resume --queue` ends it", markup=False)
