"""Hears from the kernel where below a folder something has changed. What it hears are hints: some never come.

One thread with one inotify instance for each folder, through watchdog's wrapper of inotify(7). Its `Observer` is not
used: it does not watch folders that are moved in, says nothing when the limit of watches stops it or its thread dies,
and keeps the watches that it had by then.
"""

import errno
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from media_pipelines.media import files, mounts

_logger = logging.getLogger(__name__)
_MOST_HINTS = 20_000
# No IN_MODIFY: what is being written is looked at again anyway, and its end is told by IN_CLOSE_WRITE.
_ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = (
    0x4, 0x8, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
)  # fmt: skip
_UNMOUNT, _ONLYDIR = 0x2000, 0x0100_0000
_MASK = _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR


class CannotWatch(Exception):
    """Says why not."""


class Watch:
    """What was heard of one folder since it was last asked. Ends with the process, or when it is closed."""

    def __init__(self, folder: Path) -> None:
        """Raises CannotWatch."""
        self._real = Path(os.path.realpath(folder))
        self._lock = threading.Lock()
        self._hints: set[str] = set()
        self._broken: str | None = None
        self.has_links = False
        """Folders that are reached by symbolic links lie below: changes in them are told under another path."""
        self.mounts = mounts.of(self._real, mounts.mounts())
        self._inotify = _inotify(self._real)
        self._thread = threading.Thread(target=self._listen, name=f"watch {folder.name}", daemon=True)
        self._thread.start()  # before more is watched: closing frees what a thread is reading, and nothing else
        try:
            self._watch_below(self._real)
        except OSError as error:
            self.close()
            raise CannotWatch(_why(error)) from error

    @property
    def broken(self) -> str | None:
        """Why it has gone deaf; None: it hears."""
        return self._broken

    def hints(self) -> tuple[list[str], bool]:
        """Paths below the folder, relative to it, at which something has happened since the last time, and whether
        they are all."""
        with self._lock:
            heard, self._hints = self._hints, set()
        return sorted(heard), len(heard) < _MOST_HINTS

    def close(self) -> None:
        self._broken = self._broken or "it was closed"
        self._inotify.close()
        self._thread.join(timeout=5)

    def _listen(self) -> None:
        try:
            while self._broken is None and (events := self._inotify.read_events()):
                for event in events:
                    self._hear(event)
                self._inotify.clear_move_records()
            self._broken = self._broken or "events were lost"
        except OSError as error:
            self._broken = _why(error)
        except Exception as error:  # noqa: BLE001 - a slip in the wrapper's book-keeping must not leave it deaf unnoticed
            _logger.warning("Watching %s has ended: %r", self._real, error)
            self._broken = repr(error)

    def _hear(self, event: Any) -> None:
        path = Path(os.fsdecode(event.src_path))
        if event.mask & (_DELETE_SELF | _MOVE_SELF | _UNMOUNT):
            if path == self._real:
                self._broken = "the folder was moved, removed or unmounted"
        elif not files.is_visible(path.name) or not files.is_utf8(str(path)):
            return
        elif not event.is_directory:
            self._hear_of_file(path)
        elif event.is_moved_from:  # what is watched below it would be told under paths that are no longer true
            self._broken = f"the folder {path.name!r} was moved away"
        elif event.is_create or event.is_moved_to or event.is_delete:
            self._watch_below(path)
            self._note(path)

    def _hear_of_file(self, path: Path) -> None:
        if files.is_video_name(path.name):
            self._note(path)
        elif path.is_symlink():
            self.has_links = True
            self._note(path)

    def _note(self, path: Path) -> None:
        with self._lock:
            if len(self._hints) < _MOST_HINTS:
                self._hints.add(str(path.relative_to(self._real)))

    def _watch_below(self, folder: Path) -> None:
        """One that vanishes meanwhile is no error."""
        for path in self._folders(folder):
            with suppress(FileNotFoundError, NotADirectoryError):
                self._inotify.add_watch(os.fsencode(path))

    def _folders(self, top: Path) -> Iterator[Path]:
        """The folder and those below it that a scan would visit."""
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            yield folder
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.extend([folder / entry.name] if files.is_visible(entry.name) else [])
                        elif entry.is_symlink() and entry.is_dir():
                            self.has_links = True
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue


def _inotify(folder: Path) -> Any:
    """Of the folder itself, not of those below it. Raises CannotWatch."""
    if not folder.is_dir():
        raise CannotWatch("there is no such folder")
    try:
        from watchdog.observers.inotify_c import Inotify
    except Exception as error:
        raise CannotWatch("this system has no inotify") from error
    try:
        return Inotify(os.fsencode(folder), recursive=False, event_mask=_MASK)
    except OSError as error:
        raise CannotWatch(_why(error)) from error


def _why(error: OSError) -> str:
    limit = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}
    name = limit.get(error.errno or 0)
    return f"the limit {name} is reached" if name else error.strerror or str(error)
