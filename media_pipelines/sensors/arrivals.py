"""Files that come, change and vanish → rows: where to look, what stands still, and one scan for many files.

What a tick needs lives in this process. Events of the kernel say where to look, nothing else; a look everywhere, now
and then, finds what they left out. The cursor keeps enough of it for another process to go on, and no more than that.
Nothing is asked for twice, whatever is lost in between: a file that a live scan looks at waits for that scan, and one
that the library knows as it is has arrived.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal
from uuid import uuid4

import dagster as dg
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from jobqueue_bridge import file_changes, params, queue, videos
from jobqueue_bridge.database import engine_for
from jobqueue_bridge.errors import JobAlreadyLive
from jobqueue_bridge.params.library import MOST_PATHS
from jobqueue_bridge.queue import NewJob
from jobqueue_bridge.settings import Settings, Watching
from jobqueue_bridge.videos import Known
from jobqueue_bridge.vocabulary import JobType, Origin
from media_pipelines.media import files, mounts
from media_pipelines.media.errors import PathOutsideLibrary
from media_pipelines.media.stability import GONE, Facts, Gate, Pending, is_unfinished
from media_pipelines.media.watch import CannotWatch, Watch

_LOOKS_FOR_S = 3.0
_BATCH = 500
_DUE_PER_TICK = 5_000
_SCANS_PER_TICK = 20
_BYTES_OF_A_SCAN = 60_000
_SAFETY_NET_S = 300.0
# A look everywhere that took a second comes no more often than every ten.
_REST_PER_LOOK = 10.0
_TRIES_AGAIN_AFTER_S = 600.0
_KEPT_IN_CURSOR = 100
_BYTES_IN_CURSOR = 10_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

Found = Mapping[str, os.stat_result | None]


@dataclass(frozen=True)
class Ground:
    """What one sensor watches over."""

    folder: str
    origin: Origin
    patience_s: float
    """How long a file that has arrived waits for others that are still on their way, to share a scan with them."""
    by_type: bool
    """Whether the files lie in folders of their directory types, which have scans of their own."""


class Cursor(BaseModel):
    """What the next process goes on with; bounded, because it is stored with every tick."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    memory: str
    """Of the process whose memory this is a part of."""
    boot: str
    pending: dict[str, tuple[int, int, int, float]] = {}
    taken: dict[str, tuple[int, int, int]] = {}
    more: int = 0
    """How many of either kind are not listed."""


def evaluate(ground: Ground, settings: Settings, cursor: str | None) -> dg.SensorResult:
    """One tick of a sensor."""
    lock = _locks.setdefault(ground.folder, threading.Lock())
    if not lock.acquire(blocking=False):
        return dg.SensorResult(skip_reason=dg.SkipReason("The look before this one is not over."), cursor=cursor)
    try:
        arrivals = _remembered(ground, settings, cursor)
        said = arrivals.tick(settings)
        return dg.SensorResult(skip_reason=dg.SkipReason(said), cursor=arrivals.cursor())
    finally:
        lock.release()


_locks: dict[str, threading.Lock] = {}
_memory: dict[str, "Arrivals"] = {}


def _remembered(ground: Ground, settings: Settings, cursor: str | None) -> "Arrivals":
    """This process's memory if the cursor came of it; else one that begins with what the cursor holds."""
    known = _parsed(cursor)
    arrivals = _memory.get(ground.folder)
    if arrivals and known and (arrivals.token, arrivals.root) == (known.memory, settings.media_library_path):
        return arrivals
    if arrivals:
        arrivals.close()
    arrivals = _memory[ground.folder] = Arrivals(ground, settings)
    if known:
        arrivals.resume(known)
    return arrivals


def forget() -> None:
    """Watch over nothing any more, until the next tick."""
    while _memory:
        _memory.popitem()[1].close()


def _parsed(cursor: str | None) -> Cursor | None:
    """None for one of an earlier release, and for what is none at all."""
    try:
        return Cursor.model_validate_json(cursor or "")
    except ValidationError:
        return None


