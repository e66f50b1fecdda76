"""`schedules`: what is asked for by the clock, and when next."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

Cli = Callable[..., Any]
TWO = {
    "mine": {"cron": "@hourly", "timezone": "Asia/Kolkata", "type": "scan", "params": {"path": "inbox"}},
    "daily_rescan": {"enabled": False},
}


@pytest.fixture(autouse=True)
def _scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_SCHEDULES", json.dumps(TWO))


def test_each_schedule_has_a_line_with_its_next_time(cli: Cli) -> None:
    lines = {line.split()[0]: line for line in cli("schedules").out.splitlines()[1:]}
    assert "0 * * * *" in lines["mine"]
    assert "Asia/Kolkata" in lines["mine"]
    assert " off " in lines["daily_rescan"]
    assert " 03:00 " in lines["nightly_compilation"]


def test_json_tells_the_instant_and_the_params(cli: Cli) -> None:
    found = {one["name"]: one for one in cli("schedules", "--json").json}
    assert (found["mine"]["params"], found["mine"]["enabled"]) == ({"path": "inbox"}, True)
    comes = datetime.fromisoformat(found["mine"]["next"])
    assert timedelta(0) <= comes - datetime.now(UTC) <= timedelta(hours=1)
    assert (comes.minute, comes.utcoffset()) == (0, timedelta(hours=5, minutes=30))
    assert (found["daily_rescan"]["next"], found["daily_rescan"]["enabled"]) == (None, False)


def test_a_bad_schedule_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDIA_SCHEDULES", '{"mine": {"cron": "daily", "type": "scan"}}')
    ended = cli("schedules")
    assert (ended.code, ended.out) == (2, "")
    assert "mine.cron: 'daily' is no cron expression" in ended.err
