"""Decoding single frames of one stream, and how far the end of a file can be read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.media import errors
from media_pipelines.media.containers import INDEXED
from media_pipelines.media.probe import Stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# These guess their duration from the bit rate: it says nothing about truncation.
_GUESSED_DURATION = {"mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu", "av1", "ivf", "aac", "mp3"}
_PACKETS_PER_POSITION = 500
_LAST_S = 10.0
_TAIL_S = 2.0
# How much picture is decoded to prove the end: 289 frames of 1080p, 72 of 2160p.
_PIXELS_TO_THE_END = 600_000_000
_STEPS_BACK_S = (0.0, 3.0, 12.0, float("inf"))


@dataclass
class _Tail:
    """How far the end of a file could be read."""

    data_end_s: float = 0.0
    packet_end_s: float = 0.0
    frame_end_s: float = 0.0
    frames: int = 0
    gave_up: bool = False


class Frames:
    """Decodes single frames of one stream."""

    def __init__(self, container: "InputContainer", video: "VideoStream", path: Path) -> None:
        self._container = container
        self._video = video
        self._path = path

    def first(self) -> Any:
        """The first frame that decodes, or None."""
        return self._first_frame()

    def spread(self, count: int, duration_s: float | None, stream: Stream, *, decode_end: bool) -> int:
        """Decode that many frames, the last near the end, and find data up to there; with `decode_end`, also all the
        frames of the last seconds. Returns how many there were. Raises UnreadableMedia."""
        if duration_s is None:
            return self._from_the_start(count)
        # One frame before the end of the video stream, which may end before the sound does.
        last_s = max(0.0, min(duration_s, stream.duration_s or duration_s) - self._frame_s())
        for n in range(1, count + 1):
            self._decode_at(last_s * n / count if count > 1 else last_s)
        if not _GUESSED_DURATION & set(self._container.format.name.split(",")):
            self._reach_the_end(duration_s, stream, _PIXELS_TO_THE_END if decode_end else 0)
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
        near_s = max(0.0, length_s - _LAST_S)
        end_s = self._read_on(near_s, 0, every_frame_from_s=near_s).data_end_s
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
        for back_s in _STEPS_BACK_S[: 1 if formats & INDEXED else None]:
            yield max(0.0, at_s - back_s)
            if back_s >= at_s:
                return

    def _reach_the_end(self, duration_s: float, stream: Stream, pixels: int) -> None:
        """Read from shortly before the declared end to the real one: data must come, and its frames must decode.

        A truncated file has packets that end early; one with a hole (a download that was preallocated) has packets
        that do not decode. Compared with the last packet, not the clock, because a last frame may be shown for long.
        """
        tolerance_s = max(0.1, min(2.0, 0.05 * duration_s), 0.005 * duration_s)
        near_s = max(0.0, min(duration_s, stream.duration_s or duration_s) - min(_TAIL_S, tolerance_s))
        for start_s in self._starts(near_s):
            tail = self._read_on(start_s, pixels, every_frame_from_s=near_s)
            if tail.frames:
                break
        declared_s = self._declared_end_s(duration_s)
        if tail.data_end_s < declared_s - tolerance_s:
            raise errors.UnreadableMedia(
                self._path, f"it is truncated: it says {declared_s:.2f} s and ends at {tail.data_end_s:.2f} s"
            )
        if not tail.gave_up and tail.frame_end_s < tail.packet_end_s - max(tolerance_s, 1.0):
            raise errors.UnreadableMedia(self._path, f"its picture cannot be decoded after {tail.frame_end_s:.2f} s")

    def _read_on(self, start_s: float, pixels: int, *, every_frame_from_s: float) -> "_Tail":
        """Read from `start_s` to the end of the file, decoding at least one frame and as many as have `pixels`; on the
        way to `every_frame_from_s` only those that others are decoded from."""
        tail = _Tail()
        most = max(1, pixels // max(1, self._video.width * self._video.height))
        self._seek(start_s)
        self._video.codec_context.skip_frame = "NONREF"
        for packet in self._container.demux(self._sound_and_picture()):
            if packet.is_corrupt:
                continue
            end_s = self._end_s(packet)
            tail.data_end_s = max(tail.data_end_s, end_s)
            if packet.stream.index != self._video.index or tail.gave_up:
                continue
            tail.packet_end_s = max(tail.packet_end_s, end_s)
            if end_s > every_frame_from_s:
                self._video.codec_context.skip_frame = "DEFAULT"
            for frame in self._decode(packet):
                tail.frames += 1
                tail.frame_end_s = max(tail.frame_end_s, self._end_s(frame))
            tail.gave_up = tail.frames >= most
        self._video.codec_context.skip_frame = "DEFAULT"
        return tail

    def _declared_end_s(self, duration_s: float) -> float:
        """The container's duration, or less where it is longer than its sound and picture (a late subtitle)."""
        known = [stream_duration_s(stream) for stream in self._sound_and_picture()]
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
        return 1 / (fps_of(self._video) or 25)


def fps_of(video: "VideoStream") -> float | None:
    rate = video.average_rate or video.guessed_rate
    return float(rate) if rate and 0 < rate <= 1000 else None


def stream_duration_s(stream: Any) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return _clock_s(tag_of(stream, "duration"))


def _clock_s(text: str | None) -> float | None:
    """Seconds of Matroska's "00:00:05.040000000"."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def tag_of(stream: Any, name: str, missing: str = "") -> str | None:
    value = next((value for key, value in stream.metadata.items() if key.lower() == name), missing)
    return None if value == missing else value
