"""The day: what people, folders, the clock and Dagster's UI ask for between morning and evening, through the queue."""

import itertools
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from jobqueue_bridge import lifecycle, queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import Filters, Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.videos import Video
from jobqueue_bridge.vocabulary import FINAL, JobStatus, JobType, Origin
from media_pipelines import run_process
from media_pipelines.demo.course import View
from media_pipelines.demo.errors import OutOfTime
from tests.gallery import arrivals, library
from tests.gallery.dagster_ui import DagsterUi

# What a video that arrives gets, each after the one before.
CHAIN: Sequence[str | dict[str, Any]] = (
    "validate",
    {"type": "thumbnail_generate", "params": {"storyboard": True}},
    "reencode_streaming",
)
_EVERYTHING = 1_000_000
_LOOKS_EVERY_S = 0.4
_PATIENCE_S = 300.0
_TRANSCODED, _VANISHING = 5, 25
_POLICY = {"target_video_codec": "hevc", "preset": "veryfast", "audio_transcode_to": "aac"}
_SLOWLY = {"preset": "slower", "crf": 14}
_FOR_EVER = {"preset": "veryslow", "crf": 0}

Show = Callable[[View], None]
Say = Callable[[str], None]


@dataclass
class Told:
    """What pictures are taken of."""

    videos: dict[str, str] = field(default_factory=dict)
    """Ids by the names of their files, without suffix."""
    jobs: dict[str, Job] = field(default_factory=dict)
    backfill: str = ""
    first_run_of_retried: str = ""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    """Of all jobs, by type, how they ended."""
    problems: list[str] = field(default_factory=list)


