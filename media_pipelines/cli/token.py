"""`token`: a signed token for the API."""

import re
from datetime import timedelta

import typer

from jobqueue_bridge import tokens
from jobqueue_bridge.settings import load_settings
from jobqueue_bridge.tokens import SignedElsewhere
from media_pipelines.cli.output import FAILED, USAGE, fail
from media_pipelines.platform.asking import user

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3650)


def token(
    role: str = typer.Option(tokens.ADMIN_ROLE, "--role"),
    expires: str = typer.Option("12h", "--expires", metavar="TIME", help="A number and s, m, h or d: 12h, 30d."),
    name: str = typer.Option("", "--name", help="Whose it is, as the audit log will say; default: the user here."),
) -> None:
    """Print a signed token: curl -H "Authorization: Bearer $(media-pipelines token)" …"""
    try:
        typer.echo(tokens.sign(load_settings(), role, _lifetime(expires), name=name or user()))
    except SignedElsewhere as error:
        fail(str(error), USAGE)
    except OSError as error:
        fail(f"The secret cannot be read or made: {error}", FAILED)


def _lifetime(text: str) -> timedelta:
    given = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    lifetime = timedelta(**{_UNITS[given[2]]: int(given[1])}) if given else timedelta()
    if not timedelta() < lifetime <= _LONGEST:
        raise typer.BadParameter("must be like 90m, 12h or 30d, and at most 3650d", param_hint="--expires")
    return lifetime
