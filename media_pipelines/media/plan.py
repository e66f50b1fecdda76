"""What an encode is to make of each stream of a source: decided purely from a probe (`policy`, `streaming`), carried
out by `commands`, checked by `verify`."""

from dataclasses import dataclass
from typing import Literal

from media_pipelines.media.probe import Stream

Codec = Literal["h264", "hevc", "vp9", "av1"]
Container = Literal["mp4", "matroska", "webm"]
Metric = Literal["vmaf", "xpsnr"]


@dataclass(frozen=True)
class Crf:
    """Constant quality, on the scale of the codec's software encoder."""

    value: int


@dataclass(frozen=True)
class Bitrate:
    """Average bit rate of the video."""

    kbps: int


@dataclass(frozen=True)
class Target:
    """The CRF that reaches this score, found by sampled search."""

    metric: Metric
    score: float


@dataclass(frozen=True)
class VideoPlan:
    """How the picture is encoded. `width` and `height` are as displayed, after rotation, and even.

    `hdr`: "keep" writes 10 bits with the source's colour description, "tonemap" makes SDR of it, "none" where the
    source is SDR.
    """

    codec: Codec
    quality: Crf | Bitrate | Target
    preset: str
    width: int
    height: int
    max_bitrate_kbps: int | None = None
    ten_bit: bool = False
    hdr: Literal["none", "keep", "tonemap"] = "none"
    deinterlace: bool = False


@dataclass(frozen=True)
class TrackPlan:
    """One audio or subtitle stream of the output. `codec` None: copied as it is."""

    stream: Stream
    codec: str | None = None
    bitrate_kbps: int | None = None
    channels: int | None = None


@dataclass(frozen=True)
class EncodePlan:
    """One output file. `video` None: copied as it is. `dropped` says, a line for each stream that does not come
    along, which and why."""

    container: Container
    video: VideoPlan | None
    audio: tuple[TrackPlan, ...] = ()
    subtitles: tuple[TrackPlan, ...] = ()
    attachments: tuple[Stream, ...] = ()
    dropped: tuple[str, ...] = ()
