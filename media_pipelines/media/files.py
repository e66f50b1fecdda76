"""Paths and files of the library: what lies inside it, which files are videos, and how an output appears whole.

Everything is blocking file system work on the caller's paths. Nothing here knows a container or a codec.
"""

import ctypes
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from media_pipelines.media import errors
from media_pipelines.media.writeback import written_back

VIDEO_EXTENSIONS = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg", ".m2v"}
    | {".vob", ".ts", ".m2ts", ".mts", ".3gp", ".3g2", ".ogv", ".mxf", ".rm", ".rmvb", ".divx", ".dv", ".wtv"}
)
_JUNK_FOLDERS = {"@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "lost+found", "System Volume Information"}
NAME_MAX_BYTES = 255
_PIECE_BYTES = 4 * 1024 * 1024
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_NOT_SUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM, errno.EMLINK, errno.EACCES}
_NO_RIGHTS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
_NEVER_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG}

OnSkip = Callable[[Path, str], None]


def resolve_inside(root: Path, relative: str) -> Path:
    """The path `relative` names below `root`, which need not exist yet.

    Raises PathOutsideLibrary for an absolute, empty or climbing path and for one that symbolic links lead out.
    """
    outside = errors.PathOutsideLibrary(relative, root)
    if not relative or "\0" in relative or relative.startswith("/") or ".." in relative.split("/"):
        raise outside
    try:
        real = os.path.realpath(root / relative)
    except (OSError, ValueError) as error:
        raise outside from error
    if not Path(real).is_relative_to(os.path.realpath(root)):
        raise outside
    return root / relative


def find_videos(root: Path, below: Path, on_skip: OnSkip | None = None, *, recursive: bool = True) -> Iterator[Path]:
    """Video files below a folder of the library, as `walk` finds them."""
    return (path for path, _ in walk(root, below, on_skip, recursive=recursive))


def walk(
    root: Path, below: Path, on_skip: OnSkip | None = None, *, recursive: bool = True
) -> Iterator[tuple[Path, os.stat_result]]:
    """Video files below a folder of the library with their status, each folder in the order of its names; without
    `recursive` only those in the folder itself.

    Passes silently over hidden files, `.partial` files, files of other kinds and the folders that NAS systems leave;
    reports to `on_skip` what looks like a video or a folder and cannot be taken.
    """
    skip = on_skip or _ignore
    inside = os.path.realpath(root)
    seen: set[tuple[int, int]] = set()
    waiting = [below]
    while waiting:
        path = waiting.pop()
        try:
            info = path.stat()
            if not stat.S_ISDIR(info.st_mode):
                if _is_takable(path, info, skip):
                    yield path, info
                continue
            if (info.st_dev, info.st_ino) in seen:
                skip(path, "the folder was visited already (a symbolic link)")
                continue
            if seen and not recursive:
                continue
            seen.add((info.st_dev, info.st_ino))
            waiting.extend(reversed(list(_entries(path, inside, skip))))
        except OSError as error:
            skip(path, error.strerror or str(error))


