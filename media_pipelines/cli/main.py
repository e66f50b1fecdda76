"""The command `media-pipelines`: which module serves which command. A module is imported only when it is called."""

import importlib
import sys
from collections.abc import Sequence

import typer

from media_pipelines.cli.output import run_mapped

# command → module: a Typer there named `app` becomes a group, a function of the command's name a plain command.
COMMANDS = {
    "up": "media_pipelines.cli.platform",
    "down": "media_pipelines.cli.platform",
    "status": "media_pipelines.cli.platform",
    "doctor": "media_pipelines.cli.platform",
    "config": "media_pipelines.cli.platform",
    "jobs": "media_pipelines.cli.jobs",
    "videos": "media_pipelines.cli.videos",
    "scan": "media_pipelines.cli.videos",
    "report": "media_pipelines.cli.report",
    "restore": "media_pipelines.cli.originals",
    "transcode": "media_pipelines.cli.transcode",
    "models": "media_pipelines.cli.models",
    "token": "media_pipelines.cli.token",
    "signin": "media_pipelines.cli.signin",
    "webhooks": "media_pipelines.cli.webhooks",
    "schedules": "media_pipelines.cli.schedules",
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application with the command that is called, or with all of them where none is named."""
    app = typer.Typer(
        name="media-pipelines",
        help="Runs every heavy job of a self-hosted video library.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    for command in [called] if called in COMMANDS else COMMANDS:
        _register(app, command)
    return app


def _register(app: typer.Typer, command: str) -> None:
    module = importlib.import_module(COMMANDS[command])
    function = getattr(module, command, None)
    if callable(function):
        app.command(command)(function)
    else:
        app.add_typer(getattr(module, f"{command}_app", None) or module.app, name=command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"media-pipelines {version('media-pipelines')}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    del version


def main() -> None:
    run_mapped(build(sys.argv[1:]))


if __name__ == "__main__":
    main()
