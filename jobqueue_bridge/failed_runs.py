"""Runs that failed, for webhooks that asked for `run.failed`: also those that no job's status tells of.

`job.failed` tells how a job ended for good. `run.failed` tells of each run that failed: of every attempt, of runs that
died before they claimed their job, and of runs that have none. Whom `job.failed` tells of the very same attempt is not
told twice.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import job_attempts, jobs, webhooks
from jobqueue_bridge.tables import webhook_messages as messages
from jobqueue_bridge.text import instant, storable
from jobqueue_bridge.vocabulary import JobStatus, Outcome, RunEvent

_ERROR_CHARACTERS = 2_000
_COMMAND_CHARACTERS = 4_000
_TAIL_CHARACTERS = 4_000
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 -- compared with, never bound


@dataclass(frozen=True)
class FailedRun:
    run_id: str
    pipeline: str
    at: datetime
    error: str
    step: str | None = None
    """None: it failed outside of its steps, before the first one for instance."""
    type: str | None = None
    job_id: UUID | None = None
    attempt: int | None = None
    command: str | None = None
    """Of ffmpeg, where that is what failed, with the end of what it said."""
    stderr_tail: str | None = None


def tell(connection: sa.Connection, run: FailedRun, settings: Settings) -> int:
    """A message to each webhook that is to hear of it; returns how many. Telling it again adds none."""
    run = _with_attempt(connection, run)
    status = _status(connection, run)
    urls = [hook.url for hook in connection.execute(sa.select(webhooks)) if _is_told(hook, run, status)]
    if not urls:
        return 0
    payload = {
        "type": RunEvent.FAILED.value,
        "timestamp": instant(run.at),
        "data": _data(run, status, settings),
    }
    rows = [{"id": uuid5(NAMESPACE_URL, f"{url} {run.run_id}"), "url": url, "payload": payload} for url in urls]
    added = pg.insert(messages).values(rows).on_conflict_do_nothing().returning(messages.c.id)
    return len(connection.execute(added).all())


def _with_attempt(connection: sa.Connection, run: FailedRun) -> FailedRun:
    """With the job that it had begun; of several the one that failed. Where it had begun none, its tags must do."""
    has_failed = job_attempts.c.outcome == Outcome.FAILED.value
    begun = (
        sa.select(job_attempts.c.job_id, job_attempts.c.attempt, jobs.c.type)
        .join(jobs, jobs.c.id == job_attempts.c.job_id)
        .where(job_attempts.c.run_id == run.run_id)
        .order_by(has_failed.desc().nulls_last(), job_attempts.c.started_at.desc())
    )
    found = connection.execute(begun.limit(1)).one_or_none()
    return run if found is None else replace(run, job_id=found.job_id, attempt=found.attempt, type=found.type)


def _status(connection: sa.Connection, run: FailedRun) -> JobStatus | None:
    """What became of the job with this run; None: it has none, or another attempt has it by now."""
    if run.job_id is None:
        return None
    mine = sa.select(jobs.c.status).where(jobs.c.id == run.job_id, jobs.c.attempt == run.attempt)
    status = connection.scalar(mine)
    return None if status is None else JobStatus(status)


def _is_told(hook: Any, run: FailedRun, status: JobStatus | None) -> bool:
    if RunEvent.FAILED.value not in hook.statuses or (hook.types and run.type not in hook.types):
        return False
    return not (status == JobStatus.FAILED and JobStatus.FAILED.value in hook.statuses)


def _data(run: FailedRun, status: JobStatus | None, settings: Settings) -> dict[str, Any]:
    return {
        "runId": run.run_id,
        "pipeline": storable(run.pipeline),
        "step": run.step,
        "type": run.type,
        "jobId": None if run.job_id is None else str(run.job_id),
        "attempt": run.attempt,
        "jobStatus": status,
        "error": storable(run.error)[:_ERROR_CHARACTERS],
        "ffmpegCommand": run.command and storable(run.command)[:_COMMAND_CHARACTERS],
        "stderrTail": run.stderr_tail and storable(run.stderr_tail)[-_TAIL_CHARACTERS:],
        "runUrl": f"http://{_host(settings.dagster_host)}:{settings.dagster_port}/runs/{run.run_id}",
        "jobUrl": _job_url(run, settings),
    }


def _job_url(run: FailedRun, settings: Settings) -> str | None:
    if run.job_id is None:
        return None
    return f"http://{_host(settings.api_host)}:{settings.api_port}/#/jobs?job={run.job_id}"


def _host(name: str) -> str:
    return "localhost" if name in _EVERYWHERE else name
