"""Every statement on `videos`. Paths are relative to the library root."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import insights
from jobqueue_bridge.errors import AmbiguousVideo, PathTaken, VideoNotFound
from jobqueue_bridge.tables import videos
from jobqueue_bridge.text import id_range, storable


@dataclass(frozen=True)
class Video:
    """A file that the library knows."""

    id: UUID
    path: str
    filename: str
    title: str | None
    producer: str | None
    creator: str | None
    directory_type: str | None
    size_bytes: int | None
    mtime: datetime | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    orientation: str | None
    quality: str | None
    fps: float | None
    video_codec: str | None
    audio_codec: str | None
    has_audio: bool | None
    bitrate_kbps: int | None
    is_valid: bool | None
    invalid_reason: str | None
    tags: list[str]
    thumbnail_path: str | None
    reencode_job_id: UUID | None
    source_video_id: UUID | None
    sha256: str | None
    phash: str | None
    fingerprint: str | None
    missing_since: datetime | None
    storyboard_path: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Known:
    """Enough of a video to see whether its file has changed, or is back."""

    id: UUID
    size_bytes: int | None
    mtime: datetime | None
    fingerprint: str | None
    is_valid: bool | None
    missing_since: datetime | None


@dataclass(frozen=True)
class Place:
    """Where a row says that its file lies, and when it was known to be there."""

    id: UUID
    path: str
    fingerprint: str | None
    seen_at: datetime


@dataclass(frozen=True)
class Likeness:
    """What tells whether two videos show the same."""

    id: UUID
    path: str
    size_bytes: int | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    bitrate_kbps: int | None
    sha256: str | None
    fingerprint: str | None
    phash: str | None


@dataclass(frozen=True)
class Health:
    """How many videos the library has, and what is wrong with how many. What is made of others is left out of
    `originals`; nobody has looked at those that are neither valid nor invalid."""

    videos: int
    invalid: int
    missing: int
    originals: int
    without_picture: int


@dataclass(frozen=True)
class End:
    """The last video of a page."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True)
class Page:
    videos: Sequence[Video]
    total: int
    end: End | None = None
    """Behind which video the next page begins; None: there is none."""


_COLUMNS = [videos.c[item.name] for item in fields(Video)]


def _video(row: sa.Row[Any]) -> Video:
    return Video(**row._mapping)


def exists(connection: sa.Connection, video_id: UUID) -> bool:
    return connection.scalar(sa.select(videos.c.id).where(videos.c.id == video_id)) is not None


def id_by_path(connection: sa.Connection, path: str) -> UUID | None:
    return connection.scalar(sa.select(videos.c.id).where(videos.c.path == path))


def get(connection: sa.Connection, video_id: UUID) -> Video:
    """Raises VideoNotFound."""
    row = connection.execute(sa.select(*_COLUMNS).where(videos.c.id == video_id)).one_or_none()
    if row is None:
        raise VideoNotFound(video_id)
    return _video(row)


def paths(connection: sa.Connection, video_ids: Iterable[UUID]) -> dict[UUID, str]:
    """Where these videos lie, by id; unknown ids are left out."""
    rows = connection.execute(sa.select(videos.c.id, videos.c.path).where(videos.c.id.in_(list(video_ids))))
    return {row.id: row.path for row in rows}


def find(connection: sa.Connection, reference: str) -> Video:
    """A video by its path, its id or the first characters of that. Raises VideoNotFound or AmbiguousVideo."""
    ids = id_range(reference)
    matches = [videos.c.path == storable(reference), *([videos.c.id.between(*ids)] if ids else [])]
    rows = connection.execute(sa.select(*_COLUMNS).where(sa.or_(*matches)).limit(2)).all()
    if not rows:
        raise VideoNotFound(reference)
    if len(rows) > 1:
        raise AmbiguousVideo(reference)
    return _video(rows[0])


