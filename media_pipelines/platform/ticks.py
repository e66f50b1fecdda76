"""How the latest ticks of sensors and schedules went, as Dagster's storage knows it."""

from datetime import UTC, datetime, timedelta

from jobqueue_bridge.settings import Settings

_LOOKED_BACK = timedelta(days=2)


def failing(settings: Settings) -> list[str]:
    """Those whose latest tick has failed, with the first line of why. Of one that is no longer defined no tick comes;
    after two days it is not looked at any more."""
    import dagster as dg
    from dagster._core.scheduler.instigation import TickStatus

    found = []
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for state in instance.all_instigator_state():
            since_s = (datetime.now(UTC) - _LOOKED_BACK).timestamp()
            latest = instance.get_ticks(state.instigator_origin_id, state.selector_id, after=since_s, limit=1)
            if latest and latest[0].status == TickStatus.FAILURE:
                at = datetime.fromtimestamp(latest[0].timestamp, settings.zone)
                found.append(f"{state.instigator_name} failed at {at:%Y-%m-%d %H:%M:%S}: {_why(latest[0].error)}")
    return found


def _why(error: object) -> str:
    """What was raised, without the errors that Dagster wraps it in."""
    while getattr(error, "cause", None) is not None:
        error = error.cause  # type: ignore[attr-defined]
    lines = str(getattr(error, "message", "") or "").strip().splitlines()
    return lines[0] if lines else "it does not say why"
