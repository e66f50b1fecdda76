"""`jobs clear`: finished jobs leave the queue. They move to the archive, so that nothing is lost."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum

import sqlalchemy as sa
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobqueue_bridge import audit, retention
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.database import engine_for
from media_pipelines.cli.output import FAILED, err, print_json
from media_pipelines.platform.asking import who


class Finished(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ALL = "all"

    @property
    def statuses(self) -> Sequence[JobStatus]:
        return retention.FINISHED if self is Finished.ALL else [JobStatus(self.value)]


def clear(
    status: Finished = typer.Option(Finished.COMPLETED, "--status", help="Which finished jobs to remove."),
    force: bool = typer.Option(False, "--force", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Remove finished jobs from the queue. They move to the archive, where `jobs show` still finds them."""
    engine = engine_for(load_settings())
    with engine.connect() as connection:
        count = retention.count_finished(connection, statuses=status.statuses)
    if count and not force and not typer.confirm(f"Move {jobs_in_words(count, status)} to the archive?", err=True):
        raise SystemExit(FAILED)
    cleared = 0
    if count:
        with engine.begin() as connection:
            audit.record(connection, who(), "queue.clear", status=status.value, jobs=count)
        cleared = archive(engine, count, statuses=status.statuses)
    if as_json:
        print_json({"status": status.value, "cleared": cleared})
    elif cleared:
        typer.echo(f"Cleared {jobs_in_words(cleared, status)}; `jobs show` still finds them, in the archive")
    else:
        typer.echo(f"No {'finished' if status is Finished.ALL else status.value} jobs to clear")


def jobs_in_words(count: int, status: Finished = Finished.ALL) -> str:
    """1 → "1 completed job"."""
    kind = "finished" if status is Finished.ALL else status.value
    return f"{count} {kind} job{'s' * (count != 1)}"


def archive(
    engine: sa.Engine,
    count: int,
    older_than_days: float | None = None,
    statuses: Sequence[JobStatus] = retention.FINISHED,
) -> int:
    """Move them, with a bar on stderr where somebody looks; how many it were."""
    moved = 0
    with bar("Archiving", count) as advance:
        for batch in retention.archive_finished(engine, older_than_days, statuses):
            moved += batch
            advance(batch)
    return moved


@contextmanager
def bar(what: str, count: int) -> Iterator[Callable[[int], None]]:
    """On stderr where somebody looks; gives what to call with each number that is done."""
    columns = (TextColumn(what), BarColumn(bar_width=30), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("", total=count)
        yield lambda done: progress.advance(task, done)
