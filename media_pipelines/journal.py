"""Changes of originals, from the row that announces them to the row that settles them; their recovery; their undoing.

The row says what is to be done before anything is; the last steps run while that row is locked, and the video's row
follows in the same transaction. So a process that dies anywhere leaves either nothing to do or an unfinished row, and
`recover` tells from what lies where whether to finish or to roll back. See docs/decisions/0013.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import file_changes, lease, videos
from jobqueue_bridge.errors import ChangeUnderWay
from jobqueue_bridge.file_changes import ChangeAction, ChangeState, FileChange, NewChange
from jobqueue_bridge.lease import Lease
from media_pipelines.media import files, replace
from media_pipelines.media.errors import CannotUndo, MediaError, TargetExists
from media_pipelines.media.replace import AfterStep, Identity, Replacement


def _unobserved(step: str) -> None:
    """Nobody watches the steps."""


class Journal:
    """The library's changes: its database and its root."""

    def __init__(self, engine: sa.Engine, root: Path, after_step: AfterStep = _unobserved) -> None:
        """`after_step` hears the name of each step once it is taken."""
        self._engine = engine
        self._root = root
        self._after_step = after_step

    # Replacing

    def replace(
        self,
        held: Lease,
        video_id: UUID,
        *,
        path: Path,
        target: Path,
        partial: Path,
        expected: Identity,
        keep_original: bool,
        mark: str,
        columns: Mapping[str, Any],
    ) -> FileChange:
        """Let a verified partial take the place of a video's file, and its row follow with these columns.

        Raises LeaseLost, SourceChanged, TargetExists, ChangeUnderWay or OSError, with everything as it was before.
        """
        replace.require_unchanged(path, expected)
        if target != path and replace.found(target) is not None:
            raise TargetExists(target)
        replace.take_over_rights(path, partial)
        files.flush(partial)
        replacement = Replacement(
            path=path,
            target=target,
            partial=partial,
            backup=replace.backup_name(path) if keep_original else None,
            original=expected,
            result=replace.seen(partial),
            mark=mark,
        )
        change = self._intend_replacement(held, video_id, replacement, columns)
        self._after_step("intended")
        try:
            change = self._keep_original(held, change)
            return self._put_in_place(held, change)
        except BaseException:
            self._recover_quietly(change.id)
            raise

    def _intend_replacement(
        self, held: Lease, video_id: UUID, replacement: Replacement, columns: Mapping[str, Any]
    ) -> FileChange:
        with self._engine.begin() as connection:
            new = NewChange(
                ChangeAction.REPLACE,
                video_id,
                path=self._relative(replacement.path),
                target=self._relative(replacement.target),
                backup=None if replacement.backup is None else self._relative(replacement.backup),
                partial=self._relative(replacement.partial),
                facts={
                    "original": replacement.original.to_json(),
                    "result": replacement.result.to_json(),
                    "mark": replacement.mark,
                    "before": _as_json(videos.columns_of(connection, video_id)),
                    "after": _as_json(columns),
                },
            )
            return file_changes.intend(connection, held, new)

    def _keep_original(self, held: Lease, change: FileChange) -> FileChange:
        while change.backup is not None and not self._replacement(change).keep_original():
            other = self._relative(replace.backup_name(self._root / change.path))
            with self._engine.begin() as connection:
                lease.hold(connection, held)
                change = file_changes.amend(connection, change, backup=other)
        self._after_step("backed up")
        return change

    def _put_in_place(self, held: Lease, change: FileChange) -> FileChange:
        with self._engine.begin() as connection:
            lease.hold(connection, held)
            locked = self._lock(connection, change)
            self._replacement(locked).put_in_place(self._after_step)
            done = self._follow(connection, locked)
            self._after_step("recorded")
        self._after_step("done")
        return done

    def _lock(self, connection: sa.Connection, change: FileChange) -> FileChange:
        locked = file_changes.lock_unfinished(connection, change.id)
        if locked is None or locked.state is not change.state:
            raise ChangeUnderWay(change.path)
        return locked

    def _follow(self, connection: sa.Connection, change: FileChange) -> FileChange:
        """The video's row says what is at the target now."""
        self._point_at(connection, change, change.target, change.facts["after"])
        return file_changes.settle(connection, change.id, ChangeState.DONE)

    def _point_at(
        self, connection: sa.Connection, change: FileChange, relative: str, columns: Mapping[str, Any]
    ) -> None:
        status = (self._root / relative).stat()
        if change.video_id is not None:
            values = {
                **_from_json(columns),
                "filename": Path(relative).name,
                "size_bytes": status.st_size,
                "mtime": files.modified_at(status),
                "missing_since": None,
            }
            videos.relocate(connection, change.video_id, relative, values)

    def _replacement(self, change: FileChange) -> Replacement:
        assert change.partial is not None
        return Replacement(
            path=self._root / change.path,
            target=self._root / change.target,
            partial=self._root / change.partial,
            backup=None if change.backup is None else self._root / change.backup,
            original=Identity.from_json(change.facts["original"]),
            result=Identity.from_json(change.facts["result"]),
            mark=change.facts["mark"],
        )

    # Recovering

    def recover_abandoned(self, job_id: UUID | None = None) -> Iterator[str]:
        """Finish or roll back every change whose attempt is over, of one job or of all; a line for each."""
        with self._engine.begin() as connection:
            waiting = file_changes.abandoned(connection, job_id)
        for change_id in waiting:
            try:
                settled = self.recover(change_id)
            except (OSError, MediaError) as error:
                yield f"change {change_id}: {error}; it stays as it is for now"
                continue
            if settled is not None:
                yield f"change {settled.id} of {settled.path!r}: {settled.state.replace('_', ' ')}"

    def recover(self, change_id: UUID) -> FileChange | None:
        """Finish or roll back one change, whatever its attempt does. None: it is settled, somebody is at work on it,
        or its files are out of reach."""
        with self._engine.begin() as connection:
            change = file_changes.lock_unfinished(connection, change_id)
            return None if change is None else self._settle(connection, change)

    def _recover_quietly(self, change_id: UUID) -> None:
        """While another error is on its way; what cannot be settled now is found unfinished later."""
        with suppress(sa.exc.SQLAlchemyError, OSError, MediaError):
            self.recover(change_id)

    def _settle(self, connection: sa.Connection, change: FileChange) -> FileChange | None:
        recovers: dict[tuple[ChangeAction, ChangeState], Callable[[sa.Connection, FileChange], FileChange | None]] = {
            (ChangeAction.REPLACE, ChangeState.INTENDED): self._recover_replacement,
            (ChangeAction.REPLACE, ChangeState.UNDOING): self._recover_put_back,
        }
        return recovers[change.action, change.state](connection, change)

    def _recover_replacement(self, connection: sa.Connection, change: FileChange) -> FileChange | None:
        replacement = self._replacement(change)
        stage = replacement.stage()
        if stage == "lost":
            return None
        if stage == "before":
            replacement.roll_back()
            self._after_step("rolled back")
            return file_changes.settle(connection, change.id, ChangeState.ROLLED_BACK)
        if stage == "orphaned":
            files.publish(replacement.partial, replacement.target)
        replacement.finish(self._after_step)
        done = self._follow(connection, change)
        self._after_step("recorded")
        return done

    # Undoing

    def undo(self, change: FileChange) -> FileChange:
        """Bring the original back; the video's row says what it said. Raises CannotUndo, ChangeUnderWay."""
        self._require_undoable(change)
        with self._engine.begin() as connection:
            change = file_changes.begin_undo(connection, change.id)
        self._after_step("undoing")
        try:
            with self._engine.begin() as connection:
                return self._put_back(connection, self._lock(connection, change))
        except BaseException:
            self._recover_quietly(change.id)
            raise

    def _require_undoable(self, change: FileChange) -> None:
        if change.state is not ChangeState.DONE:
            raise CannotUndo(self._root / change.path, f"it is {change.state.replace('_', ' ')}")
        if change.action is ChangeAction.REPLACE and change.backup is None:
            raise CannotUndo(self._root / change.path, "the original was not kept")

    def _put_back(self, connection: sa.Connection, change: FileChange) -> FileChange:
        assert change.backup is not None
        facts = change.facts
        replace.put_back(
            self._root / change.backup,
            self._root / change.path,
            Identity.from_json(facts["original"]),
            self._root / change.target,
            Identity.from_json(facts["result"]),
        )
        self._after_step("put back")
        self._point_at(connection, change, change.path, facts["before"])
        undone = file_changes.settle(connection, change.id, ChangeState.UNDONE)
        self._after_step("recorded")
        return undone

    def _recover_put_back(self, connection: sa.Connection, change: FileChange) -> FileChange | None:
        try:
            return self._put_back(connection, change)
        except CannotUndo:  # nothing was touched: the change stands as it did
            return file_changes.settle(connection, change.id, ChangeState.DONE)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._root))


def _as_json(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in columns.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value) if isinstance(value, UUID) else value


def _from_json(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Instants and ids as text are what Postgres reads as such."""
    return {name: _typed(name, value) for name, value in columns.items()}


def _typed(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in ("mtime", "missing_since"):
        return datetime.fromisoformat(value)
    return UUID(value) if name in ("reencode_job_id", "source_video_id") else value
