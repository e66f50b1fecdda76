"""`jobs cleanup`: what may go. Asks before it removes anything."""

from collections.abc import Sequence

import typer

from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import load_settings
from media_pipelines.cli.output import FAILED, USAGE, err, fail, print_json
from media_pipelines.cli.printable import local_time, printable, size
from media_pipelines.journal import Journal, Kept

_SAID = {
    "kept": "{size:>9}  {path}",
    "missing": "  missing  {path}",
    "needed": "    stays  {path} (its change was rolled back, or it or what took its place was changed since)",
}


def cleanup(
    include_backups: bool = typer.Option(False, "--include-backups", help="Remove the originals that jobs kept."),
    older_than: float = typer.Option(0, "--older-than", metavar="DAYS", min=0, max=100_000, help="Only what is older."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show it, remove nothing."),
    force: bool = typer.Option(False, "--force", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Remove what is no longer needed."""
    if not include_backups:
        fail("Say what to clean up: --include-backups", USAGE)
    settings = load_settings()
    journal = Journal(engine_for(settings), settings.media_library_path)
    found = journal.kept_originals(older_than)
    going = [kept for kept in found if kept.state == "kept"]
    if not as_json:
        _show(found, going)
    removed = 0
    if going and not dry_run:
        if not force and not typer.confirm("Remove them for good? Their changes can then not be undone.", err=True):
            raise SystemExit(FAILED)
        removed = _remove(journal, going)
        if not as_json:
            typer.echo(f"Removed {removed}")
    if as_json:
        print_json({"originals": [_wire(kept) for kept in found], "removed": removed})
    if not dry_run and removed < len(going):
        raise SystemExit(FAILED)


def _show(found: Sequence[Kept], going: Sequence[Kept]) -> None:
    for kept in found:
        line = _SAID[kept.state].format(size=size(kept.size_bytes), path=printable(str(kept.change.backup)))
        typer.echo(f"{local_time(kept.change.finished_at)}  {line}")
    typer.echo(f"{len(going)} originals kept, {size(sum(kept.size_bytes for kept in going))}")


def _remove(journal: Journal, going: Sequence[Kept]) -> int:
    removed = 0
    for kept in going:
        try:
            is_gone = journal.remove_kept(kept)
        except OSError as error:
            err.print(printable(f"{kept.change.backup}: {error.strerror}"), style="red", markup=False)
            continue
        if not is_gone:
            err.print(printable(f"{kept.change.backup} stays: it has changed meanwhile"), style="red", markup=False)
        removed += is_gone
    return removed


def _wire(kept: Kept) -> dict[str, object]:
    change = kept.change
    return {
        "changeId": change.id,
        "videoId": change.video_id,
        "path": change.backup,
        "state": kept.state,
        "sizeBytes": kept.size_bytes,
        "keptAt": change.finished_at,
    }
