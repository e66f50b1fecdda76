"""What happens by the clock. A schedule only inserts rows, so that all work passes the one queue."""

import dagster as dg

from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines.pipelines import PIPELINES

_FEWEST_SOURCES = 2


def nightly_compilation(settings: Settings) -> dg.ScheduleDefinition:
    """A compilation of ten random videos each night, at the time that the settings give."""

    @dg.schedule(
        name="nightly_compilation",
        cron_schedule=settings.nightly_compilation_cron,
        execution_timezone=settings.nightly_compilation_timezone,
        job=PIPELINES[JobType.COMPILE_RANDOM].definition,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Puts a compilation of ten random videos into the queue each night; requests no run itself.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.SkipReason:
        return dg.SkipReason(enqueue_compilation(load_settings(), f"{context.scheduled_execution_time:%Y-%m-%d-%H%M}"))

    return schedule


def enqueue_compilation(settings: Settings, name: str) -> str:
    """What was done, in words. The same name never makes two compilations."""
    with engine_for(settings).begin() as connection:
        if len(videos.matching(connection)) < _FEWEST_SOURCES:
            return f"The library has fewer than {_FEWEST_SOURCES} valid videos: nothing to compile."
        params = {"count": 10, "outputPath": f"compilations/nightly-{name}.mp4"}
        try:
            job = queue.enqueue(connection, NewJob(JobType.COMPILE_RANDOM, params, origin=Origin.SCHEDULE), settings)
        except JobAlreadyLive as error:
            return str(error)
    return f"Enqueued job {job.id}."
