"""Signing in: a link's code becomes a session, a session tells whose it is, and is renewed while it is used."""

import importlib.metadata

from fastapi import APIRouter, Request, Security

from jobqueue_bridge import audit, tokens
from jobqueue_bridge.api import wire_actions as wired
from jobqueue_bridge.api.auth import bearer
from jobqueue_bridge.api.dagster_address import dagster_address
from jobqueue_bridge.api.dependencies import CurrentSettings, Database, Me
from jobqueue_bridge.api.problems import documented
from jobqueue_bridge.settings import Settings

router = APIRouter(prefix="/api/media", tags=["session"], responses=documented(400, 401, 413, 415, 422, 429, 503))


@router.post("/signin")
def sign_in(database: Database, settings: CurrentSettings, request: Request, asked: wired.SignIn) -> wired.NewSession:
    """Exchanges the code of a sign-in link, once, for a token of twelve hours. Needs no token."""
    trust = request.app.state.trust
    with database.begin() as connection:
        name = tokens.redeem(connection, asked.code, trust)
        audit.record(connection, name, "session.signin")
    token = tokens.sign(settings, tokens.ADMIN_ROLE, tokens.SESSION, name=name)
    return _new(settings, request, token)


@router.get("/session", dependencies=[Security(bearer)], responses=documented(403))
def get_session(settings: CurrentSettings, request: Request, me: Me) -> wired.Session:
    """Whose token this is, and for how long."""
    return wired.Session(**_session(settings, request, me))


@router.post("/session/renew", dependencies=[Security(bearer)], responses=documented(403, 409))
def renew_session(settings: CurrentSettings, request: Request, me: Me) -> wired.NewSession:
    """A fresh token of twelve hours for one that is still good, until a week after signing in."""
    return _new(settings, request, tokens.renewed(settings, me))


def _new(settings: Settings, request: Request, token: str) -> wired.NewSession:
    whose = tokens.require_admin(token, request.app.state.trust)
    return wired.NewSession(**_session(settings, request, whose), token=token)


def _session(settings: Settings, request: Request, whose: tokens.Identity) -> dict[str, object]:
    return {
        "name": whose.name,
        "role": whose.role,
        "expires_at": whose.expires_at,
        "renewable": tokens.signs_here(settings),
        "dagster_url": dagster_address(settings, request.headers.get("host", "")).rstrip("/"),
        "version": importlib.metadata.version("media-pipelines"),
    }
