"""Reads files in worker processes: one that crashes or hangs the decoder costs one verdict. Nothing here writes."""

import collections
import faulthandler
import itertools
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from media_pipelines.media import errors
from media_pipelines.media.probe import Probe
from media_pipelines.media.reading import glance, glance_each, read, read_through
from media_pipelines.parent_death import die_with_parent

_SLOWEST_BYTES_PER_S = 20_000_000
_WINDOW = 16
_CHUNK = 8
_KILLED_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# Beyond what a probe may take by itself: the pool has then lost track of its worker.
_POOL_GRACE_S = 10.0


class Prober:
    """Probes files in worker processes that it starts on first use and stops at the end of the `with` block.

    Make it in a thread that outlives it: the workers die with the thread that started them, which is how no worker
    outlives a killed process (they are then replaced, at the price of a restart).
    """

    def __init__(self, workers: int = 1, timeout_s: float = 20.0) -> None:
        self._workers = workers
        self._timeout_s = timeout_s
        self._pool: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop(self._pool)

    def probe(self, path: Path, *, decode_frames: int = 0, decode_end: bool = True) -> Probe:
        """Read one file. With `decode_frames`, also decode that many frames spread over the duration, the last near
        its end, and check that the declared duration is really there; unless `decode_end` is false, that all frames
        of the last seconds decode, too.

        Raises UnreadableMedia, NoVideoStream, ProbeTimedOut or ProbeCrashed.
        """
        found: Probe = self.run(path, read, decode_frames, decode_end)
        return found

    def run(self, path: Path, task: Callable[..., Any], *arguments: Any, timeout_s: float | None = None) -> Any:
        """What a function of a module says about one file, called in a worker with the path as text. What it needs
        imported must be imported here already. Raises the MediaError that it raises, ProbeTimedOut or ProbeCrashed."""
        for _ in range(3):
            pool, future = self._schedule(path, task, *arguments, timeout_s=timeout_s)
            verdict = self._settle(pool, future, path, timeout_s)
            if isinstance(verdict, errors.MediaError):
                raise verdict
            if verdict is not None:
                return verdict
        raise errors.ProbeCrashed(path)

    def measure(self, path: Path) -> dict[int, float]:
        """Seconds of packets by stream, for a file whose times jump: its duration is a guess from the last of them.
        Reads it all. Raises what `probe` raises."""
        timeout_s = self._timeout_s + path.stat().st_size / _SLOWEST_BYTES_PER_S
        seconds: dict[int, float] = self.run(path, read_through, timeout_s=timeout_s)
        return seconds

    def probe_many(
        self, paths: Iterable[Path], *, decode_frames: int = 0
    ) -> Iterator[tuple[Path, Probe | errors.MediaError]]:
        """Read files in the order given. Streams: only a window of them is in flight, whatever the number."""
        waiting: collections.deque[tuple[Path, Any, Any]] = collections.deque()
        for path in paths:
            waiting.append((path, *self._schedule(path, read, decode_frames)))
            if len(waiting) > self._workers * _WINDOW:
                yield self._next(waiting, decode_frames)
        while waiting:
            yield self._next(waiting, decode_frames)

    def _next(
        self, waiting: "collections.deque[tuple[Path, Any, Any]]", decode_frames: int
    ) -> tuple[Path, Probe | errors.MediaError]:
        path, pool, future = waiting.popleft()
        verdict = self._settle(pool, future, path)
        return path, self._alone(path, read, decode_frames) if verdict is None else verdict

    def glance_many(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Probe | errors.MediaError]]:
        """Read files in the order given, many and fast: what `glance` tells of each."""
        waiting: collections.deque[tuple[list[Path], Any, Any]] = collections.deque()
        remaining = iter(paths)
        while chunk := list(itertools.islice(remaining, _CHUNK)):
            waiting.append((chunk, *self._schedule(chunk[0], glance_each, [str(path) for path in chunk[1:]])))
            if len(waiting) > 2 * self._workers:
                yield from self._next_chunk(waiting)
        while waiting:
            yield from self._next_chunk(waiting)

    def _next_chunk(
        self, waiting: "collections.deque[tuple[list[Path], Any, Any]]"
    ) -> Iterator[tuple[Path, Probe | errors.MediaError]]:
        """Where one file took the worker down, or its time, each of the chunk is read by itself."""
        chunk, pool, future = waiting.popleft()
        verdicts = self._settle(pool, future, chunk[0])
        if isinstance(verdicts, list):
            yield from zip(chunk, verdicts, strict=True)
        else:
            for path in chunk:
                yield path, self._alone(path, glance)

    def _alone(self, path: Path, task: Callable[..., Any], *arguments: Any) -> Probe | errors.MediaError:
        try:
            found: Probe = self.run(path, task, *arguments)
        except errors.MediaError as error:
            return error
        return found

    def _schedule(
        self, path: Path, task: Callable[..., Any], *arguments: Any, timeout_s: float | None = None
    ) -> tuple[Any, Any]:
        from pebble import ProcessPool

        import_libav()
        with self._lock:
            if self._pool is None or not self._pool.active:
                self._pool = ProcessPool(
                    max_workers=self._workers,
                    max_tasks=2000,
                    initializer=_start_worker,
                    initargs=(os.getpid(),),
                    context=multiprocessing.get_context("fork"),
                )
            pool = self._pool
            timeout_s = timeout_s or self._timeout_s
            return pool, pool.schedule(task, args=(str(path), *arguments), timeout=timeout_s)

    def _settle(self, pool: Any, future: Any, path: Path, timeout_s: float | None = None) -> Any:
        """The verdict on one file, or None when its worker or the pool was lost for no fault of the file."""
        from pebble import ProcessExpired

        timeout_s = timeout_s or self._timeout_s
        try:
            return future.result(timeout=timeout_s * (_WINDOW + 1) + _POOL_GRACE_S)
        except errors.MediaError as error:
            return error
        except ProcessExpired as expired:
            return None if -(expired.exitcode or 0) in _KILLED_FROM_OUTSIDE else errors.ProbeCrashed(path)
        except FutureTimeout:
            if future.done():
                return errors.ProbeTimedOut(path, timeout_s)
            self._drop(pool)
            return None
        except (BrokenProcessPool, CancelledError):
            self._drop(pool)
            return None

    def _drop(self, pool: Any) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        if pool is not None:
            pool.stop()
            pool.join()


def import_libav() -> None:
    """Load libav before the workers are forked: a fork of a process with threads must not import anything."""
    import av  # noqa: F401


def _start_worker(parent: int) -> None:
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A crash is a verdict here: no core file, no dump of Python's stack into the run's log.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
