"""What happens to the library while no run is at hand, as Dagster's assets show it. Requests no run."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from jobqueue_bridge import queue, video_notes, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.findings import Finding
from jobqueue_bridge.settings import Settings, load_settings
from jobqueue_bridge.video_notes import VideoNote, What
from media_pipelines.library_checks import ASSET, findings
from media_pipelines.ops.checks import evaluation
from media_pipelines.ops.videos import VIDEO_PARTITIONS

_NOTES_PER_TICK = 200
# What is found again and again is written down once in a while.
_TOLD_AGAIN_AFTER = timedelta(hours=12)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells the assets of videos that were forgotten or restored, and removes the partitions of the former.",
)
def library_notes(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    told = carry_notes(load_settings(), context.instance)
    return dg.SkipReason(f"Told: {', '.join(told)}." if told else "Nothing happened.")


def carry_notes(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """What was told, in words. A note goes only after it was: a tick that dies in between tells it twice."""
    with engine_for(settings).begin() as connection:
        notes = video_notes.oldest(connection, _NOTES_PER_TICK)
    for note in notes:
        _carry(instance, note)
    with engine_for(settings).begin() as connection:
        video_notes.remove(connection, [note.id for note in notes])
    return [f"{note.path} is {note.what}" for note in notes]


def _carry(instance: dg.DagsterInstance, note: VideoNote) -> None:
    key = str(note.video_id)
    metadata = {
        "what": note.what.value,
        "path": dg.MetadataValue.path(note.path),
        "at": dg.MetadataValue.timestamp(note.at),
    }
    restored = note.what is What.RESTORED  # then its file is another than before
    event = dg.AssetMaterialization if restored else dg.AssetObservation
    instance.report_runless_asset_event(event(asset_key="library_video", partition=key, metadata=metadata))
    if note.what is What.FORGOTTEN:
        assert VIDEO_PARTITIONS.name is not None
        instance.delete_dynamic_partition(VIDEO_PARTITIONS.name, key)


@dg.sensor(
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Answers the checks of the whole library from the database: what changed at once, else twice a day.",
)
def library_checks(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    found = look(load_settings())
    told, cursor = news(found, json.loads(context.cursor or "{}"), datetime.now(UTC))
    failed = [finding.name for finding in found if not finding.passed]
    return dg.SensorResult(
        skip_reason=dg.SkipReason(f"Did not pass: {', '.join(failed)}." if failed else "All is well."),
        asset_events=[evaluation(ASSET, finding) for finding in told],
        cursor=json.dumps(cursor),
    )


def look(settings: Settings) -> list[Finding]:
    """What is found now."""
    with engine_for(settings).begin() as connection:
        return findings(videos.health(connection), queue.last_scan_at(connection), datetime.now(UTC))


def news(found: Iterable[Finding], before: dict[str, Any], now: datetime) -> tuple[Sequence[Finding], dict[str, Any]]:
    """What is worth telling, and what was told of each when. How long ago a scan was is no news, that it is too long
    is."""
    told, after = [], {}
    for finding in found:
        verdict = [finding.passed, finding.severity.value]
        old_verdict, at = before.get(finding.name, (None, now.isoformat()))
        if verdict != old_verdict or now - datetime.fromisoformat(at) >= _TOLD_AGAIN_AFTER:
            told.append(finding)
            at = now.isoformat()
        after[finding.name] = [verdict, at]
    return told, after
