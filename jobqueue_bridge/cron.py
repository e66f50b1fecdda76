"""Pure: the cron expressions that schedules may have: five fields, or a word such as @daily.

A part of what Dagster's own parser takes. What that takes beyond it (seconds, L, #, ranges over the end) means another
thing in each cron, and what it takes and never fires would stop its daemon.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WORDS: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?:(?P<all>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d{1,2}))?", re.ASCII)
_EXAMPLES = "examples are '0 3 * * *', '*/15 8-18 * * mon-fri' and '@daily'"


@dataclass(frozen=True)
class _Field:
    name: str
    lowest: int
    highest: int
    words: tuple[str, ...] = ()
    """Of its values from the lowest on."""


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


def checked(text: object) -> str:
    """The expression in five fields with one space between them. Raises ValueError that says what is wrong."""
    if not isinstance(text, str):
        raise ValueError(f"is no cron expression: {text!r}; {_EXAMPLES}")
    fields = _WORDS.get(text.strip().lower(), text).lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"{text!r} is no cron expression of five fields; {_EXAMPLES}")
    values = [_values(part, field, text) for part, field in zip(fields, _FIELDS, strict=True)]
    if not any(day <= _LONGEST_MONTH[month - 1] for day in values[2] for month in values[3]):
        raise ValueError(f"{text!r} never comes: no such month has such a day")
    return " ".join(fields)


def _values(text: str, field: _Field, cron: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{cron!r}: {part!r} is no {field.name}")
        found |= set(_span(match, field, cron))
    return found


def _span(part: re.Match[str], field: _Field, cron: str) -> range:
    if part["step"] and not part["all"] and not part["last"]:
        raise ValueError(f"{cron!r}: {part[0]!r} has a step and no range; write {part['first']}-{field.highest}/…")
    first = field.lowest if part["all"] else _number(part["first"], field, cron)
    last = field.highest if part["all"] else _number(part["last"] or part["first"], field, cron)
    step = int(part["step"] or 1)
    if first > last or (first == last and part["last"]):
        raise ValueError(f"{cron!r}: {part[0]!r} does not end after it begins")
    if part["step"] and not 1 <= step <= last:
        raise ValueError(f"{cron!r}: the step of {part[0]!r} is from 1 to {last}, got {step}")
    return range(first, last + 1, step)


def _number(text: str, field: _Field, cron: str) -> int:
    if text in field.words:
        return field.lowest + field.words.index(text)
    if not text.isdecimal() or not field.lowest <= int(text) <= field.highest:
        raise ValueError(f"{cron!r}: the {field.name} is from {field.lowest} to {field.highest}, got {text!r}")
    return int(text)
