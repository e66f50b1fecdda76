"""Files → rows. A file in inbox/ that has stopped changing gets a scan; nothing here touches the file."""

import json
import time
from typing import Any

import dagster as dg

from jobqueue_bridge import queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import InvalidJob, JobAlreadyLive
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.videos import Known
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines.media import files

_INBOX = "inbox"
_ENQUEUED_PER_TICK = 50
_SAME_TIME_S = 0.001  # rows hold microseconds

# path → [size, mtime_ns, when it was first seen so, whether a scan was asked for]
Seen = dict[str, list[Any]]


@dg.sensor(
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices new files in inbox/ that no longer change, and puts a scan of each into the queue.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    settings = load_settings()
    seen = not_in_library(settings, look(settings, json.loads(context.cursor or "{}"), time.time()))
    asked_for = ask_for_scans(settings, seen, time.time())
    return dg.SensorResult(
        skip_reason=dg.SkipReason(f"Scans enqueued: {len(asked_for)}; files on their way in: {len(seen)}"),
        cursor=json.dumps(seen),
    )


def look(settings: Settings, before: Seen, now_s: float) -> Seen:
    """The files that are in the inbox now; a file that has changed is seen for the first time again."""
    folder = settings.media_library_path / _INBOX
    if not folder.is_dir():
        return {}
    seen: Seen = {}
    for path in files.find_videos(settings.media_library_path, folder):
        try:
            status = path.stat()
        except OSError:
            continue
        relative = str(path.relative_to(settings.media_library_path))
        old = before.get(relative)
        same = old is not None and old[:2] == [status.st_size, status.st_mtime_ns]
        seen[relative] = old if same and old else [status.st_size, status.st_mtime_ns, now_s, False]
    return seen


def not_in_library(settings: Settings, seen: Seen) -> Seen:
    """Without the files that the library knows as they are: the cursor is stored with every tick, and must not grow
    with all that ever came."""
    with engine_for(settings).begin() as connection:
        known = videos.known_at(connection, list(seen))
    return {path: facts for path, facts in seen.items() if not _is_as_known(known.get(path), facts[0], facts[1])}


def _is_as_known(known: Known | None, size_bytes: int, mtime_ns: int) -> bool:
    if known is None or known.missing_since is not None:
        return False
    if known.mtime is None or known.size_bytes != size_bytes:
        return False
    return abs(known.mtime.timestamp() - mtime_ns / 1e9) < _SAME_TIME_S


def ask_for_scans(settings: Settings, seen: Seen, now_s: float) -> list[str]:
    """Enqueue a scan for each stable file, and mark it; at most 50."""
    stable = [
        path
        for path, (_, _, since_s, asked) in seen.items()
        if not asked and now_s - since_s >= settings.inbox_stable_seconds
    ][:_ENQUEUED_PER_TICK]
    asked_for = []
    with engine_for(settings).begin() as connection:
        for path in stable:
            seen[path][3] = True
            try:
                queue.enqueue(connection, NewJob(JobType.SCAN, {"path": path}, origin=Origin.INBOX), settings)
            except (JobAlreadyLive, InvalidJob):
                continue
            asked_for.append(path)
    return asked_for
