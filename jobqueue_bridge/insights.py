"""Every statement on what videos show: their shots and their tags. A video's rows go with it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge.tables import video_shots, video_tags
from jobqueue_bridge.text import storable

_BATCH = 1_000


@dataclass(frozen=True)
class ShotRow:
    """One shot; `number` and `scene` count from 1."""

    number: int
    scene: int
    start_s: float
    end_s: float
    transition: str


@dataclass(frozen=True)
class TagRow:
    """What is seen in a video, how sure the model is, in how many shots, for how long, and when: start, end, score."""

    name: str
    score: float
    count: int
    seconds: float
    spans: list[list[float]]
    model: str


def replace_shots(connection: sa.Connection, video_id: UUID, shots: Sequence[ShotRow]) -> None:
    connection.execute(sa.delete(video_shots).where(video_shots.c.video_id == video_id))
    for start in range(0, len(shots), _BATCH):
        rows = [{"video_id": video_id, **asdict(shot)} for shot in shots[start : start + _BATCH]]
        connection.execute(sa.insert(video_shots), rows)


def shots_of(connection: sa.Connection, video_id: UUID) -> list[ShotRow]:
    """In their order; none where they are not known."""
    columns = [video_shots.c[name] for name in ShotRow.__dataclass_fields__]
    wanted = sa.select(*columns).where(video_shots.c.video_id == video_id).order_by(video_shots.c.number)
    return [ShotRow(*row) for row in connection.execute(wanted)]


def replace_tags(connection: sa.Connection, video_id: UUID, tags: Sequence[TagRow]) -> None:
    connection.execute(sa.delete(video_tags).where(video_tags.c.video_id == video_id))
    if tags:
        rows = [{"video_id": video_id, **asdict(tag), "name": storable(tag.name)} for tag in tags]
        connection.execute(sa.insert(video_tags), rows)


def tags_of(connection: sa.Connection, video_id: UUID) -> list[TagRow]:
    """The surest first."""
    columns = [video_tags.c[name] for name in TagRow.__dataclass_fields__]
    wanted = sa.select(*columns).where(video_tags.c.video_id == video_id).order_by(video_tags.c.score.desc())
    return [TagRow(*row) for row in connection.execute(wanted)]


def shows(video_id: sa.ColumnElement[UUID], tag: str) -> sa.ColumnElement[bool]:
    """Whether a video shows it, to filter by."""
    return sa.exists().where(video_tags.c.video_id == video_id, video_tags.c.name == storable(tag))