class Absence:
    """Tells a file that was removed from one whose disk is not there at the moment."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._shown: dict[Path, float | None] = {}

    def is_certain(self, path: Path, known_since: datetime) -> bool:
        """Whether the file is gone, and the folder that held it is there, or the nearest above it that is left, and
        says so: it holds something else, or was changed since the file was known. A mount point that is empty because
        nothing is mounted does neither."""
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return False
        else:
            return False
        for folder in path.parents:
            if not folder.is_relative_to(self._root):
                return False
            emptied_at_s = self._emptied_at_s(folder)
            if emptied_at_s is not None:
                return emptied_at_s > known_since.timestamp()
        return False

    def _emptied_at_s(self, folder: Path) -> float | None:
        """When a folder became empty: in all eternity for one that isn't, never for one that can't be read; None: it
        is not there."""
        if folder not in self._shown:
            self._shown[folder] = _emptied_at_s(folder)
        return self._shown[folder]


def _emptied_at_s(folder: Path) -> float | None:
    try:
        with os.scandir(folder) as entries:
            if next(entries, None) is not None:
                return float("inf")
        return folder.stat().st_mtime
    except FileNotFoundError:
        return float("-inf") if folder.is_symlink() else None
    except OSError:
        return float("-inf")


def _entries(folder: Path, inside: str, skip: OnSkip) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = folder / entry.name
            if not _is_wanted(entry):
                continue
            if not is_utf8(entry.name):
                skip(path, "its name is not valid UTF-8")
            elif entry.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                skip(path, "it is a symbolic link that leads out of the library")
            else:
                yield path


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    """Without a system call where the file system says what an entry is: a library has many sidecar files."""
    if not is_visible(entry.name):
        return False
    return is_video_name(entry.name) or _is_folder(entry)


def is_visible(name: str) -> bool:
    """Not hidden, not half-written by a job, not a folder that a NAS keeps for itself."""
    return not name.startswith(".") and name not in _JUNK_FOLDERS and ".partial" not in Path(name).suffixes


def is_video_name(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_EXTENSIONS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """A link that leads to itself is none, and no reason to pass over the folder that it lies in."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_takable(path: Path, info: os.stat_result, skip: OnSkip) -> bool:
    if stat.S_ISREG(info.st_mode):
        return True
    skip(path, "it is not a regular file")
    return False


def is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ignore(path: Path, reason: str) -> None:
    """Nobody asked what is skipped."""


def partial_path(target: Path, owner: str) -> Path:
    """Where `owner` (a job's id) writes `target` until it is whole: beside it, with its extension, by which ffmpeg
    knows the format. A name that would be too long becomes a hidden one with a digest of the target's."""
    _require_owner(owner)
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= 16 else ""
    name = f"{target.stem}.{owner}.partial{suffix}"
    if len(os.fsencode(name)) > NAME_MAX_BYTES:
        digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]
        name = f".{digest}.{owner}.partial{suffix}"
    return target.with_name(name)


def remove_partials(directory: Path, owner: str) -> list[Path]:
    """Delete what `owner` left half-written in one folder (not below it); return what was deleted."""
    _require_owner(owner)
    if not directory.is_dir():
        return []
    left = [path for path in sorted(directory.iterdir()) if f".{owner}.partial" in path.name and not path.is_dir()]
    for path in left:
        path.unlink(missing_ok=True)
    return left


def remove_quietly(path: Path) -> None:
    """Clean up after an error, which says more than that a disk that is read-only now lets nothing be removed."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _require_owner(owner: str) -> None:
    if not owner or "/" in owner or "\0" in owner:
        raise ValueError(f"An owner of partial files is a short plain name, not {owner!r}")


def publish(partial: Path, target: Path, *, replace: bool = False) -> None:
    """Give a finished file its name: flushed to disk first, then renamed in one step, then the folder flushed.

    Raises TargetExists, leaving both files as they are, unless `replace`.
    """
    flush(partial)
    if replace:
        partial.replace(target)
    else:
        rename_to_free_name(partial, target)
    flush(target.parent)


def flush(path: Path) -> None:
    """Return once the disk has what was written to a file, or to a folder where its file system can be told so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def rename_to_free_name(partial: Path, target: Path) -> None:
    """Raises TargetExists; OSError, with EXDEV where the target lies on another file system. Then all is as it was.

    The first way that the file system offers: exFAT and many network mounts lack one or two of the three."""
    for rename in (_rename_noreplace, _link_and_unlink):
        try:
            rename(partial, target)
        except FileExistsError as error:
            raise errors.TargetExists(target) from error
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
        else:
            return
    _reserve_and_replace(partial, target)


def _rename_noreplace(partial: Path, target: Path) -> None:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(_AT_FDCWD, os.fsencode(partial), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(partial), None, str(target))


def _link_and_unlink(partial: Path, target: Path) -> None:
    os.link(partial, target)
    try:
        partial.unlink(missing_ok=True)
    except OSError:
        if os.path.lexists(partial):
            target.unlink()
        raise


