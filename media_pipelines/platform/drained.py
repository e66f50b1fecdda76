"""The platform and drains: one that is started for a drain, and one that lets its running jobs finish as it stops."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from uuid import UUID, uuid4

import sqlalchemy as sa

from jobqueue_bridge import drains
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.drains import Terms
from jobqueue_bridge.settings import Settings

_START_PATIENCE_S = 300.0  # as long as a start may take
_LOOK_S = 1.0
_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError)


def name_of(settings: Settings) -> str:
    """What tells a platform from all others that may use the same database."""
    return f"{socket.gethostname()}:{settings.home}"


def to_text(terms: Terms) -> str:
    return json.dumps({**asdict(terms), "id": str(terms.id)})


def from_text(text: str) -> Terms:
    values = json.loads(text)
    return Terms(**{**values, "id": UUID(values["id"])})


def begin(settings: Settings, terms: Terms | None) -> None:
    """Before anything can be admitted: what this platform may admit. What it left behind the last time goes."""
    with engine_for(settings).begin() as connection:
        drains.remove_of(connection, name_of(settings))
        if terms is not None:
            drains.open_drain(connection, terms, patience_s=_START_PATIENCE_S)


def let_finish(settings: Settings, hurry: Callable[[float], bool], finishing: Callable[[int, float], None]) -> None:
    """Admit nothing more, and return once no job runs, the time for it is over, or `hurry` says so.

    The drain that keeps the dispatcher still stays, and goes when this platform starts again.
    """
    deadline_s = time.monotonic() + settings.shutdown_timeout_seconds
    terms = Terms(uuid4(), "the platform", limited=True, platform=name_of(settings))
    if not _keep_still(settings, terms):
        return
    said = False
    while (left_s := deadline_s - time.monotonic()) > 0:
        state = _beat(settings, terms)
        if state is not None and not state.active:
            return
        if state is not None and not said:
            finishing(state.active, settings.shutdown_timeout_seconds)
            said = True
        if hurry(min(_LOOK_S, left_s)):
            return


def _keep_still(settings: Settings, terms: Terms) -> bool:
    """Whether the dispatcher will admit nothing; where its database is away, nothing can finish either."""
    try:
        with engine_for(settings).begin() as connection:
            drains.open_drain(connection, terms)
            drains.close_all(connection)
    except _AWAY:
        return False
    return True


def _beat(settings: Settings, terms: Terms) -> drains.State | None:
    """None: the database is away, or the row is gone."""
    try:
        with engine_for(settings).begin() as connection:
            return drains.beat(connection, terms.id)
    except _AWAY:
        return None
