"""`models`: which engine serves each role of the analysis, and whether the weights that packages carry are whole."""

from dataclasses import asdict

import typer

from jobqueue_bridge.settings import load_settings
from media_pipelines.ai import inventory
from media_pipelines.ai.engines.choosing import wishes
from media_pipelines.ai.errors import BadReference
from media_pipelines.cli.output import FAILED, USAGE, fail, print_json, print_table


def models(
    warm: bool = typer.Option(False, "--warm", help="Convert what has to be converted once, and load every engine."),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """Show the engines of the analysis and check their weights; exit 1 if a weight is damaged."""
    settings = load_settings()
    try:
        roles = list(inventory.served(wishes(settings), load=warm))
    except BadReference as error:
        fail(f"MEDIA_AI_ENGINES: {error}", USAGE)
    weights = list(inventory.carried())
    if as_json:
        print_json({"roles": [asdict(one) for one in roles], "weights": [asdict(one) for one in weights]})
    else:
        _print(roles, weights)
    if any(one.damaged for one in weights):
        raise typer.Exit(FAILED)


def _print(roles: list[inventory.Served], weights: list[inventory.Carried]) -> None:
    print_table(
        ("role", "set", "serves", "on", "why not the one that is set"),
        [(one.role, one.wanted, one.serves, one.device or "", one.reason or "") for one in roles],
    )
    typer.echo()
    print_table(
        ("weights", "package", "licence", "sha256", ""),
        [(one.name, one.distribution, one.licence, one.sha256[:12], one.problem or "whole") for one in weights],
    )
