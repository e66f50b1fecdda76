"""`jobs start`: work through the queue as VPO's worker does, then exit."""

from collections.abc import Iterator
from typing import Any

import typer

from jobqueue_bridge.drains import Ends, State
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.wall_clock import wall_time
from media_pipelines.cli.draining import Drained, Limits, end_by_of, work_through
from media_pipelines.cli.output import DONE, FAILED, print_json
from media_pipelines.cli.printable import local_time, printable
from media_pipelines.cli.watching import job_name


def _time_of_day(value: str | None) -> str | None:
    try:
        return None if value is None else f"{wall_time(value):%H:%M}"
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def start(
    max_files: int | None = typer.Option(None, "--max-files", min=1, metavar="N", help="Let at most N jobs begin."),
    max_duration: float | None = typer.Option(
        None, "--max-duration", min=1, metavar="S", help="Let no job begin after S seconds of work."
    ),
    end_by: str | None = typer.Option(
        None, "--end-by", metavar="HH:MM", callback=_time_of_day, help="Let no job begin from this local time on."
    ),
    cpu_cores: int | None = typer.Option(
        None, "--cpu-cores", min=1, metavar="N", help="The jobs share N cores of this machine."
    ),
    no_purge: bool = typer.Option(False, "--no-purge", help="Keep old jobs, whatever `auto_purge` says."),
    as_json: bool = typer.Option(False, "--json", help="Print the summary as JSON."),
) -> None:
    """Work through the queue, then exit: 0 if every job completed, 1 if one failed.

    Starts the platform if it is not running, and stops it at the end. A platform that is running already is left
    running; limits that are given hold for it, too, while this command runs, and count only what begins meanwhile.

    It ends when nothing is left that could run, when a limit is reached, or on SIGTERM or Ctrl-C. What runs then may
    finish. A second signal hands it back to the queue at once, and so does the end of MEDIA_SHUTDOWN_TIMEOUT_SECONDS
    after the first. It does not stay for jobs that are paused, wait for the time of a retry or for a parent that has
    failed. For jobs that cannot start (no slot, no VRAM, a paused queue) it stays while a limit on the time allows, and
    without one for a minute in which nothing runs.

    Defaults of the limits: the settings below `worker:` in config.yaml.
    """
    settings = load_settings()
    limits = _limits(settings, max_files, max_duration, end_by, cpu_cores)
    drained = work_through(settings, limits, purge=settings.auto_purge and not no_purge)
    if as_json:
        print_json(_summary(drained))
    else:
        for line in _text(drained):
            typer.echo(line)
    raise typer.Exit(FAILED if drained.ends.failed or drained.ends.retrying else DONE)


def _limits(
    settings: Settings, max_files: int | None, max_duration: float | None, end_by: str | None, cpu_cores: int | None
) -> Limits:
    return Limits(
        max_files=max_files or settings.worker_max_files,
        max_duration_s=max_duration or settings.worker_max_duration,
        end_by=end_by_of(end_by or settings.worker_end_by, settings),
        cpu_cores=cpu_cores or settings.worker_cpu_cores,
    )


_COUNTS = {
    "completed": "completed",
    "failed": "failed",
    "retrying": "to be tried again",
    "cancelled": "cancelled",
    "unfinished": "not finished",
}


def _summary(drained: Drained) -> dict[str, Any]:
    """What `--json` prints."""
    left = drained.left
    return {
        "stopped": drained.why,
        "reason": drained.reason,
        **{name: getattr(drained.ends, name) for name in _COUNTS},
        "errors": [{"id": job.id, "type": job.type, "error": job.error} for job in drained.ends.errors],
        "left": {
            "pending": left.waiting,
            "held": left.held,
            "retrying": left.retrying,
            "nextRetryAt": left.next_retry_at,
            "paused": left.paused,
        },
        "startedPlatform": drained.own_platform,
        "startedAt": drained.began_at,
        "endedAt": drained.ended_at,
    }


def _text(drained: Drained) -> Iterator[str]:
    yield f"Stopped: {printable(drained.reason)}."
    yield f"Jobs: {_counts(drained.ends)}"
    for job in drained.ends.errors:
        yield f"  {job_name(job)} {job.status}: {printable((job.error or '').splitlines()[0] if job.error else '')}"
    if left := ", ".join(_left(drained.left)):
        yield f"Left: {left}"


def _counts(ends: Ends) -> str:
    counts = {text: getattr(ends, name) for name, text in _COUNTS.items()}
    return ", ".join(f"{number} {text}" for text, number in counts.items() if number or text in ("completed", "failed"))


def _left(left: State) -> Iterator[str]:
    if left.waiting:
        yield f"{left.waiting} pending"
    if left.held:
        yield f"{left.held} of them held until another job completes"
    if left.retrying:
        yield f"{left.retrying} of them for a retry, the next at {local_time(left.next_retry_at)}"
    if left.paused:
        yield f"{left.paused} paused"
