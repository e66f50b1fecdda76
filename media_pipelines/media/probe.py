"""What a file holds, read by libav in worker processes: a file that crashes or hangs the decoder costs one verdict.

Nothing here writes. Only regular files are opened, only by known container formats and only through the file
protocol, so a playlist renamed to .mp4 reaches neither the network nor other files.
"""

import collections
import contextlib
import faulthandler
import hashlib
import itertools
import multiprocessing
import os
import resource
import signal
import stat
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from media_pipelines.media import errors, mp4
from media_pipelines.parent_death import die_with_parent

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

StreamKind = Literal["video", "audio", "subtitle", "data", "attachment"]

# Demuxers that hold video, or audio alone (so that an audio file gets the better message). No hls, concat or dash:
# those open other files. No image formats: a renamed JPEG would pass as a video of one frame.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,asf,ogg,mxf,rm,wtv,dv,nut,ivf,gif,"
    "h264,hevc,m4v,obu,av1,mp3,wav,aac,flac"
)
# These guess their duration from the bit rate: it says nothing about truncation.
_GUESSED_DURATION = {"mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu", "av1", "ivf", "aac", "mp3"}
_QUALITIES = (4320, 2160, 1440, 1080, 720, 480, 360, 240, 144)
_PACKETS_PER_POSITION = 500
# Numbers of ITU-T H.273, which libav uses, by ffmpeg's names. "Unspecified" is left out on purpose.
_PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 10: "smpte428",
    11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
_TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4",
    12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 17: "smpte428",
    18: "arib-std-b67",
}  # fmt: skip
_MATRICES = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 14: "ictcp",
}  # fmt: skip
_RANGES: dict[int, Literal["tv", "pc"]] = {1: "tv", 2: "pc"}
_LATE_START_S = 0.1
_LONGEST_PACKET_S = 1
_LAST_S = 10.0
_INTERLACED = {2, 3, 4, 5}  # AVFieldOrder
# How much picture is decoded to prove the end: 289 frames of 1080p, 72 of 2160p.
_PIXELS_TO_THE_END = 600_000_000
# Their index names key frames. Elsewhere a seek may land between two, and only what follows the second decodes.
_INDEXED = {"mp4", "matroska"}
_STEPS_BACK_S = (0.0, 3.0, 12.0, float("inf"))
# A file without a duration is read once to find it, unless that would take too long.
_MEASURED_BYTES = 4_000_000_000
_SLOWEST_BYTES_PER_S = 20_000_000
_WINDOW = 16
_CHUNK = 8
_BOXES_AT_MOST = 1000
_KILLED_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
# Beyond what a probe may take by itself: the pool has then lost track of its worker.
_POOL_GRACE_S = 10.0


@dataclass(frozen=True)
class Stream:
    """One stream. `duration_s` is None where the container does not say; `start_s` counts from the start of the file;
    `config` is a digest of the decoder's configuration (SPS and PPS for H.264), equal for streams that can be joined
    without re-encoding."""

    index: int
    kind: StreamKind
    codec: str
    language: str | None = None
    title: str | None = None
    channels: int | None = None
    channel_layout: str | None = None
    sample_rate_hz: int | None = None
    duration_s: float | None = None
    time_base: str | None = None
    config: str = ""
    is_default: bool = False
    is_cover: bool = False
    start_s: float = 0.0


@dataclass(frozen=True)
class Color:
    """How the numbers of a picture become light, in ffmpeg's names; None where the file does not say."""

    primaries: str | None = None
    transfer: str | None = None
    matrix: str | None = None
    range: Literal["tv", "pc"] | None = None


@dataclass(frozen=True)
class Hdr10:
    """Static metadata of HDR10. Chromaticities in units of 0.00002, luminances in 0.0001 cd/m² (SMPTE ST 2086);
    `max_cll` and `max_fall` in cd/m² (CTA-861.3), 0 where unknown."""

    red: tuple[int, int]
    green: tuple[int, int]
    blue: tuple[int, int]
    white: tuple[int, int]
    max_luminance: int
    min_luminance: int
    max_cll: int = 0
    max_fall: int = 0


