"""Pieces of an unfinished analysis on disk: what a killed pass had found, and where it goes on.

A folder for each film, with the plan that its pieces belong to. They follow one another from 0, each whole or absent.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.ai.errors import AnalysisUnreadable
from media_pipelines.media import errors, files

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Arrays = dict[str, npt.NDArray[np.generic]]

_PLAN = "plan.json"
_POLL_S = 0.2
_DAMAGE = (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError)


class Pieces:
    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self._folder = folder
        self._plan = json.dumps(plan, sort_keys=True)
        if not self._is_ours():
            self.discard()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _PLAN).write_text(self._plan)

    def __len__(self) -> int:
        count = 0
        while self._path(count).exists():
            count += 1
        return count

    def add(self, arrays: "Arrays") -> None:
        import numpy as np

        target = self._path(len(self))
        partial = files.partial_path(target, str(os.getpid()))
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        files.publish(partial, target, replace=True)

    def read(self, index: int) -> "Arrays":
        """Raises AnalysisUnreadable."""
        import numpy as np

        path = self._path(index)
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except _DAMAGE as error:
            raise AnalysisUnreadable(path, f"a piece of an unfinished analysis is damaged ({error})") from error

    def __iter__(self) -> Iterator["Arrays"]:
        return (self.read(index) for index in range(len(self)))

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _is_ours(self) -> bool:
        try:
            return (self._folder / _PLAN).read_text() == self._plan
        except OSError:
            return False

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:06d}.npz"


@contextlib.contextmanager
def held(path: Path, stop: Callable[[], str | None] | None) -> Iterator[None]:
    """One analysis of a film at a time on this host; whoever comes second waits. Raises EncodeStopped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                reason = stop() if stop else None
                if reason:
                    raise errors.EncodeStopped(reason) from None
                time.sleep(_POLL_S)
        yield
