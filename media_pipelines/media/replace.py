"""One file takes the place of another: the file system's part, each step whole by itself and safe to repeat.

What was done is told from what lies where, by size and time, and by inode where that still holds: after a restart some
file systems number their inodes anew and round their times.
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from media_pipelines.media import errors, files
from media_pipelines.media.fingerprint import fingerprint

BACKUP_SUFFIX = ".original"
_ROUNDED_NS = 2_000_000_000  # FAT keeps two seconds
REFUSED = {errno.EPERM, errno.EACCES, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EINVAL}

AfterStep = Callable[[str], None]


@dataclass(frozen=True)
class Identity:
    """What tells one file from another without reading it."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)

    @classmethod
    def from_json(cls, stored: Any) -> "Identity":
        return cls(int(stored["size_bytes"]), int(stored["mtime_ns"]), int(stored["inode"]))

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    def likeness(self, found: "Identity | None") -> int:
        """0: another file; 1: probably this one; 2: this one."""
        if found is None or found.size_bytes != self.size_bytes:
            return 0
        if found == self:
            return 2
        return int(abs(found.mtime_ns - self.mtime_ns) <= _ROUNDED_NS)


@dataclass(frozen=True)
class Known:
    """A file as it was when its change was noted. `content`: its fingerprint, None in notes of older versions."""

    identity: Identity
    content: str | None

    def lies_at(self, path: Path) -> bool:
        """Whether this very file does; where its time or number is another, its content tells. Raises OSError where
        that cannot be told."""
        now = found(path)
        likeness = self.identity.likeness(now)
        if likeness == 2 or self.content is None:
            return likeness > 0
        same_size = now is not None and now.size_bytes == self.identity.size_bytes
        return same_size and path.is_file() and fingerprint(path) == self.content


def seen(path: Path) -> Identity:
    """A regular file as it is now, to compare with later. Raises UnreadableMedia."""
    try:
        status = path.lstat()
    except OSError as error:
        raise errors.UnreadableMedia(path, error.strerror or str(error)) from error
    if stat.S_ISLNK(status.st_mode):
        raise errors.UnreadableMedia(path, "it is a symbolic link; only the file that it leads to can be changed")
    if not stat.S_ISREG(status.st_mode):
        raise errors.UnreadableMedia(path, "it is not a regular file")
    return Identity.of(status)


