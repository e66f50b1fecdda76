"""One decode of a film: its frames and its sound in the order in which the file has them, upright and in seconds.

Times count from the start of the file, as ffmpeg's `-ss` does. Damaged packets are passed over and counted.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_pipelines.media import errors
from media_pipelines.media.containers import open_only_video, readable, regular_size
from media_pipelines.media.frames import fps_of, stream_duration_s

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av.container import InputContainer

    Picture = npt.NDArray[np.uint8]
    Samples = npt.NDArray[np.float32]

SPEECH_HZ = 16_000
LOUDNESS_HZ = 48_000
_STEPS_BACK_S = (0.0, 2.0, 10.0, 60.0, float("inf"))
_DAMAGED_IN_A_ROW = 2000
_UNKNOWN_FPS = 25.0
# A hole in the sound longer than this becomes silence; less is the rounding of time stamps.
_HOLE_S = 0.1
_FULL_TURN = 360


@dataclass(frozen=True)
class Shown:
    """One frame, as libav gives it: `pictures.Scaler` makes arrays of it."""

    at_s: float
    frame: Any


@dataclass(frozen=True)
class Heard:
    """A piece of sound: mono at 16 kHz for models, stereo (2, n) at 48 kHz for loudness."""

    at_s: float
    mono: "Samples"
    stereo: "Samples"


@dataclass
class Damage:
    """What could not be read: packets that did not decode, and why reading ended before the end."""

    packets: int = 0
    ended: str | None = None


class Film:
    """An opened file. `width` and `height` are as displayed: turned upright, square pixels."""

    def __init__(self, container: "InputContainer", path: Path, threads: int) -> None:
        self._container = container
        self.path = path
        self._video = _picture_stream(container, path, threads)
        self._audio = _sound_stream(container)
        self.start_s = (container.start_time or 0) / 1_000_000
        self.fps = fps_of(self._video) or _UNKNOWN_FPS
        self.declared_s = _declared_s(container, self._video)
        self.damage = Damage()
        self._seek(0.0)
        first = self._first()
        if first is None:
            raise errors.UnreadableMedia(path, "no frame of its video can be decoded")
        self.rotation = round(-first.rotation / 90) * 90 % _FULL_TURN
        self.width, self.height = _displayed(first, self._video, turned=self.rotation in (90, 270))
        self.damage = Damage()

    @property
    def has_audio(self) -> bool:
        return self._audio is not None

    def read(self, after_s: float | None = None, sound_after_s: float = 0.0) -> Iterator[Shown | Heard]:
        """Everything, or the frames after one and the sound from a time on, which a killed pass had reached."""
        if after_s is None:
            self._seek(0.0)
            yield from self._read(None, sound_after_s)
            return
        for back_s in _STEPS_BACK_S:
            things = self._read_from(max(0.0, after_s - back_s), after_s, sound_after_s)
            if things is not None:
                yield from things
                return

    def sound(self) -> Iterator[Heard]:
        """All of it, from the start, without decoding pictures."""
        if self._audio is None:
            return
        self._seek(0.0)
        ears = _Ears(0.0)
        for _, frame in self._decoded([self._audio]):
            yield from ears.hear(frame, self._at_s(frame))
        yield from ears.rest()

    def picture_at(self, at_s: float) -> Any:
        """The frame shown at a time, or the nearest after it; None where none decodes."""
        for back_s in _STEPS_BACK_S:
            self._seek(max(0.0, at_s - back_s))
            last = None
            for frame in self._frames():
                if self._at_s(frame) > at_s + 1e-6:
                    if last is None and back_s < at_s:
                        break
                    return last or frame
                last = frame
            else:
                return last
        return None

    def _read_from(self, seek_s: float, after_s: float, sound_after_s: float) -> Iterator[Shown | Heard] | None:
        """None: the seek landed too late, as it does in files without an index."""
        self._seek(seek_s)
        first = self._first()
        if first is None or (self._at_s(first) > after_s + 1e-6 and seek_s > 0):
            return None
        self._seek(seek_s)
        return self._read(after_s, sound_after_s)

    def _read(self, after_s: float | None, sound_after_s: float) -> Iterator[Shown | Heard]:
        ears = _Ears(sound_after_s) if self._audio is not None else None
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        last_s = float("-inf") if after_s is None else after_s
        for packet, frame in self._decoded(streams):
            if packet.stream is self._video:
                at_s = self._at_s(frame)
                if at_s > last_s:
                    last_s = at_s
                    yield Shown(at_s, frame)
            elif ears is not None:
                yield from ears.hear(frame, self._at_s(frame))
        if ears is not None:
            yield from ears.rest()

    def _decoded(self, streams: list[Any]) -> Iterator[tuple[Any, Any]]:
        import av

        in_a_row = 0
        packets = self._container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.damage.ended = str(error)
                return
            if packet is None:
                return
            try:
                frames: list[Any] = packet.decode()
                for frame in frames:
                    in_a_row = 0
                    if frame.pts is not None:
                        yield packet, frame
            except av.FFmpegError:
                self.damage.packets += 1
                in_a_row += 1
                if in_a_row > _DAMAGED_IN_A_ROW:
                    self.damage.ended = f"{in_a_row} packets in a row do not decode"
                    return

    def _frames(self) -> Iterator[Any]:
        return (frame for _, frame in self._decoded([self._video]))

    def _first(self) -> Any:
        return next(self._frames(), None)

    def _at_s(self, frame: Any) -> float:
        return float(frame.pts * frame.time_base) - self.start_s

    def _seek(self, at_s: float) -> None:
        import av

        wanted_s = self.start_s + at_s if at_s > 0 else min(0.0, self.start_s)
        try:
            self._container.seek(round(wanted_s / self._video.time_base), stream=self._video, backward=True)
        except av.FFmpegError:  # raw streams and some old containers know no times to go to
            self._container.seek(0, unsupported_byte_offset=True)


class _Ears:
    """Resamples sound twice and lays it out on one clock, holes filled."""

    def __init__(self, after_s: float) -> None:
        import av

        self._mono = av.AudioResampler(format="flt", layout="mono", rate=SPEECH_HZ)
        self._stereo = av.AudioResampler(format="fltp", layout="stereo", rate=LOUDNESS_HZ)
        self._after_s = after_s
        self._until_s: float | None = None

    def hear(self, frame: Any, at_s: float) -> Iterator[Heard]:
        import av
        import numpy as np

        frame.pts = None
        until_s = self._after_s if self._until_s is None else self._until_s
        late_s = at_s - until_s
        if self._until_s is None and late_s < 0 and at_s + frame.samples / frame.sample_rate <= self._after_s:
            return
        if late_s > _HOLE_S:
            silence = np.zeros(round(late_s * SPEECH_HZ), np.float32)
            yield Heard(until_s, silence, np.zeros((2, round(late_s * LOUDNESS_HZ)), np.float32))
            until_s += late_s
        try:
            mono, stereo = _joined(self._mono.resample(frame), 1)[0], _joined(self._stereo.resample(frame), 2)
        except (av.FFmpegError, ValueError):  # the layout changed in mid-stream
            self._mono = av.AudioResampler(format="flt", layout="mono", rate=SPEECH_HZ)
            self._stereo = av.AudioResampler(format="fltp", layout="stereo", rate=LOUDNESS_HZ)
            return
        if self._until_s is None and late_s < 0:
            mono, stereo = mono[round(-late_s * SPEECH_HZ) :], stereo[:, round(-late_s * LOUDNESS_HZ) :]
        self._until_s = until_s + mono.shape[0] / SPEECH_HZ
        yield Heard(until_s, mono, stereo)

    def rest(self) -> Iterator[Heard]:
        if self._until_s is not None:
            mono, stereo = _joined(self._mono.resample(None), 1)[0], _joined(self._stereo.resample(None), 2)
            yield Heard(self._until_s, mono, stereo)


def _joined(frames: list[Any], channels: int) -> "Samples":
    import numpy as np

    parts = [frame.to_ndarray().reshape(channels, -1) for frame in frames if frame is not None and frame.samples]
    return np.concatenate(parts, axis=1) if parts else np.zeros((channels, 0), np.float32)


@contextlib.contextmanager
def open_film(path: Path, threads: int = 1) -> Iterator[Film]:
    """Raises UnreadableMedia, NoVideoStream."""
    import av

    regular_size(path)
    with contextlib.ExitStack() as stack:
        with readable(path):
            container = stack.enter_context(open_only_video(str(path)))
            film = Film(container, path, threads)
        # What goes wrong from here on says nothing about the file: damaged packets are passed over.
        try:
            yield film
        except av.FFmpegError as error:
            raise errors.UnreadableMedia(path, str(error)) from error


def _picture_stream(container: "InputContainer", path: Path, threads: int) -> Any:
    from av.stream import Disposition

    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not streams:
        raise errors.NoVideoStream(path)
    chosen = min(streams, key=lambda one: not one.disposition & Disposition.default)
    if chosen.codec_context is None:
        raise errors.UnreadableMedia(path, "its video is in a format that cannot be decoded here")
    chosen.codec_context.thread_count = threads
    chosen.codec_context.thread_type = "AUTO"
    # Frames that no other is predicted from need not look smooth: a twelfth of H.264's decoding is saved.
    chosen.codec_context.options = {"skip_loop_filter": "noref"}
    return chosen


def _sound_stream(container: "InputContainer") -> Any:
    from av.stream import Disposition

    streams = [one for one in container.streams.audio if one.codec_context is not None and one.codec_context.rate]
    return min(streams, key=lambda one: not one.disposition & Disposition.default) if streams else None


def _displayed(first: Any, video: Any, *, turned: bool) -> tuple[int, int]:
    width, height = first.width, first.height
    sar = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio
    if sar and sar > 0:
        width = max(1, round(width * Fraction(sar)))
    return (height, width) if turned else (width, height)


def _declared_s(container: "InputContainer", video: Any) -> float | None:
    of_video = stream_duration_s(video)
    if of_video:
        return of_video
    return container.duration / 1_000_000 if container.duration and container.duration > 0 else None
