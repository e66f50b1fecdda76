"""Running ffmpeg: progress, stop, stall, and the promise that it never outlives the process that started it.

The command comes from `commands`; this adds what every run needs (`-nostdin`, machine-readable progress). Callbacks
run in the caller's thread; two threads only read the pipes, so a slow callback never blocks ffmpeg.
"""

import collections
import contextlib
import functools
import importlib.resources
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from media_pipelines.media import errors
from media_pipelines.parent_death import die_with_parent, libc

_ALWAYS = (
    "-nostdin", "-hide_banner", "-nostats",
    "-loglevel", "level+warning",
    "-progress", "pipe:1",
    "-stats_period", "0.25",
)  # fmt: skip
_TICK_S = 0.25
# What ffmpeg still wants to do when it is told to stop, such as moving an index, is thrown away anyway.
_GRACE_S = 0.3
_TAIL_LINES = 60
_LINE_BYTES = 2000
_ETA_SAMPLES = 30


def find_ffmpeg(configured: str | None) -> Path:
    """The configured ffmpeg, else the one on PATH, else the one that imageio-ffmpeg brings. Raises FfmpegMissing."""
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise errors.FfmpegMissing(f"{configured!r} is configured and is not a program")
        return Path(found).absolute()
    found = shutil.which("ffmpeg")
    return Path(found).absolute() if found else _bundled()


def _bundled() -> Path:
    """By its name: the package's own look-up runs it first, and takes one that is killed then for one that lacks."""
    try:
        packaged = importlib.resources.files("imageio_ffmpeg.binaries").iterdir()
        return next(Path(str(entry)) for entry in packaged if entry.name.startswith("ffmpeg-"))
    except (ImportError, OSError, StopIteration) as error:
        raise errors.FfmpegMissing("none is configured, on PATH or in the imageio-ffmpeg package") from error


def find_ffprobe(configured: str | None) -> Path | None:
    """The configured ffprobe, else the one on PATH, else None: nothing here needs it."""
    found = shutil.which(configured or "ffprobe")
    return Path(found).absolute() if found else None


