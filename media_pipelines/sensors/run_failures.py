"""Runs that failed → webhooks. A trigger tells what became of jobs; this tells of runs, also of those without one."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import dagster as dg
from dagster._core.events import DagsterEvent
from dagster._core.execution.plan.objects import UserFailureData
from dagster_shared.error import SerializableErrorInfo
from sqlalchemy.exc import DBAPIError

from jobqueue_bridge import failed_runs
from jobqueue_bridge.database import engine_for, is_away
from jobqueue_bridge.failed_runs import FailedRun
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobType
from media_pipelines import adoption
from media_pipelines.resources.failure import COMMAND, STDERR_TAIL, code_in
from media_pipelines.tags import ATTEMPT_TAG, JOB_TAG, TYPE_TAG

# Dagster goes on to the next run whatever becomes of this one.
_PATIENCE_S = 20.0


@dg.run_failure_sensor(
    name="run_failures",
    monitor_all_code_locations=True,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the webhooks that asked for run.failed of each run that fails, with or without a job.",
)
def run_failures(context: dg.RunFailureSensorContext) -> None:
    told = _tell(failed_run(context), load_settings())
    context.log.info(f"Run {context.dagster_run.run_id} failed: webhooks told {told}")


def _tell(run: FailedRun, settings: Settings) -> int:
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with engine_for(settings).begin() as connection:
                return failed_runs.tell(connection, run, settings)
        except DBAPIError as error:
            if not is_away(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.5)


def failed_run(context: dg.RunFailureSensorContext) -> FailedRun:
    """From the run's tags and its events, whoever has written them."""
    run, steps = context.dagster_run, context.get_step_failure_events()
    raised = steps[0].step_failure_data if steps else None
    failure = raised and raised.user_failure_data
    said = failure.metadata if failure else {}
    command, tail = said.get(COMMAND), said.get(STDERR_TAIL)
    tags = _own_tags(run)
    return FailedRun(
        run_id=run.run_id,
        pipeline=run.job_name,
        at=datetime.now(UTC),
        error=_error(failure, raised and raised.error, context.failure_event),
        step=steps[0].step_key if steps else None,
        type=tags.get(TYPE_TAG) if tags.get(TYPE_TAG) in set(JobType) else None,
        job_id=_uuid(tags.get(JOB_TAG)),
        attempt=_number(tags.get(ATTEMPT_TAG)),
        command=str(command.value) if command else None,
        stderr_tail=code_in(str(tail.value)) if tail else None,
    )


def _own_tags(run: dg.DagsterRun) -> Mapping[str, str]:
    """A re-execution has copied those of the run that it repeats, until it gets rows of its own."""
    return {} if run.parent_run_id is not None and not adoption.is_adopted(run) else run.tags


def _error(failure: UserFailureData | None, step: SerializableErrorInfo | None, event: DagsterEvent) -> str:
    """The first of them that says something."""
    of_run = getattr(event.event_specific_data, "error", None)
    texts = (failure and failure.description, _innermost(step), _innermost(of_run), event.message)
    return next((text.strip() for text in texts if text and text.strip()), "it does not say why")


def _innermost(error: SerializableErrorInfo | None) -> str | None:
    """Dagster wraps what was raised in errors of its own."""
    while error is not None and error.cause is not None:
        error = error.cause
    return None if error is None else error.message


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 10 else None