class Day:
    """Its chapters, one after the other; each ends when what must be there for the next is."""

    def __init__(self, settings: Settings, films: Sequence[Path], dagster: DagsterUi, show: Show, say: Say) -> None:
        self._settings, self._films, self._dagster = settings, films, dagster
        self._show, self._say = show, say
        self._known: dict[UUID, Video] = {}
        self._seen: object = None
        self._moved_at_s = time.monotonic()
        self._jobs: dict[str, UUID] = {}
        self._gone = 0
        self.told = Told()

    @property
    def _root(self) -> Path:
        return self._settings.media_library_path

    def pictured(self, count: int) -> None:
        """So many videos, as Dagster's automation asks for it. Then somebody stops it, in Dagster's UI: of thousands
        it would take an hour."""
        self._until(lambda view: sum(job.origin == Origin.AUTOMATION for job in view.jobs) >= count)
        self._dagster.stop_sensor("automation")

    def found(self, count: int) -> None:
        """So many videos, by the scans that the sensor of their folders asks for; and all else is done."""
        self._until(lambda view: self._found() >= count and self._all_ended(view))

    def run(self, backfilled: int) -> Told:
        self._morning()
        self._noon()
        self._afternoon(backfilled)
        self._evening()
        return self.told

    def _morning(self) -> None:
        self._say("Morning: a report, and films arrive in the inbox, one of them half")
        self._ask("first report", JobType.LIBRARY_REPORT)
        for film in self._films:
            self._bring(film)
        self._until(lambda _: len(self._in_inbox()) == len(self._films))
        self.told.videos = {Path(path).stem: str(video_id) for path, video_id in self._in_inbox().items()}

    def _noon(self) -> None:
        self._say("Noon: the films are looked at, joined and shown four at a time; camcorder tapes become HEVC")
        feature, cat = self._video(arrivals.FEATURE), self._video("window-cat")
        four = [self._video(name) for name in ("morning-coffee", "window-cat", "deep-sky", "photographer")]
        few = [self._video(name) for name in ("launch-day", "crew-portrait", "two-friends", "deep-sky")]
        self._ask("rescan", JobType.SCAN, {"directoryType": "videos"})
        self._ask("what is broken", JobType.VALIDATE, {"videoId": self._video(arrivals.HALF)})
        self._ask("scenes", JobType.SCENE_EXTRACT, {"videoId": feature})
        self._ask("tags", JobType.TAG_GENERATION, {"videoId": feature})
        self._ask("highlights", JobType.HIGHLIGHT_GENERATE, {"videoId": feature, "targetLength": 10})
        self._ask("digest", JobType.DIGEST_GENERATE, {"videoId": feature, "targetLength": 16})
        self._ask("gif", JobType.COMPILE_GIF, {"videoId": cat, "duration": 2.5, "width": 360})
        self._ask("random", JobType.COMPILE_RANDOM, {"directoryType": "inbox", "count": 5, "seed": 7})
        self._ask("quad", JobType.COMPILE_QUAD, {"videoIds": four, "width": 1280, "height": 720, "preset": "veryfast"})
        self._ask("mega", JobType.COMPILE_MEGA, {"videoIds": few, "crossfade": 0.4, "titleCards": 1.2})
        for path in self._some(library.CAMCORDER, _TRANSCODED):
            self._ask(f"transcode of {path}", JobType.TRANSCODE, {"inputPath": path, "policy": _POLICY})
        slow = {"videoId": feature, "outputPath": "playback/harbour-film-master.mp4", **_SLOWLY}
        self._ask("retried", JobType.REENCODE_STREAMING, slow, priority=2)
        self._kill_ffmpeg_of("retried")
        self._until(self._all_ended)
        self._ask("second report", JobType.LIBRARY_REPORT)

    def _afternoon(self, backfilled: int) -> None:
        self._say(f"Afternoon: {backfilled} videos are validated from Dagster's UI, two move, some files vanish")
        with engine_for(self._settings).connect() as connection:
            found = videos.present_below(connection, "library/videos")
            keys = [str(place.id) for place in itertools.islice(found, backfilled)]
        self.told.backfill = self._dagster.launch_backfill("video_metadata", keys, f"The first {backfilled} videos")
        for name in (arrivals.MOVING, "old-coins"):
            moved = {"videoId": self._video(name), "directoryType": "videos", "subdirectory": "2026"}
            self._ask(f"move of {name}", JobType.MOVE_TO_LIBRARY, moved)
        gone = self._some("library/archive", _VANISHING)
        for path in gone:
            (self._root / path).unlink()
        self._gone = len(gone)
        endless = {"videoId": self._video(arrivals.FEATURE), "outputPath": "playback/endless.mp4", **_FOR_EVER}
        self._ask("cancelled", JobType.REENCODE_STREAMING, endless)
        self._until(lambda _: self._job("cancelled").progress > 0)
        with engine_for(self._settings).begin() as connection:
            lifecycle.cancel(connection, self._jobs["cancelled"])
        self._until(lambda _: "COMPLETED" in self._dagster.backfill_status(self.told.backfill))

    def _evening(self) -> None:
        self._say("Evening: what is left, and the last report")
        self._until(
            lambda view: self._missing() == self._gone and self._clock_has_asked(view) and self._all_ended(view)
        )
        self._ask("last report", JobType.LIBRARY_REPORT)
        view = self._until(lambda view: self._all_ended(view) and self._dagster.unfinished_runs() == 0)
        with engine_for(self._settings).connect() as connection:
            self.told.first_run_of_retried = queue.attempts(connection, self._jobs["retried"])[0]["run_id"]
        self.told.jobs = {name: self._job(name) for name in self._jobs}
        for job in view.jobs:
            self.told.counts.setdefault(job.type, Counter())[job.status.value] += 1
        self.told.problems = list(self._unexpected(view))

    # What is asked for

    def _ask(self, name: str, kind: JobType, params: dict[str, Any] | None = None, **more: Any) -> None:
        with engine_for(self._settings).begin() as connection:
            job = queue.enqueue(connection, NewJob(kind.value, params or {}, **more), self._settings)
        self._jobs[name] = job.id

    def _bring(self, film: Path) -> None:
        """Under a name that nobody looks at until it is whole; but for the one that never becomes so."""
        inbox = self._root / "inbox"
        unseen = inbox / f".{film.name}.partial"
        shutil.copyfile(film, unseen)
        unseen.rename(inbox / film.name)

    def _kill_ffmpeg_of(self, name: str) -> None:
        """As the kernel does where memory runs out. The job is pending again, with a retry less."""

        def is_killed(_: View) -> bool:
            job = self._job(name)
            if job.status in FINAL or job.retry_count:
                return True
            pid = job.progress and job.run_id and run_process.pid_of(self._settings.runs_dir, job.run_id)
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(pid).children(recursive=True) if pid else ():
                    if "ffmpeg" in child.name():
                        child.send_signal(signal.SIGKILL)
            return False

        self._until(is_killed)

    # What is there

    def _video(self, name: str) -> str:
        return self.told.videos[name]

    def _job(self, name: str) -> Job:
        with engine_for(self._settings).connect() as connection:
            return queue.get(connection, self._jobs[name])

    def _in_inbox(self) -> dict[str, UUID]:
        with engine_for(self._settings).connect() as connection:
            return {place.path: place.id for place in videos.present_below(connection, "inbox")}

    def _some(self, folder: str, count: int) -> list[str]:
        with engine_for(self._settings).connect() as connection:
            return [place.path for place in itertools.islice(videos.present_below(connection, folder), count)]

    def _found(self) -> int:
        with engine_for(self._settings).connect() as connection:
            return videos.health(connection).videos

    def _missing(self) -> int:
        with engine_for(self._settings).connect() as connection:
            return videos.health(connection).missing

    def _clock_has_asked(self, view: View) -> bool:
        return any(job.origin == Origin.SCHEDULE and job.status == JobStatus.COMPLETED for job in view.jobs)

    def _all_ended(self, view: View) -> bool:
        return len(view.ended) == len(view.jobs)

    def _unexpected(self, view: View) -> Iterable[str]:
        expected = {"what is broken": JobStatus.FAILED, "cancelled": JobStatus.CANCELLED}
        wanted = {self._jobs[name]: status for name, status in expected.items()}
        for job in view.jobs:
            if job.status != wanted.get(job.id, JobStatus.COMPLETED):
                yield f"{job.type} {job.id} is {job.status}: {job.error}"
        if self._job("retried").retry_count != 1:
            yield "The encode whose ffmpeg was killed was not tried once more"
        if (status := self._dagster.backfill_status(self.told.backfill)) != "COMPLETED_SUCCESS":
            yield f"The backfill ended as {status}"

    # Looking on

    def _until(self, done: Callable[[View], bool]) -> View:
        """Raises OutOfTime where nothing moves any more."""
        while True:
            view = self._look()
            self._show(view)
            self._require_movement(view)
            if done(view):
                return view
            time.sleep(_LOOKS_EVERY_S)

    def _look(self) -> View:
        """All jobs in the order in which they were asked for, and the videos that they name."""
        with engine_for(self._settings).connect() as connection:
            jobs = tuple(reversed(queue.page(connection, Filters(), limit=_EVERYTHING).jobs))
            for video_id in {job.video_id for job in jobs if job.video_id} - self._known.keys():
                self._known[video_id] = videos.get(connection, video_id)
        return View(jobs, tuple(self._known.values()), finished=False)

    def _require_movement(self, view: View) -> None:
        seen = [(job.status, job.progress, job.progress_detail, job.attempt) for job in view.jobs]
        if seen != self._seen:
            self._seen, self._moved_at_s = seen, time.monotonic()
        elif time.monotonic() - self._moved_at_s > _PATIENCE_S:
            raise OutOfTime(_PATIENCE_S, len(view.jobs) - len(view.ended))
