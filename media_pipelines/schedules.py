"""What happens by the clock. A schedule only inserts rows, so that all work passes the one queue."""

from datetime import datetime

import dagster as dg
import sqlalchemy as sa

from jobqueue_bridge import params, queue, schedule_ticks, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.params import CompileRandom, DirectoryScan
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.schedule_ticks import Tick
from jobqueue_bridge.schedules import Schedule, at_instant
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import NEEDS, Origin
from media_pipelines.pipelines import PIPELINES
from media_pipelines.tags import CATEGORY_TAG, ORIGIN_TAG, TYPE_TAG

_FEWEST_SOURCES = 2


def definitions(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Of the schedules that are on."""
    return [definition(schedule) for schedule in settings.schedule_table if schedule.enabled]


def definition(schedule: Schedule) -> dg.ScheduleDefinition:
    """Its tick enqueues, and tells the job in the reason for which it requests no run."""

    def tick(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(ask_for(schedule, context.scheduled_execution_time, load_settings()))

    return dg.ScheduleDefinition(
        name=schedule.name,
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        job=PIPELINES[schedule.type].definition,
        execution_fn=tick,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"{schedule.description} Puts a row into the queue; requests no run itself.",
        tags=_tags(schedule),
    )


def _tags(schedule: Schedule) -> dict[str, str]:
    """By which the UI finds it; no run has them, because it requests none."""
    return {
        TYPE_TAG: schedule.type.value,
        CATEGORY_TAG: NEEDS[schedule.type].category.value,
        ORIGIN_TAG: Origin.SCHEDULE.value,
    }


def ask_for(schedule: Schedule, at: datetime, settings: Settings) -> str:
    """What was made of this instant, in words: the same ones whoever asks again. Raises InvalidJob."""
    with engine_for(settings).begin() as connection:
        if schedule_ticks.is_to_come(connection, at):
            return f"{at:%Y-%m-%d %H:%M %Z} is still to come: nothing was enqueued."
        earlier = schedule_ticks.take(connection, schedule.name, at)
        if earlier is not None:
            return earlier.said
        made = _enqueue(connection, schedule, at, settings)
        schedule_ticks.note(connection, schedule.name, at, made)
        return made.said


def _enqueue(connection: sa.Connection, schedule: Schedule, at: datetime, settings: Settings) -> Tick:
    asked = at_instant(schedule.params, _written(at))
    if reason := _nothing_to_do(connection, params.parse(schedule.type, asked), settings):
        return Tick(None, reason)
    job = NewJob(schedule.type.value, asked, schedule.priority, origin=Origin.SCHEDULE)
    try:
        made = queue.enqueue(connection, job, settings)
    except JobAlreadyLive as error:
        return Tick(error.job_id, f"{error}: nothing was enqueued.")
    return Tick(made.id, f"Enqueued job {made.id}.")


def _written(at: datetime) -> str:
    """By the local clock; with its offset where the clock shows this time twice, so that no two instants look alike."""
    is_shown_twice = at.replace(fold=0).utcoffset() != at.replace(fold=1).utcoffset()
    return f"{at:%Y-%m-%d-%H%M%z}" if is_shown_twice else f"{at:%Y-%m-%d-%H%M}"


def _nothing_to_do(connection: sa.Connection, wanted: params.Params, settings: Settings) -> str | None:
    """Where the job could only fail, each time anew."""
    if isinstance(wanted, DirectoryScan) and not (settings.media_library_path / wanted.directory).exists():
        return f"There is no {wanted.directory}/ in the library: nothing to scan."
    if isinstance(wanted, CompileRandom) and len(videos.matching(connection)) < _FEWEST_SOURCES:
        return f"The library has fewer than {_FEWEST_SOURCES} valid videos: nothing to compile."
    return None
