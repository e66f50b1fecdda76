"""Rows and runs that disagree: a run that died, a host that vanished, a row whose run never came. Puts both right.

The row is put right first, then the run: a slot is never free in Dagster while its job still counts as running.
"""

import json
import random
import socket
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import dagster as dg
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.tags import GRPC_INFO_TAG

from jobqueue_bridge import adoption, queue
from jobqueue_bridge.adoption import Waiting
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobNotFound
from jobqueue_bridge.queue import StaleJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines import run_process
from media_pipelines.adoption import is_adopted
from media_pipelines.journal import Journal
from media_pipelines.rescue import rescue
from media_pipelines.resources.launched import cancel_run, is_cancelled
from media_pipelines.tags import ATTEMPT_TAG, JOB_TAG

# A run that is asked for appears within a second; a tick that was interrupted is resumed within a few.
_RUN_COMES_WITHIN_S = 15
_RUN_STARTS_WITHIN_S = 30
_RUN_STOPS_WITHIN_S = 30
# Runs that one look reads in full; the next look takes the rest.
_AT_ONCE = 1_000
_STATUS = dg.DagsterRunStatus
_UNFINISHED = [_STATUS.QUEUED, _STATUS.NOT_STARTED, _STATUS.STARTING, _STATUS.STARTED, _STATUS.CANCELING]


