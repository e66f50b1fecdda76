"""Every statement on `file_changes`, the journal of what is done to originals. Paths are relative to the library root.

A change is written down before a file is touched and settled in the transaction that lets the video's row follow, so
that whatever a crash leaves can be finished or rolled back from here, and what was done can be undone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from jobqueue_bridge import lease
from jobqueue_bridge.errors import AmbiguousChange, ChangeNotFound, ChangeUnderWay
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.tables import file_changes, jobs
from jobqueue_bridge.text import id_range
from jobqueue_bridge.vocabulary import JobStatus


class ChangeAction(StrEnum):
    REPLACE = "replace"
    MOVE = "move"


class ChangeState(StrEnum):
    INTENDED = "intended"
    DONE = "done"
    ROLLED_BACK = "rolled_back"
    UNDOING = "undoing"
    UNDONE = "undone"


_UNFINISHED = (ChangeState.INTENDED.value, ChangeState.UNDOING.value)


@dataclass(frozen=True)
class NewChange:
    """What is about to be done. `backup` is where the original is kept, `partial` the file that takes its place."""

    action: ChangeAction
    video_id: UUID
    path: str
    target: str
    backup: str | None
    partial: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class FileChange:
    id: UUID
    job_id: UUID | None
    attempt: int | None
    video_id: UUID | None
    action: ChangeAction
    path: str
    target: str
    backup: str | None
    partial: str | None
    state: ChangeState
    facts: dict[str, Any]
    created_at: datetime
    finished_at: datetime | None


_COLUMNS = [file_changes.c[item.name] for item in fields(FileChange)]


def _change(row: sa.Row[Any]) -> FileChange:
    values = dict(row._mapping)
    return FileChange(
        **{**values, "action": ChangeAction(values["action"]), "state": ChangeState(values["state"])},
    )


def intend(connection: sa.Connection, held: Lease, new: NewChange) -> FileChange:
    """Write a change down before it is made. Raises LeaseLost, and ChangeUnderWay where one of this path is not
    finished."""
    lease.hold(connection, held)
    row = connection.execute(
        pg.insert(file_changes)
        .values(
            job_id=held.job_id,
            attempt=held.attempt,
            video_id=new.video_id,
            action=new.action.value,
            path=new.path,
            target=new.target,
            backup=new.backup,
            partial=new.partial,
            facts=dict(new.facts),
        )
        .on_conflict_do_nothing(index_elements=[file_changes.c.path], index_where=_is_unfinished())
        .returning(*_COLUMNS)
    ).one_or_none()
    if row is None:
        raise ChangeUnderWay(new.path)
    return _change(row)


def _is_unfinished() -> sa.ColumnElement[bool]:
    """Written out, as the partial indexes have it: bound values would not be recognised."""
    return sa.or_(*(file_changes.c.state == sa.literal_column(f"'{state}'") for state in _UNFINISHED))


def amend(connection: sa.Connection, change: FileChange, *, backup: str | None = None, **facts: Any) -> FileChange:
    """Correct what is written down before it is acted on. Raises ChangeUnderWay where somebody has settled it."""
    row = connection.execute(
        sa.update(file_changes)
        .where(file_changes.c.id == change.id, file_changes.c.state == change.state.value)
        .values(backup=backup or change.backup, facts=_with(facts))
        .returning(*_COLUMNS)
    ).one_or_none()
    if row is None:
        raise ChangeUnderWay(change.path)
    return _change(row)


def _with(facts: Mapping[str, Any]) -> sa.ColumnElement[Any]:
    return file_changes.c.facts.op("||")(sa.bindparam(None, dict(facts), type_=pg.JSONB))


def unsettled_paths(connection: sa.Connection) -> set[str]:
    """Where files come from and go to by changes that are not finished: rows may not have followed them yet."""
    rows = connection.execute(sa.select(file_changes.c.path, file_changes.c.target).where(_is_unfinished()))
    return {path for row in rows for path in row}


def get(connection: sa.Connection, change_id: UUID) -> FileChange:
    """Raises ChangeNotFound."""
    row = connection.execute(sa.select(*_COLUMNS).where(file_changes.c.id == change_id)).one_or_none()
    if row is None:
        raise ChangeNotFound(change_id)
    return _change(row)


def lock_unfinished(connection: sa.Connection, change_id: UUID) -> FileChange | None:
    """The change, until the end of the transaction nobody else's. None: it is settled, or being worked on."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(file_changes.c.id == change_id, _is_unfinished()).with_for_update(skip_locked=True)
    ).one_or_none()
    return None if row is None else _change(row)


def settle(connection: sa.Connection, change_id: UUID, state: ChangeState, **facts: Any) -> FileChange:
    """Within the transaction that has locked it."""
    row = connection.execute(
        sa.update(file_changes)
        .where(file_changes.c.id == change_id)
        .values(state=state.value, finished_at=sa.func.now(), facts=_with(facts))
        .returning(*_COLUMNS)
    ).one()
    return _change(row)


