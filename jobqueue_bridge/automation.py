"""Which videos lack what is to be made of each by itself, or have it of a content that they no longer have.

A content is asked for once: what fails for good is not asked for again, and what a person had made is left as it is.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import queue
from jobqueue_bridge.errors import InvalidJob, JobAlreadyLive
from jobqueue_bridge.queue import Job, NewJob
from jobqueue_bridge.settings import Settings
from jobqueue_bridge.tables import jobs, video_products, videos
from jobqueue_bridge.vocabulary import LIVE, PRIORITY_LOWEST, JobStatus, JobType, Origin

AT_ONCE = 200
"""At most so many are asked for with one look."""
WAITING_AT_MOST = 500
"""And no more than so many jobs of a type wait or run that nobody else has asked for."""

# Where another program has noted what it made, without a job.
_HAS_ONE: Mapping[JobType, sa.ColumnElement[bool]] = MappingProxyType(
    {JobType.THUMBNAIL_GENERATE: videos.c.thumbnail_path.is_not(None), JobType.VALIDATE: sa.false()}
)
_CONTENT: sa.ColumnElement[str] = sa.func.video_content(sa.literal_column("videos"))


def wanted(connection: sa.Connection, kind: JobType) -> list[UUID]:
    """The videos for which a job of this type is to be asked for now, the oldest first."""
    most = min(AT_ONCE, WAITING_AT_MOST - _waiting(connection, kind))
    if most <= 0:
        return []
    product = sa.and_(video_products.c.type == kind.value, video_products.c.video_id == videos.c.id)
    is_of_another_content = sa.and_(
        video_products.c.made_of.is_distinct_from(_CONTENT), video_products.c.asked_for.is_distinct_from(_CONTENT)
    )
    lacking = (
        sa.select(videos.c.id)
        .select_from(videos.outerjoin(video_products, product))
        .where(
            videos.c.missing_since.is_(None),
            videos.c.is_valid.is_not(False),
            sa.case((video_products.c.video_id.is_(None), sa.not_(_HAS_ONE[kind])), else_=is_of_another_content),
            ~_live(kind, videos.c.id).exists(),
        )
        .order_by(videos.c.created_at, videos.c.id)
        .limit(most)
    )
    return list(connection.scalars(lacking))


def ask(connection: sa.Connection, kind: JobType, video_ids: Sequence[UUID], settings: Settings) -> list[Job]:
    """A job for each, of low priority, as the last one of its video was asked for; those with a live one get none."""
    made = []
    for video_id in video_ids:
        params = {**_latest_params(connection, kind, video_id), "videoId": str(video_id)}
        asked = NewJob(kind.value, params, PRIORITY_LOWEST, origin=Origin.AUTOMATION)
        try:
            made.append(queue.enqueue(connection, asked, settings))
        except (JobAlreadyLive, InvalidJob):  # somebody was quicker, or the video has gone
            continue
    _note_asked(connection, kind, [job.video_id for job in made if job.video_id])
    return made


def _note_asked(connection: sa.Connection, kind: JobType, video_ids: Sequence[UUID]) -> None:
    content = sa.select(videos.c.id, sa.literal(kind.value), _CONTENT).where(videos.c.id.in_(video_ids))
    add = pg.insert(video_products).from_select(["video_id", "type", "asked_for"], content)
    key = [video_products.c.type, video_products.c.video_id]
    connection.execute(add.on_conflict_do_update(index_elements=key, set_={"asked_for": add.excluded.asked_for}))


def _waiting(connection: sa.Connection, kind: JobType) -> int:
    live = sa.select(sa.func.count()).where(
        jobs.c.type == kind.value, queue.status_in(LIVE), jobs.c.origin == Origin.AUTOMATION.value
    )
    return int(connection.scalar(live) or 0)


def _live(kind: JobType, video_id: sa.ColumnElement[UUID]) -> sa.Select[tuple[UUID]]:
    return sa.select(jobs.c.id).where(jobs.c.video_id == video_id, jobs.c.type == kind.value, queue.status_in(LIVE))


def _latest_params(connection: sa.Connection, kind: JobType, video_id: UUID) -> dict[str, Any]:
    """A picture that a person chose is taken at the same place of the new content."""
    latest = (
        sa.select(jobs.c.params)
        .where(jobs.c.video_id == video_id, jobs.c.type == kind.value, queue.status_in([JobStatus.COMPLETED]))
        .order_by(jobs.c.completed_at.desc())
        .limit(1)
    )
    return dict(connection.scalar(latest) or {})
