"""The schedules of the settings: defaults, what changes them, and what a bad one gets."""

import json
import re
import time
from datetime import datetime
from pathlib import Path

import pytest
from dagster._core.definitions.utils import DISALLOWED_NAMES, has_valid_name_chars
from dagster._utils.schedules import (
    has_out_of_range_cron_interval,
    is_valid_cron_schedule,
    schedule_execution_time_iterator,
)
from hypothesis import given
from hypothesis import strategies as st

from jobqueue_bridge import cron, params
from jobqueue_bridge import schedules as clock
from jobqueue_bridge.errors import InvalidSettings
from jobqueue_bridge.schedules import Schedule
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.vocabulary import JobType
from media_pipelines.definitions import defs


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDIA_PIPELINES_HOME", str(tmp_path))
    monkeypatch.setenv("MEDIA_TIMEZONE", "Europe/Berlin")
    return tmp_path


def table() -> dict[str, Schedule]:
    return {schedule.name: schedule for schedule in load_settings().schedule_table}


def configured(home: Path, text: str) -> dict[str, Schedule]:
    (home / "config.yaml").write_text(text)
    return table()


# The table


def test_the_defaults_ask_for_a_compilation_and_for_scans() -> None:
    found = table()
    assert {name: schedule.type for name, schedule in found.items() if name != "weekly_report"} == {
        "nightly_compilation": "compile_random",
        "daily_rescan": "scan",
        "daily_public_rescan": "public_scan",
    }
    assert all(schedule.enabled for schedule in found.values())
    assert (found["nightly_compilation"].cron, found["nightly_compilation"].timezone) == ("0 3 * * *", "UTC")
    assert found["daily_rescan"].timezone == "Europe/Berlin"


def test_a_default_of_a_type_that_there_is_not_yet_is_left_out_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {kind: model for kind, model in params.MODELS.items() if kind != JobType.PUBLIC_SCAN}
    monkeypatch.setattr(params, "MODELS", lacking)
    assert "daily_public_rescan" not in table()
    monkeypatch.setenv("MEDIA_SCHEDULES", '{"mine": {"cron": "@daily", "type": "public_scan"}}')
    with pytest.raises(InvalidSettings, match="there is no job type 'public_scan'"):
        load_settings()


def test_the_settings_of_the_nightly_compilation_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_NIGHTLY_COMPILATION_CRON", "30 1 * * *")
    monkeypatch.setenv("MEDIA_NIGHTLY_COMPILATION_TIMEZONE", "Asia/Tokyo")
    nightly = table()["nightly_compilation"]
    assert (nightly.cron, nightly.timezone) == ("30 1 * * *", "Asia/Tokyo")


def test_an_entry_changes_a_default_by_its_name_and_leaves_the_rest_of_it(home: Path) -> None:
    found = configured(
        home,
        "nightly_compilation_cron: 30 1 * * *\n"
        "schedules:\n  nightly_compilation: {priority: 9, params: {count: 3}}\n  daily_rescan: {enabled: false}\n",
    )
    nightly = found["nightly_compilation"]
    assert (nightly.cron, nightly.priority, nightly.params) == ("30 1 * * *", 9, {"count": 3})
    assert not found["daily_rescan"].enabled
    assert found["daily_public_rescan"].enabled


def test_an_entry_of_another_name_is_one_more(home: Path) -> None:
    found = configured(
        home,
        "schedules:\n  weekend:\n    cron: '0  22 * * FRI,sat'\n    type: compile_mega\n"
        "    timezone: America/New_York\n"
        "    params: {count: 20, outputPath: 'compilations/weekend-{at}.mp4'}\n    description: the week's best\n",
    )
    assert found["weekend"] == Schedule(
        name="weekend",
        cron="0 22 * * fri,sat",
        timezone="America/New_York",
        type=JobType.COMPILE_MEGA,
        params={"count": 20, "outputPath": "compilations/weekend-{at}.mp4"},
        priority=5,
        enabled=True,
        description="the week's best.",
    )
    assert clock.at_instant(found["weekend"].params, "2025-01-01-2200")["outputPath"].endswith(
        "weekend-2025-01-01-2200.mp4"
    )