def abandoned(connection: sa.Connection, job_id: UUID | None = None) -> Sequence[UUID]:
    """Unfinished changes, oldest first, whose attempt no longer holds its job; of one job or of all."""
    held = sa.exists().where(
        jobs.c.id == file_changes.c.job_id,
        jobs.c.attempt == file_changes.c.attempt,
        jobs.c.lease_token.is_not(None),
        jobs.c.status.in_([JobStatus.RUNNING.value, JobStatus.PAUSED.value]),
    )
    conditions = [_is_unfinished(), sa.or_(file_changes.c.state == ChangeState.UNDOING.value, ~held)]
    if job_id is not None:
        conditions.append(file_changes.c.job_id == job_id)
    return connection.scalars(sa.select(file_changes.c.id).where(*conditions).order_by(file_changes.c.created_at)).all()


def unsettled(connection: sa.Connection) -> set[tuple[UUID, int]]:
    """The attempts, as job and number, whose changes are neither done nor rolled back."""
    rows = connection.execute(
        sa.select(file_changes.c.job_id, file_changes.c.attempt).where(
            _is_unfinished(), file_changes.c.job_id.is_not(None)
        )
    )
    return {(row.job_id, row.attempt) for row in rows}


def done_by(connection: sa.Connection, job_id: UUID) -> FileChange | None:
    """The latest change that this job made."""
    row = connection.execute(
        sa.select(*_COLUMNS)
        .where(file_changes.c.job_id == job_id, file_changes.c.state == ChangeState.DONE.value)
        .order_by(file_changes.c.created_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _change(row)


def latest_done(connection: sa.Connection, video_id: UUID) -> FileChange | None:
    """The change that has to be undone first."""
    return latest_done_of(connection, [video_id]).get(video_id)


def latest_done_of(connection: sa.Connection, video_ids: Collection[UUID]) -> dict[UUID, FileChange]:
    """By video."""
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .ext(pg.distinct_on(file_changes.c.video_id))
        .where(file_changes.c.video_id == sa.any_(sa.cast(list(video_ids), pg.ARRAY(sa.Uuid))))
        .where(file_changes.c.state == ChangeState.DONE.value)
        .order_by(file_changes.c.video_id, file_changes.c.created_at.desc())
    )
    return {row.video_id: _change(row) for row in rows}


def begin_undo(connection: sa.Connection, change: FileChange) -> FileChange:
    """done → undoing. Raises ChangeUnderWay where it is not done any more, its backup is gone meanwhile, or its path is
    being changed."""
    with connection.begin_nested() as inner:
        try:
            row = connection.execute(
                sa.update(file_changes)
                .where(_is_done_with(change))
                .values(state=ChangeState.UNDOING.value)
                .returning(*_COLUMNS)
            ).one_or_none()
        except sa.exc.IntegrityError:
            inner.rollback()
            row = None
    if row is None:
        raise ChangeUnderWay(change.path)
    return _change(row)


def find(connection: sa.Connection, reference: str) -> FileChange:
    """By id or its first characters. Raises ChangeNotFound or AmbiguousChange."""
    ids = id_range(reference)
    if ids is None:
        raise ChangeNotFound(reference)
    rows = connection.execute(sa.select(*_COLUMNS).where(file_changes.c.id.between(*ids)).limit(2)).all()
    if not rows:
        raise ChangeNotFound(reference)
    if len(rows) > 1:
        raise AmbiguousChange(reference)
    return _change(rows[0])


def with_backup(connection: sa.Connection, older_than_days: float = 0) -> Sequence[FileChange]:
    """Changes that kept an original and were not undone, oldest first."""
    age = sa.func.make_interval(0, 0, 0, 0, 0, 0, older_than_days * 86_400)
    rows = connection.execute(
        sa.select(*_COLUMNS)
        .where(
            file_changes.c.backup.is_not(None),
            file_changes.c.state.in_([ChangeState.DONE.value, ChangeState.ROLLED_BACK.value]),
            file_changes.c.created_at <= sa.func.now() - age,
        )
        .order_by(file_changes.c.created_at, file_changes.c.id)
    )
    return [_change(row) for row in rows]


def forget_backup(connection: sa.Connection, change: FileChange) -> bool:
    """The kept original is to go: this change can no longer be undone, nor by anybody until the end of the
    transaction. False: it is not done any more, or has another backup or none."""
    updated = connection.execute(sa.update(file_changes).where(_is_done_with(change)).values(backup=None))
    return updated.rowcount == 1


def _is_done_with(change: FileChange) -> sa.ColumnElement[bool]:
    """Done, and with the backup that the change had when it was read."""
    return sa.and_(
        file_changes.c.id == change.id,
        file_changes.c.state == ChangeState.DONE.value,
        file_changes.c.backup.is_not_distinct_from(change.backup),
    )
