"""Look through a folder of the library: a row for each new video, and nothing for what has not changed."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import sqlalchemy as sa

from jobqueue_bridge import file_changes, params, videos
from jobqueue_bridge import queue as jobs
from jobqueue_bridge.new_video import Link
from jobqueue_bridge.queue import NewJob, being_published, enqueue_chains
from jobqueue_bridge.videos import Known, Place
from jobqueue_bridge.vocabulary import Origin
from media_pipelines import library_checks
from media_pipelines.media import files
from media_pipelines.media.errors import PathOutsideLibrary, UnreadableMedia
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.prober import Prober
from media_pipelines.ops.checks import evaluation, log_evaluation
from media_pipelines.ops.materialized import made
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import bounded
from media_pipelines.ops.scanned import TOLD_AT_MOST, Tally, named, shown, tell
from media_pipelines.ops.videos import VIDEO_PARTITIONS, add_partitions, row
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_BATCH = 500
_PROBES_AT_ONCE = max(2, min(8, os.cpu_count() or 2))
# A broken file that was written this recently may be one that is still being copied: it is looked at once more.
_RECENT_S = 10.0
_SECOND_LOOK_S = 0.5
# The folders at the library's root into which jobs write: what lies there was made of a video, whether it has its row
# or not, and is no new one.
_MADE_BY_JOBS = {"playback", "compilations", "thumbnails", "gifs", "scenes", "highlights", "clips", "digests"}


def _scan(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.DirectoryScan)
        tally = _look_through(attempt, wanted, queue, library, ffmpeg)
        add_partitions(context.instance, VIDEO_PARTITIONS, map(str, tally.new_ids))
        tell(context, attempt, tally)
        health = _checked_library(context, wanted, queue)
        attempt.decided(", ".join(f"{count} {name}" for name, count in tally.counts().items()))
        if tally.enqueued:
            attempt.log(f"{tally.enqueued} jobs enqueued for what is new")
        attempt.complete({"directory": wanted.directory, **tally.counts(), **_enqueued(tally)})
    metadata = {
        "directory": dg.MetadataValue.path(wanted.directory),
        **tally.counts(),
        "dagster/row_count": health.videos,
        "videos": shown(tally),
        **{f"{what}_videos": named(events) for what, events in tally.events.items()},
    }
    return dg.Output(None, metadata=made(attempt, **metadata))


def _enqueued(tally: Tally) -> dict[str, int]:
    return {"enqueued": tally.enqueued} if tally.enqueued else {}


@dg.op(description="Walk a folder below library/, probe what is new or has changed, write its row.")
def scan_directory(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    return _scan(context, job, queue, library, ffmpeg)


@dg.op(description="The same for the public gallery, library/public/.")
def scan_public_directory(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    return _scan(context, job, queue, library, ffmpeg)


def _look_through(
    attempt: Attempt, wanted: params.DirectoryScan, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> Tally:
    root = library.root
    with bounded(attempt.log, "files skipped") as log_skipped, ffmpeg.prober(workers=_PROBES_AT_ONCE) as prober:
        scan = _Scan(root, queue, prober, log_skipped)
        files_found = [
            _File(str(path.relative_to(root)), path, status) for path, status in _found(wanted, library, scan.skipped)
        ]
        scan.tally.found = len(files_found)
        attempt.log(f"{len(files_found)} video files in {wanted.directory}")
        for batch in _batches(files_found):
            attempt.check()
            scan.take(batch, refresh=not wanted.skip_existing)
            done = scan.tally.handled
            attempt.progress(100 * done / max(1, len(files_found)), files=done, of=len(files_found))
        attempt.check()
        for path in scan.mark_missing(wanted, {file.relative for file in files_found}):
            log_skipped(f"Missing since now: {path!r}")
    return scan.tally


def _found(wanted: params.DirectoryScan, library: Library, skip: files.OnSkip) -> Iterator[tuple[Path, os.stat_result]]:
    """What the params name, as far as it is there. Raises UnreadableMedia: the folder to look through is not."""
    if wanted.paths is not None:
        return _listed(wanted.paths, library, skip)
    below = library.path(wanted.folder)
    if not below.exists():
        raise UnreadableMedia(below, "there is no such folder in the library")
    return files.walk(library.root, below, skip)


def _listed(paths: Iterable[str], library: Library, skip: files.OnSkip) -> Iterator[tuple[Path, os.stat_result]]:
    """One of many is no reason to leave out the others: it may have gone since it was listed."""
    for relative in paths:
        try:
            path = library.path(relative)
        except PathOutsideLibrary as error:
            skip(library.root / relative, str(error))
            continue
        if path.is_dir():
            skip(path, "it is a folder, and files are listed")
        elif os.path.lexists(path):
            yield from files.walk(library.root, path, skip)


@dataclass(frozen=True)
class _File:
    relative: str
    path: Path
    status: os.stat_result


def _batches(found: Sequence[_File]) -> Iterator[list[_File]]:
    iterator = iter(found)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


class _Scan:
    """One scan on its way: what it compares, probes and writes, batch after batch."""

    def __init__(self, root: Path, queue: Queue, prober: Prober, log: Callable[[str], None]) -> None:
        self.tally = Tally()
        self._root, self._queue, self._prober, self._log = root, queue, prober, log
        self._absence = files.Absence(root)
        self._chain = queue.settings.on_new_video

    def skipped(self, path: Path, reason: str) -> None:
        self.tally.skipped += 1
        self._log(f"Skipped {str(path)!r}: {reason}")

    def take(self, batch: Sequence[_File], *, refresh: bool) -> None:
        with self._queue.begin() as connection:
            known = videos.known_at(connection, [file.relative for file in batch])
            unchanged = [] if refresh else [file for file in batch if _is_settled(file, known.get(file.relative))]
            self._note_unchanged(connection, [(file, known[file.relative]) for file in unchanged])
        same = {file.relative for file in unchanged}
        rows = self._probed([file for file in batch if file.relative not in same])
        if rows:
            self._write(rows, known)

    def _note_unchanged(self, connection: sa.Connection, unchanged: Sequence[tuple[_File, Known]]) -> None:
        self.tally.unchanged += len(unchanged)
        back = [(file, known) for file, known in unchanged if known.missing_since is not None]
        videos.mark_present(connection, [known.id for _, known in back])
        for file, known in back:
            self.tally.note("returned", known.id, {"path": file.relative, "missing_since": known.missing_since})
        videos.set_fingerprints(
            connection,
            {
                known.id: sampled
                for file, known in unchanged
                if known.fingerprint is None and file.status.st_size and (sampled := _sampled(file.path)) is not None
            },
        )

    def _probed(self, batch: Sequence[_File]) -> dict[str, dict[str, Any]]:
        """A row for each file that stands still, by path."""
        begun: dict[Path, os.stat_result] = {}
        rows, doubtful = {}, {}
        relative = {file.path: file.relative for file in batch}
        for path, verdict in self._prober.glance_many(_noting(relative, begun)):
            try:
                status = path.stat()
                if _has_changed(begun.pop(path, None), status):
                    self.skipped(path, "it is being written to; the next scan takes it")
                    continue
                facts = row(relative[path], path, verdict, status)
            except OSError as error:
                self.skipped(path, error.strerror or str(error))
                continue
            rows[facts["path"]] = facts
            if not facts["is_valid"] and time.time() - status.st_mtime < _RECENT_S:
                doubtful[path] = status
        for path in _growing(doubtful):
            self.skipped(path, "it is being written to; the next scan takes it")
            del rows[relative[path]]
        return rows

    def _write(self, rows: dict[str, dict[str, Any]], known: Mapping[str, Known]) -> None:
        with self._queue.begin() as connection:
            moved = self._follow_moved(connection, [facts for path, facts in rows.items() if path not in known])
            ids = videos.upsert(connection, [facts for path, facts in rows.items() if path not in moved])
            if self._chain:
                self._enqueue_chains(connection, {video_id: rows[path] for path, video_id in ids.items()})
        self.tally.moved += len(moved)
        self.tally.invalid += sum(not facts["is_valid"] for facts in rows.values())
        for path, video_id in ids.items():
            if path in known:
                self._count_known(rows[path], known[path])
                if known[path].missing_since is not None:
                    self.tally.note("returned", video_id, {"path": path, "missing_since": known[path].missing_since})
                continue
            self.tally.new += 1
            self.tally.new_ids.append(video_id)
            if len(self.tally.fresh) < TOLD_AT_MOST:
                self.tally.fresh.append((video_id, rows[path]))

    def _enqueue_chains(self, connection: sa.Connection, rows: Mapping[UUID, Mapping[str, Any]]) -> None:
        """In the transaction that adds the rows: no video is ever there without its jobs, whatever is killed."""
        new = {video_id: rows[video_id] for video_id in videos.added(connection, rows)}
        for broken in (facts for facts in new.values() if not facts["is_valid"]):
            self._log(f"No jobs for {broken['path']!r}: {broken['invalid_reason']}")
        of_jobs = being_published(connection) | file_changes.unsettled_paths(connection) if new else set()
        wanted = [
            video_id
            for video_id, facts in new.items()
            if facts["is_valid"]
            and facts["path"].partition("/")[0] not in _MADE_BY_JOBS
            and facts["path"] not in of_jobs
        ]
        chains = [[_asked(link, video_id) for link in self._chain] for video_id in wanted]
        self.tally.enqueued += enqueue_chains(connection, chains, self._queue.settings)

    def _count_known(self, facts: Mapping[str, Any], known: Known) -> None:
        same = (facts["size_bytes"], facts["mtime"], facts["is_valid"]) == (known.size_bytes, known.mtime, False)
        if same and known.is_valid is False:
            self.tally.unchanged += 1
        else:
            self.tally.changed += 1
            self.tally.note("changed", known.id, facts)

    def _follow_moved(self, connection: sa.Connection, new: Sequence[dict[str, Any]]) -> set[str]:
        """Rows of files that are at another path now: only where the old path is empty for certain, and one row and
        one file alone have this content. Returns the new paths."""
        by_content: dict[str, list[dict[str, Any]]] = {}
        for facts in new:
            if facts["fingerprint"] is not None:
                by_content.setdefault(facts["fingerprint"], []).append(facts)
        of_rows: dict[str, list[Place]] = {}
        for place in videos.with_fingerprints(connection, list(by_content)):
            of_rows.setdefault(str(place.fingerprint), []).append(place)
        moved = set()
        for content, places in of_rows.items():
            gone = [one for one in places if self._absence.is_certain(self._root / one.path, one.seen_at)]
            if len(gone) == len(by_content[content]) == 1:
                (facts,) = by_content[content]
                columns = {name: value for name, value in facts.items() if name not in ("path", "title")}
                videos.relocate(connection, gone[0].id, facts["path"], columns)
                moved.add(facts["path"])
                self.tally.note("moved", gone[0].id, {"path": facts["path"], "moved_from": gone[0].path})
                self._log(f"Moved: {gone[0].path!r} is {facts['path']!r} now")
        return moved

    def mark_missing(self, wanted: params.DirectoryScan, found: Set[str]) -> list[str]:
        """Rows of what was looked through whose files are gone for certain; their paths."""
        with self._queue.begin() as connection:
            gone = [
                place
                for place in _present(connection, wanted)
                if place.path not in found and self._absence.is_certain(self._root / place.path, place.seen_at)
            ]
        with self._queue.begin() as connection:
            marked = videos.mark_missing(connection, gone)
        self.tally.missing = len(marked)
        ids, now = {place.path: place.id for place in gone}, datetime.now(UTC)
        for path in marked:
            self.tally.note("missing", ids[path], {"path": path, "missing_since": now})
        return marked


def _present(connection: sa.Connection, wanted: params.DirectoryScan) -> Iterable[Place]:
    if wanted.paths is not None:
        return videos.present_at(connection, wanted.paths)
    return videos.present_below(connection, wanted.folder)


def _asked(link: Link, video_id: UUID) -> NewJob:
    return NewJob(link.type.value, link.params_for(video_id), link.priority, origin=Origin.CHAIN)


def _is_settled(file: _File, known: Known | None) -> bool:
    """Unchanged and sound. What could not be read is tried again: the reason may have been in the disk."""
    if known is None or known.mtime is None or known.is_valid is False:
        return False
    return known.size_bytes == file.status.st_size and known.mtime == files.modified_at(file.status)


def _sampled(path: Path) -> str | None:
    try:
        return fingerprint(path)
    except OSError:
        return None


def _noting(paths: Iterable[Path], begun: dict[Path, os.stat_result]) -> Iterator[Path]:
    """The paths, each with its status noted right before it is read."""
    for path in paths:
        with suppress(OSError):
            begun[path] = path.stat()
        yield path


def _has_changed(before: os.stat_result | None, after: os.stat_result) -> bool:
    return before is not None and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)


def _growing(doubtful: Mapping[Path, os.stat_result]) -> Iterator[Path]:
    """Those of the files that have changed a moment later."""
    if doubtful:
        time.sleep(_SECOND_LOOK_S)
    for path, before in doubtful.items():
        try:
            if _has_changed(before, path.stat()):
                yield path
        except OSError:
            yield path


def _checked_library(context: dg.OpExecutionContext, wanted: params.DirectoryScan, queue: Queue) -> videos.Health:
    """How the library is after the scan, which answers the checks of it."""
    now = datetime.now(UTC)
    with queue.begin() as connection:
        health = videos.health(connection)
        is_whole = isinstance(wanted, params.Scan) and wanted.path in (None, jobs.LIBRARY) and wanted.paths is None
        scanned_at = now if is_whole else jobs.last_scan_at(connection)
    for finding in library_checks.findings(health, scanned_at, now):
        log_evaluation(context, evaluation(library_checks.ASSET, finding))
    return health
