"""`restore`: bring back what a job replaced or moved."""

from contextlib import suppress

import sqlalchemy as sa
import typer

from jobqueue_bridge import archive, audit, file_changes, videos
from jobqueue_bridge.errors import ChangeNotFound, JobNotFound, VideoNotFound
from jobqueue_bridge.file_changes import ChangeAction, FileChange
from jobqueue_bridge.settings import load_settings
from media_pipelines.cli.database import engine_for
from media_pipelines.cli.output import USAGE, err, fail, print_json
from media_pipelines.cli.printable import printable
from media_pipelines.journal import Journal
from media_pipelines.media.errors import MediaError
from media_pipelines.platform.asking import who


def restore(
    reference: str = typer.Argument(
        metavar="ID", help="Of a video, a job or a change; its first characters; or a video's path."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what would be done, do nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Undo the latest change of a video: the kept original comes back, or the moved file."""
    settings = load_settings()
    engine = engine_for(settings)
    journal = Journal(engine, settings.media_library_path)
    if not dry_run:
        for note in journal.recover_abandoned():
            err.print(printable(note), markup=False)
    with engine.connect() as connection:
        change = _named(connection, reference)
    try:
        if dry_run:
            journal.require_undoable(change)
        else:
            change = journal.undo(change)
            with engine.begin() as connection:
                audit.record(connection, who(), "video.restore", change.job_id, **_facts(change))
    except (MediaError, OSError) as error:
        fail(printable(str(error)))
    if as_json:
        print_json(_wire(change, dry_run=dry_run))
    else:
        typer.echo(printable(_said(change, dry_run=dry_run)))


def _named(connection: sa.Connection, reference: str) -> FileChange:
    """The change that an id names, or the latest of the job or the video that it names; exit 2 where that is none."""
    found: dict[str, FileChange | None] = {}
    with suppress(ChangeNotFound):
        found["change"] = file_changes.find(connection, reference)
    with suppress(JobNotFound):
        found["job"] = file_changes.done_by(connection, archive.find_id(connection, reference))
    with suppress(VideoNotFound, UnicodeEncodeError):
        found["video"] = file_changes.latest_done(connection, videos.find(connection, reference).id)
    changes = {change.id: change for change in found.values() if change is not None}
    if len(changes) > 1:
        fail(f"{printable(reference)} fits a {' and a '.join(found)}: give more characters", USAGE)
    if not found:
        fail(f"No video, job or change {printable(reference)}", USAGE)
    if not changes:
        fail(f"Nothing that this {' or '.join(found)} did is left to undo")
    return next(iter(changes.values()))


def _said(change: FileChange, *, dry_run: bool) -> str:
    would = "would be" if dry_run else "is"
    if change.action is ChangeAction.MOVE:
        return f"{change.target} {would} {change.path} again"
    return f"{change.path} {would} the original again"


def _facts(change: FileChange) -> dict[str, str]:
    return {"changeId": str(change.id), "videoId": str(change.video_id), "path": change.path}


def _wire(change: FileChange, *, dry_run: bool) -> dict[str, object]:
    return {
        "changeId": change.id,
        "videoId": change.video_id,
        "jobId": change.job_id,
        "action": change.action.value,
        "path": change.path,
        "replaced": change.target,
        "state": change.state.value,
        "dryRun": dry_run,
    }
