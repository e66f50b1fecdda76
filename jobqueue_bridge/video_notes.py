"""Every statement on `video_notes`: what happened to videos while nobody could tell Dagster of it.

A trigger notes each row of `videos` that is removed, by whatever program. Who has told what a note says removes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge.tables import video_notes


class What(StrEnum):
    FORGOTTEN = "forgotten"  # its row is gone
    RESTORED = "restored"  # what a job did to its file was undone


@dataclass(frozen=True)
class VideoNote:
    id: int
    video_id: UUID
    what: What
    path: str
    at: datetime


def note(connection: sa.Connection, video_id: UUID, what: What, path: str) -> None:
    connection.execute(sa.insert(video_notes).values(video_id=video_id, what=what.value, path=path))


def oldest(connection: sa.Connection, limit: int) -> list[VideoNote]:
    columns = [video_notes.c[name] for name in VideoNote.__dataclass_fields__]
    rows = connection.execute(sa.select(*columns).order_by(video_notes.c.id).limit(limit))
    return [VideoNote(row.id, row.video_id, What(row.what), row.path, row.at) for row in rows]


def remove(connection: sa.Connection, ids: Sequence[int]) -> None:
    connection.execute(sa.delete(video_notes).where(video_notes.c.id.in_(ids)))
