"""`up`, `down`, `status`, `doctor`, `config`: the platform as a whole."""

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import typer
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from jobqueue_bridge.settings import Settings, Shutdown, as_text, load_settings, origin_of, variable_of
from media_pipelines.cli.output import DONE, FAILED, NOT_RUNNING, err, fail, out, print_json, print_table
from media_pipelines.platform.asking import note
from media_pipelines.platform.errors import PlatformError
from media_pipelines.platform.lock import AlreadyRunning, Holder, holder_of

_DOWN_PATIENCE_S = 300.0
_BETWEEN_SIGNALS_S = 0.5
_SECRETS = ("jwt_secret",)

config_app = typer.Typer(help="Show the settings.", invoke_without_command=True)


def up(
    detach: bool = typer.Option(False, "--detach", "-d", help="Run in the background; return when it is healthy."),
) -> None:
    """Start the platform: database, Dagster, the bridge API."""
    settings = load_settings()
    with Display() as display:
        try:
            _start(settings, display, detach=detach)
        except AlreadyRunning as error:
            display.close()
            if not detach:
                fail(f"{error}. `media-pipelines down` stops it")
            out.print(f"{error}", markup=False, soft_wrap=True)


def _start(settings: Settings, display: "Display", *, detach: bool) -> None:
    if holder := holder_of(settings):
        raise AlreadyRunning(holder)
    if detach:
        from media_pipelines.platform import detached

        detached.start(settings, display)
    else:
        from media_pipelines.platform.run import run_platform

        display.hint = "Ctrl-C stops it."
        run_platform(settings, display)


class Display:
    """The start as it happens: a line for each step, with a spinner where somebody looks."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[reason]}[/dim]"),
            console=err,
            disable=not err.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self.hint = "`media-pipelines down` stops it."

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._progress.stop()

    def begins(self, step: str) -> None:
        self._began[step] = time.monotonic()
        self._tasks[step] = self._progress.add_task(step, total=1, reason="")

    def waits(self, step: str, reason: str) -> None:
        self._progress.update(self._tasks[step], reason=reason[:80])

    def done(self, step: str) -> None:
        self._progress.update(self._tasks[step], completed=1, reason="")
        if not err.is_terminal:
            err.print(f"✓ {step} ({time.monotonic() - self._began[step]:.1f} s)", markup=False)

    def ready(self, api_url: str, dagster_url: str) -> None:
        self.close()
        out.print(f"\n[bold]Jobs page[/bold]   {_door(api_url)}", soft_wrap=True)
        out.print(f"[bold]Jobs API[/bold]    {api_url}/docs")
        out.print(f"[bold]Dagster UI[/bold]  {dagster_url}/")
        out.print(f"[dim]{self.hint}[/dim]")

    def lost(self, reason: str) -> None:
        err.print(f"{reason}: starting again", markup=False)

    def finishing(self, jobs: int, seconds: float) -> None:
        err.print(f"Running jobs ({jobs}) may finish, within {seconds:.0f} s; a second Ctrl-C hands them back at once")

    def stopping(self) -> None:
        self.close()
        err.print("Stopping …")


def _door(api_url: str) -> str:
    """The page's address, with a code that signs in whoever opens it first, within a quarter of an hour."""
    from jobqueue_bridge.tokens import SignedElsewhere
    from media_pipelines.cli.signin import link_for

    with suppress(SignedElsewhere, OSError):
        return link_for(load_settings(), api_url)
    return f"{api_url}/"


def down(
    now: bool = typer.Option(False, "--now", help="Hand running jobs back at once, whatever the setting says."),
) -> None:
    """Stop the platform in order and wait for it. Running jobs finish or are handed back, as MEDIA_SHUTDOWN says."""
    settings = load_settings()
    holder = holder_of(settings)
    if holder is None:
        out.print("The platform is not running.")
        return
    if settings.shutdown == Shutdown.FINISH and not now:
        err.print("Running jobs may finish; `media-pipelines down --now` hands them back.", soft_wrap=True)
    note(settings, "platform.down", now=now)
    if not stopped(settings, holder, now=now):
        fail(f"The platform (pid {holder.pid}) is still stopping: see {settings.logs_dir}")
    out.print("The platform has stopped.")


def stopped(settings: Settings, holder: Holder, *, now: bool) -> bool:
    """Ask it, and wait until it has let go of its lock and ended. False: it took longer than it may."""
    finishing_s = settings.shutdown_timeout_seconds if settings.shutdown == Shutdown.FINISH else 0
    deadline = time.monotonic() + _DOWN_PATIENCE_S + finishing_s
    process = psutil.Process(holder.pid)
    try:
        process.terminate()
        if now:
            time.sleep(_BETWEEN_SIGNALS_S)  # two that come together are one
            process.terminate()
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        fail(f"The platform (pid {holder.pid}) belongs to {process.username()}: only that user can stop it")
    while holder_of(settings) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    with suppress(psutil.TimeoutExpired):
        process.wait(5)
    return True


