"""Params of the jobs that make something of one video."""

from typing import Literal
from uuid import UUID

from pydantic import Field, model_validator

from jobqueue_bridge.params.fields import (
    Crf,
    Decibel,
    Int,
    Kbps,
    LibraryPath,
    Mp4Path,
    Number,
    OneVideo,
    Params,
    Preset,
    Seconds,
    SomeVideo,
    Vmaf,
)

_CRF = 23


class ThumbnailGenerate(OneVideo):
    """Take one frame of a video as a JPEG."""

    timestamp: Seconds | None = Field(default=None, description="Seconds into the video; default: 25 % of it.")
    width: Int = Field(default=640, ge=16, le=7680, description="Pixels; the height follows.")
    storyboard: bool = Field(
        default=False, description="Also sheets of small pictures with a WebVTT index, for scrubbing in a player."
    )

    def unique_key(self) -> str | None:
        return f"thumbnail_generate:{self.video_id}"


class CompileGif(OneVideo):
    """Make a short animated picture of a part of a video."""

    start: Seconds = Field(default=0, description="Seconds into the video.")
    duration: Seconds = Field(default=5, gt=0, le=60, description="Seconds; less where the video ends before.")
    width: Int = Field(default=480, ge=16, le=1920, description="Pixels; the height follows.")
    fps: Number = Field(default=12, ge=1, le=30, description="Pictures a second.")
    format: Literal["gif", "webp"] = Field(default="gif", description="WebP is smaller; GIF plays everywhere.")
    loop: Int = Field(default=0, ge=0, le=65_535, description="How often it plays; 0: for ever.")
    max_bytes: Int | None = Field(
        default=None,
        ge=10_000,
        description="What the file may take: rate and width are lowered until it fits, not below 5 fps and 120 pixels."
        " Default: no limit.",
    )
    output_path: LibraryPath | None = Field(default=None, description="Default: gifs/, named after the video.")

    @model_validator(mode="after")
    def _named_for_its_format(self) -> "CompileGif":
        if self.output_path is not None and not self.output_path.lower().endswith(f".{self.format}"):
            raise ValueError(f"outputPath must end in .{self.format}")
        return self

    def unique_key(self) -> str | None:
        if self.output_path is not None:
            return f"compile_gif:{self.output_path}"
        return f"compile_gif:{self.video_id}:{self.start}:{self.duration}:{self.width}:{self.fps}:{self.format}"


class ReencodeStreaming(Params):
    """Convert a video to H.264 and AAC in a fast-start MP4. The source is never touched."""

    video_id: SomeVideo | None = Field(default=None, description="The video to convert.")
    input_path: LibraryPath | None = Field(default=None, description="Instead of videoId, or the same video's path.")
    output_path: Mp4Path | None = Field(default=None, description="Default: playback/, named after the source.")
    target_bitrate: Kbps = Field(default=2000, description="Upper bound of the video bit rate, kbit/s.")
    preset: Preset = "medium"
    crf: Crf = _CRF
    target_vmaf: Vmaf | None = Field(
        default=None,
        description="VMAF that samples must reach (95 is close to transparent); searched for, no crf then.",
    )
    target_xpsnr: Decibel | None = Field(default=None, description="The same in XPSNR, which is faster to measure.")
    max_size_percent: Int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Give up where the output would be larger than this share of the source; default: no limit.",
    )
    verify: Literal["sampled", "full"] = Field(
        default="sampled", description="Decode a few frames and the end of the output, or every frame of it."
    )
    min_vmaf: Vmaf | None = Field(default=None, description="Refuse an output whose samples score less.")

    @model_validator(mode="after")
    def _asks_for_one_quality(self) -> "ReencodeStreaming":
        given = {
            "crf": None if self.crf == _CRF else self.crf,  # rows store defaults, too
            "targetVmaf": self.target_vmaf,
            "targetXpsnr": self.target_xpsnr,
        }
        asked = [name for name, value in given.items() if value is not None]
        if len(asked) > 1:
            raise ValueError(f"{' and '.join(asked)} exclude each other: each of them decides the quality")
        return self

    @model_validator(mode="after")
    def _names_a_source(self) -> "ReencodeStreaming":
        if self.video_id is None and self.input_path is None:
            raise ValueError("videoId or inputPath is required")
        return self

    def unique_key(self) -> str | None:
        source = self.video_id or self.input_path
        return f"reencode_streaming:{source}:{self.output_path or ''}"

    def video_ids(self) -> tuple[UUID, ...]:
        return (self.video_id,) if self.video_id else ()
