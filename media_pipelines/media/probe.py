"""What a file holds, as `prober` finds it out: facts, nothing that reads."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

StreamKind = Literal["video", "audio", "subtitle", "data", "attachment"]
_QUALITIES = (4320, 2160, 1440, 1080, 720, 480, 360, 240, 144)


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
        return stream_end_s(stream, matroska="matroska" in self.container)

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


def stream_end_s(stream: Stream, *, matroska: bool) -> float | None:
    """When a stream ends, counted from the start of the file. What Matroska notes as a duration is its end."""
    if stream.duration_s is None or matroska:
        return stream.duration_s
    return max(0.0, stream.start_s) + stream.duration_s
