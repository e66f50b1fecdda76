"""`webhooks`: what people see of them, and may do."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from jobqueue_bridge import webhooks
from jobqueue_bridge.tables import webhook_messages

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = [{"url": "https://a.example/in?key=hidden"}, {"url": "https://b.example/", "secret": SECRET}]
    monkeypatch.setenv("MEDIA_WEBHOOKS", json.dumps(hooks))


@pytest.mark.usefixtures("named")
def test_what_gives_access_is_not_shown(cli: Callable[..., Any]) -> None:
    for shown in (cli("webhooks", "list"), cli("webhooks", "list", "--json"), cli("config", "--json")):
        assert shown.code == 0
        assert "https://a.example/in" in shown.out
        assert "hidden" not in shown.out
        assert SECRET not in shown.out


@pytest.mark.usefixtures("named")
def test_the_shared_secret_is_printed_for_the_receiver(cli: Callable[..., Any]) -> None:
    first = cli("webhooks", "secret")
    assert first.out.startswith("whsec_")
    assert cli("webhooks", "secret").out == first.out


@pytest.mark.usefixtures("named")
def test_a_test_message_is_listed_and_can_be_sent_again(cli: Callable[..., Any], connection: sa.Connection) -> None:
    assert cli("webhooks", "test").out.startswith("2 on the way")
    listed = cli("webhooks", "messages", "--json").json
    assert [(row["event"], row["state"]) for row in listed] == [("test", "new")] * 2
    connection.execute(sa.update(webhook_messages).values(due_at=None, error="answered 500"))
    assert "answered 500" in cli("webhooks", "messages", "--failed").out
    assert cli("webhooks", "retry").out.startswith("2 on the way")
    assert len(webhooks.take(connection, 5)) == 2


def test_what_is_not_there_is_said(cli: Callable[..., Any]) -> None:
    assert cli("webhooks", "test").code == 2
    assert cli("webhooks", "secret").code == 2
    assert cli("webhooks", "retry", "nonsense").code == 2
    assert cli("webhooks", "retry", str(uuid4())).code == 1
    assert cli("webhooks", "list").code == 0