ENTRY = {"cron": "@daily", "type": "scan"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("nonsense", "is no JSON such as"),
        ("[]", "expected schedules by name"),
        ({"mine": "daily"}, "mine: expected keys such as cron, type and params"),
        ({"mine": {}}, "mine: cron and type must be given"),
        ({"mine": {"cron": "@daily"}}, "mine: type must be given"),
        ({"mine": {**ENTRY, "cron": "at night"}}, "mine.cron: 'at night' is no cron expression of five fields"),
        ({"mine": {**ENTRY, "cron": "0 0 31 2,4 *"}}, "mine.cron: '0 0 31 2,4 *' never comes"),
        ({"mine": {**ENTRY, "cron": 5}}, "mine.cron: is no cron expression: 5"),
        ({"mine": {**ENTRY, "timezone": "Mars/Olympus"}}, "mine.timezone: there is no time zone 'Mars/Olympus'"),
        ({"mine": {**ENTRY, "timezone": "../../etc/passwd"}}, "mine.timezone: there is no time zone"),
        ({"mine": {**ENTRY, "type": "scna"}}, "mine.type: there is no job type 'scna'; there are "),
        ({"mine": {**ENTRY, "type": ["scan"]}}, "mine.type: there is no job type ['scan']"),
        ({"mine": {**ENTRY, "params": {"recursive": True}}}, "mine: params.recursive: unknown parameter"),
        ({"mine": {**ENTRY, "params": {"path": "../etc"}}}, "mine: params.path: must stay inside the library root"),
        ({"mine": {**ENTRY, "params": []}}, "mine.params: Input should be a valid dictionary"),
        ({"mine": {**ENTRY, "priority": 11}}, "mine.priority: Input should be less than or equal to 10 (got 11)"),
        ({"mine": {**ENTRY, "priority": True}}, "mine.priority: Input should be a valid integer"),
        ({"mine": {**ENTRY, "enabled": "no"}}, "mine.enabled: Input should be a valid boolean"),
        ({"mine": {**ENTRY, "description": "two\nlines"}}, "mine.description: must be one printable line"),
        ({"mine": {**ENTRY, "crom": "@daily"}}, "mine.crom: there is no such key; there are cron, timezone, type"),
        ({"not a name": ENTRY}, "'not a name' can't be a name"),
        ({"-rf": ENTRY}, "'-rf' can't be a name"),
        ({"mine\n": ENTRY}, "'mine\\n' can't be a name"),
        ({"class": ENTRY}, "'class' can't be a name"),
        ({"": ENTRY}, "'' can't be a name"),
        ({"x" * 101: ENTRY}, "can't be a name"),
        ({"dispatch": ENTRY}, "'dispatch' is the name of a sensor"),
        ({"one": {**ENTRY, "cron": ""}, "two": {**ENTRY, "type": ""}}, "one.cron: '' is no cron expression of five"),
        ({"one": {**ENTRY, "cron": ""}, "two": {**ENTRY, "type": ""}}, "; two.type: there is no job type ''"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_said_when_the_settings_are_read(
    monkeypatch: pytest.MonkeyPatch, value: object, problem: str
) -> None:
    monkeypatch.setenv("MEDIA_SCHEDULES", value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    (found,) = refused.value.problems
    assert found.field == "MEDIA_SCHEDULES"
    assert problem in found.problem


@pytest.mark.parametrize(
    "kind", sorted(kind for kind in params.MODELS if "video_id" in params.MODELS[kind].model_fields)
)
def test_a_type_about_one_video_cannot_be_scheduled(monkeypatch: pytest.MonkeyPatch, kind: JobType) -> None:
    entry = {"cron": "@daily", "type": kind, "params": {"videoId": "00000000-0000-4000-8000-000000000000"}}
    monkeypatch.setenv("MEDIA_SCHEDULES", json.dumps({"mine": entry}))
    with pytest.raises(InvalidSettings, match=f"{kind} is about one video, and a schedule cannot say which"):
        load_settings()


def test_a_bad_cron_of_the_nightly_compilation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_NIGHTLY_COMPILATION_CRON", "0 25 * * *")
    with pytest.raises(InvalidSettings, match="the hour is from 0 to 23, got '25'"):
        load_settings()


def test_a_file_holds_what_json_has_no_word_for(home: Path) -> None:
    with pytest.raises(InvalidSettings, match="JSON has no word for"):
        configured(home, "schedules: {mine: {cron: '@daily', type: scan, params: {path: 2025-01-01}}}")


# What Dagster makes of it


def test_no_schedule_can_have_the_name_of_a_sensor() -> None:
    """Dagster refuses definitions in which it does."""
    assert {sensor.name for sensor in defs.sensors or ()} <= clock.OF_SENSORS


def test_the_names_that_dagster_refuses_are_known() -> None:
    assert set(DISALLOWED_NAMES) <= clock._NO_NAMES
    assert all(has_valid_name_chars(schedule.name) for schedule in load_settings().schedule_table)


NUMBERS = st.integers(0, 60).map(str)
STEP = st.one_of(st.just(""), st.integers(0, 60).map("/{}".format))
SPAN = st.tuples(NUMBERS, NUMBERS).map("-".join)
PART = st.tuples(st.one_of(st.just("*"), NUMBERS, SPAN, st.sampled_from(["mon", "sun", "jan", "sun-tue"])), STEP).map(
    "".join
)
FIELD = st.lists(PART, min_size=1, max_size=3).map(",".join)
ANY_CRON = st.one_of(st.lists(FIELD, min_size=5, max_size=5).map(" ".join), st.sampled_from(sorted(cron._WORDS)))


@given(text=ANY_CRON)
def test_what_is_taken_for_a_cron_is_one_for_dagster_and_comes(text: str) -> None:
    try:
        checked = cron.checked(text)
    except ValueError:
        return
    assert is_valid_cron_schedule(checked)
    assert not has_out_of_range_cron_interval(checked), "Dagster would warn of it"
    now_s = time.time()
    comes = next(iter(schedule_execution_time_iterator(now_s, checked, "Europe/Berlin", ascending=True)))
    assert isinstance(comes, datetime)
    assert comes.timestamp() >= now_s


@pytest.mark.parametrize(
    "text",
    [
        "0 3 * * *",
        "*/15 8-18 * * mon-fri",
        "0 0 1,15 * 7",
        "5-59/10 * * * *",
        "0 0 29 2 *",
        "0 12 * JAN-MAR sun",
        *cron._WORDS,
    ],
)
def test_usual_crons_are_taken(text: str) -> None:
    assert is_valid_cron_schedule(cron.checked(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0 3 * * * *", "five fields"),
        ("60 * * * *", "the minute is from 0 to 59, got '60'"),
        ("0 0 0 * *", "the day of the month is from 1 to 31"),
        ("0 0 * * 8", "the day of the week is from 0 to 7"),
        ("0 0 * * fri-mon", "does not end after it begins"),
        ("*/0 * * * *", "the step of '*/0' is from 1 to 59"),
        ("*/90 * * * *", "the step of '*/90'"),
        ("5/10 * * * *", "has a step and no range; write 5-59/"),
        ("0 0 L * *", "the day of the month is from 1 to 31, got 'l'"),
        ("0 0 * * mon#1", "'mon#1' is no day of the week"),
        ("-5 * * * *", "'-5' is no minute"),
        ("٥ * * * *", "is no minute"),
        (",* * * * *", "'' is no minute"),
        ("@reboot", "five fields"),
        (None, "is no cron expression: None"),
    ],
)
def test_a_bad_cron_is_told_apart(text: object, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        cron.checked(text)