@dataclass(frozen=True)
class Probe:
    """What a file holds. `width` and `height` are as displayed, after rotation, before `sar` is applied; `rotation`
    is clockwise degrees to turn the stored picture (0, 90, 180, 270). The video is `video_index`, not cover art."""

    path: Path
    size_bytes: int
    container: str
    duration_s: float | None
    width: int
    height: int
    rotation: int
    sar: Fraction
    fps: float | None
    video_codec: str
    pix_fmt: str | None
    audio_codec: str | None
    has_audio: bool
    has_video: bool
    bitrate_kbps: int | None
    streams: tuple[Stream, ...]
    video_index: int
    frames_decoded: int
    color: Color = Color()
    hdr10: Hdr10 | None = None
    bit_depth: int = 8
    interlaced: bool = False
    chapters: int = 0

    @property
    def hdr(self) -> Literal["pq", "hlg"] | None:
        """Which curve of high dynamic range the picture is in."""
        return {"smpte2084": "pq", "arib-std-b67": "hlg"}.get(self.color.transfer or "")  # type: ignore[return-value]

    def end_s(self, stream: Stream) -> float | None:
        """When a stream ends, counted from the start of the file; None where it does not say."""
        return _end_s(stream, matroska="matroska" in self.container)

    @property
    def orientation(self) -> Literal["landscape", "portrait", "square"]:
        shape = self.width * self.sar
        if shape == self.height:
            return "square"
        return "landscape" if shape > self.height else "portrait"

    @property
    def quality(self) -> str:
        """The usual name of the size, such as "4K" or "1080p": by the short side, or for a wide picture (1920×804) by
        what its long side would be at 16:9."""
        short, long = sorted((self.width, self.height))
        lines = max(short, min(long * 9 / 16, short * 1.35))
        size = next((quality for quality in _QUALITIES if lines >= quality * 0.95), short)
        return {4320: "8K", 2160: "4K"}.get(size, f"{size}p")

    @property
    def video(self) -> Stream:
        return next(stream for stream in self.streams if stream.index == self.video_index)

    @property
    def audio(self) -> tuple[Stream, ...]:
        """Audio streams, the default one first."""
        return tuple(sorted(self.of_kind("audio"), key=lambda stream: not stream.is_default))

    def of_kind(self, kind: StreamKind) -> tuple[Stream, ...]:
        return tuple(stream for stream in self.streams if stream.kind == kind)


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

    def probe(self, path: Path, *, decode_frames: int = 0) -> Probe:
        """Read one file. With `decode_frames`, also decode that many frames spread over the duration, the last near
        its end, and check that the declared duration is really there.

        Raises UnreadableMedia, NoVideoStream, ProbeTimedOut or ProbeCrashed.
        """
        found: Probe = self.run(path, read, decode_frames)
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


def read(path_text: str, decode_frames: int) -> Probe:
    """Read one file in this process: what the workers run. Raises UnreadableMedia or NoVideoStream."""
    return _read(path_text, decode_frames, needs_first=True)


def glance(path_text: str) -> Probe:
    """The same without colour and scanning of the picture, whose first frame is decoded only where nothing else says
    how it is turned."""
    return _read(path_text, 0, needs_first=False)


def glance_each(path_text: str, more: Sequence[str]) -> list[Probe | errors.MediaError]:
    """Several in a row: handing a file to a worker and back takes as long as reading it."""
    verdicts: list[Probe | errors.MediaError] = []
    for one in (path_text, *more):
        try:
            verdicts.append(glance(one))
        except errors.MediaError as error:
            verdicts.append(error)
    return verdicts


def _read(path_text: str, decode_frames: int, *, needs_first: bool) -> Probe:
    path = Path(path_text)
    size_bytes = _regular_size(path)
    with _opened(path) as container:
        return _describe(container, path, size_bytes, decode_frames, needs_first=needs_first)


def read_through(path_text: str) -> dict[int, float]:
    """Seconds of packets by stream: what `Prober.measure` runs. Raises UnreadableMedia."""
    path = Path(path_text)
    _regular_size(path)
    seconds: collections.Counter[int] = collections.Counter()
    bases: dict[int, Fraction] = {}
    usual: dict[int, int] = {}
    with _opened(path) as container:
        wanted = [stream for stream in container.streams if stream.type in ("video", "audio")]
        for packet in container.demux(wanted):
            index, ticks = packet.stream.index, packet.duration or 0
            bases[index] = packet.time_base
            # Before a jump of the clock a packet may claim to last until after it.
            usual[index] = ticks if ticks * packet.time_base <= _LONGEST_PACKET_S else usual.get(index, 0)
            seconds[index] += usual[index]
    return {index: float(ticks * bases[index]) for index, ticks in seconds.items()}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    import av

    try:
        with open_only_video(str(path)) as container:
            yield container
    except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        raise errors.UnreadableMedia(path, _reason(error)) from error


