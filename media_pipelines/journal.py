"""Changes of originals, from the row that announces them to the row that settles them; their recovery; their undoing.

The row says what is to be done before anything is; the last steps run while that row is locked, and the video's row
follows in the same transaction. So a process that dies anywhere leaves either nothing to do or an unfinished row, and
`recover` tells from what lies where whether to finish or to roll back. See docs/decisions/0013.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa

from jobqueue_bridge import file_changes, lease, video_notes, videos
from jobqueue_bridge.errors import ChangeUnderWay
from jobqueue_bridge.file_changes import ChangeAction, ChangeState, FileChange, NewChange
from jobqueue_bridge.lease import Lease
from jobqueue_bridge.video_notes import What
from media_pipelines.media import files, relocate, replace
from media_pipelines.media.errors import CannotUndo, MediaError, OtherFileSystem, TargetExists
from media_pipelines.media.fingerprint import fingerprint
from media_pipelines.media.relocate import Relocation
from media_pipelines.media.replace import AfterStep, Identity, Known, Replacement

OnBytes = Callable[[int], None]
_DONE, _ROLLED_BACK = ChangeState.DONE, ChangeState.ROLLED_BACK


def _unobserved(step: str) -> None:
    """Nobody watches the steps."""


def _uncounted(count: int) -> None:
    """Nobody counts the bytes."""


@dataclass(frozen=True)
class Kept:
    """An original that a change kept. "needed": it may be the last copy of something, or is not what was kept.
    `seen`: what lay there, None where nothing did."""

    change: FileChange
    state: Literal["kept", "missing", "needed"]
    seen: Identity | None

    @property
    def size_bytes(self) -> int:
        return self.seen.size_bytes if self.seen else 0


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
                    "original_content": fingerprint(replacement.path),
                    "result": replacement.result.to_json(),
                    "result_content": fingerprint(replacement.partial),
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
            step = self._replacement if locked.action is ChangeAction.REPLACE else self._relocation
            step(locked).put_in_place(self._after_step)
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

    # Moving

    def move(
        self,
        held: Lease,
        video_id: UUID,
        *,
        path: Path,
        target: Path,
        mark: str,
        columns: Mapping[str, Any],
        on_bytes: OnBytes = _uncounted,
    ) -> FileChange:
        """Let a video's file go to a free name, with its sidecars, and its row follow with these columns.

        `on_bytes` hears of every piece that is copied or read back, where disks differ; what it raises ends the move.
        Raises LeaseLost, SourceChanged, TargetExists, NotWritable, DiskFull, CopyDiffers, ChangeUnderWay or OSError,
        with everything as it was before.
        """
        original = replace.seen(path)
        for folder in (path.parent, target.parent):
            files.require_folder(folder)
        if replace.found(target) is not None:
            raise TargetExists(target)
        relocation = Relocation(
            path, target, files.partial_path(target, mark), original, relocate.sidecars(path, target)
        )
        with self._engine.begin() as connection:
            change = file_changes.intend(connection, held, self._new_move(video_id, relocation, columns))
        self._after_step("intended")
        try:
            if relocation.needs_copy():
                self._copy_over(relocation, on_bytes)
            try:
                return self._put_in_place(held, change)
            except OtherFileSystem:
                self._copy_over(relocation, on_bytes)
                return self._put_in_place(held, change)
        except BaseException:
            self._recover_quietly(change.id)
            raise

    def _copy_over(self, relocation: Relocation, on_bytes: OnBytes) -> None:
        relocation.copy_over(on_bytes)
        self._after_step("copied")

    def _new_move(self, video_id: UUID, relocation: Relocation, columns: Mapping[str, Any]) -> NewChange:
        with self._engine.begin() as connection:
            before = videos.columns_of(connection, video_id)
        return NewChange(
            ChangeAction.MOVE,
            video_id,
            path=self._relative(relocation.path),
            target=self._relative(relocation.target),
            backup=None,
            partial=self._relative(relocation.partial),
            facts={
                "original": relocation.original.to_json(),
                "original_content": fingerprint(relocation.path),
                "sidecars": [[self._relative(here), self._relative(there)] for here, there in relocation.sidecars],
                "before": {name: before[name] for name in columns},
                "after": _as_json(columns),
            },
        )

    def _relocation(self, change: FileChange) -> Relocation:
        assert change.partial is not None
        return Relocation(
            self._root / change.path,
            self._root / change.target,
            self._root / change.partial,
            Identity.from_json(change.facts["original"]),
            tuple((self._root / here, self._root / there) for here, there in change.facts["sidecars"]),
        )

    def _way_back(self, change: FileChange) -> Relocation:
        """The move that undoes a move."""
        back = files.partial_path(self._root / change.path, f"undo-{change.id}")
        return self._relocation(change).reversed(Identity.from_json(change.facts["original"]), back)

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
            (ChangeAction.MOVE, ChangeState.INTENDED): self._recover_move,
            (ChangeAction.MOVE, ChangeState.UNDOING): self._recover_move_back,
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
        if not self._finished(replacement):
            return file_changes.settle(connection, change.id, ChangeState.ROLLED_BACK)
        done = self._follow(connection, change)
        self._after_step("recorded")
        return done

    def _recover_move(self, connection: sa.Connection, change: FileChange) -> FileChange | None:
        return self._recover_relocation(connection, change, self._relocation(change), self._follow, _ROLLED_BACK)

    def _recover_move_back(self, connection: sa.Connection, change: FileChange) -> FileChange | None:
        return self._recover_relocation(connection, change, self._way_back(change), self._follow_back, _DONE)

    def _recover_relocation(
        self,
        connection: sa.Connection,
        change: FileChange,
        relocation: Relocation,
        follow: Callable[[sa.Connection, FileChange], FileChange],
        if_rolled_back: ChangeState,
    ) -> FileChange | None:
        stage = relocation.stage()
        if stage == "lost":
            return None
        if stage == "before":
            relocation.roll_back()
            self._after_step("rolled back")
            return file_changes.settle(connection, change.id, if_rolled_back)
        if not self._finished(relocation):
            return file_changes.settle(connection, change.id, if_rolled_back)
        settled = follow(connection, change)
        self._after_step("recorded")
        return settled

    def _finished(self, step: Replacement | Relocation) -> bool:
        """False where the old name may not go: the new one is taken back then."""
        try:
            step.finish(self._after_step)
        except OSError as error:
            if not step.cannot_finish(error):
                raise
            step.take_back()
            return False
        return True

    # Undoing

    def undo(self, change: FileChange) -> FileChange:
        """Bring the original back; the video's row says what it said. Raises CannotUndo, ChangeUnderWay."""
        self.require_undoable(change)
        with self._engine.begin() as connection:
            change = file_changes.begin_undo(connection, change)
        self._after_step("undoing")
        try:
            with self._engine.begin() as connection:
                locked = self._lock(connection, change)
                undo = self._put_back if locked.action is ChangeAction.REPLACE else self._move_back
                return undo(connection, locked)
        except BaseException:
            self._recover_quietly(change.id)
            raise

    def require_undoable(self, change: FileChange) -> None:
        """Raises CannotUndo that says what stands against it. Touches nothing."""
        path = self._root / change.path
        if change.state is not ChangeState.DONE:
            raise CannotUndo(path, f"it is {change.state.replace('_', ' ')}")
        self._require_latest(change)
        if change.action is ChangeAction.MOVE:
            self._require_way_back(change)
        elif change.backup is None:
            raise CannotUndo(path, "the original was not kept")
        else:
            original, result = _known(change, "original"), _known(change, "result")
            replace.require_undoable(self._root / change.backup, path, original, self._root / change.target, result)

    def _require_latest(self, change: FileChange) -> None:
        with self._engine.begin() as connection:
            latest = change.video_id and file_changes.latest_done(connection, change.video_id)
            videos.require_free(connection, change.path, change.video_id)
        if latest and latest.id != change.id:
            raise CannotUndo(
                self._root / change.path, f"the change {latest.id} came after it and has to be undone first"
            )

    def _require_way_back(self, change: FileChange) -> None:
        here, there = self._root / change.target, self._root / change.path
        if not _known(change, "original").lies_at(here):
            raise CannotUndo(there, f"the file that was moved is not at {change.target} any more")
        if replace.found(there) is not None:
            raise CannotUndo(there, "another file has its name now; move that away first")

    def _put_back(self, connection: sa.Connection, change: FileChange) -> FileChange:
        assert change.backup is not None
        replace.put_back(
            self._root / change.backup,
            self._root / change.path,
            _known(change, "original"),
            self._root / change.target,
            _known(change, "result"),
        )
        self._after_step("put back")
        undone = self._follow_back(connection, change)
        self._after_step("recorded")
        return undone

    def _follow_back(self, connection: sa.Connection, change: FileChange) -> FileChange:
        """The video's row says what it said before."""
        self._point_at(connection, change, change.path, change.facts["before"])
        if change.video_id is not None:
            video_notes.note(connection, change.video_id, What.RESTORED, change.path)
        return file_changes.settle(connection, change.id, ChangeState.UNDONE)

    def _move_back(self, connection: sa.Connection, change: FileChange) -> FileChange:
        self._require_way_back(change)
        here, there = self._root / change.target, self._root / change.path
        for folder in (here.parent, there.parent):
            files.require_folder(folder)
        way = dataclasses.replace(self._way_back(change), original=replace.seen(here))
        try:
            if way.needs_copy():
                self._copy_over(way, _uncounted)
            way.put_in_place(self._after_step)
        except OtherFileSystem:
            self._copy_over(way, _uncounted)
            way.put_in_place(self._after_step)
        undone = self._follow_back(connection, change)
        self._after_step("recorded")
        return undone

    def _recover_put_back(self, connection: sa.Connection, change: FileChange) -> FileChange | None:
        try:
            return self._put_back(connection, change)
        except CannotUndo:  # nothing was touched: the change stands as it did
            return file_changes.settle(connection, change.id, ChangeState.DONE)

    # Originals that were kept

    def kept_originals(self, older_than_days: float = 0) -> list[Kept]:
        """Every original that a change kept, and whether it is still there."""
        with self._engine.begin() as connection:
            changes = file_changes.with_backup(connection, older_than_days)
            looked_at = self._look_at(connection, changes)
        return [kept for kept in looked_at if kept.state != "missing" or kept.change.state is ChangeState.DONE]

    def _look_at(self, connection: sa.Connection, changes: Sequence[FileChange]) -> list[Kept]:
        video_ids = {change.video_id for change in changes if change.video_id is not None}
        lie_at = videos.paths(connection, video_ids)
        latest = file_changes.latest_done_of(connection, video_ids)
        return [
            self._kept(change, latest.get(change.video_id), lie_at.get(change.video_id))
            if change.video_id is not None
            else self._kept(change, None, None)
            for change in changes
        ]

    def _kept(self, change: FileChange, latest: FileChange | None, lies_at: str | None) -> Kept:
        """`latest`: what was last done to the video, and so which file it has; `lies_at`: where its row says that it
        is now, which the user may have changed."""
        assert change.backup is not None
        there = replace.found(self._root / change.backup)
        if there is None:
            return Kept(change, "missing", None)
        is_original = there.size_bytes == Identity.from_json(change.facts["original"]).size_bytes
        is_last_copy = latest is None or lies_at is None or not _left_by(latest).lies_at(self._root / lies_at)
        is_needed = change.state is not ChangeState.DONE or not is_original or is_last_copy
        return Kept(change, "needed" if is_needed else "kept", there)

    def remove_kept(self, kept: Kept) -> bool:
        """For good: the change can no longer be undone. False, and nothing is removed, where it is not as it was when
        `kept` was told: undone meanwhile, or needed."""
        assert kept.change.backup is not None
        with self._engine.begin() as connection, connection.begin_nested() as forgetting:
            if file_changes.forget_backup(connection, kept.change):
                if self._look_at(connection, [kept.change]) == [kept]:
                    (self._root / kept.change.backup).unlink()
                    return True
                forgetting.rollback()
        return False

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._root))


def _known(change: FileChange, which: Literal["original", "result"]) -> Known:
    return Known(Identity.from_json(change.facts[which]), change.facts.get(f"{which}_content"))


def _left_by(change: FileChange) -> Known:
    """The file that a change left to its video."""
    return _known(change, "result" if change.action is ChangeAction.REPLACE else "original")


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
