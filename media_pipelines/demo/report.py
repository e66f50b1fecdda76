"""The end of a demo: a table of the jobs, what went wrong if anything did, and where to look next."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from jobqueue_bridge import logs, tokens
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.printable import clock, printable, printable_lines, size
from media_pipelines.demo.course import Peak, View
from media_pipelines.demo.footage import Footage
from media_pipelines.demo.proof import Proof
from media_pipelines.demo.words import COLOURS, note, ran_s, seconds, video_width, waited_s, what

_LOG_LINES = 12
_TOKEN_LIVES = timedelta(hours=12)


def print_jobs(console: Console, view: View, proof: Proof) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("job", width=18, no_wrap=True)
    table.add_column("video", width=video_width(console.width), no_wrap=True, overflow="ellipsis")
    table.add_column("status", width=9, no_wrap=True)
    table.add_column("waited", width=6, justify="right", no_wrap=True)
    table.add_column("ran", width=6, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("verified" if console.width > 100 else "", justify="center", no_wrap=True)
    paths = view.paths
    for job in view.jobs:
        table.add_row(
            job.type,
            Text(what(job, paths)),
            Text(job.status.value, style=COLOURS[job.status]),
            seconds(waited_s(job)),
            seconds(ran_s(job)),
            Text(note(job, paths), style="red" if job.status == JobStatus.FAILED else ""),
            _mark(job, proof),
        )
    console.print(table)


def _mark(job: Job, proof: Proof) -> Text:
    if job.id in proof.problems:
        return Text("✗", style="red")
    return Text("✓", style="green") if job.id in proof.verified else Text("")


def print_failures(console: Console, settings: Settings, view: View, proof: Proof) -> None:
    """Each failed job with its error and the end of its log, and each output that is not what it should be."""
    by_id = {job.id: job for job in view.jobs}
    with engine_for(settings).connect() as connection:
        for job in view.failed:
            console.print(f"\n[bold red]{job.type} {job.id} {job.status}[/]")
            _print_lines(console, printable_lines(job.error or ""))
            _print_lines(console, printable_lines(logs.text(connection, job.id, tail=_LOG_LINES)), style="dim")
    for job_id, problem in proof.problems.items():
        console.print(f"\n[bold red]{by_id[job_id].type} {job_id}: its output was rejected[/]")
        _print_lines(console, printable_lines(problem))


def _print_lines(console: Console, lines: Iterable[str], style: str = "") -> None:
    for line in lines:
        console.print(f"  {line}", style=style, markup=False, emoji=False, soft_wrap=True)


def print_left_out(console: Console, settings: Settings, footage: Footage, view: View) -> None:
    """What is no fault of the platform: files that could not be taken, and files that are no whole video."""
    for line in footage.skipped:
        console.print(f"[yellow]left out[/]  {_safe(line)}", soft_wrap=True)
    for video in view.broken:
        reason = (video.invalid_reason or "").removeprefix(f"{settings.media_library_path / video.path} ")
        console.print(f"[yellow]broken[/]    {_safe(video.path)} {_safe(reason)}", soft_wrap=True)


def _safe(text: str) -> str:
    return escape(printable(text))


def print_problems(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n[bold red]{title}[/]")
        _print_lines(console, map(printable, lines))


def print_summary(console: Console, settings: Settings, view: View, proof: Proof, peak: Peak, took_s: float) -> None:
    completed = len(view.ended) - len(view.failed)
    good = completed == len(view.jobs) and not proof.problems
    console.print(
        f"\n[bold {'green' if good else 'red'}]{'✓' if good else '✗'}[/] "
        f"{completed} of {len(view.jobs)} jobs completed in {clock(took_s)}, {len(proof.verified)} outputs verified"
        f"{_saved(view)}"
    )
    slots = ", ".join(f"{peak.slots[category]} of {limit} {category}" for category, limit in settings.slots.items())
    console.print(f"[dim]  At most at once: {slots}, {peak.vram_mb} of {settings.total_vram_mb} MB of VRAM[/]")


def _saved(view: View) -> str:
    results = [job.result for job in view.jobs if job.result and "sourceSizeBytes" in job.result]
    if not results:
        return ""
    before = sum(result["sourceSizeBytes"] for result in results)
    return f"; renditions: {size(before)} → {size(sum(result['sizeBytes'] for result in results))}"


def print_kept(console: Console, settings: Settings, addresses: Sequence[tuple[str, str]]) -> None:
    """How to go on with a platform that stays up, and how to end it."""
    command, home = shlex.quote(_command()), shlex.quote(str(settings.home))
    console.print("\n[bold]The platform goes on running.[/]")
    for name, address in addresses:
        console.print(f"  {name:<11} {address}", highlight=False)
    lines = [
        "",
        "  A token for the API, good for 12 hours:",
        f"  {tokens.sign(settings, tokens.ADMIN_ROLE, _TOKEN_LIVES)}",
        "",
        "  Look at it, then stop it and delete what it made:",
        f"  export MEDIA_PIPELINES_HOME={home}",
        f"  {command} jobs list",
        f"  {command} down && rm -rf {home}",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _command() -> str:
    path = Path(sys.executable).with_name("media-pipelines")
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def print_gone(console: Console, addresses: Sequence[tuple[str, str]]) -> None:
    pages = ", ".join(f"{name} {address}" for name, address in addresses[1:])
    console.print(f"[dim]  `KEEP=1 make demo` keeps the pages: {pages}[/]", soft_wrap=True)