def open_only_video(path_text: str) -> "InputContainer":
    """One of the containers that hold video, through the file protocol alone."""
    import av

    return av.open(
        f"file:{path_text}",
        mode="r",
        metadata_errors="replace",
        options={"protocol_whitelist": "file", "format_whitelist": CONTAINERS},
    )


def _regular_size(path: Path) -> int:
    """The size of a regular file. Anything else is refused unopened: opening a fifo blocks for ever."""
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        raise errors.UnreadableMedia(path, getattr(error, "strerror", None) or str(error)) from error
    if stat.S_ISDIR(info.st_mode):
        raise errors.UnreadableMedia(path, "it is a folder")
    if not stat.S_ISREG(info.st_mode):
        raise errors.UnreadableMedia(path, "it is not a regular file")
    if info.st_size == 0:
        raise errors.UnreadableMedia(path, "it is empty (0 bytes)")
    return info.st_size


def _reason(error: Exception) -> str:
    import av

    if isinstance(error, av.InvalidDataError):
        return "its data is damaged, incomplete or not video (libav: invalid data)"
    if isinstance(error, av.ArgumentError):
        return "it is not one of the container formats that hold video"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _describe(
    container: "InputContainer", path: Path, size_bytes: int, decode_frames: int, *, needs_first: bool
) -> Probe:
    _require_whole(container, path, size_bytes)
    start_s = (container.start_time or 0) / 1_000_000
    streams = tuple(_stream(stream, start_s) for stream in container.streams)
    candidates = [stream for stream in streams if stream.kind == "video" and not stream.is_cover]
    if not candidates:
        raise errors.NoVideoStream(path)
    chosen = min(candidates, key=lambda stream: not stream.is_default)
    video = _video_stream(container, chosen.index, path)
    duration_s = _duration_s(container, streams)
    frames = _Frames(container, video, path)
    is_mp4 = "mp4" in container.format.name.split(",")
    first = frames.first() if needs_first or not is_mp4 or not mp4.is_upright(path) else None
    if duration_s is not None and start_s > _LATE_START_S and "matroska" in container.format.name:
        duration_s = frames.length_s(duration_s, start_s)
        streams = tuple(_within(stream, duration_s, start_s) for stream in streams)
        chosen = next(stream for stream in streams if stream.index == chosen.index)
    rotation = _rotation(first)
    if duration_s is None and size_bytes <= _MEASURED_BYTES:
        duration_s = frames.measured_duration_s()
    frames_decoded = frames.spread(decode_frames, duration_s, chosen) if decode_frames else 0

    context = video.codec_context
    if not context.width or not context.height:
        raise errors.UnreadableMedia(path, "the size of its picture is unknown")
    turned = rotation in (90, 270)
    audio = sorted((s for s in streams if s.kind == "audio"), key=lambda stream: not stream.is_default)
    return Probe(
        path=path,
        size_bytes=size_bytes,
        container=container.format.name,
        duration_s=duration_s,
        width=context.height if turned else context.width,
        height=context.width if turned else context.height,
        rotation=rotation,
        sar=_sar(video, turned=turned),
        fps=_fps(video),
        video_codec=chosen.codec,
        pix_fmt=context.pix_fmt,
        audio_codec=audio[0].codec if audio else None,
        has_audio=bool(audio),
        has_video=True,
        bitrate_kbps=round(size_bytes * 8 / duration_s / 1000) if duration_s else None,
        streams=streams,
        video_index=chosen.index,
        frames_decoded=frames_decoded,
        color=_color(first),
        hdr10=_hdr10(first),
        bit_depth=_bit_depth(context.pix_fmt),
        interlaced=context.field_order in _INTERLACED or bool(first is not None and first.interlaced_frame),
        chapters=len(container.chapters()),
    )


def _require_whole(container: "InputContainer", path: Path, size_bytes: int) -> None:
    """An MP4's index says where each sample lies: a truncated file is told without reading its data. Of an index that
    is itself cut libav reads the tracks that are left, so that one would be lost in silence."""
    if "mp4" not in container.format.name.split(","):
        return
    index_end = _index_end(path, size_bytes)
    if index_end > size_bytes:
        raise errors.UnreadableMedia(path, f"it is truncated: {size_bytes} of at least {index_end} bytes")
    lasts = [stream.index_entries[-1] for stream in container.streams if len(stream.index_entries)]
    needed_bytes = max((entry.pos + entry.size for entry in lasts), default=0)
    if needed_bytes > size_bytes:
        raise errors.UnreadableMedia(path, f"it is truncated: {size_bytes} of at least {needed_bytes} bytes")


