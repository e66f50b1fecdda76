"""Look through a folder of the library: a row for each new video, and nothing for what has not changed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg

from jobqueue_bridge import params, videos
from jobqueue_bridge.videos import Known
from media_pipelines.media import files
from media_pipelines.media.errors import MediaError, UnreadableMedia
from media_pipelines.media.probe import Probe
from media_pipelines.ops.params import typed
from media_pipelines.ops.progress import bounded
from media_pipelines.ops.videos import VIDEO_PARTITIONS, add_partitions, row, table
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.ffmpeg import Ffmpeg
from media_pipelines.resources.job import JobRow
from media_pipelines.resources.library import Library
from media_pipelines.resources.queue import Queue

_BATCH = 200
_PROBES_AT_ONCE = 2
# A materialization costs milliseconds each: a first scan of a large library reports the first ones only.
_MATERIALIZED_AT_MOST = 200
_SHOWN = 50


@dataclass
class Tally:
    """What a scan found so far."""

    found: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    invalid: int = 0
    skipped: int = 0
    new_ids: list[UUID] = field(default_factory=list)
    fresh: list[tuple[UUID, dict[str, Any]]] = field(default_factory=list)
    """The first of the new ones, as they were written: all of a large library would fill the memory."""

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("found", "new", "changed", "unchanged", "invalid", "skipped")}


def _scan(
    context: dg.OpExecutionContext, job: JobRow, queue: Queue, library: Library, ffmpeg: Ffmpeg
) -> dg.Output[None]:
    with job.step(context) as attempt:
        wanted = typed(attempt, params.DirectoryScan)
        tally = _look_through(attempt, wanted, queue, library, ffmpeg)
        add_partitions(context.instance, VIDEO_PARTITIONS, map(str, tally.new_ids))
        for video_id, facts in tally.fresh:
            context.log_event(_materialization(video_id, facts))
        attempt.log(", ".join(f"{count} {name}" for name, count in tally.counts().items()))
        attempt.complete({"directory": wanted.directory, **tally.counts()})
    return dg.Output(None, metadata={"directory": wanted.directory, **tally.counts(), "videos": _shown(tally)})


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
    below = library.path(wanted.directory)
    if not below.exists():
        raise UnreadableMedia(below, "there is no such folder in the library")
    tally = Tally()
    with bounded(attempt.log, "files skipped") as log_skipped, ffmpeg.prober(workers=_PROBES_AT_ONCE) as prober:

        def skipped(path: Path, reason: str) -> None:
            tally.skipped += 1
            log_skipped(f"Skipped {str(path)!r}: {reason}")

        paths = list(files.find_videos(library.root, below, skipped))
        tally.found = len(paths)
        attempt.log(f"{len(paths)} video files in {wanted.directory}")
        for batch in _batches(paths):
            attempt.check()
            to_probe = _changed(batch, queue, library, tally, refresh=not wanted.skip_existing)
            _write(prober.probe_many(to_probe), queue, library, tally, skipped)
            done = tally.new + tally.changed + tally.unchanged + tally.skipped
            attempt.progress(100 * done / max(1, len(paths)), files=done, of=len(paths))
    return tally


def _batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    iterator = iter(paths)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _changed(batch: Sequence[Path], queue: Queue, library: Library, tally: Tally, *, refresh: bool) -> list[Path]:
    """The files of a batch that the library does not know as they are now."""
    with queue.begin() as connection:
        known = videos.known_at(connection, [library.relative(path) for path in batch])
    changed = []
    for path in batch:
        if not refresh and _is_unchanged(path, known.get(library.relative(path))):
            tally.unchanged += 1
        else:
            changed.append(path)
    return changed


def _is_unchanged(path: Path, known: Known | None) -> bool:
    if known is None or known.mtime is None:
        return False
    try:
        status = path.stat()
    except OSError:
        return False
    return known.size_bytes == status.st_size and known.mtime == files.modified_at(status)


def _write(
    verdicts: Iterator[tuple[Path, Probe | MediaError]],
    queue: Queue,
    library: Library,
    tally: Tally,
    skipped: Callable[[Path, str], None],
) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for path, verdict in verdicts:
        try:
            facts = row(library.relative(path), path, verdict)
        except OSError as error:
            skipped(path, error.strerror or str(error))
            continue
        rows[facts["path"]] = facts
        tally.invalid += not facts["is_valid"]
    with queue.begin() as connection:
        known = videos.known_at(connection, list(rows))
        ids = videos.upsert(connection, rows.values())
    for path_text, video_id in ids.items():
        if path_text in known:
            tally.changed += 1
        else:
            tally.new += 1
            tally.new_ids.append(video_id)
            if len(tally.fresh) < _MATERIALIZED_AT_MOST:
                tally.fresh.append((video_id, rows[path_text]))


def _materialization(video_id: UUID, facts: dict[str, Any]) -> dg.AssetMaterialization:
    shown = ("path", "size_bytes", "duration_seconds", "width", "height", "video_codec", "is_valid")
    return dg.AssetMaterialization(
        asset_key="library_video",
        partition=str(video_id),
        metadata={name: facts[name] for name in shown if facts[name] is not None},
    )


def _shown(tally: Tally) -> dg.MarkdownMetadataValue:
    return table(
        ["video", "size", "duration", "codec", "valid"],
        [
            (
                facts["path"],
                f"{facts['width']}×{facts['height']}" if facts["width"] else None,
                f"{facts['duration_seconds']:.1f} s" if facts["duration_seconds"] else None,
                facts["video_codec"],
                "yes" if facts["is_valid"] else facts["invalid_reason"],
            )
            for _, facts in tally.fresh[:_SHOWN]
        ],
    )
