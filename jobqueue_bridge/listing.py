"""Jobs as a list: filtered by anything, in any of a few orders, by page number or from where the last page ended.

Every order has its index, and counting stops at a limit, so that a table of a million rows answers at once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import queue
from jobqueue_bridge.queue import Job
from jobqueue_bridge.tables import job_tallies, jobs, videos
from jobqueue_bridge.text import id_range
from jobqueue_bridge.vocabulary import JobStatus, JobType, ResourceCategory

COUNTED_MOST = 10_000
FOUND_MOST = 1_000  # by a text
_PASSED_OVER_MOST = 10_000  # without first looking whether a page so late is there
_VIDEOS_MOST = 1_000
_ID_DIGITS_LEAST = 4
_WORD = re.compile(r"\w+")


class Order(StrEnum):
    """What the list is sorted by; with a minus, downwards."""

    NEWEST = "-createdAt"
    OLDEST = "createdAt"
    STARTED_LAST = "-startedAt"
    STARTED_FIRST = "startedAt"
    ENDED_LAST = "-completedAt"
    ENDED_FIRST = "completedAt"
    PRIORITY = "priority"
    PRIORITY_DOWN = "-priority"


@dataclass(frozen=True)
class Wanted:
    """Which jobs. An empty tuple and None leave it open."""

    statuses: tuple[JobStatus, ...] = ()
    types: tuple[JobType, ...] = ()
    categories: tuple[ResourceCategory, ...] = ()
    video_id: UUID | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    text: str | None = None
    parent_id: UUID | None = None

    @property
    def is_tallied(self) -> bool:
        """Whether the tallies know how many these are."""
        return (self.video_id, self.created_from, self.created_to, self.text, self.parent_id) == (None,) * 5


@dataclass(frozen=True)
class Place:
    """Behind which job a page begins: its value in the order, as text, and its id."""

    order: Order
    values: tuple[str, ...]
    id: UUID


@dataclass(frozen=True)
class Listed:
    jobs: Sequence[Job]
    total: int
    is_exact: bool
    """False: there are more than `total`."""
    end: Place | None
    """Where the next page begins; None: there is none."""


_LATEST = sa.literal_column("'infinity'::timestamp", jobs.c.created_at.type)
_CREATED = jobs.c.created_at
_STARTED, _ENDED = (sa.func.coalesce(column, _LATEST) for column in (jobs.c.started_at, jobs.c.completed_at))
_KEYS: Mapping[str, tuple[sa.ColumnElement[Any], ...]] = MappingProxyType(
    {
        "createdAt": (_CREATED,),
        "startedAt": (_STARTED,),
        "completedAt": (_ENDED,),
        "priority": (jobs.c.priority, _CREATED),
    }
)


def keys_of(order: Order) -> tuple[sa.ColumnElement[Any], ...]:
    return _KEYS[order.removeprefix("-")]


@dataclass(frozen=True)
class _Found:
    conditions: Sequence[sa.ColumnElement[bool]]
    """By which they are found."""
    count: sa.ColumnElement[int]
    """How many they are, a number or a subquery; read with the rows, it costs no round trip of its own."""
    counted_most: int | None
    """Where counting stopped."""

    def told(self, count: int) -> tuple[int, bool]:
        """How many there are, and whether that is exact."""
        if self.counted_most is None or count <= self.counted_most:
            return count, True
        return self.counted_most, False


def page(connection: sa.Connection, wanted: Wanted, order: Order, *, limit: int, offset: int = 0) -> Listed:
    """By number: rows that come meanwhile shift what is on it."""
    found = _found(connection, wanted)
    if offset > _PASSED_OVER_MOST:
        total, is_exact = found.told(_counted(connection, found))
        if is_exact and offset >= total:
            return Listed([], total, is_exact, None)
    return _listed(connection, found, order, limit, offset)


def page_after(connection: sa.Connection, wanted: Wanted, place: Place, *, limit: int) -> Listed:
    """From a place on: rows that come or go meanwhile neither repeat nor hide another."""
    found = _found(connection, wanted)
    return _listed(connection, found, place.order, limit, 0, _behind(place))


def count_behind(connection: sa.Connection, wanted: Wanted, place: Place) -> int:
    """How many come behind a place; counting stops at COUNTED_MOST, or FOUND_MOST of a text."""
    found = _found(connection, wanted)
    most = COUNTED_MOST if wanted.text is None else FOUND_MOST
    return connection.scalar(sa.select(_count_to(most, *found.conditions, _behind(place)))) or 0


def _found(connection: sa.Connection, wanted: Wanted) -> _Found:
    conditions = _conditions(connection, wanted)
    if wanted.is_tallied:
        tallied = sa.select(sa.func.coalesce(sa.func.sum(job_tallies.c.jobs), 0)).where(*_kinds(job_tallies, wanted))
        return _Found(conditions, tallied.scalar_subquery(), None)
    if wanted.text is None:
        return _Found(conditions, _count_to(COUNTED_MOST + 1, *conditions), COUNTED_MOST)
    connection.execute(sa.text("SET LOCAL enable_seqscan = off"))  # a limit tempts it to read words row by row
    ids = list(connection.scalars(sa.select(jobs.c.id).where(*conditions).limit(FOUND_MOST + 1)))
    count = sa.literal(len(ids), sa.Integer)
    if len(ids) <= FOUND_MOST:
        return _Found([jobs.c.id == sa.any_(sa.cast(ids, pg.ARRAY(sa.Uuid)))], count, FOUND_MOST)
    # What many speak of is soon met on the way through the list; collecting all of it first would take far longer.
    connection.execute(sa.text("SET LOCAL enable_bitmapscan = off"))
    return _Found(conditions, count, FOUND_MOST)


def _count_to(most: int, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    some = sa.select(jobs.c.id).where(*conditions).limit(most).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()


def _counted(connection: sa.Connection, found: _Found) -> int:
    return int(connection.scalar(sa.select(found.count)) or 0)


def _listed(
    connection: sa.Connection, found: _Found, order: Order, limit: int, offset: int, *behind: sa.ColumnElement[bool]
) -> Listed:
    keys = (*keys_of(order), jobs.c.id)
    sorted_by = [key.desc() if order.startswith("-") else key.asc() for key in keys]
    # Only ids are passed over on the way to a late page: they are in the index, the rows are not.
    shown = sa.select(jobs.c.id).where(*found.conditions, *behind).order_by(*sorted_by).limit(limit + 1).offset(offset)
    ids = shown.cte("shown").prefix_with("MATERIALIZED", dialect="postgresql")
    texts = [sa.cast(key, sa.Text).label(f"key_{at}") for at, key in enumerate(keys_of(order))]
    rows = connection.execute(
        sa.select(found.count.label("total"), *texts, *queue.COLUMNS)
        .join_from(ids, jobs, ids.c.id == jobs.c.id)
        .order_by(*sorted_by)
    ).all()
    total, is_exact = found.told(int(rows[0].total) if rows else _counted(connection, found))
    last = rows[limit - 1] if len(rows) > limit else None
    end = Place(order, tuple(getattr(last, text.name) for text in texts), last.id) if last else None
    return Listed([queue.job_of(row[1 + len(texts) :]) for row in rows[:limit]], total, is_exact, end)


def _behind(place: Place) -> sa.ColumnElement[bool]:
    keys = (*keys_of(place.order), jobs.c.id)
    kinds = [sa.Integer() if key is jobs.c.priority else sa.DateTime() for key in keys[:-1]]
    values = [sa.cast(sa.literal(text, sa.Text), kind) for text, kind in zip(place.values, kinds, strict=True)]
    mine, last = sa.tuple_(*keys), sa.tuple_(*values, sa.literal(place.id))
    return mine < last if place.order.startswith("-") else mine > last


def _conditions(connection: sa.Connection, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    conditions = _kinds(jobs, wanted)
    if wanted.video_id is not None:
        conditions.append(jobs.c.video_id == wanted.video_id)
    if wanted.parent_id is not None:
        conditions.append(jobs.c.parent_id == wanted.parent_id)
    if wanted.created_from is not None:
        conditions.append(wanted.created_from <= _CREATED)
    if wanted.created_to is not None:
        conditions.append(wanted.created_to > _CREATED)
    if wanted.text is not None:
        conditions.append(_speaks_of(connection, wanted.text))
    return conditions


def _kinds(table: sa.Table, wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    asked: Mapping[str, Sequence[StrEnum]] = {
        "status": wanted.statuses,
        "type": wanted.types,
        "resource_category": wanted.categories,
    }
    return [_one_of(table.c[name], values) for name, values in asked.items() if values]


def _one_of(column: sa.Column[Any], values: Sequence[StrEnum]) -> sa.ColumnElement[bool]:
    names = [value.value for value in values]
    return column == names[0] if len(names) == 1 else column.in_(names)


def _speaks_of(connection: sa.Connection, text: str) -> sa.ColumnElement[bool]:
    """The beginning of a job's id, a part of its type or of its video's path or title, or words of its error."""
    found: list[sa.ColumnElement[bool]] = []
    ids = id_range(text) if len(text.replace("-", "")) >= _ID_DIGITS_LEAST else None
    if ids is not None:
        found.append(jobs.c.id.between(*ids))
    types = [kind.value for kind in JobType if text.lower() in kind.value]
    if types:
        found.append(jobs.c.type.in_(types))
    about = _videos_named(connection, text)
    if about:
        found.append(jobs.c.video_id == sa.any_(sa.cast(about, pg.ARRAY(sa.Uuid))))
    words = _WORD.findall(text)
    if words:
        error = sa.func.to_tsvector(
            sa.literal_column("'simple'"), sa.func.left(jobs.c.error, sa.literal_column("10000"))
        )
        query = " & ".join(f"{word}:*" for word in words)
        found.append(sa.and_(jobs.c.error.is_not(None), error.op("@@")(sa.func.to_tsquery("simple", query))))
    return sa.or_(sa.false(), *found)


def _videos_named(connection: sa.Connection, text: str) -> list[UUID]:
    """The newest of them."""
    contains = [column.icontains(text, autoescape=True) for column in (videos.c.path, videos.c.title)]
    newest = sa.select(videos.c.id).where(sa.or_(*contains)).order_by(videos.c.created_at.desc()).limit(_VIDEOS_MOST)
    return list(connection.scalars(newest))
