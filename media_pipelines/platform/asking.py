"""Who asks, as tokens and the audit log name whoever sits at this command line."""

import getpass
import socket


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "media-pipelines"


def who() -> str:
    """With the host, which tells them from people who act through the API."""
    return f"{user()}@{socket.gethostname()}"