def status(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show the programs of the platform; exit code 3 when it is not running."""
    settings = load_settings()
    holder = holder_of(settings)
    if as_json:
        print_json(_status(settings, holder))
    elif holder is None:
        err.print("The platform is not running: start it with `media-pipelines up`", soft_wrap=True)
    else:
        _print_status(_status(settings, holder))
    raise typer.Exit(DONE if holder else NOT_RUNNING)


def _status(settings: Settings, holder: Holder | None) -> dict[str, Any]:
    budget = [{"gpu": device.index, "name": device.name, "vram_mb": device.vram_mb} for device in settings.devices]
    if holder is None:
        return {"running": False, "home": str(settings.home), "programs": [], "gpus": budget}
    from media_pipelines.platform.supervisor import Supervisor

    try:
        programs = [asdict(state) for state in Supervisor(settings).states().values()]
    except PlatformError:
        programs = []  # it is only just starting, or stopping
    return {"running": True, "home": str(settings.home), **asdict(holder), "programs": programs, "gpus": budget}


def _print_status(facts: dict[str, Any]) -> None:
    colours = {"RUNNING": "green", "STARTING": "yellow", "STOPPED": "dim"}
    rows = [
        (
            program["name"],
            Text(program["state"].lower(), style=colours.get(program["state"], "red")),
            program["pid"],
            _duration(program["uptime_s"]),
            program["log_file"],
        )
        for program in facts["programs"]
    ]
    print_table(("program", "state", "pid", "uptime", "log"), rows, empty="starting or stopping")
    if len(facts["gpus"]) > 1:
        out.print("\nGPUs       " + ", ".join(_gpu(gpu) for gpu in facts["gpus"]), markup=False, soft_wrap=True, end="")
    out.print(f"\nJobs API   {facts['api_url']}/docs\nDagster UI {facts['dagster_url']}/\nHome       {facts['home']}")


def _gpu(facts: dict[str, Any]) -> str:
    return f"{facts['gpu']} {facts['name']}".rstrip() + f" ({facts['vram_mb']} MB)"


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def doctor(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Check this machine: a line each, exit code 1 if any check fails."""
    from media_pipelines.platform.doctor import findings

    found = []
    for finding in findings(load_settings()):
        found.append(finding)
        if not as_json:
            mark = "[green]✓[/green]" if finding.ok else "[red]✗[/red]"
            out.print(f"{mark} {finding.check:<9}", end="")
            out.print(finding.text, markup=False, soft_wrap=True)
    if as_json:
        print_json([asdict(finding) for finding in found])
    raise typer.Exit(DONE if all(finding.ok for finding in found) else FAILED)


@config_app.callback(invoke_without_command=True)
def show_config(context: typer.Context, as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show every setting, its effective value and where it comes from."""
    if context.invoked_subcommand:
        return
    settings = load_settings()
    rows = [
        {
            "variable": variable_of(field),
            "key": field,
            "value": _shown(settings, field),
            "origin": origin_of(settings, field),
        }
        for field in Settings.model_fields
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("variable", "config.yaml", "value", "from"), (list(row.values()) for row in rows))


@config_app.command()
def policy(
    file: Path = typer.Argument(metavar="FILE", help="A policy, as `transcode --policy` takes it."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check a policy file; show every key with the value that counts."""
    from jobqueue_bridge.policy import load_policy, policy_hash

    found = load_policy(file)
    if as_json:
        print_json({"hash": policy_hash(found), "policy": found.effective()})
        return
    rows = [
        (key, _said(value), "file" if key in found.model_fields_set else "default")
        for key, value in found.effective().items()
    ]
    print_table(("key", "value", "from"), rows)
    out.print(f"\nIt is sound. Hash {policy_hash(found)[:12]}")


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_said(inner)}" for key, inner in value.items() if inner)
    return ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)


def _shown(settings: Settings, field: str) -> object:
    """The value, without what gives access."""
    value = getattr(settings, field)
    if field in _SECRETS:
        return "••••••" if value else ""
    if field == "database_url" and value:
        return settings.queue_url.set(drivername="postgresql").render_as_string(hide_password=True)
    if field == "webhooks":  # what gives access to one often stands in its query
        return ", ".join(hook.url.partition("?")[0] for hook in settings.webhooks)
    return value if isinstance(value, bool | int | float | None) else as_text(value)
