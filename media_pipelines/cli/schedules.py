"""`schedules`: what is asked for by the clock, and when next. Reads the settings only."""

import time
from datetime import datetime

import typer

from jobqueue_bridge.schedules import Schedule
from jobqueue_bridge.settings import load_settings
from media_pipelines.cli.output import print_rows

_COLUMNS = ("name", "next", "cron", "timezone", "type", "priority", "description")


def schedules(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the schedules of the settings, each with the next time at which it asks for its job."""
    table = load_settings().schedule_table
    print_rows([_row(schedule, as_json=as_json) for schedule in table], _COLUMNS, as_json=as_json, empty="none")


def _row(schedule: Schedule, *, as_json: bool) -> dict[str, object]:
    comes = _next(schedule) if schedule.enabled else None
    facts = {"enabled": schedule.enabled, "params": schedule.params} if as_json else {}
    return {
        "name": schedule.name,
        "next": _shown(comes, as_json=as_json),
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "type": schedule.type.value,
        "priority": schedule.priority,
        "description": schedule.description,
        **facts,
    }


def _next(schedule: Schedule) -> datetime:
    """By the iterator that the daemon asks, so that changes of the clocks count here as there."""
    from dagster._utils.schedules import schedule_execution_time_iterator

    instants = schedule_execution_time_iterator(time.time(), schedule.cron, schedule.timezone, ascending=True)
    return next(iter(instants))


def _shown(comes: datetime | None, *, as_json: bool) -> str | None:
    if comes is None:
        return None if as_json else "off"
    return comes.isoformat() if as_json else f"{comes:%a %Y-%m-%d %H:%M}"