def page(
    connection: sa.Connection,
    *,
    search: str | None = None,
    limit: int,
    offset: int = 0,
    after: End | None = None,
    missing: bool = False,
    tag: str | None = None,
) -> Page:
    """Newest first; `search` looks in title, file name and path, ignoring case. `missing`: those whose files are gone
    instead of those that are there. `tag`: those that show it. `after` begins behind a video: rows that come or go
    meanwhile shift nothing."""
    wanted = storable(search or "")
    contains = [column.icontains(wanted, autoescape=True) for column in (videos.c.path, videos.c.title)]
    conditions: list[sa.ColumnElement[bool]] = [
        videos.c.missing_since.is_not(None) if missing else videos.c.missing_since.is_(None)
    ]
    if wanted:
        conditions.append(sa.or_(*contains))
    if tag:
        conditions.append(insights.shows(videos.c.id, tag))
    total = connection.scalar(sa.select(sa.func.count()).select_from(videos).where(*conditions))
    newest = (videos.c.created_at, videos.c.id)
    if after is not None:
        conditions.append(sa.tuple_(*newest) < sa.tuple_(sa.literal(after.created_at), sa.literal(after.id)))
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(*conditions)
        .order_by(*(column.desc() for column in newest))
        .limit(limit + 1)
        .offset(offset)
    ).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page([_video(row) for row in rows[:limit]], total or 0, End(last.created_at, last.id) if last else None)


def known_at(connection: sa.Connection, paths: Sequence[str]) -> dict[str, Known]:
    """The rows at these paths, by path."""
    columns = [videos.c[item.name] for item in fields(Known)]
    rows = connection.execute(
        sa.select(videos.c.path, *columns).where(videos.c.path == sa.any_(sa.cast(list(paths), pg.ARRAY(sa.Text))))
    )
    return {row.path: Known(*row[1:]) for row in rows}


# Whatever writes the row of a file that is there has seen it; the mark that it is missing was no look at it. File
# systems date what happens up to two seconds too early.
_SEEN_AT = sa.case(
    (videos.c.missing_since.is_(None), videos.c.updated_at - timedelta(seconds=2)), else_=videos.c.created_at
)
_PLACE = [videos.c.id, videos.c.path, videos.c.fingerprint, _SEEN_AT.label("seen_at")]


def with_fingerprints(connection: sa.Connection, fingerprints: Sequence[str]) -> list[Place]:
    """All rows of these contents, missing ones too."""
    wanted = sa.any_(sa.cast(list(fingerprints), pg.ARRAY(sa.Text)))
    rows = connection.execute(sa.select(*_PLACE).where(videos.c.fingerprint == wanted))
    return [Place(*row) for row in rows]


def present_below(connection: sa.Connection, path: str) -> Iterator[Place]:
    """Rows that say they have a file at this path or in this folder."""
    below = sa.or_(videos.c.path == path, sa.func.starts_with(videos.c.path, f"{path}/"))
    rows = connection.execution_options(yield_per=1_000).execute(
        sa.select(*_PLACE).where(below, videos.c.missing_since.is_(None))
    )
    return (Place(*row) for row in rows)


def present_at(connection: sa.Connection, paths: Sequence[str]) -> list[Place]:
    """Rows that say they have a file at one of these very paths."""
    wanted = sa.any_(sa.cast(list(paths), pg.ARRAY(sa.Text)))
    rows = connection.execute(sa.select(*_PLACE).where(videos.c.path == wanted, videos.c.missing_since.is_(None)))
    return [Place(*row) for row in rows]


def next_present_below(connection: sa.Connection, folder: str, after: str, limit: int) -> list[Place]:
    """As `present_below`, a page of them in the order of their paths, from behind a path on."""
    below = sa.func.starts_with(videos.c.path, f"{folder}/")
    rows = connection.execute(
        sa.select(*_PLACE)
        .where(videos.c.path > after, below, videos.c.missing_since.is_(None))
        .order_by(videos.c.path)
        .limit(limit)
    )
    return [Place(*row) for row in rows]


