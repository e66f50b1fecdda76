"""When a file has arrived: it has stopped changing. Pure: who calls looks at the files and at the clock.

The clock is one that nobody sets (`time.monotonic`), and a file's own times are only ever compared with what they were
at the look before: neither a clock that is put right nor a file from the future matters.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import PurePosixPath

# How programs name what they still write; in front of the extension, too: yt-dlp's "film.temp.mp4".
_UNFINISHED = frozenset({".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".opdownload", ".filepart"})


def is_unfinished(name: str) -> bool:
    """Whether the name says that somebody still writes the file. "Kill.Bill.Part.1.mkv" does not."""
    if name.startswith((".", "~")) or name.endswith("~"):
        return True
    return bool(_UNFINISHED.intersection(suffix.lower() for suffix in PurePosixPath(name).suffixes[-2:]))


@dataclass(frozen=True)
class Facts:
    """What tells that a file has been touched.

    Its status's change time moves with every write, truncation and rename, and no program can set it back, as copying
    programs do with the time of modification. The inode is left out: a network file system may number anew what has
    not changed, and a file that was put in another's place has its own change time.
    """

    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @staticmethod
    def of(status: os.stat_result) -> "Facts":
        return Facts(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


# A path where there was a file and is none has a state, too.
GONE = Facts(-1, 0, 0)


@dataclass(frozen=True)
class Pending:
    facts: Facts
    since_s: float


class Gate:
    """Which paths have stood still for long enough, each told until `taken`, and then never again as they were."""

    def __init__(self, stable_s: float, most: int = 100_000) -> None:
        self.stable_s = stable_s
        self._most = most
        # in the order of `since_s`: what changes goes to the end
        self._pending: dict[str, Pending] = {}
        self._taken: dict[str, Facts] = {}

    def __len__(self) -> int:
        """How many are on their way in."""
        return len(self._pending)

    @property
    def is_full(self) -> bool:
        """No other path is kept in mind until some have gone."""
        return len(self._pending) >= self._most

    def see(self, path: str, facts: Facts, now_s: float) -> bool:
        """Tell what a path looks like now. Whether it has looked so for long enough and was not taken as it is."""
        if self._taken.get(path) == facts:
            self._pending.pop(path, None)
            self._taken[path] = self._taken.pop(path)  # behind those that were looked at longer ago
            return False
        before = self._pending.get(path)
        if before is None and self.is_full:
            return False
        if before is None or before.facts != facts or before.since_s > now_s:
            self._pending.pop(path, None)
            self._pending[path] = Pending(facts, now_s)
        return self.has_arrived(path, now_s)

    def has_arrived(self, path: str, now_s: float) -> bool:
        """Whether it is on its way in, and had not changed for long enough when it was last seen."""
        pending = self._pending.get(path)
        return pending is not None and self._has_waited(pending, now_s)

    def forget(self, path: str) -> None:
        """Nothing is to be done about this path: it is known as it is, or neither known nor there."""
        self._pending.pop(path, None)
        self._taken.pop(path, None)

    def take(self, paths: Iterable[str]) -> None:
        """They have been passed on as they are."""
        for path in paths:
            pending = self._pending.pop(path, None)
            if pending is not None:
                self._taken[path] = pending.facts
        while len(self._taken) > self._most:
            del self._taken[next(iter(self._taken))]

    def postpone(self, paths: Iterable[str], now_s: float) -> None:
        """Somebody else is at work on them: they wait once more, and let others pass."""
        for path in paths:
            pending = self._pending.pop(path, None)
            if pending is not None:
                self._pending[path] = Pending(pending.facts, now_s)

    def due(self, now_s: float, at_most: int) -> list[str]:
        """Those whose time is over if they look as before: worth another look. The longest-waiting first."""
        waited = takewhile(lambda item: self._has_waited(item[1], now_s), self._pending.items())
        return [path for path, _ in islice(waited, at_most)]

    def is_settling(self, now_s: float) -> bool:
        """Whether there are some whose time is not over."""
        return any(not self._has_waited(pending, now_s) for pending in islice(reversed(self._pending.values()), 1))

    def waited_s(self, paths: Iterable[str], now_s: float) -> float:
        """For how long the first of them has been ready."""
        return max((now_s - self._pending[path].since_s - self.stable_s for path in paths), default=0.0)

    def _has_waited(self, pending: Pending, now_s: float) -> bool:
        return now_s - pending.since_s >= self.stable_s

    @property
    def taken(self) -> Iterator[tuple[str, Facts]]:
        """Passed on, and not seen to be known since; the first ones first."""
        return iter(self._taken.items())

    @property
    def pending(self) -> Iterator[tuple[str, Pending]]:
        return iter(self._pending.items())

    def resume(self, pending: Iterable[tuple[str, Pending]], taken: Iterable[tuple[str, Facts]]) -> None:
        """Go on where another gate was."""
        self._pending.update(sorted(pending, key=lambda item: item[1].since_s))
        self._taken.update(taken)