class Arrivals:
    """What this process knows of the files below one folder that the library does not know yet."""

    def __init__(self, ground: Ground, settings: Settings) -> None:
        self.token = uuid4().hex[:12]
        self.root = settings.media_library_path
        self._ground, self._settings = ground, settings
        self._folder = self.root / ground.folder
        self._gate = Gate(settings.inbox_stable_seconds)
        self._looks: deque[Iterator[Found]] = deque()
        self._watch: Watch | None = None
        self._why_polling = ""
        self._try_again_at_s = 0.0
        self._everything = True
        self._full_look: Iterator[Found] | None = None
        self._looked_at_s, self._look_took_s = float("-inf"), 0.0

    def tick(self, settings: Settings) -> str:
        """Look where something may have happened, and ask for scans; what was done, in words."""
        self._settings, self._gate.stable_s = settings, settings.inbox_stable_seconds
        try:
            self._keep_watch()
            self._hear()
            asked = self._ask(self._look())
        except BaseException:
            self._looks.clear()
            self._full_look, self._everything = None, True
            raise
        return self._said(asked)

    def close(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None

    # Where to look

    def _keep_watch(self) -> None:
        """Have the kernel tell where something happens, if it can; start anew when that has broken off."""
        reason = self._reason_to_poll()
        if self._watch and (reason or self._watch.broken or self._watch.mounts != self._mounts()):
            self.close()
            self._everything = True
        if reason:
            self._why_polling = reason
        elif self._watch is None and time.monotonic() >= self._try_again_at_s:
            self._start_watch()

    def _reason_to_poll(self) -> str | None:
        if self._settings.watch == Watching.POLLING:
            return "MEDIA_WATCH says so"
        if not self._folder.is_dir():
            return f"there is no folder {self._ground.folder}/ yet"
        foreign = next((mount for mount in self._mounts() if mount.is_of_others), None)
        if foreign and self._settings.watch == Watching.AUTO:
            return f"{foreign.point} is {foreign.kind}, whose other users' changes the kernel does not tell"
        return None

    def _mounts(self) -> list[mounts.Mount]:
        return mounts.of(Path(os.path.realpath(self._folder)), mounts.mounts())

    def _start_watch(self) -> None:
        try:
            self._watch = Watch(self._folder)
        except CannotWatch as error:
            self._why_polling = str(error)
            self._try_again_at_s = time.monotonic() + _TRIES_AGAIN_AFTER_S
        else:
            self._everything = True

    def _hear(self) -> None:
        """Queue the looks that are due."""
        hints, are_all = self._watch.hints() if self._watch else ([], True)
        if not are_all or (hints and self._watch and self._watch.has_links):
            self._everything = True
        elif hints:
            self._looks.appendleft(self._at(hints))
        pause_s = _SAFETY_NET_S if self._watch and not self._everything else 0.0
        rested = time.monotonic() - self._looked_at_s >= max(pause_s, _REST_PER_LOOK * self._look_took_s)
        if rested and self._full_look is None:
            self._full_look = self._everywhere()
            self._looks.append(self._full_look)
            self._everything, self._look_took_s = False, 0.0

    def _look(self) -> list[str]:
        """Those that have arrived, of what was due and of what this tick had the time to look at."""
        deadline_s = time.monotonic() + _LOOKS_FOR_S
        taken = [path for path, _ in islice(self._gate.taken, _BATCH)]
        ready = self._look_at([*taken, *self._gate.due(time.monotonic(), _DUE_PER_TICK)])
        while self._looks and time.monotonic() < deadline_s:
            ready += self._look_on(self._looks[0])
        return [path for path in dict.fromkeys(ready) if self._gate.has_arrived(path, time.monotonic())]

    def _look_at(self, paths: Iterable[str]) -> list[str]:
        return [path for batch in _batches(self._statuses(paths)) for path in self._examine(batch)]

    def _look_on(self, look: Iterator[Found]) -> list[str]:
        began_s = time.monotonic()
        batch = next(look, None)
        ready = self._examine(batch or {})
        if look is self._full_look:
            self._look_took_s += time.monotonic() - began_s
        if batch is None:
            self._looks.remove(look)
            if look is self._full_look:
                self._full_look, self._looked_at_s = None, time.monotonic()
        return ready

    def _everywhere(self) -> Iterator[Found]:
        """Every file there is, then every row whose file is not."""
        yield from self._batches_of_files(self._ground.folder)
        yield from self._batches_of_rows(self._ground.folder)

    def _batches_of_files(self, folder: str) -> Iterator[Found]:
        return _batches(pair for top in self._tops(folder) for pair in self._files(top))

    def _tops(self, folder: str) -> list[str]:
        """Where scans begin; a folder that is reached twice is known by the path by which they come first."""
        if not self._ground.by_type or folder != self._ground.folder:
            return [folder]
        try:
            return [f"{folder}/{entry.name}" for entry in sorted(self._folder.iterdir()) if entry.is_dir()]
        except OSError:
            return []

    def _files(self, top: str) -> Iterator[tuple[str, os.stat_result | None]]:
        try:
            folder = files.resolve_inside(self.root, top)
        except PathOutsideLibrary:
            return
        if all(map(files.is_visible, top.split("/"))):
            for path, status in files.walk(self.root, folder):
                if not is_unfinished(path.name) and os.access(path, os.R_OK):
                    yield str(path.relative_to(self.root)), status

    def _batches_of_rows(self, folder: str) -> Iterator[Found]:
        """Those below the folder whose files are not there."""
        after = ""
        while True:
            with engine_for(self._settings).begin() as connection:
                page = videos.next_present_below(connection, folder, after, _BATCH)
            if not page:
                return
            after = page[-1].path
            yield {place.path: None for place in page if not os.path.lexists(self.root / place.path)}

    def _at(self, hints: Sequence[str]) -> Iterator[Found]:
        paths = [f"{self._ground.folder}/{hint}" for hint in hints]
        folders = [path for path in paths if not files.is_video_name(path) or (self.root / path).is_dir()]
        yield from _batches(self._statuses(path for path in paths if path not in set(folders)))
        for folder in folders:
            yield from self._batches_of_files(folder)
            yield from self._batches_of_rows(folder)

    def _statuses(self, paths: Iterable[str]) -> Iterator[tuple[str, os.stat_result | None]]:
        return ((path, self._status(path)) for path in paths)

    def _status(self, relative: str) -> os.stat_result | None:
        """None for what a scan would not take, or not yet, as for what is not there."""
        names = relative.split("/")
        if not all(map(files.is_visible, names)) or not files.is_video_name(names[-1]) or is_unfinished(names[-1]):
            return None
        if self._ground.by_type and len(names) < 3:
            return None
        try:
            path = files.resolve_inside(self.root, relative)
            status = path.stat()
        except (OSError, PathOutsideLibrary):
            return None
        return status if stat.S_ISREG(status.st_mode) and os.access(path, os.R_OK) else None

    # What has arrived

    def _examine(self, found: Found) -> list[str]:
        """Those of the files that stand still long enough, and that the library does not know as they are."""
        if not found:
            return []
        with engine_for(self._settings).begin() as connection:
            known = videos.known_at(connection, list(found))
            gone = {
                place.path: place for place in videos.present_at(connection, [p for p, s in found.items() if not s])
            }
        absence, now_s, ready = files.Absence(self.root), time.monotonic(), []
        for path, status in found.items():
            if status is None:
                place = gone.get(path)
                facts = GONE if place and absence.is_certain(self.root / path, place.seen_at) else None
            else:
                facts = None if _is_as_known(known.get(path), status) else Facts.of(status)
            if facts is None:
                self._gate.forget(path)
            elif self._gate.see(path, facts, now_s):
                ready.append(path)
        self._everything = self._everything or self._gate.is_full
        return ready

    # Asking for scans

    def _ask(self, ready: list[str]) -> list[int]:
        """How many files each scan that was enqueued is about."""
        now_s = time.monotonic()
        if not ready or self._waits_for_others(ready, now_s):
            return []
        asked: list[list[str]] = []
        with engine_for(self._settings).begin() as connection:
            queue.wait_for_arrivals(connection)
            looked_at = _LookedAt(connection)
            busy = [path for path in ready if path in looked_at]
            # a scan that is live no more may have ended since the look before: what it found is known by now
            free = sorted(self._look_at(set(ready).difference(busy)))
            for kind, paths in islice(self._scans(free), _SCANS_PER_TICK):
                job = NewJob(kind, {"paths": paths}, origin=self._ground.origin)
                try:
                    queue.enqueue(connection, job, self._settings)
                except JobAlreadyLive:
                    busy += paths
                else:
                    asked.append(paths)
        self._gate.postpone(busy, now_s)
        for paths in asked:
            self._gate.take(paths)
        return [len(paths) for paths in asked]

    def _waits_for_others(self, ready: Sequence[str], now_s: float) -> bool:
        if len(ready) >= MOST_PATHS or not self._gate.is_settling(now_s):
            return False
        return self._gate.waited_s(ready, now_s) < self._ground.patience_s

    def _scans(self, paths: Iterable[str]) -> Iterator[tuple[JobType, list[str]]]:
        """Of each directory type its own."""
        by_type: dict[str, list[str]] = {}
        for path in paths:
            by_type.setdefault(path.split("/")[1] if self._ground.by_type else "", []).append(path)
        for name, members in by_type.items():
            for portion in _portions(members):
                yield JobType.PUBLIC_SCAN if name == "public" else JobType.SCAN, portion

    # Words, and the cursor

    def _said(self, asked: Sequence[int]) -> str:
        way = f"polling: {self._why_polling}" if self._watch is None else "events"
        looking = "; a look everywhere is going on" if self._full_look else ""
        return (
            f"Scans enqueued: {len(asked)}, of {sum(asked)} files; on their way in: {len(self._gate)}{looking}. "
            f"By {way}."
        )

    def cursor(self) -> str:
        kept = Cursor(memory=self.token, boot=_boot())
        room = _BYTES_IN_CURSOR
        for path, facts in islice(self._gate.taken, _KEPT_IN_CURSOR):
            if (room := room - len(path)) > 0:
                kept.taken[path] = (facts.size_bytes, facts.mtime_ns, facts.ctime_ns)
        for path, (facts, since_s) in islice(
            ((p, (q.facts, q.since_s)) for p, q in self._gate.pending), _KEPT_IN_CURSOR
        ):
            if (room := room - len(path)) > 0:
                kept.pending[path] = (facts.size_bytes, facts.mtime_ns, facts.ctime_ns, round(since_s, 3))
        kept.more = len(self._gate) + sum(1 for _ in self._gate.taken) - len(kept.pending) - len(kept.taken)
        return kept.model_dump_json()

    def resume(self, cursor: Cursor) -> None:
        """Since when a file stands still is told by a clock that begins anew with the machine."""
        same_clock = cursor.boot == _boot() != ""
        now_s = time.monotonic()
        pending = {
            path: Pending(Facts(*facts), min(since_s, now_s) if same_clock else now_s)
            for path, (*facts, since_s) in cursor.pending.items()
        }
        self._gate.resume(pending.items(), {path: Facts(*facts) for path, facts in cursor.taken.items()}.items())


class _LookedAt:
    """What the live scans look at, and what jobs are changing or publishing."""

    def __init__(self, connection: sa.Connection) -> None:
        self._listed = file_changes.unsettled_paths(connection) | queue.being_published(connection)
        self._folders: set[str] = set()
        for kind in (JobType.SCAN, JobType.PUBLIC_SCAN):
            for wanted in queue.params_of_live(connection, kind):
                assert isinstance(wanted, params.DirectoryScan)
                if wanted.paths is None:
                    self._folders.add(wanted.folder)
                else:
                    self._listed.update(wanted.paths)

    def __contains__(self, path: str) -> bool:
        if path in self._listed or path in self._folders:
            return True
        return any(str(folder) in self._folders for folder in Path(path).parents)


def _is_as_known(known: Known | None, status: os.stat_result) -> bool:
    if known is None or known.missing_since is not None:
        return False
    return (known.size_bytes, known.mtime) == (status.st_size, files.modified_at(status))


def _batches(found: Iterable[tuple[str, os.stat_result | None]]) -> Iterator[Found]:
    iterator = iter(found)
    while batch := dict(islice(iterator, _BATCH)):
        yield batch


def _portions(paths: Iterable[str]) -> Iterator[list[str]]:
    """As many as one scan may list, and not so many that its row becomes large."""
    portion: list[str] = []
    size_bytes = 0
    for path in paths:
        size_bytes += len(path.encode())
        if portion and (len(portion) == MOST_PATHS or size_bytes > _BYTES_OF_A_SCAN):
            yield portion
            portion, size_bytes = [], len(path.encode())
        portion.append(path)
    if portion:
        yield portion


def _boot() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