def mark_missing(connection: sa.Connection, places: Sequence[Place]) -> list[str]:
    """Their files are gone; the rows, with what people have added to them, stay. Returns the paths of those that were
    marked: a row that has followed its file to another path meanwhile is not."""
    if not places:
        return []
    gone = (
        sa.func.unnest(
            sa.cast([place.id for place in places], pg.ARRAY(sa.Uuid)),
            sa.cast([place.path for place in places], pg.ARRAY(sa.Text)),
        )
        .table_valued(sa.column("id", sa.Uuid), sa.column("path", sa.Text), name="gone")
        .render_derived()
    )
    marked = connection.scalars(
        sa.update(videos)
        .where(videos.c.id == gone.c.id, videos.c.path == gone.c.path)
        .values(missing_since=sa.func.now(), updated_at=sa.func.now())
        .returning(videos.c.path)
    )
    return sorted(marked)


def mark_present(connection: sa.Connection, ids: Sequence[UUID]) -> None:
    if ids:
        wanted = sa.any_(sa.cast(list(ids), pg.ARRAY(sa.Uuid)))
        connection.execute(
            sa.update(videos).where(videos.c.id == wanted).values(missing_since=None, updated_at=sa.func.now())
        )


def set_fingerprints(connection: sa.Connection, fingerprints: Mapping[UUID, str]) -> None:
    """Of rows that were written before there were any."""
    if fingerprints:
        connection.execute(
            sa.update(videos).where(videos.c.id == sa.bindparam("video")).values(fingerprint=sa.bindparam("of_it")),
            [{"video": video_id, "of_it": fingerprint} for video_id, fingerprint in fingerprints.items()],
        )


def likenesses(connection: sa.Connection) -> list[Likeness]:
    """Of all originals that are there. Renditions resemble their source on purpose."""
    columns = [videos.c[item.name] for item in fields(Likeness)]
    rows = connection.execute(
        sa.select(*columns).where(videos.c.missing_since.is_(None), videos.c.source_video_id.is_(None))
    )
    return [Likeness(*row) for row in rows]


def health(connection: sa.Connection) -> Health:
    """Of the whole library, in one pass over the table."""
    present = videos.c.missing_since.is_(None)
    original = sa.and_(
        present,
        videos.c.is_valid.is_(True),
        videos.c.source_video_id.is_(None),
        videos.c.directory_type.is_distinct_from("compilations"),
    )
    count = sa.func.count()
    counted = sa.select(
        count,
        count.filter(sa.and_(present, videos.c.is_valid.is_(False))),
        count.filter(~present),
        count.filter(original),
        count.filter(sa.and_(original, videos.c.thumbnail_path.is_(None))),
    ).select_from(videos)
    return Health(*connection.execute(counted).one())


def upsert(connection: sa.Connection, rows: Iterable[Mapping[str, Any]]) -> dict[str, UUID]:
    """Insert or refresh by path; all rows name the same columns, the last of a path wins. Returns path → id.

    A title that is there stays: a person may have given it. What is known of the whole content stays as long as the
    fingerprint says that it is the same. In the order of their paths, so that no two who write the same rows wait for
    each other.
    """
    by_path = {row["path"]: row for row in rows}
    values = [by_path[path] for path in sorted(by_path)]
    if not values:
        return {}
    statement = pg.insert(videos)
    refreshed: dict[str, Any] = {name: statement.excluded[name] for name in values[0] if name not in ("id", "path")}
    if "title" in refreshed:
        refreshed["title"] = sa.func.coalesce(videos.c.title, statement.excluded.title)
    if "fingerprint" in refreshed:
        is_same = videos.c.fingerprint == statement.excluded.fingerprint
        refreshed |= {name: sa.case((is_same, videos.c[name])) for name in ("sha256", "phash")}
    result = connection.execute(
        statement.on_conflict_do_update(
            index_elements=[videos.c.path], set_={**refreshed, "updated_at": sa.func.now()}
        ).returning(videos.c.path, videos.c.id),
        values,
    )
    return {row.path: row.id for row in result}