def _index_end(path: Path, size_bytes: int) -> int:
    """Where the `moov` box of an MP4 says that it ends; 0 where none is found among the first boxes."""
    at = 0
    with path.open("rb") as file:
        for _ in range(_BOXES_AT_MOST):
            if at + 8 > size_bytes:
                break
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:16])
            if head[4:8] == b"moov":
                return at + length
            if length < 8:
                break
            at += length
    return 0


def _video_stream(container: "InputContainer", index: int, path: Path) -> "VideoStream":
    from av.video.stream import VideoStream

    stream = container.streams[index]
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None:  # whatever PyAV's types say
        raise errors.UnreadableMedia(path, "its video is in a format that cannot be decoded here")
    stream.codec_context.thread_count = 1
    return stream


def _rotation(first: Any) -> int:
    """Clockwise degrees, from the first frame: libav gives the display matrix with frames only."""
    return round(-first.rotation / 90) * 90 % 360 if first is not None else 0


def _color(first: Any) -> Color:
    """From the first frame: what the bit stream says overrules the container."""
    if first is None:
        return Color()
    return Color(
        primaries=_PRIMARIES.get(first.color_primaries),
        transfer=_TRANSFERS.get(first.color_trc),
        matrix=_MATRICES.get(first.colorspace),
        range=_RANGES.get(first.color_range),
    )


def _hdr10(first: Any) -> Hdr10 | None:
    from av.sidedata.sidedata import Type

    if first is None:
        return None
    display = _side_data(first, Type.MASTERING_DISPLAY_METADATA)
    light = _side_data(first, Type.CONTENT_LIGHT_LEVEL)
    return _mastering(display, *(struct.unpack_from("=2I", light) if light else (0, 0))) if display else None


def _side_data(frame: Any, kind: Any) -> bytes | None:
    try:
        return bytes(frame.side_data[kind])
    except KeyError:
        return None


def _mastering(display: bytes, max_cll: int, max_fall: int) -> Hdr10 | None:
    """AVMasteringDisplayMetadata: eight chromaticities and two luminances as fractions, then which of them are set."""
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", display)
    values = [top / bottom if bottom else 0.0 for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)]
    if not has_primaries or not has_luminance:
        return None
    red, green, blue, white = (
        (round(x * 50_000), round(y * 50_000)) for x, y in zip(values[:8:2], values[1:8:2], strict=True)
    )
    dark, bright = (round(value * 10_000) for value in values[8:])
    return Hdr10(red, green, blue, white, bright, dark, max_cll, max_fall)


def _bit_depth(pix_fmt: str | None) -> int:
    import av

    return max((part.bits for part in av.VideoFormat(pix_fmt).components), default=8) if pix_fmt else 8


def _stream(stream: Any, file_start_s: float) -> Stream:
    """One libav stream. Typed Any: what a stream has depends on its kind, and unknown codecs have no context."""
    from av.stream import Disposition

    context = stream.codec_context
    sound = context if stream.type == "audio" else None
    return Stream(
        index=stream.index,
        kind=stream.type if stream.type in ("video", "audio", "subtitle", "attachment") else "data",
        codec=context.codec.canonical_name if context is not None else "unknown",
        language=_tag(stream, "language", missing="und"),
        title=_tag(stream, "title"),
        channels=sound.channels if sound else None,
        channel_layout=sound.layout.name if sound else None,
        sample_rate_hz=sound.sample_rate if sound else None,
        duration_s=_stream_duration_s(stream),
        start_s=float(stream.start_time * stream.time_base) - file_start_s if stream.start_time is not None else 0.0,
        time_base=str(stream.time_base) if stream.time_base else None,
        config=_digest(getattr(context, "extradata", None)),
        is_default=bool(stream.disposition & Disposition.default),
        is_cover=bool(stream.disposition & Disposition.attached_pic),
    )


def _within(stream: Stream, duration_s: float, start_s: float) -> Stream:
    """The same stream with its length counted from the start of the file, where it was from zero."""
    if stream.duration_s is None or stream.duration_s <= duration_s + _LATE_START_S:
        return stream
    return replace(stream, duration_s=max(0.0, stream.duration_s - start_s))


