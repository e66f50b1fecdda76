"""A file goes to another folder, maybe of another disk: the file system's part, each step safe to repeat.

The first name goes when the second is on disk, so that a whole file has one of the two names at any time.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from media_pipelines.media import errors, files
from media_pipelines.media.replace import REFUSED, AfterStep, Identity, found, remove_if_there, require_unchanged

# Subtitles and descriptions that players look for beside a video of the same name.
_SIDECARS = frozenset({".srt", ".vtt", ".ass", ".ssa", ".sub", ".idx", ".sup", ".smi", ".nfo"})


@dataclass(frozen=True)
class Relocation:
    """`original` is to be found at `target`; `partial` is the unfinished copy where disks differ. `sidecars` go along:
    from, to."""

    path: Path
    target: Path
    partial: Path
    original: Identity
    sidecars: tuple[tuple[Path, Path], ...] = ()

    def stage(self) -> Literal["before", "after", "lost"]:
        """What a crash left; "lost": at neither name is anything, and nothing may be decided."""
        at_path, is_there = found(self.path), self.original.likeness(found(self.target)) > 0
        if at_path is None:
            return "after" if is_there else "lost"
        if not is_there:
            return "before"
        is_another = not self.original.likeness(at_path)
        is_twice = self.path.samefile(self.target) or files.same_content(self.path, self.target)
        return "after" if is_another or is_twice else "before"

    def needs_copy(self) -> bool:
        return self.path.stat().st_dev != self.target.parent.stat().st_dev

    def copy_over(self, on_bytes: Callable[[int], None]) -> None:
        """A verified copy beside the target. `on_bytes` hears of each piece, written and read back.

        Raises DiskFull before anything is written, CopyDiffers, SourceChanged.
        """
        files.require_free_space(self.partial, self.original.size_bytes)
        try:
            digest = files.copy(self.path, self.partial, on_bytes)
            # recovery knows the copy by its time: a file system that takes none is no place to move to
            os.utime(self.partial, ns=(self.original.mtime_ns, self.original.mtime_ns))
            files.forget_cached(self.partial)
            if files.sha256(self.partial, on_bytes) != digest:
                raise errors.CopyDiffers(self.path)
            require_unchanged(self.path, self.original)
        except BaseException:
            files.remove_quietly(self.partial)
            raise

    def put_in_place(self, after_step: AfterStep) -> None:
        """Raises SourceChanged, TargetExists, and OtherFileSystem where a copy is needed after all."""
        require_unchanged(self.path, self.original)
        if found(self.partial) is not None:
            files.publish(self.partial, self.target)
            after_step("published")
        else:
            try:
                files.rename_to_free_name(self.path, self.target)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    raise errors.OtherFileSystem(self.target) from error
                raise
            after_step("moved")
        self.finish(after_step)

    def finish(self, after_step: AfterStep) -> None:
        """What is left to do once the file is at the target."""
        files.flush(self.target.parent)
        if self.original.likeness(found(self.path)):
            self.path.unlink()
            after_step("old name removed")
        self.partial.unlink(missing_ok=True)
        for here, there in self.sidecars:
            if found(here) is not None and not os.path.lexists(there):
                _move_small(here, there, self.partial)
        after_step("sidecars moved")
        files.flush(self.target.parent)
        if self.path.parent.is_dir():
            files.flush(self.path.parent)
        after_step("flushed")

    def cannot_finish(self, error: OSError) -> bool:
        """Whether the old name may not be removed: its disk is read-only by now, or its folder another's."""
        return error.errno in REFUSED and self.original.likeness(found(self.path)) > 0

    def take_back(self) -> None:
        """The second name goes again. Only while `cannot_finish`: the file is whole under its first."""
        self.target.unlink(missing_ok=True)
        self.roll_back()
        files.flush(self.target.parent)

    def roll_back(self) -> None:
        remove_if_there(self.partial)

    def reversed(self, original: Identity, partial: Path) -> "Relocation":
        back = tuple((there, here) for here, there in self.sidecars)
        return Relocation(self.target, self.path, partial, original, back)


def _move_small(here: Path, there: Path, partial: Path) -> None:
    try:
        files.rename_to_free_name(here, there)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        files.copy(here, partial)
        files.publish(partial, there)
        here.unlink()


def sidecars(path: Path, target: Path) -> tuple[tuple[Path, Path], ...]:
    """What lies beside a video and belongs to it alone, with the names that fit beside the target. None where another
    video has the same stem; what fits another's longer stem is that one's ("a.b.srt" beside "a.mp4" and "a.b.mp4")."""
    others = [one.stem for one in path.parent.iterdir() if one != path and one.suffix.lower() in files.VIDEO_EXTENSIONS]
    if path.stem in others:
        return ()
    longer = tuple(f"{stem}." for stem in others if stem.startswith(f"{path.stem}."))
    return tuple(
        (one, target.with_name(target.stem + one.name[len(path.stem) :]))
        for one in sorted(path.parent.iterdir())
        if one.name.startswith(f"{path.stem}.")
        and one.suffix.lower() in _SIDECARS
        and not one.name.startswith(longer or "\0")
        and one.is_file()
        and not one.is_symlink()
    )
