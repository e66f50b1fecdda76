"""Who asks, as tokens and the audit log name whoever sits at this command line."""

import getpass
import socket
from contextlib import suppress
from typing import Any

from jobqueue_bridge.settings import Settings


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "media-pipelines"


def who() -> str:
    """With the host, which tells them from people who act through the API."""
    return f"{user()}@{socket.gethostname()}"


def note(settings: Settings, action: str, **details: Any) -> None:
    """Into the audit log, by whoever runs this process. A database that is away keeps nobody from stopping."""
    from sqlalchemy.exc import DBAPIError

    from jobqueue_bridge import audit
    from jobqueue_bridge.database import engine_for

    engine = engine_for(settings)
    with suppress(DBAPIError), engine.begin() as connection:
        audit.record(connection, who(), action, **details)
    engine.dispose()
