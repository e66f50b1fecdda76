"""The demo while it runs: a table that lives on a terminal, a line for each change anywhere else."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import FINAL, JobStatus, ResourceCategory
from media_pipelines.cli.printable import clock
from media_pipelines.demo.course import View
from media_pipelines.demo.words import COLOURS, note, video_width, what

_GLYPHS = {
    JobStatus.PENDING: "○",
    JobStatus.QUEUED: "◔",
    JobStatus.RUNNING: "●",
    JobStatus.COMPLETED: "✓",
    JobStatus.FAILED: "✗",
    JobStatus.CANCELLED: "✗",
    JobStatus.PAUSED: "‖",
}
_NOTE_STYLES = {
    JobStatus.PENDING: "dim",
    JobStatus.QUEUED: "dim",
    JobStatus.FAILED: "red",
}
_VRAM_BAR_WIDTH = 32
_BESIDE_THE_VRAM_BAR = 77
_BAR_WIDTH = 20
_LINES_AROUND_THE_TABLE = 9
_REFRESHES_PER_S = 4
# A line for each of these would say nothing that the next one does not.
_UNSAID = (JobStatus.PENDING, JobStatus.QUEUED)


class Screen(Protocol):
    """Who shows the queue while it works."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, view: View) -> None: ...


def screen_for(console: Console, settings: Settings, addresses: Sequence[tuple[str, str]]) -> Screen:
    return Living(console, settings, addresses) if console.is_terminal else Lines(console)


class Living:
    """A picture of the queue, redrawn in place; removed at the end, when the closing table tells it all."""

    def __init__(self, console: Console, settings: Settings, addresses: Sequence[tuple[str, str]]) -> None:
        self._picture = _Picture(settings, addresses)
        self._live = Live(
            self._picture, console=console, refresh_per_second=_REFRESHES_PER_S, transient=True, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, view: View) -> None:
        self._picture.view = view


class _Picture:
    """Renders anew at each refresh, as high as the terminal allows."""

    def __init__(self, settings: Settings, addresses: Sequence[tuple[str, str]]) -> None:
        self._settings, self._addresses = settings, addresses
        self._began_at_s = time.monotonic()
        self.view = View((), (), finished=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = max(3, (options.height or console.height) - _LINES_AROUND_THE_TABLE)
        shown = _most_telling(self.view.jobs, rows)
        yield Group(
            Text(""),
            self._headline(),
            self._resources(console.width),
            Text(""),
            _table(shown, self.view, console.width),
            self._rest(shown),
            self._pages(),
        )

    def _headline(self) -> RenderableType:
        ended, total = len(self.view.ended), len(self.view.jobs)
        line = Table.grid(padding=(0, 2))
        line.add_row(
            Text("Media Pipelines", style="bold"),
            ProgressBar(total=max(total, 1), completed=ended, width=30, complete_style="green", finished_style="green"),
            Text(f"{ended} of {total} jobs", style="bold"),
            Text(clock(time.monotonic() - self._began_at_s), style="dim"),
        )
        return line

    def _resources(self, width: int) -> RenderableType:
        line = Table.grid(padding=(0, 3, 0, 0))
        bar = min(_VRAM_BAR_WIDTH, max(4, width - _BESIDE_THE_VRAM_BAR))
        line.add_row(
            *(self._slots(category, limit) for category, limit in self._settings.slots.items()), self._vram(bar)
        )
        return line

    def _slots(self, category: ResourceCategory, limit: int) -> Text:
        used = self.view.slots_used(category)
        boxes = ("■" * used, "bright_cyan"), ("□" * max(0, limit - used), "dim")
        return Text.assemble(f"{category} ", *(boxes if limit <= 16 else ()), f" {used}/{limit}")

    def _vram(self, bar: int) -> RenderableType:
        used, total = self.view.vram_used_mb, self._settings.total_vram_mb
        full = min(bar, round(bar * used / total)) if total else 0
        return Text.assemble("VRAM ", ("█" * full, "magenta"), ("░" * (bar - full), "dim"), f" {used} of {total} MB")

    def _rest(self, shown: Sequence[Job]) -> Text:
        hidden = [job for job in self.view.jobs if job not in shown]
        ended = sum(job.status in FINAL for job in hidden)
        parts = [
            f"{ended} more ended" if ended else "",
            f"{len(hidden) - ended} more wait" if len(hidden) > ended else "",
        ]
        return Text("  … " + ", ".join(filter(None, parts)) if hidden else "", style="dim")

    def _pages(self) -> Text:
        return Text(
            "   ".join(f"{name} {address}" for name, address in self._addresses),
            style="dim",
            no_wrap=True,
            overflow="ellipsis",
        )


def _most_telling(jobs: Sequence[Job], rows: int) -> list[Job]:
    """Those that fit, in the order in which they were asked for: active, failed, waiting in line, lately ended."""

    def rank(at: int) -> tuple[int, float]:
        job = jobs[at]
        if job.status in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED):
            return 0, at
        if job.status == JobStatus.PENDING:
            return 2, at
        if job.status == JobStatus.COMPLETED:
            return 3, -(job.completed_at or job.created_at).timestamp()
        return 1, at

    chosen = sorted(range(len(jobs)), key=rank)[:rows]
    return [jobs[at] for at in sorted(chosen)]


def _table(jobs: Sequence[Job], view: View, width: int) -> Table:
    paths = view.paths
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", expand=True)
    table.add_column("", width=1)
    table.add_column("job", width=18, no_wrap=True)
    table.add_column("video", width=video_width(width), no_wrap=True, overflow="ellipsis")
    table.add_column("status", width=9, no_wrap=True)
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for job in jobs:
        table.add_row(*_row(job, paths))
    return table


def _row(job: Job, paths: dict[UUID, str]) -> list[RenderableType]:
    colour = COLOURS[job.status]
    return [
        Text(_GLYPHS[job.status], style=colour),
        Text(job.type),
        Text(what(job, paths)),
        Text(job.status.value, style=colour),
        _progress(job, paths)
        if job.status == JobStatus.RUNNING
        else Text(note(job, paths), style=_NOTE_STYLES.get(job.status, "")),
    ]


def _progress(job: Job, paths: dict[UUID, str]) -> RenderableType:
    line = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=100, completed=job.progress, width=_BAR_WIDTH, complete_style=COLOURS[job.status])
    line.add_row(bar, f"{job.progress:>3}%", Text(note(job, paths), no_wrap=True, overflow="ellipsis"))
    return line


class Lines:
    """One line for each change of a job."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_at_s = time.monotonic()
        self._said: dict[UUID, JobStatus] = {}
        self._reason_said: set[UUID] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was left open."""

    def show(self, view: View) -> None:
        for job in view.jobs:
            if job.status == JobStatus.PENDING and job.waiting_reason and job.id not in self._reason_said:
                self._reason_said.add(job.id)
                self._say(job, view)
            elif job.status not in _UNSAID and self._said.get(job.id) != job.status:
                self._said[job.id] = job.status
                self._say(job, view)

    def _say(self, job: Job, view: View) -> None:
        at_s = time.monotonic() - self._began_at_s
        line = f"{at_s:6.1f} s  {job.status.value:<9} {job.type:<18} {what(job, view.paths)}  {note(job, view.paths)}"
        self._console.print(line.rstrip(), markup=False, emoji=False, soft_wrap=True)
