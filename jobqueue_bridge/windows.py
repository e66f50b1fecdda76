"""Pure: the hours in which jobs of a category may start, as people write them: "01:00-07:00", "mon-fri 22:00-06:00".

A window is a time of the local clock. It opens at the first moment at which that clock shows its begin, or has jumped
past it, and closes at the last moment at which the clock shows its end: so a night with a change of the clocks has one
window, an hour shorter or longer.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from jobqueue_bridge.wall_clock import instants

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHAPE = re.compile(
    r"(?:(?P<days>[a-z][a-z,-]*)\s+)?(?P<begins>\d{1,2}:\d\d)\s*-\s*(?P<ends>\d{1,2}:\d\d)", re.IGNORECASE
)
_MIDNIGHT = time(0, 0)
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """`days`: those on which it begins, Monday is 0. It ends the next day where `ends` is not after `begins`."""

    days: frozenset[int]
    begins: time
    ends: time
    text: str

    def __str__(self) -> str:
        days, hours = self.text.rpartition(" ")[::2]
        begins, ends = hours.split("-")
        return f"between {begins} and {ends}" + (f" ({days})" if days else "")


def parse(text: str) -> Window:
    """Raises ValueError that says what is wrong."""
    found = _SHAPE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no window; examples are 01:00-07:00 and mon-fri 22:00-06:00")
    begins, ends = _time(found["begins"], text), _time(found["ends"], text)
    if begins == ends and found["ends"] != "24:00":
        raise ValueError(f"{text!r} ends when it begins; the whole day is 00:00-24:00")
    days = (found["days"] or "").lower()
    hours = f"{begins:%H:%M}-" + ("24:00" if found["ends"] == "24:00" else f"{ends:%H:%M}")
    return Window(_days(days, text), begins, ends, f"{days} {hours}".strip())


def _time(text: str, window: str) -> time:
    hour, minute = map(int, text.split(":"))
    if (hour, minute) == (24, 0):
        return _MIDNIGHT
    if hour > 23 or minute > 59:
        raise ValueError(f"{window!r}: there is no {text} o'clock")
    return time(hour, minute)


def _days(text: str, window: str) -> frozenset[int]:
    """ "mon-fri,sun" → the numbers; "" → all of them. A range may go over the end of the week."""
    found: set[int] = set()
    for part in text.split(",") if text else ("mon-sun",):
        ends = part.split("-", 1)
        if unknown := [day for day in ends if day not in _DAYS]:
            raise ValueError(f"{window!r}: there is no day {unknown[0]!r}; the days are {', '.join(_DAYS)}")
        start, end = _DAYS.index(ends[0]), _DAYS.index(ends[-1])
        found |= {(start + step) % 7 for step in range((end - start) % 7 + 1)}
    return frozenset(found)


def opened_at(windows: Iterable[Window], at: datetime, zone: tzinfo) -> datetime | None:
    """Since when a window is open, in UTC; None: none is. Windows that meet or overlap count as one."""
    since = until = None
    for begins, ends in sorted(_spans(windows, at.astimezone(zone).date(), zone)):
        if begins > at:
            break
        since = begins if until is None or begins > until else since
        until = ends if until is None else max(until, ends)
    return since if until is not None and at < until else None


def next_opening(windows: Iterable[Window], at: datetime, zone: tzinfo) -> datetime:
    """When, in UTC, the next window begins after `at`."""
    return min(begins for begins, _ in _spans(windows, at.astimezone(zone).date(), zone) if begins > at)


def _spans(windows: Iterable[Window], around: date, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """Begin and end in UTC of every window from a week before to two weeks after: one of a week may fall out."""
    for window in windows:
        for offset in range(-7, 15):
            day = around + offset * _A_DAY
            if day.weekday() in window.days:
                last = day if window.begins < window.ends else day + _A_DAY
                begins, _ = instants(day, window.begins, zone)
                _, ends = instants(last, window.ends, zone)
                if begins < ends:  # else the clocks jumped over all of it
                    yield begins, ends


def waiting_text(subject: str, windows: Sequence[Window], at: datetime, zone: tzinfo) -> str:
    """What jobs outside of their windows wait for."""
    opens = next_opening(windows, at, zone).astimezone(zone)
    hours = " or ".join(map(str, windows))
    return f"{subject} start {hours}; the next begins at {opens:%Y-%m-%d %H:%M}"