def found(path: Path) -> Identity | None:
    """What lies there; None: nothing does. Raises OSError where that cannot be told."""
    try:
        return Identity.of(path.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove_if_there(path: Path) -> None:
    """A read-only disk refuses to remove also what it does not hold."""
    if found(path) is not None:
        path.unlink(missing_ok=True)


def require_unchanged(path: Path, expected: Identity) -> None:
    """Raises SourceChanged."""
    if found(path) != expected:
        raise errors.SourceChanged(path)


def take_over_rights(original: Path, partial: Path) -> None:
    """Mode and owner, as far as this process may give them."""
    status = original.stat()
    with files.rights_may_be_refused():
        partial.chmod(stat.S_IMODE(status.st_mode))
    with files.rights_may_be_refused():
        os.chown(partial, status.st_uid, status.st_gid)


@dataclass(frozen=True)
class Replacement:
    """The partial is to be found at `target` and nothing at `path` any more, which may be the same. `backup`: where
    the original is kept. `mark` names unfinished files."""

    path: Path
    target: Path
    partial: Path
    backup: Path | None
    original: Identity
    result: Identity
    mark: str

    @property
    def renames(self) -> bool:
        return self.target != self.path

    def stage(self) -> Literal["before", "after", "orphaned", "lost"]:
        """What a crash left. "before": the original is at its path, or can be put back; "after": the result is at the
        target; "orphaned": only the partial is left; "lost": nothing is there, so that nothing may be decided (a disk
        that is not mounted looks so)."""
        if self._is_result(found(self.target)):
            return "after"
        at_path = found(self.path)
        if at_path is not None or (self.backup and self.original.likeness(found(self.backup))):
            return "before"
        return "orphaned" if self.result.likeness(found(self.partial)) else "lost"

    def _is_result(self, one: Identity | None) -> bool:
        return self.result.likeness(one) > self.original.likeness(one)

    def keep_original(self) -> bool:
        """Give the original its second name. False: somebody has taken that name meanwhile."""
        assert self.backup is not None
        try:
            os.link(self.path, self.backup, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._copy_original()
        files.flush(self.backup.parent)
        return True

    def _copy_original(self) -> bool:
        """Where the file system has no hard links: a whole copy, which appears under its name when it is on disk."""
        assert self.backup is not None
        unfinished = self.unfinished_backup
        assert unfinished is not None
        files.require_free_space(unfinished, self.original.size_bytes)
        try:
            files.copy(self.path, unfinished)
            files.publish(unfinished, self.backup)
        except errors.TargetExists:
            return False
        finally:
            files.remove_quietly(unfinished)
        return True

    @property
    def unfinished_backup(self) -> Path | None:
        return self.backup and files.partial_path(self.backup, self.mark)

    def put_in_place(self, after_step: AfterStep) -> None:
        """The result gets the target's name in one step; then the old name goes. Raises TargetExists, SourceChanged."""
        require_unchanged(self.path, self.original)
        if self.renames:
            files.publish(self.partial, self.target)
            after_step("published")
        else:
            self.partial.replace(self.path)
            after_step("replaced")
        self.finish(after_step)

    def finish(self, after_step: AfterStep) -> None:
        """What is left to do once the result is at the target."""
        if self.renames and self.original.likeness(found(self.path)):
            if self.backup is not None and found(self.backup) is None:
                files.publish(self.path, self.backup)
            else:
                self.path.unlink(missing_ok=True)
            after_step("old name removed")
        if found(self.partial) is not None:  # a link that a crash left of a rename in two steps
            self.partial.unlink(missing_ok=True)
        for folder in {self.target.parent, self.path.parent}:
            files.flush(folder)
        after_step("flushed")

    def cannot_finish(self, error: OSError) -> bool:
        """Whether the old name may not be removed, though the result has its own: in a sticky folder, for one."""
        return self.renames and error.errno in REFUSED and self.original.likeness(found(self.path)) > 0

    def take_back(self) -> None:
        """What `roll_back` does, after the result got its name. Only while the original is at its path."""
        self.target.unlink(missing_ok=True)
        self.roll_back()

    def roll_back(self) -> None:
        """A whole file is at the path, and the result and what was kept for it are gone. What was kept stays where
        the path holds something else by now: it is the last copy then."""
        if self.backup is not None and found(self.path) is None:
            files.publish(self.backup, self.path)
        remove_if_there(self.partial)
        if self.unfinished_backup is not None:
            remove_if_there(self.unfinished_backup)
        if self.backup is not None and self._is_needless(self.backup):
            self.backup.unlink()
        files.flush(self.path.parent)

    def _is_needless(self, backup: Path) -> bool:
        """Another name of the very file at the path, or a copy of it that this change made."""
        kept = found(backup)
        if kept is None:
            return False
        if backup.samefile(self.path):
            return True
        return self.original.likeness(kept) > 0 and files.same_content(backup, self.path)


def backup_name(path: Path) -> Path:
    """The first free one of `name.original`, `name.original.2`, …; a name that would be too long is shortened."""
    number = 1
    while True:
        suffix = BACKUP_SUFFIX if number == 1 else f"{BACKUP_SUFFIX}.{number}"
        candidate = files.with_suffix_that_fits(path, suffix)
        if not os.path.lexists(candidate):
            return candidate
        number += 1


def put_back(backup: Path, path: Path, original: Known, made: Path, result: Known) -> None:
    """Undo: the original comes back to its path, in one step where the result is there; the result goes.

    Safe to repeat. Raises CannotUndo before anything is touched.
    """
    is_back = found(backup) is None and original.lies_at(path)
    if not is_back:
        require_undoable(backup, path, original, made, result)
        if found(path) is not None:
            backup.replace(path)
        else:
            files.publish(backup, path)
    if made != path and result.lies_at(made):
        made.unlink()
    for folder in {path.parent, made.parent}:
        files.flush(folder)


def require_undoable(backup: Path, path: Path, original: Known, made: Path, result: Known) -> None:
    """Raises CannotUndo with what would be lost, or is. A result that is gone is no loss."""
    kept = found(backup)
    if kept is None:
        raise errors.CannotUndo(path, f"the original that was kept as {backup.name} is gone")
    if kept.size_bytes != original.identity.size_bytes:
        raise errors.CannotUndo(path, f"{backup.name} is not the original any more: its size differs")
    if original.content is not None and not original.lies_at(backup):
        raise errors.CannotUndo(path, f"{backup.name} is not the original any more: its content differs")
    if found(made) is not None and not result.lies_at(made):
        reason = f"{made.name} has changed since it was made; to lose nothing, move it away, then restore again"
        raise errors.CannotUndo(path, reason)
    if made != path and found(path) is not None:
        raise errors.CannotUndo(path, "another file has its name now; move that away first")
