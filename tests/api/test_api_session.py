"""Signing in by a link, a session and its renewal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest

from jobqueue_bridge import tokens
from jobqueue_bridge.settings import Settings
from media_pipelines.cli.signin import link_for

SIGN_IN, SESSION = "/api/media/signin", "/api/media/session"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def code_in(link: str) -> str:
    return link.partition("/#signin=")[2]


def test_a_link_signs_its_person_in_once(anonymous: httpx.Client, settings: Settings) -> None:
    code = code_in(link_for(settings, "http://127.0.0.1:4100", "ann"))

    session = anonymous.post(SIGN_IN, json={"code": code}).raise_for_status().json()
    again = anonymous.post(SIGN_IN, json={"code": code})

    assert (session["name"], session["role"], session["renewable"]) == ("ann", "SUPER_ADMIN", True)
    assert anonymous.get(SESSION, headers=bearer(session["token"])).json()["name"] == "ann"
    assert again.status_code == 401
    assert again.json()["type"].endswith("code-spent")
    told = anonymous.get("/api/media/audit", headers=bearer(session["token"])).json()["data"]
    assert [(entry["action"], entry["who"]) for entry in told] == [("session.signin", "ann")]


def test_the_code_of_a_link_is_no_token(anonymous: httpx.Client, settings: Settings) -> None:
    code = tokens.sign_code(settings, "ann")

    assert anonymous.get(SESSION, headers=bearer(code)).status_code == 403


def test_a_token_is_no_code(anonymous: httpx.Client, admin_token: str) -> None:
    assert anonymous.post(SIGN_IN, json={"code": admin_token}).status_code == 401


@pytest.mark.parametrize("code", ["x", "a.b.c", "é", "\u0001"])
def test_what_is_no_code_is_refused(anonymous: httpx.Client, code: str) -> None:
    assert anonymous.post(SIGN_IN, json={"code": code}).status_code == 401


def test_a_session_is_renewed_until_a_week_after_signing_in(anonymous: httpx.Client, settings: Settings) -> None:
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    young, old = (
        tokens.sign(settings, "SUPER_ADMIN", hour, name="ann", signed_in_at=now - timedelta(days=days))
        for days in (6, 8)
    )

    renewed = anonymous.post(f"{SESSION}/renew", headers=bearer(young)).raise_for_status().json()

    assert renewed["expiresAt"] > anonymous.get(SESSION, headers=bearer(young)).json()["expiresAt"]
    assert jwt.decode(renewed["token"], options={"verify_signature": False})["auth_time"] == int(
        (now - timedelta(days=6)).timestamp()
    )
    assert anonymous.post(f"{SESSION}/renew", headers=bearer(old)).status_code == 409


def test_a_session_tells_where_dagster_is(api: httpx.Client, settings: Settings) -> None:
    session = api.get(SESSION).json()

    assert session["dagsterUrl"] == f"http://127.0.0.1:{settings.dagster_port}"
    assert session["version"]


def test_where_tokens_are_signed_elsewhere_none_is_made_here(settings: Settings) -> None:
    elsewhere: Any = settings.model_copy(update={"jwt_public_key": "a key"})

    with pytest.raises(tokens.SignedElsewhere):
        link_for(elsewhere, "http://127.0.0.1:4100")
