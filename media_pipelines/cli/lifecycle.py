"""`jobs cancel`, `pause`, `resume`, `retry`, `priority`: of one job, of some, or of all that a filter finds."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
import typer
from rich.progress import track

from jobqueue_bridge import audit, lifecycle, queue
from jobqueue_bridge.api import wire
from jobqueue_bridge.lifecycle import Action, Applied
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import JobStatus, JobType, ResourceCategory
from media_pipelines.cli.database import engine_for
from media_pipelines.cli.finding import REFERENCE, find
from media_pipelines.cli.output import FAILED, err, print_json
from media_pipelines.cli.printable import printable
from media_pipelines.platform.asking import who

_SHOWN = 20

_REFERENCES = typer.Argument(None, metavar="[ID]...", help="Jobs, by id or its first characters.")
_STATUS = typer.Option(None, "--status", help="All jobs with this status.")
_TYPE = typer.Option(None, "--type", help="All jobs of this type.")
_CATEGORY = typer.Option(None, "--category", help="All jobs of this resource category.")
_ALL = typer.Option(False, "--all", help="All jobs for which it is possible.")
_FORCE = typer.Option(False, "--force", help="Do not ask.")
_AS_JSON = typer.Option(False, "--json", help="Print JSON.")
_DONE = {
    Action.CANCEL: "cancelled",
    Action.PAUSE: "paused",
    Action.RESUME: "resumed",
    Action.RETRY: "pending again",
}


def cancel(
    references: list[str] = _REFERENCES,
    status: JobStatus | None = _STATUS,
    kind: JobType | None = _TYPE,
    category: ResourceCategory | None = _CATEGORY,
    everything: bool = _ALL,
    force: bool = _FORCE,
    as_json: bool = _AS_JSON,
) -> None:
    """Cancel jobs, also running ones: their ffmpeg ends, what they were writing is removed."""
    filters = _filters(status, kind, category, everything=everything)
    report = _act(Action.CANCEL, references, filters, force=force)
    if left := lifecycle.wait_until_let_go(engine_for(load_settings())):
        err.print(f"{len(left)} runs have not confirmed their end yet: they are being stopped", markup=False)
    report.end(as_json=as_json)


def pause(
    references: list[str] = _REFERENCES,
    status: JobStatus | None = _STATUS,
    kind: JobType | None = _TYPE,
    category: ResourceCategory | None = _CATEGORY,
    everything: bool = _ALL,
    whole_queue: bool = typer.Option(False, "--queue", help="Start no more jobs at all; what runs goes on."),
    force: bool = _FORCE,
    as_json: bool = _AS_JSON,
) -> None:
    """Pause jobs: waiting ones wait on; of running ones ffmpeg is suspended, and keeps its slot and memory."""
    filters = _filters(status, kind, category, everything=everything)
    if whole_queue:
        _switch(references, filters, paused=True, as_json=as_json)
        return
    _act(Action.PAUSE, references, filters, force=force).end(as_json=as_json)


def resume(
    references: list[str] = _REFERENCES,
    kind: JobType | None = _TYPE,
    category: ResourceCategory | None = _CATEGORY,
    everything: bool = _ALL,
    whole_queue: bool = typer.Option(False, "--queue", help="Start jobs again after `jobs pause --queue`."),
    force: bool = _FORCE,
    as_json: bool = _AS_JSON,
) -> None:
    """Let paused jobs go on where they were."""
    filters = _filters(None, kind, category, everything=everything)
    if whole_queue:
        _switch(references, filters, paused=False, as_json=as_json)
        return
    _act(Action.RESUME, references, filters, force=force).end(as_json=as_json)


def retry(
    references: list[str] = _REFERENCES,
    status: JobStatus | None = _STATUS,
    kind: JobType | None = _TYPE,
    category: ResourceCategory | None = _CATEGORY,
    everything: bool = _ALL,
    force: bool = typer.Option(False, "--force", help="Do not ask; also where all retries are used up."),
    as_json: bool = _AS_JSON,
) -> None:
    """Let failed or cancelled jobs run again."""
    filters = _filters(status, kind, category, everything=everything)
    _act(Action.RETRY, references, filters, force=force).end(as_json=as_json)


def priority(
    reference: str = REFERENCE,
    rank: int = typer.Argument(metavar="N", help="1 (first) to 10 (last)."),
    as_json: bool = _AS_JSON,
) -> None:
    """Change a job's priority; the order of the queue follows at once."""
    with engine_for(load_settings()).begin() as connection:
        job = lifecycle.reprioritise(connection, find(connection, reference).id, rank)
        audit.record(connection, who(), "job.priority", job.id, priority=rank)
    if as_json:
        print_json(wire.Job.model_validate(job).model_dump(mode="json"))
    else:
        typer.echo(f"Job {job.id} ({printable(job.type)}) has priority {job.priority}")


