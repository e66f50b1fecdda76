"""The corpus on its way through the real pipelines, and what is looked at behind their back.

Nothing here asks the code under test whether a result is good: outputs are decoded by ffmpeg to their end, sources are
compared byte by byte, processes and files are counted by the operating system.
"""

import hashlib
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import psutil
import sqlalchemy as sa
from PIL import Image, ImageStat

from jobqueue_bridge import logs, queue, videos
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs
from jobqueue_bridge.vocabulary import JobStatus, JobType
from tests.corpus.truth import Broken, Damaged, Entry, Skipped, Sound, Unseen
from tests.pipelines.conftest import run_in_process

FOLDER = "library/videos"
# What an attempt at a file of a second may take on a machine that does much else.
HANG_S = 60.0
_OF_THE_BEGINNING = (JobType.THUMBNAIL_GENERATE, JobType.COMPILE_GIF)
_HEVC_MIN_PIXELS = 16
_DURATION_TOLERANCE_S = 0.35
_UNREADABLE_TO_PEOPLE = re.compile(
    r"Traceback|<class '|<[\w.]+ object at 0x|Errno|\b(?:Error|Exception)\(|^\s*$|PosixPath\("
)
_BARE = re.compile(r"^ffmpeg failed with exit code -?\d+$")


@dataclass(frozen=True)
class Row:
    """One file (or several) × one job type: what became of it, and what is wrong with that."""

    file: str
    kind: str
    job_type: str
    outcome: str
    reason: str
    seconds: float
    faults: tuple[str, ...]


@dataclass
class Passage:
    """Brings files through job types, one job after the other."""

    settings: Settings
    engine: sa.Engine
    instance: dg.DagsterInstance
    library: Path
    ffmpeg: Path
    rows: list[Row] = field(default_factory=list)
    on_row: Callable[[Row], None] | None = None

    def place(self, entry: Entry) -> Path:
        return self.library / FOLDER / entry.kind / entry.name

    def relative(self, entry: Entry) -> str:
        return f"{FOLDER}/{entry.kind}/{entry.name}"

    def video_id(self, entry: Entry) -> UUID | None:
        try:
            with self.engine.begin() as connection:
                return videos.id_by_path(connection, self.relative(entry))
        except UnicodeEncodeError:
            return None

    def run(self, job_type: str, params: dict[str, Any]) -> tuple[Job, float, list[str]]:
        """The job's row after one attempt, the seconds that took, and what the attempt left behind."""
        before = _processes()
        began_s = time.monotonic()
        with self.engine.begin() as connection:
            job = queue.enqueue(connection, NewJob(job_type, params), self.settings)
        done = run_in_process(self.settings, self.instance, job)
        took_s = time.monotonic() - began_s
        self._end_for_good(done)
        return done, took_s, [*self._left_behind(before), *([f"it took {took_s:.0f} s"] if took_s > HANG_S else [])]

    def _end_for_good(self, job: Job) -> None:
        """What waits for its next attempt would come between other jobs of the corpus."""
        with self.engine.begin() as connection:
            waits = (jobs.c.id == job.id) & (jobs.c.status == JobStatus.PENDING)
            connection.execute(sa.update(jobs).where(waits).values(status=JobStatus.CANCELLED))

    def _left_behind(self, before: set[tuple[int, float]]) -> Iterator[str]:
        for pid, _ in _processes() - before:
            yield f"process {pid} goes on"
        for partial in self.library.rglob("*.partial*"):
            if not any(part.endswith("half.partial.mp4") for part in partial.parts):
                yield f"{partial.name} is left"

    def log(self, job: Job) -> str:
        with self.engine.begin() as connection:
            return logs.text(connection, job.id)

    def record(self, file: str, kind: str, job_type: str, job: Job, took_s: float, faults: Iterable[str]) -> Row:
        reason = (job.error or "").splitlines()[0] if job.error else ""
        return self.note(Row(file, kind, job_type, job.status, reason, took_s, tuple(faults)))

    def note(self, row: Row) -> Row:
        self.rows.append(row)
        if self.on_row:
            self.on_row(row)
        return row

    def one(self, entry: Entry, job_type: str, params: dict[str, Any]) -> Row:
        """One job type on one file that has a row."""
        video_id = self.video_id(entry)
        assert video_id is not None
        done, took_s, faults = self.run(job_type, {"videoId": str(video_id), **params})
        if done.status == JobStatus.COMPLETED:
            faults += self.faults_of_output(entry, done)
        else:
            faults += faults_of_failure(done, self.place(entry).name)
        faults += faults_against_truth(entry, done)
        return self.record(entry.name, entry.kind, job_type, done, took_s, faults)

    def four(self, entries: Sequence[Entry], job_type: JobType, params: dict[str, Any]) -> Row:
        """Four files as one."""
        ids = [str(self.video_id(entry)) for entry in entries]
        done, took_s, faults = self.run(job_type, {"videoIds": ids, **params})
        if done.status == JobStatus.COMPLETED and job_type == JobType.COMPILE_QUAD:
            faults += _grid_faults(self.ffmpeg, self.library / (done.result or {})["outputPath"], entries, params)
        elif done.status == JobStatus.COMPLETED:
            faults += _joined_faults(self.ffmpeg, self.library, done.result or {})
        else:
            faults += faults_of_failure(done, max((entry.name for entry in entries), key=len))
        for entry in entries:
            if not isinstance(entry.truth, Sound):
                faults += _faults_in_company(entry, done)
        if done.status != JobStatus.COMPLETED and all(isinstance(entry.truth, Sound) for entry in entries):
            faults.append("four sound files were refused")
        names = ", ".join(entry.name for entry in entries)
        return self.record(names, "four at a time", job_type, done, took_s, faults)

    def faults_of_output(self, entry: Entry, done: Job) -> list[str]:
        output = (done.result or {}).get("outputPath")
        if output is None:
            return []
        path = self.library / output
        match done.type:
            case JobType.THUMBNAIL_GENERATE:
                return list(_picture_faults(path, entry))
            case JobType.COMPILE_GIF:
                return list(_animation_faults(path, entry))
            case JobType.TRANSCODE:
                return list(_video_faults(self.ffmpeg, path, entry, as_it_was=True))
            case _:
                return list(_video_faults(self.ffmpeg, path, entry))


