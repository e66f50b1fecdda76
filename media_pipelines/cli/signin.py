"""`signin`: a link that signs somebody in to the Jobs page, once."""

import webbrowser

import typer

from jobqueue_bridge import tokens
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.tokens import SignedElsewhere
from media_pipelines.cli.output import FAILED, USAGE, fail
from media_pipelines.platform.asking import user
from media_pipelines.platform.lock import addresses


def signin(
    name: str = typer.Option("", "--name", help="Who signs in, as the audit log will say; default: the user here."),
    open_it: bool = typer.Option(False, "--open", help="Open it in the browser, too."),
) -> None:
    """Print a link to the Jobs page that signs in whoever opens it first, within 15 minutes."""
    settings = load_settings()
    try:
        link = link_for(settings, addresses(settings)[0], name)
    except SignedElsewhere as error:
        fail(str(error), USAGE)
    except OSError as error:
        fail(f"The secret cannot be read or made: {error}", FAILED)
    typer.echo(link)
    if open_it:
        webbrowser.open(link)


def link_for(settings: Settings, api_url: str, name: str = "") -> str:
    """The code stands in the fragment, which no browser sends and no server logs. Raises SignedElsewhere, OSError."""
    return f"{api_url}/#signin={tokens.sign_code(settings, name or user())}"