def added(connection: sa.Connection, video_ids: Iterable[UUID]) -> set[UUID]:
    """Those of them whose rows this very transaction has made."""
    wanted = sa.any_(sa.cast(list(video_ids), pg.ARRAY(sa.Uuid)))
    mine = videos.c.created_at == sa.func.now()  # when the transaction began
    return set(connection.scalars(sa.select(videos.c.id).where(videos.c.id == wanted, mine)))


def update(connection: sa.Connection, video_id: UUID, **values: Any) -> None:
    connection.execute(sa.update(videos).where(videos.c.id == video_id).values(**values, updated_at=sa.func.now()))


# What a change of the file changes on its row, and what its undoing brings back.
_OF_THE_FILE = (
    "size_bytes", "sha256", "duration_seconds", "width", "height", "orientation", "quality", "fps", "video_codec",
    "audio_codec", "has_audio", "bitrate_kbps", "is_valid", "invalid_reason", "phash", "fingerprint",
    "directory_type", "reencode_job_id",
)  # fmt: skip


def add_tags(connection: sa.Connection, video_id: UUID, names: Sequence[str]) -> None:
    """Beside those that are there, each once, in their order."""
    present = connection.scalar(sa.select(videos.c.tags).where(videos.c.id == video_id).with_for_update())
    if present is None:
        raise VideoNotFound(video_id)
    update(connection, video_id, tags=list(dict.fromkeys([*present, *(storable(name) for name in names)])))


def columns_of(connection: sa.Connection, video_id: UUID) -> dict[str, Any]:
    """What a row says about its file. Raises VideoNotFound."""
    columns = [videos.c[name] for name in _OF_THE_FILE]
    row = connection.execute(sa.select(*columns).where(videos.c.id == video_id)).one_or_none()
    if row is None:
        raise VideoNotFound(video_id)
    return dict(row._mapping)


def require_free(connection: sa.Connection, path: str, video_id: UUID | None) -> None:
    """That no row of another video has the path, whose file may be missing and return. Raises PathTaken."""
    if id_by_path(connection, path) not in (None, video_id):
        raise PathTaken(path)


def relocate(connection: sa.Connection, video_id: UUID, path: str, columns: Mapping[str, Any]) -> None:
    """The row follows its file to this path. A row that has the path already is of a scan that met this very file on
    its way, and goes: before a file is touched, `require_free` has told that no other has it."""
    connection.execute(sa.delete(videos).where(videos.c.path == path, videos.c.id != video_id))
    update(connection, video_id, path=path, **columns)


def forget(connection: sa.Connection, video_id: UUID) -> bool:
    """Remove the row of a video whose file is missing. False: it isn't."""
    is_missing = sa.and_(videos.c.id == video_id, videos.c.missing_since.is_not(None))
    return connection.execute(sa.delete(videos).where(is_missing)).rowcount == 1


def matching(
    connection: sa.Connection,
    *,
    min_duration_s: float | None = None,
    max_duration_s: float | None = None,
    orientation: str | None = None,
    directory_type: str | None = None,
    tags: Sequence[str] = (),
) -> list[UUID]:
    """Valid originals (no renditions, no compilations) that fit and have all the tags, oldest first."""
    conditions = [
        videos.c.is_valid.is_(True),
        videos.c.missing_since.is_(None),
        videos.c.source_video_id.is_(None),
        videos.c.directory_type.is_distinct_from("compilations"),
    ]
    if min_duration_s is not None:
        conditions.append(videos.c.duration_seconds >= min_duration_s)
    if max_duration_s is not None:
        conditions.append(videos.c.duration_seconds <= max_duration_s)
    if orientation is not None:
        conditions.append(videos.c.orientation == orientation)
    if directory_type is not None:
        conditions.append(videos.c.directory_type == directory_type)
    if tags:
        conditions.append(videos.c.tags.contains([storable(tag) for tag in tags]))
    return list(
        connection.scalars(sa.select(videos.c.id).where(*conditions).order_by(videos.c.created_at, videos.c.id))
    )