def version(ffmpeg: Path) -> str:
    """Such as "7.1.1" or "n9.0.2-17-g2a571b6068". Raises FfmpegMissing when it cannot be run."""
    try:
        result = subprocess.run(
            [str(ffmpeg), "-version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise errors.FfmpegMissing(f"{ffmpeg} cannot be run ({error})") from error
    words = result.stdout.decode(errors="replace").split()
    return words[2] if words[:2] == ["ffmpeg", "version"] and len(words) > 2 else "unknown"


@dataclass(frozen=True)
class Progress:
    """One report. `percent` and `eta_s` are None while the duration or the speed is unknown."""

    frame: int = 0
    fps: float = 0.0
    speed: float = 0.0
    out_time_s: float = 0.0
    size_bytes: int = 0
    percent: float | None = None
    eta_s: float | None = None


class ProgressParser:
    """Turns the lines of `-progress` into reports: one for each block, whatever keys it lacks or gives as N/A."""

    def __init__(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._values: dict[str, str] = {}
        self._last = Progress()
        self._samples: collections.deque[tuple[float, float, int]] = collections.deque(maxlen=_ETA_SAMPLES)

    def feed(self, line: str, at_s: float) -> Progress | None:
        """One line, read at `at_s` of a clock that never goes back; a report when it ends a block."""
        key, _, value = line.strip().partition("=")
        self._values[key] = value.strip()
        if key != "progress":
            return None
        self._last = self._report(at_s)
        self._values = {}
        return self._last

    def _report(self, at_s: float) -> Progress:
        out_time_s = max(0.0, self._number("out_time_us", self._last.out_time_s * 1e6) / 1e6)
        frame = int(self._number("frame", self._last.frame))
        self._samples.append((at_s, out_time_s, frame))
        pace = self._pace()
        fps, speed = pace or (self._number("fps", self._last.fps), self._number("speed", self._last.speed))
        return Progress(
            frame=frame,
            fps=fps,
            speed=speed,
            out_time_s=out_time_s,
            size_bytes=int(self._number("total_size", self._last.size_bytes)),
            percent=self._percent(out_time_s),
            eta_s=max(0.0, self._duration_s - out_time_s) / speed if pace and self._duration_s else None,
        )

    def _pace(self) -> tuple[float, float] | None:
        """Frames and seconds of output a second, over the last 30 reports: ffmpeg's own figures count from its start,
        and with it the time that it was suspended. None: nothing has come yet."""
        (first_at_s, first_s, first_frame), (last_at_s, last_s, last_frame) = self._samples[0], self._samples[-1]
        took_s = last_at_s - first_at_s
        if took_s <= 0 or last_s <= first_s:
            return None
        return (last_frame - first_frame) / took_s, (last_s - first_s) / took_s

    def _number(self, key: str, otherwise: float) -> float:
        try:
            return float(self._values[key].removesuffix("x"))
        except (KeyError, ValueError):
            return float(otherwise)

    def _percent(self, out_time_s: float) -> float | None:
        return min(100.0, 100 * out_time_s / self._duration_s) if self._duration_s else None


class ChildRegistry:
    """The ffmpeg processes that run now, for whoever must stop or pause them from another thread. A pid stands here
    only until its process is reaped, so a signal never reaches a stranger."""

    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._lock = threading.RLock()
        self._paused_at_s: float | None = None
        self._paused_s = 0.0

    @property
    def paused(self) -> bool:
        return self._paused_at_s is not None

    def working_s(self) -> float:
        """A clock in seconds that stands still while they are suspended."""
        with self._lock:
            now_s = time.monotonic() if self._paused_at_s is None else self._paused_at_s
            return now_s - self._paused_s

    def pids(self) -> frozenset[int]:
        with self._lock:
            return frozenset(self._pids)

    def add(self, pid: int) -> None:
        with self._lock:
            self._pids.add(pid)
            if self.paused:
                _send(pid, signal.SIGSTOP)

    def discard(self, pid: int) -> None:
        with self._lock:
            self._pids.discard(pid)

    def pause(self) -> None:
        """Suspend them all, and those that start before `resume`. Neither stall nor ETA counts the time."""
        with self._lock:
            self._paused_at_s = self._paused_at_s or time.monotonic()
            for pid in self._pids:
                _send(pid, signal.SIGSTOP)

    def resume(self) -> None:
        with self._lock:
            if self._paused_at_s is not None:
                self._paused_s += time.monotonic() - self._paused_at_s
            self._paused_at_s = None
            for pid in self._pids:
                _send(pid, signal.SIGCONT)

    def kill_all(self, grace_s: float = _GRACE_S) -> None:
        """Kill every one with its children; the `run` that waits for it then raises."""
        for pid in self.pids():
            kill_tree(pid, grace_s)


# Of this process, where the caller of `run` names no registry of its own: a run works on one job.
CHILDREN = ChildRegistry()


def run(
    command: Sequence[str],
    *,
    duration_s: float | None,
    on_progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], str | None] | None = None,
    stall_timeout_s: float = 300,
    on_line: Callable[[str], None] | None = None,
    children: ChildRegistry = CHILDREN,
) -> None:
    """Run one ffmpeg command (program first) to its end.

    `duration_s` is what the output will last, for percent and ETA. `on_progress` is called at most 4 times a second
    and once at the end, `on_line` with each line of stderr, `stop` at least 4 times a second: a string it returns is
    the reason to stop. A run stalls when neither its output nor the bytes it has read grow for `stall_timeout_s`.
    Whatever a callback raises also ends ffmpeg.

    Raises FfmpegFailed, FfmpegStalled, EncodeStopped.
    """
    _obey(stop)
    with _started(command, children) as process:
        pipes = _Pipes(process, duration_s, children.working_s)
        stall = _StallClock(process.pid, stall_timeout_s)
        ended = _Ending(process)
        try:
            while not ended.within(_TICK_S):
                pipes.report(on_progress, on_line)
                _obey(stop)
                if stall.has_stalled(pipes.latest, paused=children.paused):
                    raise errors.FfmpegStalled(command, stall_timeout_s)
        finally:
            ended.close()
        pipes.drain()
        pipes.report(on_progress, on_line)
    if process.returncode != 0:
        raise errors.FfmpegFailed(command, process.returncode, tuple(pipes.tail))


def _obey(stop: Callable[[], str | None] | None) -> None:
    reason = stop() if stop else None
    if reason is not None:
        raise errors.EncodeStopped(reason)


@contextlib.contextmanager
def _started(command: Sequence[str], children: ChildRegistry) -> Iterator["subprocess.Popen[bytes]"]:
    """ffmpeg in the caller's process group; on leaving the block it has ended, by itself or by `kill_tree`."""
    process = _spawn([command[0], *_ALWAYS, *command[1:]])
    children.add(process.pid)
    try:
        yield process
    finally:
        if not _has_ended(process.pid):
            kill_tree(process.pid)
        children.discard(process.pid)
        process.wait()


def _spawn(argv: Sequence[str]) -> "subprocess.Popen[bytes]":
    try:
        wrapper = _setpriv()
        return subprocess.Popen(
            [*wrapper, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # SVT-AV1 greets at length on stderr, whatever ffmpeg's level is: warnings only.
            env={**os.environ, "SVT_LOG": "2"},
            preexec_fn=None if wrapper else functools.partial(die_with_parent, signal.SIGKILL, libc()),
        )
    except OSError as error:
        raise errors.FfmpegMissing(f"{argv[0]} cannot be run: {error.strerror}") from error


@functools.cache
def _setpriv() -> tuple[str, ...]:
    """A wrapper that asks the kernel to kill ffmpeg with the thread that started it, then becomes ffmpeg.

    Preferred to preexec_fn, which runs Python between fork and exec of a process that has other threads.
    """
    found = shutil.which("setpriv")
    if found is None:
        return ()
    wrapper = (found, "--pdeathsig", "KILL", "--")
    proof = subprocess.run([*wrapper, "/bin/sh", "-c", ":"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return wrapper if proof.returncode == 0 else ()


class _Pipes:
    """Reads ffmpeg's two pipes; hands what came to callbacks in the caller's thread."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", duration_s: float | None, clock_s: Callable[[], float]
    ) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.latest: Progress | None = None
        self.tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self._reported: Progress | None = None
        self._lines: collections.deque[str] = collections.deque(maxlen=1000)
        self._parser = ProgressParser(duration_s)
        self._clock_s = clock_s
        self._readers = [
            threading.Thread(target=self._read_progress, args=(process.stdout,), daemon=True),
            threading.Thread(target=self._read_stderr, args=(process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_progress(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in pipe:
                self.latest = self._parser.feed(line.decode(errors="replace"), self._clock_s()) or self.latest

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        with pipe:
            while raw := pipe.readline(_LINE_BYTES):
                line = raw.decode(errors="replace").rstrip()
                if line:
                    self.tail.append(line)
                    self._lines.append(line)

    def report(self, on_progress: Callable[[Progress], None] | None, on_line: Callable[[str], None] | None) -> None:
        while self._lines:
            line = self._lines.popleft()
            if on_line:
                on_line(line)
        latest = self.latest
        if latest is not None and latest is not self._reported and on_progress:
            on_progress(latest)
        self._reported = latest

    def drain(self) -> None:
        """Wait for what ffmpeg wrote last; not for a grandchild that keeps a pipe open."""
        for reader in self._readers:
            reader.join(timeout=5)


class _StallClock:
    """Counts the time without growth, as this process lived it: time it was itself suspended does not count."""

    def __init__(self, pid: int, timeout_s: float) -> None:
        self._pid = pid
        self._timeout_s = timeout_s
        self._grown: tuple[object, ...] = ()
        self._idle_s = 0.0
        self._looked_at_s = time.monotonic()

    def has_stalled(self, progress: Progress | None, *, paused: bool) -> bool:
        now_s = time.monotonic()
        elapsed_s, self._looked_at_s = now_s - self._looked_at_s, now_s
        grown = self._growth(progress)
        if paused or grown != self._grown:
            self._idle_s, self._grown = 0.0, grown
            return False
        self._idle_s += min(elapsed_s, 4 * _TICK_S)
        return self._idle_s >= self._timeout_s

    def _growth(self, progress: Progress | None) -> tuple[object, ...]:
        """Bytes read count too: `+faststart` moves a large file's data for minutes without any report."""
        report = (progress.frame, progress.out_time_s, progress.size_bytes) if progress else ()
        return (*report, _bytes_read(self._pid))


def _bytes_read(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/io").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


class _Ending:
    """Waits for a child to end, without reaping it and without polling where the kernel has pidfds."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._pid = process.pid
        self._pidfd: int | None = None
        with contextlib.suppress(OSError, AttributeError):
            self._pidfd = os.pidfd_open(process.pid)

    def within(self, timeout_s: float) -> bool:
        if self._pidfd is None:
            deadline_s = time.monotonic() + timeout_s
            while not _has_ended(self._pid) and time.monotonic() < deadline_s:
                time.sleep(0.02)
        elif not _has_ended(self._pid):
            poller = select.poll()
            poller.register(self._pidfd, select.POLLIN)
            poller.poll(timeout_s * 1000)
        return _has_ended(self._pid)

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended, leaving it to be reaped."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def kill_tree(pid: int, grace_s: float = _GRACE_S) -> None:
    """End a process and its descendants: CONT (a stopped process obeys nothing), TERM, `grace_s`, then KILL.

    Reaps nothing, and is content when the process is already gone.
    """
    tree = _tree(pid)
    for process in tree:
        _send(process.pid, signal.SIGCONT)
        _send(process.pid, signal.SIGTERM)
    deadline_s = time.monotonic() + grace_s
    while any(_lives(process) for process in tree):
        if time.monotonic() >= deadline_s:
            for process in tree:
                if _lives(process):
                    _send(process.pid, signal.SIGKILL)
            return
        time.sleep(0.02)


def _tree(pid: int) -> list[Any]:
    import psutil

    try:
        root: Any = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _lives(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
