"""Pure: what happens by the clock, as the settings say it: which jobs are asked for when. Dagster has the clock."""

import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from jobqueue_bridge import cron, params
from jobqueue_bridge.errors import InvalidJob
from jobqueue_bridge.vocabulary import PRIORITY_DEFAULT, PRIORITY_HIGHEST, PRIORITY_LOWEST, JobType

AT = "{at}"
"""In a text of the params: the local date and time of the instant, 2026-03-01-0300."""
NIGHTLY_COMPILATION = "nightly_compilation"
# Schedules and sensors share their names in Dagster.
OF_SENSORS = frozenset(
    {
        *("dispatch", "reconcile", "inbox", "nightly_purge", "automation", "run_failures"),
        *("library_folders", "library_notes", "library_checks"),
    }
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}", re.ASCII)
# Those that Dagster refuses.
_NO_NAMES = {
    *("context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict", "output_arg_dict"),
    *("int", "str", "float", "bool", "input", "output", "type"),
    *keyword.kwlist,
}
_EXAMPLE_AT = "2026-03-01-0300"


@dataclass(frozen=True)
class Schedule:
    """`params` as they are asked for, but for AT; `timezone` is a name that Dagster knows."""

    name: str
    cron: str
    timezone: str
    type: JobType
    params: Mapping[str, Any]
    priority: int
    enabled: bool
    description: str


class Change(BaseModel):
    """What the settings say of one schedule; where it is one of the defaults, the rest is as there."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cron: str | None = None
    timezone: str | None = None
    type: JobType | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(default=PRIORITY_DEFAULT, ge=PRIORITY_HIGHEST, le=PRIORITY_LOWEST, strict=True)
    enabled: bool = Field(default=True, strict=True)
    description: str = Field(default="", max_length=500)

    @field_validator("cron", mode="before")
    @classmethod
    def _is_cron(cls, value: Any) -> str:
        return cron.checked(value)

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str | None) -> str | None:
        return value and zone_named(value)

    @field_validator("type", mode="before")
    @classmethod
    def _is_type(cls, value: Any) -> JobType:
        if not isinstance(value, str) or value not in params.MODELS:
            raise ValueError(f"there is no job type {value!r}; there are {', '.join(sorted(params.MODELS))}")
        if "video_id" in params.MODELS[JobType(value)].model_fields:
            raise ValueError(f"{value} is about one video, and a schedule cannot say which")
        return JobType(value)

    @field_validator("description")
    @classmethod
    def _is_printable(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("must be one printable line")
        return value.strip()


def zone_named(name: str) -> str:
    """Raises ValueError where there is no such zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; an example is Europe/Berlin") from error
    return name


def defaults(nightly_cron: str, nightly_timezone: str) -> dict[str, dict[str, Any]]:
    """What there is without a word in the settings. Entries of types that this release lacks are left out."""
    table: dict[str, dict[str, Any]] = {
        NIGHTLY_COMPILATION: {
            "cron": nightly_cron,
            "timezone": nightly_timezone,
            "type": "compile_random",
            "params": {"count": 10, "outputPath": f"compilations/nightly-{AT}.mp4"},
            "description": "A compilation of ten random videos each night.",
        },
        "daily_rescan": {
            "cron": "0 5 * * *",
            "type": "scan",
            "params": {"path": "library"},
            "priority": 7,
            "description": "Looks through all folders of the library for what has changed.",
        },
        "daily_public_rescan": {
            "cron": "15 5 * * *",
            "type": "public_scan",
            "priority": 7,
            "description": "Looks through the public gallery for what has changed.",
        },
        "weekly_report": {
            "cron": "0 6 * * mon",
            "type": "library_report",
            "priority": 8,
            "description": "A report on the library each week.",
        },
    }
    return {name: entry for name, entry in table.items() if entry["type"] in set(params.MODELS)}


def as_given(value: Any) -> dict[str, dict[str, Any]]:
    """The mapping of the settings, in the types of JSON. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError(
            f"expected schedules by name, such as {{rescan: {{cron: '0 5 * * *', type: scan}}}}, got {value!r}"
        )
    for name, entry in value.items():
        if not isinstance(entry, Mapping):
            raise ValueError(f"{name}: expected keys such as cron, type and params, got {entry!r}")
    try:
        return {name: json.loads(json.dumps(dict(entry), allow_nan=False)) for name, entry in value.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(f"hold something that JSON has no word for: {error}") from error


def table(given: Mapping[str, Mapping[str, Any]], default: Mapping[str, Any], zone: str) -> list[Schedule]:
    """The defaults, changed and added to by what is given. Raises ValueError that names each bad entry and field."""
    found, problems = [], []
    for name in [*default, *(name for name in given if name not in default)]:
        try:
            found.append(_schedule(name, {**default.get(name, {}), **given.get(name, {})}, zone))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return found


def _schedule(name: Any, entry: Mapping[str, Any], zone: str) -> Schedule:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _NO_NAMES:
        raise ValueError(f"{name!r} can't be a name: letters, digits and _, a letter first, and no word of Python")
    if name in OF_SENSORS:
        raise ValueError(f"{name!r} is the name of a sensor")
    try:
        change = Change.model_validate(entry)
    except ValidationError as error:
        raise ValueError("; ".join(_said(name, item) for item in error.errors())) from error
    if change.cron is None or change.type is None:
        lacking = [field for field in ("cron", "type") if getattr(change, field) is None]
        raise ValueError(f"{name}: {' and '.join(lacking)} must be given")
    _require_params(name, change.type, change.params)
    said = change.description or f"Asks for a {change.type} job."
    return Schedule(
        name=name,
        cron=change.cron,
        timezone=change.timezone or zone,
        type=change.type,
        params=change.params,
        priority=change.priority,
        enabled=change.enabled,
        description=said if said.endswith((".", "!", "?")) else f"{said}.",
    )


def _said(name: str, item: Any) -> str:
    where, message = ".".join([name, *map(str, item["loc"])]), str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such key; there are {', '.join(Change.model_fields)}"
    return f"{where}: {message}" + ("" if item["type"] == "value_error" else f" (got {item['input']!r})")


def _require_params(name: str, kind: JobType, given: Mapping[str, Any]) -> None:
    try:
        params.parse(kind, at_instant(given, _EXAMPLE_AT))
    except InvalidJob as error:
        raise ValueError(f"{name}: {error}") from error


def at_instant(given: Any, at: str) -> Any:
    """The params with AT filled in, at every depth."""
    if isinstance(given, str):
        return given.replace(AT, at)
    if isinstance(given, Mapping):
        return {key: at_instant(value, at) for key, value in given.items()}
    return [at_instant(value, at) for value in given] if isinstance(given, list) else given
