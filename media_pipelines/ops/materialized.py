"""What Dagster is told of something that a job has made: the part that all have in common, and how videos are named."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import dagster as dg

from jobqueue_bridge.api.dagster_address import dagster_address
from jobqueue_bridge.settings import Settings
from media_pipelines.resources.attempt import Attempt
from media_pipelines.resources.library import Library

_NAMED_AT_MOST = 200


def made(attempt: Attempt, **shown: Any) -> dict[str, Any]:
    """The metadata of a materialization: what it shows itself, and the job that made it. Numbers have stable names and
    are plain, so that Dagster plots them."""
    job = attempt.job
    told = {
        **shown,
        "job": job_link(attempt),
        "job_type": job.type,
        "priority": job.priority,
        "attempt": job.attempt,
        "took_s": _seconds(job.started_at, datetime.now(UTC)),
        "waited_s": _seconds(job.created_at, job.started_at),
        "started": dg.MetadataValue.timestamp(job.started_at) if job.started_at else None,
        "encoder_and_why": attempt.encoder,
    }
    return {name: value for name, value in told.items() if value is not None}


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return round(max(0.0, (until - since).total_seconds()), 3) if since and until else None


def job_link(attempt: Attempt) -> dg.UrlMetadataValue:
    """The job, opened on the Jobs page."""
    return dg.MetadataValue.url(f"{attempt.settings.jobs_page}/#/jobs?job={attempt.job.id}")


def video_link(settings: Settings, video_id: UUID | str) -> dg.UrlMetadataValue:
    """The partition of a video in the Dagster UI."""
    return dg.MetadataValue.url(
        f"{dagster_address(settings, '')}assets/library_video?view=partitions&partition={video_id}"
    )


def file_at(library: Library, relative: str) -> dict[str, Any]:
    """Where it lies: as rows name it, and as a program opens it."""
    return {
        "path": dg.MetadataValue.path(relative),
        "dagster/uri": library.path(relative).as_uri(),
    }


def named(video_ids: Sequence[UUID | str]) -> dg.JsonMetadataValue:
    """The ids of the videos that it is made of."""
    return dg.MetadataValue.json([str(video_id) for video_id in video_ids[:_NAMED_AT_MOST]])


def video_event(
    context: dg.OpExecutionContext,
    video_id: UUID | str,
    event: type[dg.AssetMaterialization | dg.AssetObservation],
    **metadata: Any,
) -> None:
    """What happened to a video, in its own partition: its file is another (a materialization), or something became
    known of it (an observation)."""
    told = {name: value for name, value in metadata.items() if value is not None}
    context.log_event(event(asset_key="library_video", partition=str(video_id), metadata=told))
