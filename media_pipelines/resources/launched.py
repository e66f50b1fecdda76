"""A run that somebody launched in Dagster itself: how it waits for its job, and when its end is the job's end, too."""

import time

import dagster as dg
import sqlalchemy as sa
from dagster._core.errors import DagsterExecutionInterruptedError

from jobqueue_bridge import adoption as rows
from jobqueue_bridge import archive
from jobqueue_bridge.database import engine_for, is_away
from jobqueue_bridge.products import TYPE_OF
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus, JobType
from media_pipelines import adoption
from media_pipelines.resources.bell import Bell
from media_pipelines.tags import ENDED_TAG, PRIORITY_TAG, SLOT_TAG

_LOOK_S = 2.0
_ENDED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


def is_cancelled(instance: dg.DagsterInstance | None, run_id: str | None) -> bool:
    """Whether Dagster's user ended the run. The platform stops its runs without telling Dagster first."""
    run = instance.get_run_by_id(run_id) if instance is not None and run_id else None
    return run is not None and run.status in _ENDED and run.tags.get(ENDED_TAG) != run_id


def cancel_run(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """A queued run that nobody needs any more: nothing that it was to do is cancelled with it."""
    instance.add_run_tags(run.run_id, {ENDED_TAG: run.run_id})
    instance.report_run_canceled(run, why)


def end_quietly(context: dg.OpExecutionContext, why: str, settings: Settings) -> DagsterExecutionInterruptedError:
    """The interruption that ends a run as cancelled, not as failed: its job was moved, or is another run's. What it
    had still to do is left to others, unless Dagster's user ended it."""
    context.log.warning(why)
    run = context.instance.get_run_by_id(context.run_id)
    if run is not None and run.status not in _ENDED:
        with engine_for(settings).begin() as connection:
            rows.let_go(connection, context.run_id)
        context.instance.add_run_tags(run.run_id, {ENDED_TAG: run.run_id})
        context.instance.report_run_canceling(run, message=why)
    return DagsterExecutionInterruptedError()


def wait_for_admission(context: dg.OpExecutionContext, asset: str, settings: Settings) -> Job:
    """The row of this run's job, as soon as the dispatcher has admitted it; what it waits for stands in the run's log.

    Raises Dagster's interruption where the job is moved meanwhile or the run is told to stop, dg.Failure where it was
    refused, and InvalidJob or JobAlreadyLive where it has no row yet and can get none.
    """
    job = _row(context, TYPE_OF[asset], settings)
    context.log.info(f"Job {job.id} ({job.type}) waits in the queue for its slot and its VRAM")
    _tag(context, {SLOT_TAG: ""})
    try:
        admitted = _admitted(context, job, settings)
        _tag(context, {SLOT_TAG: admitted.resource_category, PRIORITY_TAG: str(admitted.priority)})
    except DagsterExecutionInterruptedError:
        _leave(context, job, settings)
        raise
    return admitted


def _tag(context: dg.OpExecutionContext, tags: dict[str, str]) -> None:
    """Dagster's own limits count on the slot: a run that waits holds none, else each could wait for the other for ever.
    The priority is the one that the row was admitted with, which may not be the one that it was asked for with."""
    run = context.instance.get_run_by_id(context.run_id)
    if run is not None and any(run.tags.get(name, "") != text for name, text in tags.items()):
        context.instance.add_run_tags(context.run_id, tags)


def _row(context: dg.OpExecutionContext, kind: JobType, settings: Settings) -> Job:
    with engine_for(settings).begin() as connection:
        found = rows.of_run(connection, context.run_id, kind)
    if found is not None:
        return found
    run = context.instance.get_run_by_id(context.run_id) or context.run
    if adoption.is_adopted(run):
        raise end_quietly(context, f"Somebody has moved its {kind} job meanwhile: nothing to do.", settings)
    return next(job for job in _take_rows(run, kind, context.instance, settings) if job.type == kind)


def _take_rows(run: dg.DagsterRun, kind: JobType, instance: dg.DagsterInstance, settings: Settings) -> list[Job]:
    """As our run coordinator does it, for a run that came another way."""
    plan = run.execution_plan_snapshot_id and instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    taken = adoption.take_rows(run, adoption.kinds_of(plan) if plan else [kind], settings)
    instance.add_run_tags(run.run_id, adoption.tags_for(run, taken))
    return taken


def _admitted(context: dg.OpExecutionContext, job: Job, settings: Settings) -> Job:
    told = None
    with Bell(settings) as bell:
        while True:
            now = _look(context, job, settings)
            if now.status == JobStatus.QUEUED:
                return now
            if now.status == JobStatus.PAUSED:
                why = f"Job {job.id} is paused: it is left to another run, for when it is resumed."
                raise end_quietly(context, why, settings)
            if now.waiting_reason != told:
                context.log.info(f"Waits: {now.waiting_reason}")
                told = now.waiting_reason
            bell.wait(_LOOK_S)


def _look(context: dg.OpExecutionContext, job: Job, settings: Settings) -> Job:
    """Say that the run is there, and see how its job is; patient with a database that restarts."""
    while True:
        try:
            with engine_for(settings).begin() as connection:
                now = rows.arrive(connection, job.id, context.run_id)
                if now is None:
                    now_elsewhere = archive.find_job(connection, job.id)
        except sa.exc.DBAPIError as error:
            if not is_away(error):
                raise
            time.sleep(_LOOK_S)
            continue
        if now is not None:
            return now
        if now_elsewhere is not None and now_elsewhere.status == JobStatus.FAILED:
            raise dg.Failure(description=f"Refused: {now_elsewhere.error}", allow_retries=False)
        raise end_quietly(context, f"Somebody has moved job {job.id} meanwhile: nothing to do.", settings)


def _leave(context: dg.OpExecutionContext, job: Job, settings: Settings) -> None:
    """Cancelled with the run, or left to another one."""
    if not is_cancelled(context.instance, context.run_id):
        end_quietly(context, f"The run was told to stop: job {job.id} is left to another one.", settings)
        return
    with engine_for(settings).begin() as connection:
        if rows.of_run(connection, context.run_id, JobType(job.type)):
            rows.cancel(connection, [job.id])
