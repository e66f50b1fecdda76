"""One attempt at a job, from its claim to its end: the lease, the beat, progress, log, when to wait, why to stop."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import sqlalchemy as sa

from jobqueue_bridge import lease, lifecycle, queue
from jobqueue_bridge.database import engine_for, is_away
from jobqueue_bridge.errors import JobPaused, LeaseLost
from jobqueue_bridge.findings import Finding
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.queue import Job
from jobqueue_bridge.retry import Backoff, FailureKind
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.vocabulary import JobStatus
from media_pipelines.media.ffmpeg import CHILDREN, kill_tree
from media_pipelines.resources.bell import Bell
from media_pipelines.resources.vram import VramUse

_logger = logging.getLogger(__name__)
_BEAT_S = 1.0
_LOG_BUFFER_LINES = 5_000
_RETRY_FINISH_S = 60.0
_PAUSED_LOOK_S = 0.25
# Looks, a second apart: a process that was itself stopped is given the time for a beat before it gives up.
_OVERDUE_LOOKS = 3
_WORTH_A_LINE_S = 3.0


class Attempt:
    """A thread beats once a second, and at once when somebody moves the job, carrying progress and log lines with it;
    the op's thread only leaves notes. While the job is paused, ffmpeg is suspended, and the op waits at its next look.

    While the database is away the attempt works on, until its lease must be taken for expired.
    """

    def __init__(self, job: Job, held: Lease, settings: Settings) -> None:
        self.job = job
        self._lease = held
        facts = {"job_id": str(job.id), "run_id": job.run_id, "type": job.type, "attempt": job.attempt}
        self._process_log = logging.LoggerAdapter(_logger, facts)
        self._settings = settings
        self._engine = engine_for(settings)
        self._notes = threading.Lock()
        self._percent: int | None = None
        self._detail: dict[str, Any] | None = None
        self._lines: list[tuple[float, str]] = []
        self._partials: list[Path] = []
        self._findings: list[Finding] = []
        self._encoder: str | None = None
        self._stop_reason: str | None = None
        self._tell: Callable[[str], None] | None = None
        self.vram = VramUse(job, settings)
        self._ended = threading.Event()
        self._resumed = threading.Event()
        self._resumed.set()
        self._bell = Bell(settings)
        self._beaten_at_s = time.monotonic()
        self._not_ours = set(psutil.Process().children())
        self._thread = threading.Thread(target=self._beat_until_ended, name="lease-beat", daemon=True)
        self._watch = threading.Thread(target=self._watch_until_ended, name="lease-watch", daemon=True)

    def start(self) -> None:
        self._process_log.info("The attempt begins")
        self._thread.start()
        self._watch.start()
        self.vram.start()

    @property
    def lease(self) -> Lease:
        """What fences this attempt's writes."""
        return self._lease

    @property
    def over(self) -> bool:
        return self._ended.is_set()

    def stop_reason(self) -> str | None:
        """Why the work must stop now; None: go on. Cheap: reads what the beat has learnt."""
        return self._stop_reason

    def check(self) -> None:
        """Waits while the job is paused. Raises LeaseLost where the work must stop."""
        while not self._resumed.wait(_PAUSED_LOOK_S) and self._stop_reason is None:
            pass
        if self._stop_reason is not None:
            raise LeaseLost(self.job.id, self.job.attempt, self._stop_reason)

    def progress(self, percent: float, **detail: Any) -> None:
        """Percent of the whole job, and what else is worth showing (fps, speed, eta_s, …)."""
        with self._notes:
            self._percent = int(percent)
            self._detail = {key: value for key, value in detail.items() if value is not None} or None

    def log(self, line: str) -> None:
        with self._notes:
            self._lines.append((time.monotonic(), line))
            if len(self._lines) > _LOG_BUFFER_LINES:
                gap = (time.monotonic(), "… lines left out here: more came than the database took …")
                self._lines[: len(self._lines) // 2] = [gap]

    def decided(self, line: str) -> None:
        """A line of the log that the run tells in Dagster, too: what was chosen, and why."""
        self.log(line)
        if self._tell is not None:
            self._tell(line)

    @contextmanager
    def telling(self, tell: Callable[[str], None]) -> Iterator[None]:
        """While a step is at work: by whom the run tells what it decides."""
        self._tell = tell
        try:
            yield
        finally:
            self._tell = None

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def encoder(self) -> str | None:
        """Which one was used last, and why."""
        return self._encoder

    def note_finding(self, finding: Finding) -> None:
        """What a check of the output has found; the job's result names it, whether the job completes or fails."""
        self._findings = [*(one for one in self._findings if one.name != finding.name), finding]
        self.log(f"Check {finding.name}: {'passed' if finding.passed else 'did not pass'}: {finding.description}")

    def record_encoder(self, description: str) -> None:
        self._encoder = description
        with self._engine.begin() as connection:
            lease.record_encoder(connection, self._lease, description)

    def writes(self, partial: Path) -> None:
        """This file goes when the attempt ends in any other way than by completing, also between two steps."""
        self._partials.append(partial)

    def announce_output(self, path: str, size_bytes: int, **facts: Any) -> None:
        """Before a file appears under its final name. Raises LeaseLost."""
        self.check()
        self._write(lambda connection: lease.announce_output(connection, self._lease, path, size_bytes, **facts))

    @property
    def announced_output(self) -> tuple[str, int] | None:
        """Path and size of the file that an earlier attempt was about to publish, or did."""
        result = self.job.result or {}
        return (result["publishing"], result["sizeBytes"]) if "publishing" in result else None

    @property
    def announced_sources(self) -> list[UUID]:
        """The videos of which that file was made, where it is made of several."""
        return [UUID(video_id) for video_id in (self.job.result or {}).get("sourceVideoIds", ())]

    def complete(self, result: dict[str, Any], also: Callable[[sa.Connection], None] | None = None) -> None:
        """End well; `also` writes in the same transaction. Raises LeaseLost: then nothing was written."""

        def finish(connection: sa.Connection) -> None:
            if also:
                also(connection)
            self.vram.learn(connection)
            checks = {"checks": self._checks()} if self._findings else {}
            lease.complete(connection, self._lease, {**result, **checks})

        self._end(finish)
        self._process_log.info("Completed")

    def fail(self, error: str, kind: FailureKind) -> None:
        backoff = Backoff(self._settings.retry_base_seconds, self._settings.retry_cap_seconds)
        self._remove_partials()

        def finish(connection: sa.Connection) -> None:
            said, judged = self.vram.after_failure(connection, self._lease, error, kind)
            if self._findings:
                lease.note_checks(connection, self._lease, self._checks())
            lease.fail(connection, self._lease, said, judged, backoff)

        self._end(finish)
        self._process_log.error("Failed (%s): %s", kind, error)

    def _checks(self) -> list[dict[str, Any]]:
        return [finding.to_json() for finding in self._findings]

    def release(self, reason: str) -> None:
        self._remove_partials()
        self._end(lambda connection: lease.release(connection, self._lease, reason))
        self._process_log.info("Handed back: %s", reason)

    def cancel(self) -> None:
        """The job ends with its run, which somebody ended in Dagster. Raises LeaseLost where it is somebody else's."""

        def finish(connection: sa.Connection) -> None:
            lease.hold(connection, self._lease)
            lifecycle.apply(connection, lifecycle.Action.CANCEL, [self.job.id])

        self._stop_reason = "its run was ended in Dagster"
        self._write(finish)
        self.abandon()

    def abandon(self) -> None:
        """Stop beating; the row is somebody else's by now, who is told that nothing of this attempt is left."""
        self._process_log.warning("Given up: %s", self._stop_reason or "the job is no longer this attempt's")
        self._finish_beating()
        self.vram.stop()
        self._remove_partials()
        with suppress(sa.exc.SQLAlchemyError), self._engine.begin() as connection:
            queue.let_go(connection, self.job.id, self._lease.token)

    def _remove_partials(self) -> None:
        """As far as that can be done: on a disk that has become read-only it cannot, and the row must still be told."""
        for partial in self._partials:
            try:
                partial.unlink(missing_ok=True)
            except OSError as error:
                if os.path.lexists(partial):
                    self.log(f"{partial.name} could not be removed: {error.strerror}")

    def _end(self, finish: Callable[[sa.Connection], Any]) -> None:
        self._finish_beating()
        if wrong := self.vram.stop():
            self.log(wrong)

        def finish_with_peak(connection: sa.Connection) -> None:
            self.vram.record(connection, self._lease)
            finish(connection)

        self._write(finish_with_peak)

    def _finish_beating(self) -> None:
        self._ended.set()
        self._bell.ring()
        if self._thread.is_alive():
            self._thread.join()
        CHILDREN.resume()

    def _write(self, act: Callable[[sa.Connection], Any]) -> None:
        """Flush the log, then act; patient with a database that restarts, and with a job that is paused."""
        deadline_s = time.monotonic() + _RETRY_FINISH_S
        paused = False
        while True:
            try:
                if paused:
                    self._beat()
                self._with_log(act)
                return
            except JobPaused:
                paused = True
                deadline_s = time.monotonic() + _RETRY_FINISH_S
                time.sleep(_PAUSED_LOOK_S)
            except sa.exc.DBAPIError as error:
                if not is_away(error) or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.5)

    def _with_log(self, act: Callable[[sa.Connection], Any]) -> Any:
        """One transaction that also carries the log lines noted so far; they are kept if it fails."""
        with self._notes:
            lines, self._lines = self._lines, []
        try:
            with self._engine.begin() as connection:
                now_s = time.monotonic()
                texts, ages_s = [text for _, text in lines], [now_s - noted_s for noted_s, _ in lines]
                lease.log(connection, self._lease, texts, ages_s)
                return act(connection)
        except BaseException:
            with self._notes:
                self._lines = [*lines, *self._lines]
            raise

    def _beat_until_ended(self) -> None:
        with self._bell:
            self._beat_on()

    def _beat_on(self) -> None:
        while True:
            self._bell.wait(_BEAT_S)
            if self._ended.is_set() or self._stop_reason is not None:
                return
            try:
                self._beat()
            except LeaseLost as lost:
                self._lose(lost.reason)
                return
            except sa.exc.SQLAlchemyError as error:  # whatever it is, a beat that ended here would be noticed by nobody
                if self._is_overdue():
                    cause = getattr(error, "orig", None) or error
                    self._lose(f"no beat reached the database for {self._silent_s():.0f} s ({cause})")
                    return

    def _watch_until_ended(self) -> None:
        """A beat hangs in a database that is frozen: then it cannot notice that the lease is over."""
        overdue = 0
        while not self._ended.wait(_BEAT_S) and self._stop_reason is None:
            overdue = overdue + 1 if self._is_overdue() else 0
            if overdue >= _OVERDUE_LOOKS:
                self._lose(f"no beat reached the database for {self._silent_s():.0f} s")

    def _silent_s(self) -> float:
        return time.monotonic() - self._beaten_at_s

    def _is_overdue(self) -> bool:
        return self._silent_s() > self._settings.lease_seconds

    def _beat(self) -> None:
        with self._notes:
            percent, detail, self._percent, self._detail = self._percent, self._detail, None, None
        status: JobStatus = self._with_log(lambda connection: lease.beat(connection, self._lease, percent, detail))
        if self._silent_s() > _BEAT_S + _WORTH_A_LINE_S:
            self.log(f"No beat for {self._silent_s():.0f} s: the database took none, or this process was stopped")
        self._beaten_at_s = time.monotonic()
        self._follow(status)

    def _follow(self, status: JobStatus) -> None:
        if status == JobStatus.PAUSED and self._resumed.is_set():
            self._resumed.clear()
            CHILDREN.pause()
            self.log("Paused")
        elif status == JobStatus.RUNNING and not self._resumed.is_set():
            CHILDREN.resume()
            self._resumed.set()
            self.log("Resumed")

    def _lose(self, reason: str) -> None:
        """The op sees the reason at its next look; a child of this attempt that keeps it from that is killed here."""
        self._stop_reason = reason
        for child in psutil.Process().children():
            if child not in self._not_ours:
                kill_tree(child.pid)


def claim(settings: Settings, job: Job, *, run_id: str, host: str) -> Attempt | None:
    """queued → running. None: the job was moved meanwhile; there is nothing to do."""
    with engine_for(settings).begin() as connection:
        held = lease.claim(connection, job.id, job.attempt, run_id=run_id, host=host)
        if held is None:
            return None
        attempt = Attempt(queue.get(connection, job.id), held, settings)
    attempt.start()
    return attempt
