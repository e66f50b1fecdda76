"""What is old goes each night: finished jobs into the archive, Dagster's runs for good. Many short ticks, none long."""

import json
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from jobqueue_bridge import retention
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.wall_clock import wall_time
from media_pipelines.history import purge_runs

_AT_WORK_S = 10.0
# A tick that was interrupted is resumed for a day, and asks by its run keys which runs it has requested.
_RUNS_ARE_KEPT_DAYS = 2


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Each night archives old finished jobs and deletes old Dagster runs, a part in each tick.",
)
def nightly_purge(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    settings = load_settings()
    if not settings.auto_purge:
        return dg.SensorResult(skip_reason=dg.SkipReason("MEDIA_AUTO_PURGE is off."), cursor=context.cursor)
    said, cursor = purge_a_part(context.instance, settings, context.cursor, time.monotonic() + _AT_WORK_S)
    return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=cursor)


def purge_a_part(
    instance: dg.DagsterInstance, settings: Settings, cursor: str | None, deadline_s: float
) -> tuple[str, str]:
    """What was done, in words, and from where the next tick goes on."""
    night = latest_night(settings, datetime.now(ZoneInfo(settings.nightly_compilation_timezone)))
    state = json.loads(cursor or "{}")
    if state.get("done") == night:
        return "Done for this night.", json.dumps(state)
    behind = state["behind"] if state.get("night") == night else 0
    purged = retention.purge(engine_for(settings), settings, deadline_s=deadline_s)
    said = f"Jobs archived: {purged.archived}; months dropped: {len(purged.dropped_months)}"
    if not purged.is_done:
        return f"{said}; there are more.", json.dumps({"night": night, "behind": behind})
    days = max(settings.retention_days, _RUNS_ARE_KEPT_DAYS)
    forgotten = purge_runs(instance, settings.step_outputs_dir, days, behind, deadline_s)
    said = f"{said}; runs deleted: {forgotten.runs}"
    if not forgotten.is_done:
        return f"{said}; there are more.", json.dumps({"night": night, "behind": forgotten.behind})
    return f"{said}.", json.dumps({"done": night})


def latest_night(settings: Settings, now: datetime) -> str:
    """The date of the latest `purge_at` that is past, by the local clock."""
    is_past = now.time() >= wall_time(settings.purge_at)
    return str(now.date() - timedelta(days=0 if is_past else 1))
