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
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines.media import files

_INBOX = "inbox"
_ENQUEUED_PER_TICK = 50

# path → [size, mtime_ns, when it was first seen so, whether a scan was asked for]
Seen = dict[str, list[Any]]


@dg.sensor(
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notices new files in inbox/ that no longer change, and puts a scan of each into the queue.",
)
def inbox(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    settings = load_settings()
    seen = look(settings, json.loads(context.cursor or "{}"), time.time())
    asked_for = ask_for_scans(settings, seen, time.time())
    return dg.SensorResult(
        skip_reason=dg.SkipReason(f"Scans enqueued: {len(asked_for)}; files in the inbox: {len(seen)}"),
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


def ask_for_scans(settings: Settings, seen: Seen, now_s: float) -> list[str]:
    """Enqueue a scan for each stable file that the library doesn't know as it is, and mark it; at most 50."""
    stable = [
        path
        for path, (_, _, since_s, asked) in seen.items()
        if not asked and now_s - since_s >= settings.inbox_stable_seconds
    ][:_ENQUEUED_PER_TICK]
    asked_for = []
    with engine_for(settings).begin() as connection:
        known = videos.known_at(connection, stable)
        for path in stable:
            seen[path][3] = True
            if path in known and known[path].size_bytes == seen[path][0]:
                continue
            try:
                queue.enqueue(connection, NewJob(JobType.SCAN, {"path": path}, origin=Origin.INBOX), settings)
            except (JobAlreadyLive, InvalidJob):
                continue
            asked_for.append(path)
    return asked_for
