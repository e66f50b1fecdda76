"""`jobs recover`: jobs whose run died go back into the queue. The platform does this by itself while it runs."""

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import typer

from jobqueue_bridge import audit, queue
from jobqueue_bridge.queue import StaleJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import run_process
from media_pipelines.cli.database import engine_for
from media_pipelines.cli.output import err, print_json
from media_pipelines.cli.printable import printable
from media_pipelines.platform.asking import who
from media_pipelines.rescue import rescue

# A run of another host beats once a second, also again after the database was away for everybody.
_SECOND_LOOK_AFTER_S = 3.0


@dataclass(frozen=True)
class Recovered:
    job: queue.Job
    reason: str
    status: JobStatus


def recover(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Put running jobs without a recent heartbeat back into the queue; each uses up one retry."""
    settings = load_settings()
    recovered = []
    for one in _recovered(settings):
        recovered.append(one)
        if not as_json:
            typer.echo(f"{str(one.job.id)[:8]}  {printable(one.job.type)}: {one.reason}; it is {one.status} now")
    if as_json:
        print_json([_wire(one) for one in recovered])
    else:
        typer.echo(f"Recovered {len(recovered)} stale job{'s' * (len(recovered) != 1)}")


def _recovered(settings: Settings) -> Iterator[Recovered]:
    for stale in _stale(settings):
        reason = f"no heartbeat for {stale.silent_s:.0f} s" if stale.silent_s < float("inf") else "it has no lease"
        status = rescue(settings, stale, reason)
        if status is not None:
            with engine_for(settings).begin() as connection:
                audit.record(connection, who(), "job.recover", stale.id, reason=reason)
                recovered = queue.get(connection, stale.id)
            yield Recovered(recovered, reason, status)


def _stale(settings: Settings) -> list[StaleJob]:
    """Never one whose process lives on this host, nor one whose lease is fresh."""
    suspects = _silent(settings)
    if any(job.host != socket.gethostname() for job in suspects):
        err.print("Some run on another host: looking twice …", highlight=False)
        time.sleep(_SECOND_LOOK_AFTER_S)
        again = {(job.id, job.attempt) for job in _silent(settings)}
        suspects = [job for job in suspects if (job.id, job.attempt) in again]
    return suspects


def _silent(settings: Settings) -> list[StaleJob]:
    with engine_for(settings).connect() as connection:
        running = queue.running(connection)
    return [job for job in running if job.silent_s > settings.lease_seconds and not _lives_here(settings, job)]


def _lives_here(settings: Settings, job: StaleJob) -> bool:
    return job.run_id is not None and run_process.pid_of(settings.runs_dir, job.run_id) is not None


def _wire(one: Recovered) -> dict[str, object]:
    return {
        "id": one.job.id,
        "type": one.job.type,
        "attempt": one.job.attempt,
        "reason": one.reason,
        "status": one.status.value,
        "retryCount": one.job.retry_count,
        "maxRetries": one.job.max_retries,
    }