def _processes() -> set[tuple[int, float]]:
    """Everything that descends from this process, by what does not change when a number is used again."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() != "postgres":  # the server is ours, and its backends come and go
                found.add((child.pid, child.create_time()))
        except psutil.NoSuchProcess:
            continue
    return found


def faults_of_failure(done: Job, name: str) -> Iterator[str]:
    """What a person could not make sense of."""
    error = done.error or ""
    headline = error.splitlines()[0] if error else ""
    if found := _UNREADABLE_TO_PEOPLE.search(headline):
        yield f"the error speaks of {found.group(0)!r}"
    if _BARE.match(headline):
        yield "the error gives no reason"
    if done.status == JobStatus.PENDING and not done.retry_after:
        yield "it is pending for no reason"
    if len(headline) > 600 + len(repr(name)):
        yield "the error's first line is too long to read"


def faults_against_truth(entry: Entry, done: Job) -> Iterator[str]:
    match entry.truth:
        case Sound(shown=(width, height)) if done.type == JobType.TRANSCODE and min(width, height) < _HEVC_MIN_PIXELS:
            if done.status != JobStatus.FAILED or "small" not in (done.error or ""):
                yield "HEVC cannot hold so small a picture, and nobody says so"
        case Sound():
            if done.status != JobStatus.COMPLETED:
                yield "a sound file was refused"
        case Broken(word, viewable):
            if viewable and done.type in _OF_THE_BEGINNING and done.status == JobStatus.COMPLETED:
                return
            if done.status != JobStatus.FAILED or done.retry_count:
                yield f"a broken file ended as {done.status} after {done.retry_count} retries"
            elif word not in (done.error or "") and (not viewable or done.type == JobType.VALIDATE):
                yield f"the error does not say {word!r}"
        case Damaged():
            if done.status not in (JobStatus.COMPLETED, JobStatus.FAILED):
                yield f"a damaged file ended as {done.status}"
        case Skipped() | Unseen():
            yield "a file that no scan takes was worked on"


def _faults_in_company(entry: Entry, done: Job) -> Iterator[str]:
    """A file that cannot be read spoils the whole; a person must learn which one it is."""
    if isinstance(entry.truth, Broken) and not entry.truth.viewable:
        if done.status != JobStatus.FAILED or done.retry_count:
            yield f"with {entry.name} among them they ended as {done.status}"
        elif entry.name not in (done.error or "") and repr(entry.name)[1:-1] not in (done.error or ""):
            yield f"the error does not name {entry.name}"


def _joined_faults(ffmpeg: Path, library: Path, result: dict[str, Any]) -> Iterator[str]:
    told, problems = decoded(ffmpeg, library / result["outputPath"])
    yield from problems
    if abs(told.seconds - result["durationSeconds"]) > _DURATION_TOLERANCE_S:
        yield f"it plays {told.seconds} s, not {result['durationSeconds']}"


def _grid_faults(ffmpeg: Path, path: Path, entries: Sequence[Entry], params: dict[str, Any]) -> Iterator[str]:
    told, problems = decoded(ffmpeg, path)
    yield from problems
    if told.shown != (params["width"], params["height"]):
        yield f"it shows {told.shown}"
    truths = [entry.truth for entry in entries if isinstance(entry.truth, Sound)]
    if len(truths) < len(entries):
        return
    expected_s = max(truth.seconds for truth in truths)
    if abs(told.seconds - expected_s) > _DURATION_TOLERANCE_S:
        yield f"it lasts {told.seconds:.2f} s, not {expected_s:.2f} s"
    if told.audio != int(any(truth.audio for truth in truths)):
        yield f"it has {told.audio} audio tracks"


def _picture_faults(path: Path, entry: Entry) -> Iterator[str]:
    with Image.open(path) as image:
        image.load()
        width, height = image.size
        light = ImageStat.Stat(image.convert("L"))
    if light.mean[0] < 16 and light.stddev[0] < 8 and "black.mp4" not in entry.name:
        yield "the picture is black"
    yield from _shape_faults(width, height, entry)


def _shape_faults(width: int, height: int, entry: Entry) -> Iterator[str]:
    if isinstance(entry.truth, Sound):
        shown, sar = entry.truth.shown, entry.truth.sar
        expected = max(1.0, float(width * shown[1] / (shown[0] * sar)))
        if abs(height - expected) > max(2, 0.05 * expected):
            yield f"the picture is {width}×{height}, {expected:.0f} high was expected"


def _animation_faults(path: Path, entry: Entry) -> Iterator[str]:
    with Image.open(path) as image:
        frames = 0
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            frames += 1
        width, height = image.size
    if frames < 2 and isinstance(entry.truth, Sound) and entry.truth.seconds > 0.3:
        yield f"it has {frames} picture"
    yield from _shape_faults(width, height, entry)


def _video_faults(ffmpeg: Path, path: Path, entry: Entry, *, as_it_was: bool = False) -> Iterator[str]:
    """`as_it_was`: in a container and with subtitles that the policy chose, so that more may have been kept."""
    told, problems = decoded(ffmpeg, path)
    if not isinstance(entry.truth, Sound) and as_it_was:
        return  # a damaged packet may have been copied as it was
    yield from problems
    if problems or not isinstance(entry.truth, Sound):
        return
    truth = entry.truth
    expected = tuple(max(2, side // 2 * 2) for side in truth.shown)
    if told.shown != expected and not (as_it_was and told.shown == truth.shown):
        yield f"it shows {told.shown}, not {expected}"
    if told.audio != truth.audio or (
        told.subtitles < truth.subtitles if as_it_was else told.subtitles != truth.subtitles
    ):
        yield f"it has {told.audio} audio and {told.subtitles} subtitle tracks"
    if abs(told.seconds - truth.seconds) > _DURATION_TOLERANCE_S:
        yield f"it lasts {told.seconds:.2f} s, not {truth.seconds:.2f} s"
    if abs(told.declared_s - truth.seconds) > _DURATION_TOLERANCE_S and not as_it_was:
        yield f"it says that it lasts {told.declared_s:.2f} s, not {truth.seconds:.2f} s"


@dataclass(frozen=True)
class Told:
    """What ffmpeg says about a file that it decoded from one end to the other. `seconds` is how long that was,
    `declared_s` what the container says."""

    seconds: float
    declared_s: float
    shown: tuple[int, int]
    audio: int
    subtitles: int


def decoded(ffmpeg: Path, path: Path) -> tuple[Told, list[str]]:
    """In strict mode: the first error ends it."""
    command = [
        str(ffmpeg), "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info", "-progress", "pipe:1",
        "-xerror", "-err_detect", "explode", "-i", f"file:{path}", "-map", "0:v", "-map", "0:a?",
        "-enc_time_base:v", "demux",  # else frames that are closer than the mean rate says are told as damage
        "-f", "null", "-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    text = done.stderr.decode(errors="replace")
    told = _told(text.partition("Output #0")[0], done.stdout.decode())
    complaints = [line for line in text.splitlines() if re.search(r"\[(error|fatal)\]", line)]
    if done.returncode or complaints:
        return told, [f"it does not decode: {(complaints or [f'exit code {done.returncode}'])[0]}"]
    return told, []


def _told(header: str, progress: str) -> Told:
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", header)
    size = re.search(r"Video:.*?, (\d+)x(\d+)[ ,]", header)
    ends_us = re.findall(r"out_time_us=(\d+)", progress)
    return Told(
        seconds=int(ends_us[-1]) / 1e6 if ends_us else 0.0,
        declared_s=_clock_s(*length.groups()) if length else 0.0,
        shown=(int(size.group(1)), int(size.group(2))) if size else (0, 0),
        audio=len(re.findall(r"Stream #0:\d+.*: Audio:", header)),
        subtitles=len(re.findall(r"Stream #0:\d+.*: Subtitle:", header)),
    )


def _clock_s(hours: str, minutes: str, seconds: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def fingerprints(folder: Path) -> dict[str, str]:
    """What lies below a folder and what is in it, without following a link or opening a pipe."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        content = f"{stat.filemode(info.st_mode)} {info.st_mtime_ns} {info.st_size}"
        if stat.S_ISREG(info.st_mode) and os.access(path, os.R_OK):
            content += " " + hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = content
    return found
