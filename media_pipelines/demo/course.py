"""Which jobs the demo asks for, and when: what a person at the admin page would do, in the order of what is known."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.videos import Video
from jobqueue_bridge.vocabulary import FINAL, JobStatus, JobType, Origin, ResourceCategory
from media_pipelines.demo.errors import OutOfTime

_ALL = 1_000_000
_PATIENCE_S = 300.0
_DATABASE_PATIENCE_S = 90.0  # the platform heals its database within a minute
_COMPILED_AT_MOST = 10
_LONGEST_COMPILED_S = 600
_CELLS = 4
_SHORTEST_DIGESTED_S, _LONGEST_DIGEST_S = 4.0, 30.0


@dataclass(frozen=True)
class View:
    """The queue at one moment."""

    jobs: tuple[Job, ...]
    """In the order in which they were asked for."""
    videos: tuple[Video, ...]
    finished: bool

    @property
    def paths(self) -> dict[UUID, str]:
        return {video.id: video.path for video in self.videos}

    @property
    def running(self) -> list[Job]:
        return [job for job in self.jobs if job.status == JobStatus.RUNNING]

    @property
    def ended(self) -> list[Job]:
        return [job for job in self.jobs if job.status in FINAL]

    @property
    def failed(self) -> list[Job]:
        return [job for job in self.ended if job.status != JobStatus.COMPLETED]

    @property
    def broken(self) -> list[Video]:
        return [video for video in self.videos if video.is_valid is False]

    def slots_used(self, category: ResourceCategory) -> int:
        return sum(job.resource_category == category for job in self.running)

    @property
    def vram_used_mb(self) -> int:
        return sum(job.vram_required for job in self.running)


@dataclass
class Peak:
    """The most that was seen running at one time."""

    slots: dict[ResourceCategory, int] = field(default_factory=lambda: dict.fromkeys(ResourceCategory, 0))
    vram_mb: int = 0

    def note(self, view: View) -> None:
        self.vram_mb = max(self.vram_mb, view.vram_used_mb)
        for category in self.slots:
            self.slots[category] = max(self.slots[category], view.slots_used(category))


class Course:
    """Scans first; a validation for each sound video that they find; the rest once that has completed."""

    def __init__(self, settings: Settings, inbox_files: int) -> None:
        self._settings = settings
        self._inbox_files = inbox_files
        self._seen: object = None
        self._moved_at_s = time.monotonic()
        self.peak = Peak()

    def begin(self) -> None:
        self._ask(JobType.SCAN)
        self._ask(JobType.PUBLIC_SCAN)

    def look(self) -> View:
        """The queue now, after asking for what has become possible. Raises OutOfTime where nothing moves any more."""
        view = self._look_patiently()
        self.peak.note(view)
        self._require_movement(view)
        return view

    def _look_patiently(self) -> View:
        deadline_s = time.monotonic() + _DATABASE_PATIENCE_S
        while True:
            try:
                return self._step()
            except sa.exc.OperationalError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.5)

    def _step(self) -> View:
        with engine_for(self._settings).connect() as connection:
            jobs = tuple(reversed(queue.page(connection, queue.Filters(), limit=_ALL).jobs))
            known = tuple(videos.page(connection, limit=_ALL).videos)
        asked = self._ask_for_more(jobs, known)
        return View(jobs, known, finished=not asked and self._is_over(jobs))

    def _ask_for_more(self, jobs: tuple[Job, ...], known: Iterable[Video]) -> bool:
        """Whether anything was asked for."""
        have = {(job.type, job.video_id) for job in jobs}
        sound = {job.video_id for job in jobs if job.type == JobType.VALIDATE and job.status == JobStatus.COMPLETED}
        wanted: list[tuple[JobType, dict[str, Any]]] = [
            (kind, {"videoId": str(video.id)})
            for video in reversed(list(known))
            if _is_original(video)
            for kind in _next_for(video, sound)
            if (kind.value, video.id) not in have
        ]
        if not wanted and sound and self._all_are_checked(jobs) and (JobType.COMPILE_RANDOM.value, None) not in have:
            wanted = _last([video for video in known if video.id in sound])
        for kind, params in wanted:
            self._ask(kind, params)
        return bool(wanted)

    def _ask(self, kind: JobType, params: dict[str, Any] | None = None) -> None:
        """In a transaction of its own, so that jobs are as old as they look."""
        with engine_for(self._settings).begin() as connection:
            queue.enqueue(connection, NewJob(kind.value, params or {}, origin=Origin.CLI), self._settings)

    def _all_are_checked(self, jobs: Iterable[Job]) -> bool:
        """Every scan and validation has ended, also those that the inbox asks for."""
        first = {JobType.SCAN, JobType.PUBLIC_SCAN, JobType.VALIDATE}
        return self._inbox_was_seen(jobs) and all(job.status in FINAL for job in jobs if job.type in first)

    def _inbox_was_seen(self, jobs: Iterable[Job]) -> bool:
        files = (job.params.get("paths", ()) for job in jobs if job.origin == Origin.INBOX)
        return sum(map(len, files)) >= self._inbox_files

    def _is_over(self, jobs: Iterable[Job]) -> bool:
        return self._inbox_was_seen(jobs) and all(job.status in FINAL for job in jobs)

    def _require_movement(self, view: View) -> None:
        seen = [(job.status, job.progress, job.progress_detail, job.attempt) for job in view.jobs]
        if seen != self._seen:
            self._seen, self._moved_at_s = seen, time.monotonic()
        elif time.monotonic() - self._moved_at_s > _PATIENCE_S:
            raise OutOfTime(_PATIENCE_S, len(view.jobs) - len(view.ended))


def _last(sound: Sequence[Video]) -> list[tuple[JobType, dict[str, Any]]]:
    """What is made of the whole library, a moving picture of the video that came first, a digest of the longest."""
    first = min(sound, key=lambda video: (video.created_at, video.path))
    short = [video for video in sound if (video.duration_seconds or 0) <= _LONGEST_COMPILED_S]
    criteria = {"maxDuration": _LONGEST_COMPILED_S}
    asked: list[tuple[JobType, dict[str, Any]]] = [
        (JobType.COMPILE_RANDOM, {"count": min(len(sound), _COMPILED_AT_MOST), **criteria}),
        (JobType.COMPILE_GIF, {"videoId": str(first.id), "start": (first.duration_seconds or 0) / 4, "duration": 2}),
    ]
    if len(short) >= _CELLS:
        asked.append((JobType.COMPILE_QUAD, {**criteria, "width": 1280, "height": 720}))
    return [*asked, *_digest(short)]


def _digest(short: Sequence[Video]) -> list[tuple[JobType, dict[str, Any]]]:
    """Of the longest one, half of it, if it is long enough for that."""
    longest = max(short, key=lambda video: (video.duration_seconds or 0, video.path), default=None)
    length_s = 0.0 if longest is None else (longest.duration_seconds or 0)
    if longest is None or length_s < _SHORTEST_DIGESTED_S:
        return []
    target_s = min(_LONGEST_DIGEST_S, round(length_s / 2, 1))
    return [(JobType.DIGEST_GENERATE, {"videoId": str(longest.id), "targetLength": target_s})]


def _is_original(video: Video) -> bool:
    return video.is_valid is True and video.source_video_id is None and video.directory_type != "compilations"


def _next_for(video: Video, sound: set[UUID | None]) -> tuple[JobType, ...]:
    if video.id in sound:
        return (JobType.THUMBNAIL_GENERATE, JobType.REENCODE_STREAMING)
    return (JobType.VALIDATE,)
