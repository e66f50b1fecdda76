"""The tables at the end."""

from rich.console import Console
from rich.table import Table

from tests.chaos.course import Told, outcomes

_SHOWN = 10


def show(console: Console, told: Told) -> None:
    console.print(_blows(told), _outcomes(told), _invariants(told), sep="\n")
    for finding in told.findings:
        for line in finding.wrong[_SHOWN:]:
            console.print(f"{finding.what}: {line}", markup=False, style="red")
    plan = told.plan
    console.print(
        f"seed {plan.seed}, {plan.jobs} jobs, {plan.kills} kills, {plan.stops} stops: "
        f"{'everything held' if told.good else 'VIOLATED'}, {told.took_s:.0f} s"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name == columns[0] else "right", overflow="fold")
    return table


def _blows(told: Told) -> Table:
    table = _table("Who was struck", "what", "times")
    for what, count in sorted(told.blows.items()):
        table.add_row(what, str(count))
    kills = sum(count for what, count in told.blows.items() if what.startswith("SIGKILL"))
    table.add_row("all SIGKILLs", str(kills), style="bold")
    return table


def _outcomes(told: Told) -> Table:
    table = _table("How the jobs ended", "type", "jobs", "completed", "failed", "with retries", "attempts")
    for kind, seen in sorted(outcomes(told.jobs).items()):
        total = sum(seen[status] for status in ("completed", "failed", "cancelled"))
        table.add_row(kind, *map(str, (total, seen["completed"], seen["failed"], seen["retried"], seen["attempts"])))
    return table


def _invariants(told: Told) -> Table:
    watch = told.watch
    table = _table("What must hold", "what", "looked at", "violations")
    seen = f"{watch.samples} samples, {watch.misses} without an answer"
    table.add_row("slots and VRAM, rows and live runs", seen, str(sum(watch.broken.values())))
    for text, count in watch.broken.items():
        table.add_row(f"  {text}", "", str(count), style="red")
    peaks = watch.peaks
    table.add_row("  most rows running", str(dict(peaks.rows)), "")
    table.add_row("  most runs alive", str(dict(peaks.processes)), "")
    table.add_row("  most VRAM held", f"{peaks.vram_mb} MB", "")
    for finding in told.findings:
        table.add_row(finding.what, str(finding.looked_at), str(len(finding.wrong)))
        for line in finding.wrong[:_SHOWN]:
            table.add_row(f"  {line}", "", "", style="red")
    return table