def _reserve_and_replace(partial: Path, target: Path) -> None:
    """Last resort: the name is taken by an empty file first, which a crash in between would leave."""
    try:
        descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError as error:
        raise errors.TargetExists(target) from error
    placeholder = os.fstat(descriptor)
    os.close(descriptor)
    try:
        partial.replace(target)
    except OSError:
        if os.path.samestat(target.lstat(), placeholder):
            target.unlink()
        raise


def copy(source: Path, target: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Copy content to a new name, with mode and times where the file system takes them, and return once the disk has
    them. Returns the SHA-256 of what was read; `on_bytes` hears of every piece."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("wb") as writing, written_back(target):
        while piece := reading.read(_PIECE_BYTES):
            digest.update(piece)
            writing.write(piece)
            if on_bytes:
                on_bytes(len(piece))
    with rights_may_be_refused():
        shutil.copystat(source, target)
    flush(target)
    return digest.hexdigest()


@contextmanager
def rights_may_be_refused() -> Iterator[None]:
    """Not every file system has modes, owners and times that can be set; a file is whole without them."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_RIGHTS:
            raise


def forget_cached(path: Path) -> None:
    """What is read next comes from the disk, as far as the kernel heeds it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def sha256(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Of the whole content; `on_bytes` hears of every piece."""
    digest = hashlib.sha256()
    with path.open("rb") as reading:
        while piece := reading.read(_PIECE_BYTES):
            digest.update(piece)
            if on_bytes:
                on_bytes(len(piece))
    return digest.hexdigest()


def same_content(one: Path, other: Path) -> bool:
    """Compared byte by byte."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(_PIECE_BYTES):
            if piece != second.read(_PIECE_BYTES):
                return False
    return True


def with_suffix_that_fits(path: Path, suffix: str) -> Path:
    """The name with more at its end, shortened where it would be too long."""
    return path.with_name(shortened(path.name, NAME_MAX_BYTES - len(os.fsencode(suffix))) + suffix)


def modified_at(status: os.stat_result) -> datetime:
    """A file's time, or the nearest that a row can hold: file systems know years that calendars do not."""
    try:
        return datetime.fromtimestamp(status.st_mtime, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime(9999 if status.st_mtime > 0 else 1, 6, 1, tzinfo=UTC)


def require_folder(folder: Path) -> None:
    """Make the folder if it is not there. Raises NotWritable where it cannot be made or nothing can be put into it,
    OSError where trying again may help."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _NEVER_WRITABLE:
            raise
        raise errors.NotWritable(folder, error.strerror or "it cannot be made") from error
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise errors.NotWritable(folder, os.strerror(errno.EROFS))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise errors.NotWritable(folder, os.strerror(errno.EACCES))


def require_free_space(path: Path, needed_bytes: int) -> None:
    """Raise DiskFull unless the disk that holds (or will hold) `path` has that much free."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise errors.DiskFull(path, needed_bytes, free_bytes)


def free_name(target: Path, tag: str) -> Path:
    """`target` if nothing has that name yet, else the first free one of `stem.tag.ext`, `stem.tag-2.ext`, …; a name
    that would be too long is shortened.

    Only a suggestion: `publish` decides, atomically.
    """
    room_bytes = NAME_MAX_BYTES - len(os.fsencode(target.suffix))
    target = target.with_name(shortened(target.stem, room_bytes) + target.suffix)
    if not os.path.lexists(target):
        return target
    number = 1
    while True:
        mark = f".{tag}{target.suffix}" if number == 1 else f".{tag}-{number}{target.suffix}"
        candidate = target.with_name(shortened(target.stem, NAME_MAX_BYTES - len(os.fsencode(mark))) + mark)
        if not os.path.lexists(candidate):
            return candidate
        number += 1


def shortened(stem: str, limit_bytes: int) -> str:
    """The longest beginning of a stem that fits, cut between characters."""
    while len(os.fsencode(stem)) > limit_bytes:
        stem = stem[:-1]
    return stem
