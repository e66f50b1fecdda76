"""`webhooks`: who is told, what was told, and telling it again."""

from typing import Any
from uuid import UUID

import typer

from jobqueue_bridge import audit, webhooks
from jobqueue_bridge.settings import load_settings
from media_pipelines.cli.database import engine_for
from media_pipelines.cli.output import FAILED, USAGE, fail, out, print_rows
from media_pipelines.cli.printable import printable
from media_pipelines.platform.asking import who

app = typer.Typer(help="Who is told when a job's status changes.", no_args_is_help=True)

_AS_JSON = typer.Option(False, "--json", help="Print JSON.")


@app.command(name="list")
def list_(as_json: bool = _AS_JSON) -> None:
    """The webhooks that the settings name."""
    rows = [
        {
            "url": hook.url.partition("?")[0],
            "events": ", ".join(hook.events),
            "types": ", ".join(hook.types) or "all",
            "secret": "its own" if hook.secret else "the installation's",
        }
        for hook in load_settings().webhooks
    ]
    print_rows(rows, ("url", "events", "types", "secret"), as_json=as_json, empty="none: name some under `webhooks`")


@app.command()
def secret() -> None:
    """The secret that signs messages to webhooks without one of their own: the receiver needs it."""
    settings = load_settings()
    shared = next((hook for hook in settings.webhooks if not hook.secret), None)
    if shared is None:
        fail("No webhook of the settings is without a secret of its own", USAGE)
    out.print(webhooks.secret_for(settings, shared), soft_wrap=True)


@app.command()
def messages(
    limit: int = typer.Option(20, "--limit", min=1, max=1000, help="How many, the newest first."),
    failed: bool = typer.Option(False, "--failed", help="Only those that are given up."),
    as_json: bool = _AS_JSON,
) -> None:
    """What was told, or is still to be told."""
    with engine_for(load_settings()).connect() as connection:
        found = webhooks.newest(connection, limit, failed_only=failed)
    rows = [
        {
            "id": message.id,
            "event": message.payload.get("type"),
            "job": _job(message.payload.get("data", {})),
            "url": message.url.partition("?")[0],
            "state": message.state,
            "tries": message.tries,
            "next": message.due_at and f"{message.due_at:%Y-%m-%d %H:%M:%S}",
            "error": message.error and printable(message.error),
        }
        for message in found
    ]
    print_rows(rows, ("id", "event", "job", "url", "state", "tries", "next", "error"), as_json=as_json, empty="none")


def _job(data: dict[str, Any]) -> str | None:
    """Messages of jobs name theirs as their own id, those of runs beside it."""
    return data.get("id") or data.get("jobId")


@app.command()
def test() -> None:
    """Send a test message to every webhook."""
    settings = load_settings()
    with engine_for(settings).begin() as connection:
        webhooks.sync(connection, settings)
        count = webhooks.add_test(connection)
        audit.record(connection, who(), "webhook.test", messages=count)
    if not count:
        fail("The settings name no webhook", USAGE)
    out.print(f"{count} on the way; `media-pipelines webhooks messages` shows what became of them")


@app.command()
def retry(
    message_id: str = typer.Argument("", metavar="[ID]", help="A message; without: every one that is given up."),
) -> None:
    """Send messages again, at once."""
    try:
        wanted = [UUID(message_id)] if message_id else None
    except ValueError:
        fail(f"{printable(message_id)!r} is no id of a message", USAGE)
    with engine_for(load_settings()).begin() as connection:
        ids = wanted or [message.id for message in webhooks.newest(connection, 1000, failed_only=True)]
        sent = sum(webhooks.send_again(connection, each) for each in ids)
        audit.record(connection, who(), "webhook.retry", messages=sent)
    if wanted and not sent:
        fail(f"There is no message {message_id}", FAILED)
    out.print(f"{sent} on the way")