def _tag(stream: Any, name: str, missing: str = "") -> str | None:
    value = next((value for key, value in stream.metadata.items() if key.lower() == name), missing)
    return None if value == missing else value


def _digest(extradata: bytes | None) -> str:
    return hashlib.sha256(extradata).hexdigest()[:16] if extradata else ""


def _stream_duration_s(stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return _clock_s(_tag(stream, "duration"))


def _clock_s(text: str | None) -> float | None:
    """Seconds of Matroska's "00:00:05.040000000"."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _duration_s(container: "InputContainer", streams: tuple[Stream, ...]) -> float | None:
    """As the container says; of sound and picture alone where a subtitle goes on after them, as those of DVDs do for
    49 days."""
    if not container.duration or container.duration < 0:
        known = [stream.duration_s for stream in streams if stream.duration_s]
        return max(known) if known else None
    declared_s = float(container.duration / 1_000_000)
    matroska = "matroska" in container.format.name
    ends_s: dict[bool, list[float | None]] = {True: [], False: []}
    for stream in streams:
        if not stream.is_cover:
            ends_s[stream.kind in ("video", "audio")].append(_end_s(stream, matroska=matroska))
    shown_s = [end_s for end_s in ends_s[True] if end_s]
    others_s = [end_s for end_s in ends_s[False] if end_s]
    if len(shown_s) < len(ends_s[True]) or not others_s or max(others_s) <= max(shown_s):
        return declared_s
    return min(declared_s, max(shown_s))


def _end_s(stream: Stream, *, matroska: bool) -> float | None:
    """When a stream ends, counted from the start of the file. What Matroska notes as a duration is its end."""
    if stream.duration_s is None or matroska:
        return stream.duration_s
    return max(0.0, stream.start_s) + stream.duration_s


def _sar(video: "VideoStream", *, turned: bool) -> Fraction:
    sar = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    if not sar or sar <= 0:
        return Fraction(1)
    return 1 / Fraction(sar) if turned else Fraction(sar)


def _fps(video: "VideoStream") -> float | None:
    rate = video.average_rate or video.guessed_rate
    return float(rate) if rate and 0 < rate <= 1000 else None


@dataclass
class _Tail:
    """How far the end of a file could be read."""

    data_end_s: float = 0.0
    packet_end_s: float = 0.0
    frame_end_s: float = 0.0
    frames: int = 0
    gave_up: bool = False


class _Frames:
    """Decodes single frames of one stream."""

    def __init__(self, container: "InputContainer", video: "VideoStream", path: Path) -> None:
        self._container = container
        self._video = video
        self._path = path

    def first(self) -> Any:
        """The first frame that decodes, or None."""
        return self._first_frame()

    def spread(self, count: int, duration_s: float | None, stream: Stream) -> int:
        if duration_s is None:
            return self._from_the_start(count)
        # One frame before the end of the video stream, which may end before the sound does.
        last_s = max(0.0, min(duration_s, stream.duration_s or duration_s) - self._frame_s())
        for n in range(1, count + 1):
            self._decode_at(last_s * n / count if count > 1 else last_s)
        if not _GUESSED_DURATION & set(self._container.format.name.split(",")):
            self._reach_the_end(duration_s, stream)
        return count

    def _from_the_start(self, count: int) -> int:
        self._seek(0.0)
        for n in range(count):
            if self._first_frame() is None:
                if n == 0:
                    raise errors.UnreadableMedia(self._path, "no frame of its video can be decoded")
                return n
        return count

    def length_s(self, declared_s: float, start_s: float) -> float:
        """How long a Matroska file that starts late lasts: some writers note the length, some the time of the end."""
        length_s = max(0.0, declared_s - start_s)
        end_s = self._read_on(max(0.0, length_s - _LAST_S)).data_end_s
        return min((length_s, declared_s), key=lambda candidate: abs(candidate - end_s))

    def measured_duration_s(self) -> float | None:
        """By reading every packet: a recording that was streamed says nothing about its length."""
        self._seek(0.0)
        end_s = max((self._end_s(packet) for packet in self._container.demux(self._sound_and_picture())), default=0.0)
        self._seek(0.0)
        return end_s or None

    def _decode_at(self, at_s: float) -> None:
        for start_s in self._starts(at_s):
            self._seek(start_s)
            if self._first_frame() is not None:
                return
        raise errors.UnreadableMedia(self._path, f"no frame can be decoded at {at_s:.2f} s")

    def _starts(self, at_s: float) -> Iterator[float]:
        """Where to begin reading for a frame at `at_s`: there, and in files without an index further and further
        back, until a key frame comes first."""
        formats = set(self._container.format.name.split(","))
        for back_s in _STEPS_BACK_S[: 1 if formats & _INDEXED else None]:
            yield max(0.0, at_s - back_s)
            if back_s >= at_s:
                return

    def _reach_the_end(self, duration_s: float, stream: Stream) -> None:
        """Read from shortly before the declared end to the real one: data must come, and its frames must decode.

        A truncated file has packets that end early; one with a hole (a download that was preallocated) has packets
        that do not decode. Compared with the last packet, not the clock, because a last frame may be shown for long.
        """
        tolerance_s = max(0.1, min(2.0, 0.05 * duration_s), 0.005 * duration_s)
        near_s = max(0.0, min(duration_s, stream.duration_s or duration_s) - tolerance_s)
        for start_s in self._starts(near_s):
            tail = self._read_on(start_s)
            if tail.frames:
                break
        declared_s = self._declared_end_s(duration_s)
        if tail.data_end_s < declared_s - tolerance_s:
            raise errors.UnreadableMedia(
                self._path, f"it is truncated: it says {declared_s:.2f} s and ends at {tail.data_end_s:.2f} s"
            )
        if not tail.gave_up and tail.frame_end_s < tail.packet_end_s - max(tolerance_s, 1.0):
            raise errors.UnreadableMedia(self._path, f"its picture cannot be decoded after {tail.frame_end_s:.2f} s")

    def _read_on(self, start_s: float) -> "_Tail":
        """Read from `start_s` to the end of the file, decoding as many frames as are worth it."""
        tail = _Tail()
        most = _PIXELS_TO_THE_END // max(1, self._video.width * self._video.height)
        self._seek(start_s)
        for packet in self._container.demux(self._sound_and_picture()):
            if packet.is_corrupt:
                continue
            end_s = self._end_s(packet)
            tail.data_end_s = max(tail.data_end_s, end_s)
            if packet.stream.index != self._video.index or tail.gave_up:
                continue
            tail.packet_end_s = max(tail.packet_end_s, end_s)
            for frame in self._decode(packet):
                tail.frames += 1
                tail.frame_end_s = max(tail.frame_end_s, self._end_s(frame))
            tail.gave_up = tail.frames >= most
        return tail

    def _declared_end_s(self, duration_s: float) -> float:
        """The container's duration, or less where it is longer than its sound and picture (a late subtitle)."""
        known = [_stream_duration_s(stream) for stream in self._sound_and_picture()]
        lengths = [length for length in known if length is not None]
        return min(duration_s, max(lengths)) if len(lengths) == len(known) else duration_s

    def _sound_and_picture(self) -> list[Any]:
        return [stream for stream in self._container.streams if stream is self._video or stream.type == "audio"]

    def _first_frame(self) -> Any:
        """The next frame that decodes, or None: packets that do not decode are passed over, as players do."""
        for n, packet in enumerate(self._container.demux(self._video)):
            for frame in self._decode(packet):
                return frame
            if n >= _PACKETS_PER_POSITION:
                return None
        return None

    def _decode(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(packet.decode())
        except av.FFmpegError:  # decoders say "invalid argument" as well as "invalid data"
            return []

    def _seek(self, at_s: float) -> None:
        import av

        time_base = self._video.time_base
        assert time_base is not None
        start_s = (self._container.start_time or 0) / 1_000_000
        # Seeking goes by decoding times, and in a transport stream the first of them lies before its start.
        wanted_s = start_s + at_s if at_s > 0 else min(0.0, start_s)
        try:
            self._container.seek(round(wanted_s / time_base), stream=self._video, backward=True)
        except av.FFmpegError:  # raw streams and some old containers know no times to go to: read from the start
            self._container.seek(0, unsupported_byte_offset=True)

    def _end_s(self, thing: Any) -> float:
        """When a packet or a frame ends, counted from the start of the file; 0 where it does not say."""
        at = thing.dts if thing.pts is None else thing.pts
        if at is None:
            return 0.0
        start_s = (self._container.start_time or 0) / 1_000_000
        return float((at + (thing.duration or 0)) * thing.time_base) - start_s

    def _frame_s(self) -> float:
        return 1 / (_fps(self._video) or 25)
