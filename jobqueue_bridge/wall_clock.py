"""Pure: times of day as people write them, and when a local clock shows them, also where clocks are changed."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_WALL_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def wall_time(text: object) -> time:
    """The time of day that HH:MM names, e.g. "05:59". Raises ValueError."""
    found = _WALL_TIME.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"must be a time of day as HH:MM, from 00:00 to 23:59 (got {text!r})")
    return time(int(found[1]), int(found[2]))


def instants(day: date, at: time, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first and the last instant, in UTC, at which a clock on the wall shows this time of this day: they differ
    where clocks go back and show it twice. Where they jump over it, both are the instant of the jump."""
    wanted = datetime.combine(day, at)
    earlier, later = (wanted.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if shown(earlier, zone) == wanted:
        return earlier, later
    jump = _jump(min(earlier, later), max(earlier, later), wanted, zone)
    return jump, jump


def shown(instant: datetime, zone: tzinfo) -> datetime:
    """What the clock on the wall shows, without its zone."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _jump(before: datetime, after: datetime, wanted: datetime, zone: tzinfo) -> datetime:
    """By halves, to the second: the first instant at which the wall shows `wanted` or later."""
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        before, after = (middle, after) if shown(middle, zone) < wanted else (before, middle)
    return after.replace(microsecond=0)
