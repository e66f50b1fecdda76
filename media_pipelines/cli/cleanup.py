"""`jobs cleanup`: what may go: old jobs, kept originals, unfinished files. Asks before it removes anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
import typer

from jobqueue_bridge import audit, retention
from jobqueue_bridge.settings import Settings, load_settings
from media_pipelines import left_behind
from media_pipelines.cli.clear import archive, bar, jobs_in_words
from media_pipelines.cli.database import engine_for
from media_pipelines.cli.output import FAILED, err, print_json
from media_pipelines.cli.printable import local_time, printable, size
from media_pipelines.journal import Journal, Kept
from media_pipelines.left_behind import Orphan
from media_pipelines.platform.asking import who

Item = TypeVar("Item")

_SAID = {
    "kept": "{size:>9}  {path}",
    "missing": "  missing  {path}",
    "needed": "    stays  {path} (its change was rolled back, or it or what took its place was changed since)",
}


@dataclass(frozen=True)
class Found:
    """What there is to clean up. `originals` also names those that stay, each with its state."""

    jobs: int
    older_than_days: float
    originals: Sequence[Kept] | None
    orphans: Sequence[Orphan] | None

    @property
    def removable(self) -> list[Kept]:
        return [kept for kept in self.originals or () if kept.state == "kept"]

    @property
    def going(self) -> int:
        return self.jobs + len(self.removable) + len(self.orphans or ())


def cleanup(
    dry_run: bool = typer.Option(False, "--dry-run", help="Show it, remove nothing."),
    older_than: float | None = typer.Option(
        None,
        "--older-than",
        metavar="DAYS",
        min=0,
        max=100_000,
        help="Only what is older; default: for jobs MEDIA_RETENTION_DAYS, for files any age.",
    ),
    include_backups: bool = typer.Option(False, "--include-backups", help="Also the originals that jobs kept."),
    remove_temp: bool = typer.Option(False, "--remove-temp", help="Also unfinished files of attempts that are over."),
    force: bool = typer.Option(False, "--force", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Move old finished jobs to the archive; remove files that are no longer needed."""
    settings = load_settings()
    engine = engine_for(settings)
    journal = Journal(engine, settings.media_library_path)
    if remove_temp and not dry_run:  # what a crash left half-done is settled first: it may need an unfinished file
        for note in journal.recover_abandoned():
            err.print(printable(note), markup=False)
    found = _find(settings, engine, journal, older_than, backups=include_backups, temp=remove_temp)
    if not as_json:
        _show(found)
    archived, removed, swept = 0, 0, 0
    if found.going and not dry_run:
        if not force and not typer.confirm(_question(found), err=True):
            raise SystemExit(FAILED)
        with engine.begin() as connection:
            audit.record(connection, who(), "queue.cleanup", **_in_short(found))
        archived = archive(engine, found.jobs, found.older_than_days) if found.jobs else 0
        removed = _each("Removing originals", found.removable, lambda kept: _remove_kept(journal, kept))
        swept = _each("Removing unfinished files", found.orphans or (), _remove_orphan)
        if not as_json:
            typer.echo(f"Archived {archived}, removed {removed + swept}")
    if as_json:
        print_json(_wire(found, archived, removed, swept))
    if not dry_run and removed + swept < len(found.removable) + len(found.orphans or ()):
        raise SystemExit(FAILED)


def _find(
    settings: Settings, engine: sa.Engine, journal: Journal, older_than: float | None, *, backups: bool, temp: bool
) -> Found:
    jobs_days, files_days = older_than, older_than or 0
    if jobs_days is None:
        jobs_days = settings.retention_days
    with engine.connect() as connection:
        jobs = retention.count_finished(connection, jobs_days)
    return Found(
        jobs=jobs,
        older_than_days=jobs_days,
        originals=journal.kept_originals(files_days) if backups else None,
        orphans=left_behind.orphans(settings, files_days) if temp else None,
    )


def _show(found: Found) -> None:
    typer.echo(f"{jobs_in_words(found.jobs)} older than {found.older_than_days:g} days, for the archive")
    if found.originals is not None:
        for kept in found.originals:
            line = _SAID[kept.state].format(size=size(kept.size_bytes), path=printable(str(kept.change.backup)))
            typer.echo(f"{local_time(kept.change.finished_at)}  {line}")
        typer.echo(f"{len(found.removable)} originals kept, {size(sum(kept.size_bytes for kept in found.removable))}")
    if found.orphans is not None:
        for orphan in found.orphans:
            path = printable(str(orphan.path))
            typer.echo(f"{local_time(orphan.modified_at)}  {size(orphan.size_bytes):>9}  {path}")
        typer.echo(f"{len(found.orphans)} unfinished files, {size(sum(one.size_bytes for one in found.orphans))}")


def _question(found: Found) -> str:
    if found.removable:
        return "Remove them for good? Changes whose originals are removed can not be undone."
    return "Remove them for good?" if found.orphans else "Move them to the archive?"


def _in_short(found: Found) -> dict[str, Any]:
    return {
        "olderThanDays": found.older_than_days,
        "jobs": found.jobs,
        "originals": len(found.removable),
        "unfinished": len(found.orphans or ()),
    }


def _each(what: str, items: Sequence[Item], remove: Callable[[Item], bool]) -> int:
    """How many were removed."""
    removed = 0
    with bar(what, len(items)) as advance:
        for item in items:
            removed += remove(item)
            advance(1)
    return removed


def _remove_kept(journal: Journal, kept: Kept) -> bool:
    try:
        is_gone = journal.remove_kept(kept)
    except OSError as error:
        _complain(f"{kept.change.backup}: {error.strerror}")
        return False
    if not is_gone:
        _complain(f"{kept.change.backup} stays: it has changed meanwhile")
    return is_gone


def _remove_orphan(orphan: Orphan) -> bool:
    try:
        orphan.remove()
    except OSError as error:
        _complain(f"{orphan.path}: {error.strerror}")
        return False
    return True


def _complain(text: str) -> None:
    err.print(printable(text), style="red", markup=False)


def _wire(found: Found, archived: int, removed: int, swept: int) -> dict[str, object]:
    return {
        "olderThanDays": found.older_than_days,
        "jobs": found.jobs,
        "archived": archived,
        "originals": [_original(kept) for kept in found.originals or ()],
        "removed": removed,
        "unfinished": [_unfinished(orphan) for orphan in found.orphans or ()],
        "removedUnfinished": swept,
    }


def _original(kept: Kept) -> dict[str, object]:
    change = kept.change
    return {
        "changeId": change.id,
        "videoId": change.video_id,
        "path": change.backup,
        "state": kept.state,
        "sizeBytes": kept.size_bytes,
        "keptAt": change.finished_at,
    }


def _unfinished(orphan: Orphan) -> dict[str, object]:
    return {
        "path": orphan.path,
        "jobId": orphan.job_id,
        "attempt": orphan.attempt,
        "sizeBytes": orphan.size_bytes,
        "modifiedAt": orphan.modified_at,
    }