@dg.sensor(
    minimum_interval_seconds=3,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Finds jobs and runs that disagree and puts both right; requests no run itself.",
)
def reconcile(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    suspects = set(json.loads(context.cursor or "[]"))
    settings = load_settings()
    unfinished_ids = set(context.instance.get_run_ids(dg.RunsFilter(statuses=_UNFINISHED)))
    with engine_for(settings).begin() as connection:
        waiting = adoption.waiting(connection)
    # A backfill queues thousands of runs: those that only wait for their turn are not read.
    arrived = {job.run_id for job in waiting if job.arrived}
    in_line = {job.run_id for job in waiting} - arrived - _started(context.instance)
    unfinished = list(_records(context.instance, unfinished_ids - in_line).values())
    runs = [run for record in unfinished if (run := _live_run(record)) is not None]
    silent: set[str] = set()
    notes = [
        *_running_jobs(settings, unfinished_ids, suspects, silent, context.instance),
        *_queued_jobs(settings, runs, unfinished_ids, context.instance),
        *_waiting_jobs(settings, waiting, unfinished_ids, context.instance),
        *_orphaned_runs(settings, runs, context.instance),
        *_launched_runs(settings, unfinished, context.instance),
        *Journal(engine_for(settings), settings.media_library_path).recover_abandoned(),
    ]
    with engine_for(settings).begin() as connection:
        queue.tidy_after_outside_moves(connection)
    run_process.forget_ended(settings.runs_dir, unfinished_ids, _RUN_STARTS_WITHIN_S)
    for note in notes:
        context.log.info(note)
    return dg.SensorResult(
        skip_reason=dg.SkipReason("; ".join(notes) or "Rows and runs agree."), cursor=json.dumps(sorted(silent))
    )


@dataclass(frozen=True)
class LiveRun:
    """A run that Dagster takes for unfinished, with the attempt it was requested for."""

    record: RunRecord
    job_id: UUID
    attempt: int

    @property
    def run_id(self) -> str:
        return self.record.dagster_run.run_id

    @property
    def status(self) -> dg.DagsterRunStatus:
        return self.record.dagster_run.status

    def age_s(self) -> float:
        return _age_s(self.record)


def _live_run(record: RunRecord) -> LiveRun | None:
    """None: it isn't of the queue, whatever somebody has typed into its tags, or a re-execution has copied."""
    tags = {} if record.dagster_run.parent_run_id else record.dagster_run.tags
    try:
        return LiveRun(record, UUID(tags[JOB_TAG]), int(tags[ATTEMPT_TAG]))
    except (KeyError, ValueError):
        return None


def _running_jobs(
    settings: Settings, unfinished: Set[str], suspects: set[str], silent: set[str], instance: dg.DagsterInstance
) -> Iterator[str]:
    with engine_for(settings).begin() as connection:
        stale = queue.running(connection)
    for job in stale:
        reason = _why_dead(job, settings, unfinished)
        if reason is None and job.silent_s > settings.lease_seconds:
            # Right after the database was away every beat looks old: only the second look in a row counts.
            mark = f"{job.id}:{job.attempt}"
            silent.add(mark)
            if mark in suspects:
                reason = f"no beat for {job.silent_s:.0f} s"
        if reason is not None:
            yield from _cancel_with_run(job, instance, settings) or _rescue(job, reason, settings)


def _cancel_with_run(job: StaleJob, instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """The run did not live to say that Dagster's user has ended it."""
    if not is_cancelled(instance, job.run_id):
        return []
    with engine_for(settings).begin() as connection:
        cancelled = adoption.cancel(connection, [job.id])
    rescue(settings, job, "its run was ended in Dagster")
    return [f"job {job_id}: its run was ended in Dagster; it is cancelled now" for job_id in cancelled]


def _why_dead(job: StaleJob, settings: Settings, unfinished: Set[str]) -> str | None:
    """What is certain about a run of this host, or by Dagster's own word."""
    if job.run_id is None or job.host != socket.gethostname():
        return None
    if run_process.pid_of(settings.runs_dir, job.run_id) is not None:
        return None
    if run_process.was_started_here(settings.runs_dir, job.run_id):
        return "the run's process died"
    return None if job.run_id in unfinished else "the run ended without finishing its job"


def _rescue(job: StaleJob, reason: str, settings: Settings) -> Iterator[str]:
    status = rescue(settings, job, reason)
    if status is not None:
        yield f"job {job.id}: {reason}; it is {status} now"


def _queued_jobs(
    settings: Settings, runs: list[LiveRun], unfinished: Set[str], instance: dg.DagsterInstance
) -> Iterator[str]:
    """Admitted rows whose run was never made, or ended before it began."""
    coming = {(run.job_id, run.attempt) for run in runs}
    with engine_for(settings).begin() as connection:
        overdue = queue.queued_for_longer_than(connection, _RUN_COMES_WITHIN_S)
    for job in overdue:
        if (job.id, job.attempt) in coming or job.run_id in unfinished:
            continue
        tags = {JOB_TAG: str(job.id), ATTEMPT_TAG: str(job.attempt)}
        ended = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
        if ended and not ended[0].is_finished:
            continue  # it has come meanwhile
        if ended and ended[0].status != _STATUS.CANCELED:
            yield from _rescue(job, "its run ended before it began", settings)
            continue
        with engine_for(settings).begin() as connection:
            if ended and is_cancelled(instance, ended[0].run_id):
                if adoption.cancel(connection, [job.id]):
                    yield f"job {job.id}: its run was cancelled in Dagster before it began; so is the job"
            elif queue.return_to_pending(connection, job.id, job.attempt):
                why = "its run was told to stop before it began" if ended else "its run never came"
                yield f"job {job.id}: {why}; it is pending again"


def _started(instance: dg.DagsterInstance) -> set[str]:
    """A run that makes several assets is at work on the first while the others still wait for it."""
    return set(instance.get_run_ids(dg.RunsFilter(statuses=[one for one in _UNFINISHED if one != _STATUS.QUEUED])))


def _waiting_jobs(
    settings: Settings, waiting: Sequence[Waiting], unfinished: Set[str], instance: dg.DagsterInstance
) -> Iterator[str]:
    """Rows of runs that were launched in Dagster, and that are over before they came to them."""
    unsubmitted = set(instance.get_run_ids(dg.RunsFilter(statuses=[_STATUS.NOT_STARTED])))
    doubtful = [job for job in waiting if job.run_id not in unfinished or job.run_id in unsubmitted][:_AT_ONCE]
    records = _records(instance, {job.run_id for job in doubtful})
    for job in doubtful:
        record = records.get(job.run_id)
        if record and not record.dagster_run.is_finished and not _never_queued(record):
            continue
        with engine_for(settings).begin() as connection:
            if is_cancelled(instance, job.run_id):
                if adoption.cancel(connection, [job.id]):
                    yield f"job {job.id}: its run was cancelled in Dagster; so is the job"
            else:  # failed, or of another Dagster than this one
                for left in adoption.let_go(connection, job.run_id):
                    yield f"job {left.id}: its run was over before it began; it is {left.status} now"


def _records(instance: dg.DagsterInstance, run_ids: Set[str]) -> dict[str, RunRecord]:
    """At most as many as one look reads. Run ids are random, and so is which those are: the next looks take others."""
    if not run_ids:
        return {}
    some = random.sample(sorted(run_ids), min(len(run_ids), _AT_ONCE))
    return {record.dagster_run.run_id: record for record in instance.get_run_records(dg.RunsFilter(run_ids=some))}


def _never_queued(record: RunRecord) -> bool:
    """Whoever submitted it died in between: nobody will."""
    return record.dagster_run.status == _STATUS.NOT_STARTED and _age_s(record) > _RUN_STARTS_WITHIN_S


def _launched_runs(settings: Settings, unfinished: Sequence[RunRecord], instance: dg.DagsterInstance) -> Iterator[str]:
    """Runs that were launched in Dagster, and whose rows somebody has moved; and those whose process is gone."""
    adopted = [record for record in unfinished if is_adopted(record.dagster_run)]
    with engine_for(settings).begin() as connection:
        wanted = adoption.runs_with_work(connection, [record.dagster_run.run_id for record in adopted])
    for record in adopted:
        run = record.dagster_run
        if run.status == _STATUS.QUEUED:
            if run.run_id not in wanted:
                cancel_run(instance, run, "Its job was cancelled or moved before it began.")
                yield f"run {run.run_id}: cancelled, its job was moved"
        elif _is_gone(record, settings):
            yield _failed(run, instance, settings)


def _failed(run: dg.DagsterRun, instance: dg.DagsterInstance, settings: Settings) -> str:
    instance.report_run_failed(run, "The run's process is gone.")
    run_process.forget(settings.runs_dir, run.run_id)
    return f"run {run.run_id}: its process is gone"


def _orphaned_runs(settings: Settings, runs: Iterable[LiveRun], instance: dg.DagsterInstance) -> Iterator[str]:
    """Runs that hold a slot for nobody. For those of other hosts their lease alone can speak."""
    with engine_for(settings).begin() as connection:
        elsewhere = {job.run_id for job in queue.running(connection) if job.host != socket.gethostname()}
    for run in runs:
        if run.run_id in elsewhere:
            continue
        if run.status == _STATUS.QUEUED:
            if not _is_wanted(run, settings):
                cancel_run(instance, run.record.dagster_run, "The job was moved before its run began.")
                yield f"run {run.run_id}: cancelled, its job was moved"
            continue
        if _is_gone(run.record, settings):
            yield _failed(run.record.dagster_run, instance, settings)
        elif run.age_s() > _RUN_STOPS_WITHIN_S and not _is_wanted(run, settings):
            pid = run_process.pid_of(settings.runs_dir, run.run_id)
            if pid is not None:
                run_process.kill_group(pid)
                yield f"run {run.run_id}: killed, its job was moved and it did not stop"


def _is_gone(record: RunRecord, settings: Settings) -> bool:
    """A run that Dagster launched, and that no process of this host works on."""
    run = record.dagster_run
    if GRPC_INFO_TAG in run.tags or run.status == _STATUS.NOT_STARTED:
        return False
    if run_process.pid_of(settings.runs_dir, run.run_id) is not None:
        return False
    return run_process.was_started_here(settings.runs_dir, run.run_id) or _age_s(record) > _RUN_STARTS_WITHIN_S


def _age_s(record: RunRecord) -> float:
    """Since it was last updated, which is when it took its status."""
    return (datetime.now(UTC) - record.update_timestamp.replace(tzinfo=UTC)).total_seconds()


def _is_wanted(run: LiveRun, settings: Settings) -> bool:
    """Whether the row still waits for, or is worked on by, this attempt."""
    with engine_for(settings).begin() as connection:
        try:
            job = queue.get(connection, run.job_id)
        except JobNotFound:
            return False
    if job.attempt != run.attempt:
        return False
    wanted = (
        {JobStatus.QUEUED} if run.status == _STATUS.QUEUED else {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED}
    )
    return job.status in wanted
