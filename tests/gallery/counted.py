"""What a log file is told of a day: how far it is, once in a while and wherever something ends badly."""

import time
from types import TracebackType
from typing import Self
from uuid import UUID

from rich.console import Console

from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.cli.printable import clock
from media_pipelines.demo.course import View
from media_pipelines.demo.words import note, what

_EVERY_S = 10.0


class Counted:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._said_at_s = 0.0
        self._told: set[UUID] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was left open."""

    def show(self, view: View) -> None:
        for job in view.failed:
            if job.id not in self._told:
                self._told.add(job.id)
                line = f"{job.status} {job.type} {what(job, view.paths)}  {note(job, view.paths)}"
                self._console.print(f"      {line}", markup=False, emoji=False, soft_wrap=True)
        if time.monotonic() - self._said_at_s >= _EVERY_S:
            self._said_at_s = time.monotonic()
            self._console.print(self._line(view), markup=False, soft_wrap=True)

    def _line(self, view: View) -> str:
        running = ", ".join(sorted({job.type for job in view.running}))
        waiting = sum(job.status in (JobStatus.PENDING, JobStatus.QUEUED) for job in view.jobs)
        counts = f"{len(view.ended)} of {len(view.jobs)} jobs ended, {len(view.running)} run, {waiting} wait"
        return f"      {clock(time.monotonic() - self._began_s)}  {counts}{f': {running}' if running else ''}"
