"""Waiting beside a job: its progress until it has ended, or its log as it grows."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from jobqueue_bridge import logs, queue
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import FINAL, JobStatus
from media_pipelines.cli.database import engine_for, require_platform
from media_pipelines.cli.output import FAILED, INTERRUPTED, err, fail
from media_pipelines.cli.printable import local_time, pace, printable, printable_lines
from media_pipelines.platform.lock import holder_of

_PAUSE_S = 0.5
_PATIENCE_S = 90  # the platform heals its database within a minute

Found = TypeVar("Found")


def wait_for(settings: Settings, job: queue.Job) -> queue.Job:
    """Show the job on stderr until it has ended. Ctrl-C ends the waiting, never the job."""
    try:
        with _Shown(job) as shown:
            while job.status not in FINAL:
                require_platform(settings)
                time.sleep(_PAUSE_S)
                job = _patiently(settings, partial(queue.get, job_id=job.id))
                shown.update(job)
    except KeyboardInterrupt:
        fail(f"No longer waiting. The job goes on: `media-pipelines jobs show {job.id}`", INTERRUPTED)
    return job


def end_with(job: queue.Job) -> None:
    """Exit with 1, saying why, where the job did not complete."""
    if job.status != JobStatus.COMPLETED:
        fail(f"Job {job.id} {job.status}" + (f": {printable(job.error)}" if job.error else ""), FAILED)


def follow_log(settings: Settings, job_id: UUID, write: Callable[[str], None]) -> None:
    """Write the log's lines as they come, until the job has ended."""
    seen = 0
    while True:
        status, lines = _patiently(settings, partial(_newer, job_id=job_id, seen=seen))
        for number, text in lines:
            _write(text, write)
            seen = number
        if not lines and status in FINAL:
            break
        if not lines:
            require_platform(settings)
            time.sleep(_PAUSE_S)
    if not seen:  # another program ran it and kept its log in the row
        _write(_patiently(settings, partial(logs.text, job_id=job_id)), write)


def _newer(connection: sa.Connection, job_id: UUID, seen: int) -> tuple[JobStatus, list[tuple[int, str]]]:
    """The status is read first, so that an ended job's last lines are there."""
    return queue.get(connection, job_id).status, logs.after(connection, job_id, seen)


def _write(text: str, write: Callable[[str], None]) -> None:
    for line in printable_lines(text) if text else ():
        write(line)


def _patiently(settings: Settings, read: Callable[[sa.Connection], Found]) -> Found:
    """Read, also across a restart of the database or the platform; one that does not come back is not waited for."""
    deadline = time.monotonic() + _PATIENCE_S
    while settings.embedded and holder_of(settings) is None and time.monotonic() < deadline:
        time.sleep(_PAUSE_S)
    while True:
        try:
            with engine_for(settings).connect() as connection:
                return read(connection)
        except sa.exc.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


class _Shown:
    """A bar where somebody looks, otherwise a line for each change."""

    def __init__(self, job: queue.Job) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[job]}", markup=False),
            TextColumn("{task.fields[status]}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=err,
            disable=not err.is_terminal,
        )
        self._said = ""
        self._task: TaskID = self._progress.add_task("", total=100, job=job_name(job), status="", note="")
        self.update(job)

    def __enter__(self) -> "_Shown":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, job: queue.Job) -> None:
        note = _note(job)
        self._progress.update(self._task, completed=job.progress, status=job.status.value, note=note)
        said = f"{job_name(job)} {job.status}" + (f": {note}" if job.status == JobStatus.PENDING and note else "")
        if not err.is_terminal and said != self._said:
            err.print(said, markup=False, emoji=False, soft_wrap=True)
        self._said = said


def job_name(job: queue.Job) -> str:
    return f"{printable(job.type)} {str(job.id)[:8]}"


def _note(job: queue.Job) -> str:
    """What a pending job waits for, how fast a running one is, why one failed."""
    if job.status == JobStatus.PENDING:
        return printable(waiting_note(job))
    if job.status == JobStatus.FAILED:
        return printable(job.error or "")
    return pace(job.progress_detail)


def waiting_note(job: queue.Job) -> str:
    if job.waiting_reason:
        return job.waiting_reason
    if job.retry_after:
        return f"retry {job.retry_count} of {job.max_retries} at {local_time(job.retry_after, '%H:%M:%S')}"
    return ""
