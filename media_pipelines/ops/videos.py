"""What several ops do with videos: find the source of a job, describe a file as a row, keep partitions in step."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg

from jobqueue_bridge import videos
from jobqueue_bridge.errors import VideoNotFound
from jobqueue_bridge.videos import Video
from media_pipelines.media import files
from media_pipelines.media.errors import MediaError
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.probe import Probe
from media_pipelines.ops.materialized import made, named, video_event, video_link
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.queue import Queue

VIDEO_PARTITIONS = dg.DynamicPartitionsDefinition(name="videos")
COMPILATION_PARTITIONS = dg.DynamicPartitionsDefinition(name="compilations")

_PARTITION_BATCH = 1_000
_LARGEST_INTEGER = 2**31 - 1  # of a Postgres column
_NO_PROBE: dict[str, Any] = dict.fromkeys(
    (
        "duration_seconds", "width", "height", "orientation", "quality", "fps", "video_codec", "audio_codec",
        "has_audio", "bitrate_kbps",
    )
)  # fmt: skip


def source_video(queue: Queue, video_id: UUID | None) -> Video:
    """Raises VideoNotFound where the row was deleted after the job was made."""
    if video_id is None:
        raise VideoNotFound("(none is named)")
    with queue.begin() as connection:
        return videos.get(connection, video_id)


def facts(probe: Probe) -> dict[str, Any]:
    """What a probe says about a file, as columns of `videos`."""
    return {
        "size_bytes": probe.size_bytes,
        "duration_seconds": probe.duration_s,
        "width": probe.width,
        "height": probe.height,
        "orientation": probe.orientation,
        "quality": probe.quality,
        "fps": probe.fps,
        "video_codec": probe.video_codec,
        "audio_codec": probe.audio_codec,
        "has_audio": probe.has_audio,
        "bitrate_kbps": probe.bitrate_kbps and min(probe.bitrate_kbps, _LARGEST_INTEGER),
        "is_valid": True,
        "invalid_reason": None,
    }


def row(relative: str, path: Path, verdict: Probe | MediaError, status: os.stat_result | None = None) -> dict[str, Any]:
    """A whole row of `videos` for a file that was probed, whatever came of it. Raises OSError: it has vanished."""
    status = status or path.stat()
    known = facts(verdict) if isinstance(verdict, Probe) else broken(verdict)
    return {
        "path": relative,
        "filename": path.name,
        "title": path.stem,
        "directory_type": directory_type(relative),
        "mtime": files.modified_at(status),
        **known,
        "size_bytes": status.st_size,
        "fingerprint": fingerprint(path) if status.st_size else None,
        "missing_since": None,
    }


def broken(error: MediaError) -> dict[str, Any]:
    return {**_NO_PROBE, "is_valid": False, "invalid_reason": str(error)}


def directory_type(relative: str) -> str:
    """ "library/videos/a.mp4" → "videos"; "playback/a.mp4" → "playback"."""
    parts = relative.split("/")
    return parts[1] if parts[0] == "library" and len(parts) > 2 else parts[0]


def record_output(
    context: dg.OpExecutionContext,
    attempt: Attempt,
    queue: Queue,
    relative: str,
    target: Path,
    result: Probe,
    *,
    made_of: Sequence[UUID | str],
    **columns: Any,
) -> UUID:
    """The row and the partition of a video that a job has published at `target`, and what Dagster is told of it;
    `columns` overrule what its name and its probe say. Returns its id."""
    facts = {**row(relative, target, replace(result, path=target)), **columns}
    with queue.begin() as connection:
        video_id = videos.upsert(connection, [facts])[relative]
    add_partitions(context.instance, VIDEO_PARTITIONS, [str(video_id)])
    video_event(
        context,
        video_id,
        dg.AssetMaterialization,
        **made(
            attempt,
            **video_facts(facts),
            **{"dagster/uri": target.as_uri()},
            source_video=video_link(queue.settings, made_of[0]) if len(made_of) == 1 else None,
            source_videos=named(made_of),
        ),
    )
    return video_id


def video_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says about its file, as Dagster shows and plots it."""
    return {
        "path": dg.MetadataValue.path(facts["path"]),
        "size_mb": round(facts["size_bytes"] / 1e6, 3) if facts["size_bytes"] is not None else None,
        "duration_s": facts["duration_seconds"] and round(facts["duration_seconds"], 3),
        "bitrate_kbps": facts["bitrate_kbps"],
        "picture": f"{facts['width']}×{facts['height']}" if facts["width"] else None,
        "video_codec": facts["video_codec"],
        "is_valid": facts["is_valid"],
        "invalid_reason": facts["invalid_reason"],
    }


def add_partitions(
    instance: dg.DagsterInstance, partitions: dg.DynamicPartitionsDefinition, keys: Iterable[str]
) -> None:
    """In batches: one statement for each of 100,000 keys would take minutes."""
    assert partitions.name is not None
    waiting = list(keys)
    for start in range(0, len(waiting), _PARTITION_BATCH):
        instance.add_dynamic_partitions(partitions.name, waiting[start : start + _PARTITION_BATCH])


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """A small table for the Dagster UI; names of files are data, never markup."""
    lines = [_line(header), _line(["---"] * len(header)), *(_line(cells) for cells in rows)]
    return dg.MetadataValue.md("\n".join(lines))


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(cell: object) -> str:
    text = "–" if cell is None else str(cell)
    if text == "---":
        return text
    for character in "\\`*_{}[]<>#|!~":
        text = text.replace(
            character, f"\\{character}" if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character]
        )
    return " ".join(text.split())
