"""What a drain shows while it is at work: bars where somebody looks, lines with the time in a log. All on stderr."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from jobqueue_bridge import queue
from jobqueue_bridge.vocabulary import FINAL, JobStatus
from media_pipelines.cli.job_text import file_of
from media_pipelines.cli.output import err
from media_pipelines.cli.printable import clock, local_time, pace, printable
from media_pipelines.cli.watching import job_name


def say(text: str) -> None:
    """One line on stderr, with the time where nobody looks."""
    stamp = "" if err.is_terminal else f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} "
    err.print(f"{stamp}{text}", markup=False, emoji=False, soft_wrap=True)


class Shown:
    """The jobs of a drain: a bar for each that runs, a line for each that begins or ends."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[job]}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._bars: dict[UUID, TaskID] = {}
        self._statuses: dict[UUID, JobStatus] = {}

    def __enter__(self) -> "Shown":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def unfinished(self) -> frozenset[UUID]:
        """Jobs that were seen and had not ended then."""
        return frozenset(self._statuses)

    def update(self, jobs: Iterable[queue.Job], video_paths: Mapping[UUID, str]) -> None:
        for job in jobs:
            before = self._statuses.get(job.id)
            self._statuses[job.id] = job.status
            name = f"{job_name(job)}  {printable(file_of(job, video_paths))}"
            if text := _news(job, before):
                say(f"{name}  {text}")
            self._draw(job, name)
            if job.status in FINAL:
                del self._statuses[job.id]

    def _draw(self, job: queue.Job, name: str) -> None:
        if job.status != JobStatus.RUNNING:
            if job.id in self._bars:
                self._progress.remove_task(self._bars.pop(job.id))
            return
        if job.id not in self._bars:
            self._bars[job.id] = self._progress.add_task("", total=100, job=name, note="")
        self._progress.update(self._bars[job.id], completed=job.progress, note=pace(job.progress_detail))


def _news(job: queue.Job, before: JobStatus | None) -> str:
    """What a line says of a job whose status has changed; nothing where it has not, or that tells nobody anything."""
    if job.status == before:
        return ""
    match job.status:
        case JobStatus.RUNNING:
            return "" if err.is_terminal else "started"
        case JobStatus.COMPLETED:
            return f"completed{_took(job)}"
        case JobStatus.FAILED:
            return f"failed: {_first_line(job.error)}"
        case JobStatus.CANCELLED | JobStatus.PAUSED:
            return job.status.value
        case JobStatus.PENDING if before is not None:
            again = f"; again at {local_time(job.retry_after, '%H:%M:%S')}" if job.retry_after else ""
            return f"failed for now: {_first_line(job.error)}{again}" if job.error else "handed back"
        case _:
            return ""


def _took(job: queue.Job) -> str:
    if job.started_at is None or job.completed_at is None:
        return ""
    return f" in {clock((job.completed_at - job.started_at).total_seconds())}"


def _first_line(error: str | None) -> str:
    return printable((error or "no reason was given").strip().splitlines()[0])
