"""What must be true once the queue is empty: read anew from the rows, the files and the processes."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.file_changes import ChangeState
from jobqueue_bridge.queue import Job
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import file_changes, job_attempts, job_leases
from jobqueue_bridge.videos import Video
from jobqueue_bridge.vocabulary import FINAL, JobStatus, JobType
from media_pipelines.demo.course import View
from media_pipelines.demo.proof import Proof
from media_pipelines.media.errors import MediaError
from media_pipelines.media.ffmpeg import find_ffmpeg
from media_pipelines.media.files import sha256
from media_pipelines.media.prober import Prober
from tests.chaos.victims import Victims
from tests.chaos.work import Footage

_ALL = 1_000_000
_SETTLES_WITHIN_S = 120.0
_LEASES = sa.select(sa.func.count()).select_from(job_leases)
_OPEN_ATTEMPTS = sa.select(sa.func.count()).select_from(job_attempts).where(job_attempts.c.ended_at.is_(None))
_UNFINISHED_RUNS = sa.text("SELECT count(*) FROM dagster.runs WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')")
_RUNS_OF_ONE_ATTEMPT = sa.text(
    "SELECT job.value AS job, attempt.value AS attempt, count(*) AS runs FROM dagster.run_tags job"
    " JOIN dagster.run_tags attempt USING (run_id)"
    " WHERE job.key = 'media/job_id' AND attempt.key = 'media/attempt' GROUP BY 1, 2 HAVING count(*) > 1"
)


@dataclass(frozen=True)
class Finding:
    """One thing that must hold: how much was looked at, and whatever is wrong."""

    what: str
    looked_at: int
    wrong: Sequence[str]


class Verdict:
    def __init__(self, settings: Settings, victims: Victims, footage: Footage, acknowledged: set[UUID]) -> None:
        self._settings, self._victims, self._footage = settings, victims, footage
        self._acknowledged = acknowledged
        self._root = settings.media_library_path
        self.jobs: tuple[Job, ...] = ()
        self._videos: tuple[Video, ...] = ()
        self._changes: list[dict[str, Any]] = []

    def reach(self) -> list[Finding]:
        settled = [self._settled(what, look) for what, look in self._must_settle().items()]
        self._read()
        return [*settled, *self._findings()]

    def _must_settle(self) -> dict[str, Callable[[], list[str]]]:
        """What the reconciler needs a look or two for."""
        return {
            "no lease is left": lambda: self._counted(_LEASES, "leases"),
            "every attempt is closed": lambda: self._counted(_OPEN_ATTEMPTS, "open attempts"),
            "no Dagster run is unfinished": lambda: self._counted(_UNFINISHED_RUNS, "unfinished runs"),
            "no run's process or lock is left": lambda: [str(run) for run in self._victims.runs()] + self._locks(),
            "no orphan process": self._orphans,
            "no partial file": self._partials,
        }

    def _settled(self, what: str, look: Callable[[], list[str]]) -> Finding:
        deadline_s = time.monotonic() + _SETTLES_WITHIN_S
        while (wrong := look()) and time.monotonic() < deadline_s:
            time.sleep(1)
        return Finding(what, 1, wrong)

    def _counted(self, statement: Any, name: str) -> list[str]:
        with engine_for(self._settings).connect() as connection:
            count = connection.scalar(statement)
        return [f"{count} {name}"] if count else []

    def _locks(self) -> list[str]:
        return [entry.name for entry in self._settings.runs_dir.iterdir()] if self._settings.runs_dir.exists() else []

    def _orphans(self) -> list[str]:
        """Whoever is neither supervisord, nor one of its programs, nor started by one of those."""
        supervised = self._victims.supervised()
        return [f"{process.pid} {_command(process)}" for process in self._victims.marked() if process not in supervised]

    def _partials(self) -> list[str]:
        below = [path for path in self._root.rglob("*") if ".partial" in path.name]
        temp = self._settings.temp_dir
        return [str(path) for path in (*below, *(temp.rglob("*") if temp.exists() else ()))]

    def _read(self) -> None:
        with engine_for(self._settings).connect() as connection:
            self.jobs = tuple(reversed(queue.page(connection, queue.Filters(), limit=_ALL).jobs))
            self._videos = tuple(videos.page(connection, limit=_ALL).videos)
            self._changes = [dict(row._mapping) for row in connection.execute(sa.select(file_changes))]

    def _findings(self) -> Iterator[Finding]:
        jobs = self.jobs
        lost = self._acknowledged - {job.id for job in jobs}
        yield Finding("every accepted job is there", len(self._acknowledged), [f"{job_id}" for job_id in lost])
        yield Finding(
            "every job is in a final state", len(jobs), [_told(job) for job in jobs if job.status not in FINAL]
        )
        failed = [job for job in jobs if job.status != JobStatus.COMPLETED]
        yield Finding(
            "failed only where kills used up the retries",
            len(failed),
            [_told(job) for job in failed if not _used_up(job)],
        )
        yield Finding("one Dagster run for each attempt", sum(job.attempt for job in jobs), self._runs_of_one_attempt())
        yield self._outputs_verify(jobs)
        yield self._outputs_decode(jobs)
        yield self._nothing_else(jobs)
        yield self._originals()
        yield self._moved(jobs)
        yield self._journal()
        yield self._rows_agree()

    def _runs_of_one_attempt(self) -> list[str]:
        with engine_for(self._settings).connect() as connection:
            return [f"{row.runs} runs of {row.job}:{row.attempt}" for row in connection.execute(_RUNS_OF_ONE_ATTEMPT)]

    def _completed(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if job.status == JobStatus.COMPLETED]

    def _outputs_verify(self, jobs: Sequence[Job]) -> Finding:
        proof = Proof(self._settings, View(self.jobs, self._videos, finished=True))
        proof.verify(jobs)
        wrong = [f"{job_id}: {problem}" for job_id, problem in proof.problems.items()]
        return Finding("outputs are what was asked for", len(proof.verified) + len(wrong), wrong)

    def _outputs_decode(self, jobs: Sequence[Job]) -> Finding:
        """Every frame of every output, by ffmpeg itself."""
        outputs = [(job, path) for job in self._completed(jobs) if (path := _output(job)) is not None]
        wrong = [f"{_told(job)}: {problem}" for job, path in outputs if (problem := self._damage(self._root / path))]
        return Finding("outputs decode to their last frame", len(outputs), wrong)

    def _damage(self, path: Path) -> str:
        if not path.is_file():
            return f"there is no {path}"
        ffmpeg = find_ffmpeg(self._settings.ffmpeg_binary or None)
        command = [ffmpeg, "-nostdin", "-v", "error", "-xerror", "-i", f"file:{path}", "-f", "null", "-"]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        return done.stderr.strip() or (f"ffmpeg ended with {done.returncode}" if done.returncode else "")

    def _nothing_else(self, jobs: Sequence[Job]) -> Finding:
        """Each output once, and no file that nobody owes: a second copy under another name would be one."""
        outputs = [path for job in self._completed(jobs) if (path := _output(job)) is not None]
        twice = sorted({path for path in outputs if outputs.count(path) > 1})
        announced = {str((job.result or {}).get("publishing")) for job in jobs if job.status == JobStatus.FAILED}
        owed = {
            *outputs,
            *(video.path for video in self._videos),
            *(str(change["backup"]) for change in self._changes if change["state"] == ChangeState.DONE),
            *announced,
        }
        there = {str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file()}
        unowned = [f"{path} belongs to no job" for path in sorted(there - owed)]
        return Finding("each output is there once", len(there), [*(f"{path} is two jobs'" for path in twice), *unowned])

    def _originals(self) -> Finding:
        """Of each film, either the old content, or a whole new one with the old one kept."""
        done = {change["path"]: change for change in self._changes if change["state"] == ChangeState.DONE}
        wrong = []
        for path in self._footage.films:
            kept = done[path]["backup"] if path in done else path
            if kept is None or not (self._root / kept).is_file():
                wrong.append(f"{path}: the original is gone")
            elif sha256(self._root / kept) != self._footage.sha256[path]:
                wrong.append(f"{path}: the original is not what it was")
            elif path in done and (problem := self._new_film(path, done[path]["target"])):
                wrong.append(f"{path}: {problem}")
        return Finding("originals are whole, old or new", len(self._footage.films), wrong)

    def _new_film(self, path: str, target: str) -> str:
        kept = next(change["backup"] for change in self._changes if change["path"] == path)
        with Prober() as prober:
            try:
                old, new = prober.probe(self._root / kept), prober.probe(self._root / target, decode_frames=5)
            except MediaError as error:
                return str(error)
        lasts_as_long = abs((old.duration_s or 0) - (new.duration_s or 0)) < 0.5
        return "" if new.video_codec == "hevc" and lasts_as_long else f"is {new.video_codec}, {new.duration_s} s"

    def _moved(self, jobs: Sequence[Job]) -> Finding:
        wrong = []
        for path in self._footage.movers:
            name = Path(path).name
            places = [found for found in self._root.rglob(name) if found.is_file()]
            if len(places) != 1 or sha256(places[0]) != self._footage.sha256[path]:
                wrong.append(f"{path}: found at {[str(place) for place in places]}")
        for job in self._completed(jobs):
            if job.type == JobType.MOVE_TO_LIBRARY and not (self._root / (job.result or {})["path"]).is_file():
                wrong.append(f"{_told(job)}: not where its result says")
        return Finding("moved files are in one place, unchanged", len(self._footage.movers), wrong)

    def _journal(self) -> Finding:
        settled = {ChangeState.DONE, ChangeState.ROLLED_BACK}
        middle = [
            f"{change['path']} is {change['state']}" for change in self._changes if change["state"] not in settled
        ]
        return Finding("the journal has no change half-way", len(self._changes), middle)

    def _rows_agree(self) -> Finding:
        wrong = []
        for video in self._videos:
            path = self._root / video.path
            if not path.is_file():
                wrong.append(f"{video.path}: a row without a file")
            elif path.stat().st_size != video.size_bytes:
                wrong.append(f"{video.path}: the row says {video.size_bytes} bytes, the file has {path.stat().st_size}")
        known = {video.path for video in self._videos}
        return Finding("rows of videos agree with the files", len(self._videos), [*wrong, *self._without_row(known)])

    def _without_row(self, known: set[str]) -> list[str]:
        """Of the files that were there first: films and movers under the name that they have now."""
        made = [str(path.relative_to(self._root)) for path in self._root.rglob("*.mp4") if path.is_file()]
        announced = {str((job.result or {}).get("publishing")) for job in self.jobs if job.status == JobStatus.FAILED}
        unscanned = {
            f"{job.params['path']}"
            for job in self.jobs
            if job.type == JobType.SCAN and job.status != JobStatus.COMPLETED
        }
        return [
            f"{path}: a file without a row"
            for path in made
            if path not in known and path not in announced and path.rpartition("/")[0] not in unscanned
        ]


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())[:120]
    return "(gone by now)"


def _output(job: Job) -> str | None:
    return (job.result or {}).get("outputPath")


def _used_up(job: Job) -> bool:
    return (
        job.status == JobStatus.FAILED
        and job.retry_count >= job.max_retries
        and f"the last of {job.attempt} attempts" in (job.error or "")
    )


def _told(job: Job) -> str:
    return (
        f"{job.type} {job.id} is {job.status}, attempt {job.attempt}, "
        f"{job.retry_count} of {job.max_retries} retries: {job.error}"
    )