def _filters(
    status: JobStatus | None, kind: JobType | None, category: ResourceCategory | None, *, everything: bool
) -> queue.Filters | None:
    """None: no filter is asked for."""
    if everything or status or kind or category:
        return queue.Filters(status=status, type=kind and kind.value, resource_category=category)
    return None


def _act(action: Action, references: Sequence[str], filters: queue.Filters | None, *, force: bool) -> "_Report":
    if bool(references) == (filters is not None):
        raise typer.BadParameter("name jobs by their ids, or all of some kind by --status, --type, --category, --all")
    engine = engine_for(load_settings())
    details: dict[str, Any] = {"force": force} if action is Action.RETRY else {}
    if filters is not None:
        return _act_on_all(engine, action, filters, details, force=force)
    with engine.begin() as connection:
        named = dict.fromkeys(find(connection, reference).id for reference in references)
        applied = lifecycle.apply(connection, action, list(named), force=force)
        audit.record_applied(connection, who(), action, applied, **details)
    return _Report(action, applied)


def _act_on_all(
    engine: sa.Engine, action: Action, filters: queue.Filters, details: dict[str, Any], *, force: bool
) -> "_Report":
    with engine.connect() as connection:
        total = lifecycle.count_for(connection, action, filters)
    question = f"{action.value.capitalize()} {total} job{'' if total == 1 else 's'}?"
    if total and not force and not typer.confirm(question, err=True):
        raise SystemExit(FAILED)
    chosen = {name: value for name, value in vars(filters).items() if value is not None}
    with engine.begin() as connection:
        asked = {"action": action.value, "filter": chosen, "matched": total, **details}
        audit.record_all(connection, who(), "job.bulk", [(None, asked)])

    def note(connection: sa.Connection, applied: Sequence[Applied]) -> None:
        audit.record_applied(connection, who(), action, applied, bulk=True, **details)

    each = lifecycle.apply_to_all(engine, action, filters, force=force, also=note)
    shown = track(each, total=total, description="", console=err, disable=not err.is_terminal, transient=True)
    return _Report(action, shown)


class _Report:
    """What came of many jobs: the numbers, and the first of each kind by name."""

    def __init__(self, action: Action, applied: Iterable[Applied]) -> None:
        self._action = action
        self._first: dict[bool, list[Applied]] = {True: [], False: []}
        self._count = {True: 0, False: 0}
        for one in applied:
            done = one.refusal is None
            self._count[done] += 1
            if self._count[done] <= _SHOWN:
                self._first[done].append(one)

    def end(self, *, as_json: bool) -> None:
        """Print it; exit 1 where a job stayed as it was."""
        if as_json:
            print_json(self._wire())
        else:
            self._say()
        if self._count[False]:
            raise SystemExit(FAILED)

    def _say(self) -> None:
        for one in self._first[True]:
            typer.echo(_said(self._action, one))
        if self._count[True] != len(self._first[True]) or not any(self._count.values()):
            typer.echo(f"{self._count[True]} jobs {_DONE[self._action]}")
        for one in self._first[False]:
            err.print(printable(str(one.refusal)), style="red", markup=False)
        if self._count[False] > len(self._first[False]):
            err.print(f"{self._count[False]} jobs stay as they were", style="red", markup=False)

    def _wire(self) -> dict[str, object]:
        jobs = [wire.Job.model_validate(one.job).model_dump(mode="json") for one in self._first[True]]
        refused = [{"id": str(one.id), "problem": one.refusal} for one in self._first[False]]
        return {"done": self._count[True], "refused": self._count[False], "jobs": jobs, "problems": refused}


def _said(action: Action, one: Applied) -> str:
    assert one.job is not None
    note = f" ({one.job.waiting_reason})" if one.job.waiting_reason else ""
    return f"Job {one.id} ({printable(one.job.type)}) is {_DONE[action]}{note}"


def _switch(references: Sequence[str], filters: queue.Filters | None, *, paused: bool, as_json: bool) -> None:
    if references or filters is not None:
        raise typer.BadParameter("--queue is about the whole queue: name no jobs and no filter beside it")
    with engine_for(load_settings()).begin() as connection:
        found = lifecycle.pause_queue(connection, who()) if paused else lifecycle.resume_queue(connection)
        audit.record(connection, who(), "queue.pause" if paused else "queue.resume")
        active = _running(connection)
    if as_json:
        print_json({"pausedAt": found.paused_at, "pausedBy": found.paused_by})
    elif paused:
        typer.echo(f"The queue is paused; {active} running jobs go on. `media-pipelines jobs resume --queue` ends it")
    else:
        typer.echo("The queue runs")


def _running(connection: sa.Connection) -> int:
    return queue.count(connection, queue.Filters(status=JobStatus.RUNNING))
